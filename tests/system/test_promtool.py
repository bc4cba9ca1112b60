"""What the service exports and what is made of it, judged by Prometheus itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from deploy.http import HttpServer
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes
from tests.deploy.monitoring import DEPLOY, RULE_FILES, dashboard_queries, rules

pytestmark = pytest.mark.system

RULE_TESTS = Path(__file__).parent / "alert_rules.yml"


def promtool(*arguments: str | Path, text: str | None = None) -> tuple[int, str, str]:
    """Return exit code, output and errors."""
    program = shutil.which("promtool")
    assert program is not None, "promtool is missing: apt-get install prometheus"
    done = subprocess.run(
        [program, *arguments], input=text, capture_output=True, text=True, timeout=240
    )
    return done.returncode, done.stdout, done.stderr


def test_promtool_finds_no_fault_in_the_metrics(metrics: Metrics, outcomes: Outcomes) -> None:
    metrics.consumed(outcomes.messages, wait_s=0.01)
    metrics.delivered(outcomes, outcomes.publish_ms)
    server = HttpServer("127.0.0.1", 0, metrics.registry, lambda: True, dict)
    server.start()
    try:
        text = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text
    finally:
        server.stop()
    assert 'tinyt2_alerts_total{outcome="classified"' in text
    assert promtool("check", "metrics", text=text) == (0, "", "")


def test_promtool_finds_no_fault_in_the_configuration_and_its_rules() -> None:
    code, output, errors = promtool("check", "config", DEPLOY / "prometheus/prometheus.yml")
    assert (code, errors) == (0, "")
    assert output.count("rules found") == len(RULE_FILES)


def test_every_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    annotations = {rule["alert"]: rule["annotations"] for rule in rules() if "alert" in rule}
    suites = list(yaml.safe_load_all(RULE_TESTS.read_text()))
    checks = [
        check for suite in suites for case in suite["tests"] for check in case["alert_rule_test"]
    ]
    fired = set()
    for check in checks:
        name = check["alertname"]
        for alert in check.get("exp_alerts", []):
            alert["exp_annotations"] = annotations[name] | alert["exp_annotations"]
            fired.add(name)
    assert fired == set(annotations)
    files = [tmp_path / f"{i}.yml" for i in range(len(suites))]
    for file, suite in zip(files, suites, strict=True):
        file.write_text(yaml.safe_dump({"rule_files": [str(p) for p in RULE_FILES], **suite}))
    code, output, errors = promtool("test", "rules", *files)
    assert code == 0, output + errors


def test_promtool_parses_every_query_of_the_dashboard(tmp_path: Path) -> None:
    records = [
        {"record": f"query_{i}", "expr": query} for i, query in enumerate(dashboard_queries())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
    code, output, errors = promtool("check", "rules", file)
    assert code == 0, output + errors
    assert f"{len(records)} rules found" in output
