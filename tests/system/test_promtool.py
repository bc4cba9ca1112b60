"""What the service exports, judged by Prometheus itself."""

from __future__ import annotations

import shutil
import subprocess

import httpx
import pytest

from deploy.http import HttpServer
from stream.metrics import Metrics
from stream.output.outcomes import Outcomes

pytestmark = pytest.mark.system


def test_promtool_finds_no_fault_in_the_metrics(metrics: Metrics, outcomes: Outcomes) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is missing: apt-get install prometheus"
    metrics.consumed(outcomes.messages, wait_s=0.01)
    metrics.delivered(outcomes, outcomes.publish_ms)
    server = HttpServer("127.0.0.1", 0, metrics.registry, lambda: True, dict)
    server.start()
    try:
        text = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text
    finally:
        server.stop()
    assert 'tinyt2_alerts_total{outcome="classified"' in text
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
