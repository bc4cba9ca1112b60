"""The image: what the Dockerfile says, and what comes out of its build stage."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.broker import EmbeddedBroker
from deploy.precompile import precompile
from deploy.serving import LoggedProcess
from deploy.settings import load_settings
from tests.deploy.images import (
    DOCKERFILE,
    Replayed,
    copy_context,
    environment,
    health_check,
    instructions,
)
from tests.deploy.test_compose import program, run

ENTRYPOINT = (DOCKERFILE.parent / "entrypoint.sh").read_text()


def test_hadolint_finds_no_fault() -> None:
    assert run(program("hadolint"), str(DOCKERFILE)) == ""


def test_the_context_has_what_the_package_is_made_of(tmp_path: Path) -> None:
    copy_context(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("pyproject.toml", "constraints.txt", "README.md", "LICENSE"),
        *("compress", "deploy", "models", "stream", "tests"),
    }
    assert list((tmp_path / "deploy/alerts/ztf/").glob("*/*.avro"))
    assert not list(tmp_path.rglob("test_*.py"))


def test_the_image_is_no_root_and_its_settings_are_known() -> None:
    last = instructions()[-1].stage
    texts = {i.name: i.text for i in instructions() if i.stage == last}
    assert texts["USER"] == "10001:10001"
    settings = load_settings(environ=environment(last))
    assert settings.http.host == "0.0.0.0"
    assert settings.log.format == "json"
    assert f":{settings.http.port}/health/live" in health_check()[-1]
    assert texts["EXPOSE"] == str(settings.http.port)


def test_what_is_compiled_ahead_is_all_that_serving_uses() -> None:
    outcomes = precompile()
    assert outcomes.n_refused == 0
    assert {"ztf", "lsst"} <= set(outcomes.alerts.survey.to_pylist())
    assert len(outcomes.classified)


# The build stage -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    return Replayed(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    with EmbeddedBroker() as broker:
        broker.create_topics(["alerts", "tinyt2-classifications", "tinyt2-dead-letters"], 2)
        yield broker.bootstrap_servers


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_build_holds_what_serving_needs_and_no_more(image: Replayed) -> None:
    packages = {path.name for path in image.program.glob("lib/python3.*/site-packages/*")}
    assert {"deploy", "models", "stream", "onnxruntime", "numba"} <= packages
    assert not packages & {"torch", "sklearn", "onnx", "pip", "setuptools", "pytest"}
    assert list(image.program.glob("schemas/**/lsst.v*.alert.avsc"))
    assert list(image.program.glob("alerts/ztf/*/*.avro"))
    n_bytes = sum(path.stat().st_size for path in image.program.rglob("*") if path.is_file())
    print(f"\n/opt/tinyt2: {n_bytes / 1e6:.0f} MB")
    assert n_bytes < 700e6


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_start_takes_the_compiled_kernels_and_makes_none(
    image: Replayed, servers: str, tmp_path: Path
) -> None:
    """Measure the processor time of a start with and without the machine code of the image."""
    alerts = image.program / "alerts"
    variables = _variables(servers, tmp_path / "replay")
    image.run(
        ["tinyt2", "replay", "--to-kafka", "alerts", "--rate", "2000", f"{alerts}/ztf"],
        variables,
        tmp_path,
    )
    with_code = _start(image, servers, tmp_path / "with", image.here(ENTRYPOINT))
    without = _start(image, servers, tmp_path / "without", 'exec tinyt2 "$@"')
    print(
        f"\nprocessor time of a start: {with_code:.1f} s with machine code, {without:.1f} without"
    )
    assert with_code < without
    made = {path.relative_to(tmp_path / "with") for path in (tmp_path / "with").rglob("*.nb[ci]")}
    shipped = {
        path.relative_to(image.program / "jit") for path in image.program.glob("jit/**/*.nb[ci]")
    }
    assert made == shipped


def _variables(servers: str, cache: Path) -> dict[str, str]:
    """Return the environment of the image, for a broker and a cache of this machine."""
    return environment(instructions()[-1].stage) | {
        "NUMBA_CACHE_DIR": str(cache),
        "TINYT2__HTTP__PORT": "0",
        "TINYT2__HTTP__HOST": "127.0.0.1",
        "TINYT2__SCHEMAS__CACHE": str(cache / "schemas"),
        "TINYT2__KAFKA__BOOTSTRAP_SERVERS": servers,
        "TINYT2__KAFKA__GROUP_ID": cache.name,
        "TINYT2__KAFKA__TOPICS": "alerts",
    }


def _start(image: Replayed, servers: str, cache: Path, script: str) -> float:
    """Serve until alerts are classified; return the processor time up to the line ``started``."""
    command = ["sh", "-c", script, "entrypoint", "serve"]
    log, variables = cache.with_suffix(".log"), image.environment(_variables(servers, cache))
    with LoggedProcess(command, log, variables) as service:
        url = service.wait_for_event("started", 600)["http"]

        def metrics() -> str:
            return httpx.get(f"{url}/metrics", timeout=30).text

        seconds = float(re.findall(r"(?m)^process_cpu_seconds_total (.*)$", metrics())[0])
        service.wait_for(
            "classified alert",
            lambda: 'tinyt2_alerts_total{outcome="classified"' in metrics() or None,
            300,
        )
        service.process.terminate()
        assert service.process.wait(60) == 0, service.tail()
    return seconds
