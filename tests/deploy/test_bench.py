"""The benchmarks run from the command line, measure what they say and write what they promise."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import fastavro
import numpy as np
import pytest
from rich.progress import Progress
from typer.testing import CliRunner

from deploy.bench.alerts import ZTF, copies, longer, messages, ztf_histories
from deploy.bench.cluster import cluster
from deploy.bench.fastavro_peer import FastavroReader
from deploy.bench.fink_worker import MODULES
from deploy.bench.goals import GOALS, Goal
from deploy.bench.measure import Result, rate, time_per_alert
from deploy.bench.memory import small_packets
from deploy.bench.paper import Curve, PaperPath, paper_curves
from deploy.bench.processes import cores, cpu_seconds, footprint, pinned, tree_seconds
from deploy.cli import app
from deploy.settings import Settings
from deploy.wiring import open_decoder
from models.bundle import load_bundle
from models.errors import ConfigurationError
from models.features import n_usable
from models.lightcurve import BANDS
from models.timing import Task, interleave
from stream.avro.schemas import PackageSchemas
from stream.sources.memory import message_batch
from tests.benches import ARGUMENTS, RunBench

ROOT = Path(__file__).parents[2]
NAMES = {
    "decode": {
        "decode_ztf",
        "decode_ztf_4.02",
        "decode_ztf_3.3",
        "decode_lsst",
        "decode_lsst_long",
    },
    "features": {
        "features_ztf",
        "gp_grid_ztf",
        "gp_grid_90",
        "paper_gp",
        "paper_scaling",
        "features_10x_history",
    },
    "inference": {"features_inference_ztf", "inference_ztf", "paper_gp", "paper_network"},
    "replay": {"replay_per_cpu_s"},
    "kafka": {
        "serve_cpu_vs_consume",
        "burst_s",
        "replicas_2",
        "latency_p50_s",
        "latency_p99_s",
    },
    "startup": {"startup_s", "startup_ready_s", "startup_help_s"},
    # Run by tests/system: Spark needs Java, and the peers an interpreter that has fink-science.
    "fink": {
        "fink_module_spark",
        "fink_nested_spark",
        *(f"fink_vs_{module}" for module in MODULES),
    },
    "page": {"page_record", "page_record_percent"},
    "memory": {"rss_mb", "rss_growth_percent", "rss_threads", "rss_descriptors"},
}


@pytest.mark.parametrize("command", ARGUMENTS)
def test_the_json_has_the_named_figures(bench: RunBench, command: str) -> None:
    document = bench(command).document
    assert list(document) == ["benchmarks"]
    keys = ["name", "value", "unit", "peer", "peer_value", "ratio", "n"]
    assert all(list(row) == keys for row in document["benchmarks"])
    names = [row["name"] for row in document["benchmarks"]]
    assert len(set(names)) == len(names)
    assert set(names) >= NAMES[command]


@pytest.mark.parametrize("command", ARGUMENTS)
def test_the_figures_are_figures(bench: RunBench, command: str) -> None:
    for result in bench(command).results.values():
        assert np.isfinite(result.value), result
        assert result.value > 0 or result.name == "rss_growth_percent", result
        assert result.n >= 1
        compared = [result.peer, result.peer_value, result.ratio]
        assert all(x is None for x in compared) or all(x is not None for x in compared)
        assert result.ratio is None or (np.isfinite(result.ratio) and result.ratio > 0), result


@pytest.mark.parametrize("command", ARGUMENTS)
def test_what_is_printed_names_the_results_and_the_machine(bench: RunBench, command: str) -> None:
    printed = "".join(bench(command).output.split())
    assert "onnxruntime" in printed
    assert f"{os.cpu_count()}CPUs" in printed
    # Long names are folded into their column.
    for name in [name for name in NAMES[command] if len(name) < 20]:
        assert name in printed


def test_every_goal_has_a_benchmark() -> None:
    assert set(GOALS) <= set().union(*NAMES.values())


def test_the_pages_name_every_figure_that_has_a_goal() -> None:
    pages = [ROOT / "deploy" / "BENCHMARKS.md", ROOT / "deploy" / "spark" / "README.md"]
    text = "".join(page.read_text() for page in pages)
    own = [name for name in GOALS if not name.startswith("fink_")]
    assert [name for name in own if f"| `{name}` |" not in text] == []
    assert "tinyt2 bench fink" in text


def test_what_the_service_takes_beside_the_loop_is_ours_over_the_peer(bench: RunBench) -> None:
    cost = bench("kafka").results["serve_cpu_vs_consume"]
    assert cost.peer_value is not None and cost.ratio is not None
    assert cost.ratio == pytest.approx(cost.value / cost.peer_value)


def test_a_file_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "results.json"
    result = CliRunner().invoke(app, ["bench", "memory", "--json", str(path)])
    assert str(path) in str(result.exception)


def test_a_cluster_that_does_not_answer_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:9"), cluster("127.0.0.1:9"):
        pass


def test_all_are_timed_in_every_round_and_the_first_round_does_not_count() -> None:
    now = 0.0
    order: list[str] = []

    def task(name: str, seconds: list[float]) -> Task:
        def run() -> None:
            nonlocal now
            order.append(name)
            now += seconds[order.count(name) - 1]

        return Task(run, alerts=2)

    tasks = {"a": task("a", [100, 2, 4, 6]), "b": task("b", [100, 20, 20, 120])}
    taken = interleave(tasks, 3, Progress(disable=True), "", clock=lambda: now)
    assert taken["a"].tolist() == [1, 2, 3]
    assert taken["b"].tolist() == [10, 10, 60]
    assert [{*order[i : i + 2]} for i in range(0, 8, 2)] == [{"a", "b"}] * 4
    assert order[2:4] != order[4:6]

    faster = time_per_alert("faster", taken["a"], "b", taken["b"])
    assert (faster.value, faster.peer_value) == (2e6, 10e6)
    # The median of 10, 5 and 20, not the ratio of the medians.
    assert faster.ratio == 10
    often = rate("often", taken["a"], "b", taken["b"])
    assert (often.value, often.peer_value, often.ratio) == (0.5, 0.1, 10)


@pytest.mark.parametrize(
    ("goal", "figure", "met", "half"),
    [
        (Goal("ratio", 10), 10.0, True, True),
        (Goal("ratio", 10), 5.0, False, True),
        (Goal("ratio", 10), 4.9, False, False),
        (Goal("ratio", 3, at_least=False), 3.0, True, True),
        (Goal("ratio", 3, at_least=False), 6.0, False, True),
        (Goal("ratio", 3, at_least=False), 6.1, False, False),
        (Goal("ratio", 10), None, False, False),
    ],
)
def test_goals(goal: Goal, figure: float | None, met: bool, half: bool) -> None:
    result = Result("x", 7.0, "us", "peer", 1.0, figure, 3)
    assert goal.met(result) is met
    assert goal.met(result, slack=2) is half
    assert Goal("value", 7).met(result)


_GROWING = """
import sys, time
print(flush=True)
sys.stdin.readline()
start = time.process_time()
while time.process_time() - start < 0.5: pass
held = [bytearray(b"x" * 50_000_000), open(sys.executable, "rb")]
print(flush=True)
sys.stdin.readline()
"""


def test_processor_time_and_memory_are_those_of_the_process() -> None:
    # A process of its own: in this one, what other tests left behind comes and goes.
    command = [sys.executable, "-c", _GROWING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdout.readline()
        before, start = footprint(child.pid), cpu_seconds(child.pid)
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        after, end = footprint(child.pid), cpu_seconds(child.pid)
        child.stdin.close()
    assert 0.45 < end - start < 1.5  # to fill the memory takes some of it too
    assert after.rss_mb - before.rss_mb == pytest.approx(50, abs=5)
    assert after.descriptors == before.descriptors + 1
    assert after.peak_mb >= after.rss_mb
    assert after.threads == before.threads == 1


def test_processor_time_of_children_counts_while_they_live_and_after() -> None:
    busy = "import time, sys\nwhile time.process_time() < 0.5: pass\nprint('done', flush=True)\n"
    before = tree_seconds(os.getpid())
    command = [sys.executable, "-c", f"{busy}sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline()
        alive = tree_seconds(os.getpid()) - before
        assert child.stdin is not None
        child.stdin.close()
    assert alive == pytest.approx(0.5, abs=0.15)
    assert tree_seconds(os.getpid()) - before == pytest.approx(alive, abs=0.1)


def test_pinning_ends_with_its_block() -> None:
    before = os.sched_getaffinity(0)
    with pinned(cores()[1]):
        assert os.sched_getaffinity(0) == {cores()[1]}
    assert os.sched_getaffinity(0) == before


def test_copies_are_equal_and_apart() -> None:
    made = copies([b"one", b"two"], 5)
    assert made == [b"one", b"two", b"one", b"two", b"one"]
    assert len({id(value) for value in made}) == 5


def test_longer_histories_end_as_the_originals_do() -> None:
    histories = ztf_histories(load_bundle().manifest)
    long = longer(histories, 10)
    counts = histories.curves.n_observations
    assert long.curves.n_observations.tolist() == (10 * counts).tolist()
    assert n_usable(*long).tolist() == (10 * counts).tolist()
    for i, n in enumerate(counts):
        new = slice(long.curves.splits[i + 1] - n, long.curves.splits[i + 1])
        old = slice(*histories.curves.splits[i : i + 2])
        for name in ("mjd", "band", "flux", "flux_err", "detected"):
            values = getattr(long.curves, name)[new]
            np.testing.assert_array_equal(values, getattr(histories.curves, name)[old])


def test_small_packets_are_the_same_alerts() -> None:
    decoder = open_decoder(Settings())
    whole, small = (decoder.decode(message_batch(v)) for v in (messages(ZTF), small_packets()))
    assert len(small) == len(whole)
    for name in ("alert_id", "trigger_mjd", "solar_system"):
        np.testing.assert_array_equal(getattr(small, name), getattr(whole, name))
    for field in fields(whole.curves):
        np.testing.assert_array_equal(
            getattr(small.curves, field.name), getattr(whole.curves, field.name)
        )
    assert max(map(len, small_packets())) < 40_000


@pytest.mark.parametrize("folder", ["ztf", "lsst/10.0", "lsst/9.0/container"])
def test_the_fastavro_peer_reads_containers_as_fastavro_does(folder: str, tmp_path: Path) -> None:
    reader = FastavroReader()
    for value in messages(folder):
        path = tmp_path / "alert.avro"
        path.write_bytes(value)
        with path.open("rb") as stream:
            expected = list(fastavro.reader(stream))
        framed = reader.open(value)
        assert repr(framed.read(value)) == repr(expected)
        assert repr(framed.read_parsing(value)) == repr(expected)


def test_the_fastavro_peer_parses_confluent_schemas_when_it_is_asked_to() -> None:
    (value,) = messages("lsst/9.0/confluent")
    assert "__fastavro_parsed" in (PackageSchemas().fetch(900) or "")
    framed = FastavroReader().open(value)
    assert "__fastavro_parsed" not in framed.plain_schema
    assert repr(framed.read(value)) == repr(framed.read_parsing(value))


@pytest.fixture(scope="module")
def curves() -> list[Curve]:
    return paper_curves(ztf_histories(load_bundle().manifest))


@pytest.fixture(scope="module")
def path(curves: list[Curve]) -> PaperPath:
    return PaperPath(curves)


def test_the_papers_interpolation_goes_through_clear_observations(path: PaperPath) -> None:
    days = np.arange(0.0, 60.0, 2.0)
    green = np.arange(len(days)) % 2 == 0
    wavelength = {band.key: band.wavelength_aa for band in BANDS}
    flux = 5e4 * np.exp(-0.5 * ((days - 25) / 12) ** 2) * np.where(green, 1.0, 0.8)
    curve = Curve(
        60000 + days,
        np.where(green, wavelength["ztf:g"], wavelength["ztf:r"]),
        flux,
        np.full(len(days), 50.0),
        np.ones(len(days), np.bool_),
    )
    steps = path.interpolate(curve)
    assert steps.shape == (100, 2)
    times = np.linspace(0.0, 58.0, 100)
    for band, column in ((green, 0), (~green, 1)):
        at = np.interp(days[band], times, steps[:, column])
        np.testing.assert_allclose(at, flux[band], atol=0.02 * flux.max())


def test_the_papers_path_scales_to_the_quartiles_and_answers_with_probabilities(
    curves: list[Curve], path: PaperPath
) -> None:
    scaled = np.concatenate([path.scale(path.interpolate(curve))[0] for curve in curves])
    low, middle, high = np.percentile(scaled, [25, 50, 75], axis=0)
    np.testing.assert_allclose(middle, 0, atol=1e-6)
    np.testing.assert_allclose(high - low, 1, atol=1e-6)
    answer = path.classify(curves[0])
    assert answer.shape == (1, 14)
    assert answer.sum() == pytest.approx(1)


def test_the_paper_leaves_out_what_is_far_from_the_detections(
    curves: list[Curve], path: PaperPath
) -> None:
    curve = curves[0]
    far = Curve(
        np.append(curve.mjd[0] - 200.0, curve.mjd),
        np.append(curve.wavelength_aa[0], curve.wavelength_aa),
        np.append(1e9, curve.flux),
        np.append(1.0, curve.flux_err),
        np.append(False, curve.detected),
    )
    np.testing.assert_allclose(path.interpolate(far), path.interpolate(curve))
