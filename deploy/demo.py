"""The demonstration: broker, producer and service on one machine, with a live view.

Three processes: a real Kafka broker, ``tinyt2 serve`` exactly as in production,
and this one, which produces alerts, reads the classifications and adds up.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

import numpy as np
from confluent_kafka import TopicPartition
from rich.console import Console
from rich.live import Live
from rich.panel import Panel

from deploy import display, wiring
from deploy.broker import EmbeddedBroker
from deploy.configuration import PREFIX
from deploy.settings import Settings
from deploy.viewer import Viewer
from deploy.visits import VISIT_S, PacedProducer, visit_releases
from models.errors import TinyT2Error
from models.runtime import load_classifier
from stream.accounting import Accounting
from stream.librdkafka import KafkaOptions, open_consumer
from stream.sources.archive import alert_files
from stream.sources.memory import message_batch

__all__ = ["SAMPLE_ALERTS", "run_demo"]

SAMPLE_ALERTS: Final = Path(__file__).parent / "alerts"
"""Real ZTF and LSST alerts that come with tinyt2."""

_INPUT: Final = "alerts"
_OUTPUT: Final = "classifications"
_DEAD_LETTERS: Final = "dead-letters"
_GROUP: Final = "tinyt2-demo"
_PARTITIONS: Final = 2
_START_S: Final = 60.0
_DRAIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Alerts:
    """The messages that are played, and how many alerts each holds."""

    values: list[bytes]
    alerts_in: list[int]

    def sent(self, times: list[int]) -> int:
        """Return how many alerts were sent when each message went out so many times."""
        return sum(n * k for n, k in zip(times, self.alerts_in, strict=True))


def run_demo(console: Console, seconds: float, alerts_per_visit: int) -> bool:
    """Run the demonstration; True if every message and alert was accounted for."""
    _end_children_with_us()
    alerts = _sample_alerts()
    bundle = load_classifier().bundle
    console.print(
        f"{len(alerts.values)} real messages with {sum(alerts.alerts_in)} ZTF and LSST alerts, "
        f"played round and round for {seconds:g} s; {alerts_per_visit:,} messages per visit of "
        f"{VISIT_S:g} s."
    )
    with tempfile.TemporaryDirectory(prefix="tinyt2-demo-") as folder, EmbeddedBroker() as broker:
        broker.create_topics([_INPUT, _OUTPUT, _DEAD_LETTERS], _PARTITIONS)
        servers = broker.bootstrap_servers
        log = Path(folder) / "serve.log"
        viewer = Viewer(KafkaOptions(servers, f"{_GROUP}-view"), _OUTPUT, _PARTITIONS)
        releases = visit_releases(seconds, alerts_per_visit)
        producer = PacedProducer(KafkaOptions(servers), _INPUT, alerts.values, releases)
        with _serve_process(servers, log) as service:
            _wait_until_ready(console, service, log)
            producer.start()
            _watch(console, viewer, producer, alerts, service)
            accounts = _stop(service, log)
        viewer.drain()
        viewer.close()
        committed = _committed(servers)
    console.print(display.accounts_table(accounts, "Demo"))
    console.print(display.classes_table(accounts))
    console.print(viewer.latency())
    console.print(Panel(display.model_notice(bundle), title="Model", title_align="left"))
    return _closes(console, producer, alerts, viewer, accounts, committed)


def _end_children_with_us() -> None:
    """Let SIGTERM and SIGHUP unwind the stack, so that no process stays behind."""

    def leave(signum: int, frame: FrameType | None) -> None:
        sys.exit(128 + signum)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


def _sample_alerts() -> _Alerts:
    # Each survey's folder is a link in a checkout, and links inside folders are not followed.
    files = alert_files(SAMPLE_ALERTS / survey for survey in ("lsst", "ztf"))
    values = [path.read_bytes() for path in files]
    batch = wiring.open_decoder(Settings()).decode(message_batch(values))
    if len(batch.refused):
        raise TinyT2Error(f"a bundled alert cannot be decoded: {batch.refused.error[0]}")
    return _Alerts(values, [int(n) for n in np.bincount(batch.message, minlength=len(values))])


@contextmanager
def _serve_process(bootstrap_servers: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    # The user's own settings are for the user's own service.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    environment = {
        **inherited,
        "TINYT2__KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "TINYT2__KAFKA__GROUP_ID": _GROUP,
        "TINYT2__KAFKA__TOPICS": json.dumps([_INPUT]),
        # The embedded broker lets a group wait for its members' session timeout.
        "TINYT2__KAFKA__CONSUMER__SESSION_TIMEOUT_MS": "6000",
        "TINYT2__KAFKA__CONSUMER__HEARTBEAT_INTERVAL_MS": "500",
        "TINYT2__OUTPUT__TOPIC": _OUTPUT,
        "TINYT2__OUTPUT__DEAD_LETTER_TOPIC": _DEAD_LETTERS,
        "TINYT2__OUTPUT__FORMAT": "json",
        "TINYT2__HTTP__PORT": "0",
        "TINYT2__LOG__FORMAT": "json",
    }
    # -P: a module in the working directory must not take the place of ours.
    command = [sys.executable, "-P", "-m", "deploy.cli", "serve"]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(console: Console, service: subprocess.Popen[bytes], log: Path) -> None:
    """Return when ``/health/ready`` of the service says yes."""
    with console.status("starting broker and service"):
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and service.poll() is None:
            started = _log_line(log, "started")
            if started and _ready(started["http"]):
                console.print(f"serving: metrics at {started['http']}/metrics")
                return
            time.sleep(0.1)
    raise TinyT2Error(f"'tinyt2 serve' did not get ready; its log:\n{_tail(log)}")


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _watch(
    console: Console,
    viewer: Viewer,
    producer: PacedProducer,
    alerts: _Alerts,
    service: subprocess.Popen[bytes],
) -> None:
    """Show the classifications until every alert that was sent has come out."""
    deadline: float | None = None
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while deadline is None or time.monotonic() < deadline:
            viewer.poll()
            live.update(viewer.render())
            if not producer.is_alive():
                deadline = deadline or time.monotonic() + _DRAIN_S
                if viewer.alerts >= alerts.sent(producer.sent) or service.poll() is not None:
                    return


def _stop(service: subprocess.Popen[bytes], log: Path) -> Accounting:
    """End the service as an operator would; return the accounts that it logs."""
    service.send_signal(signal.SIGTERM)
    try:
        service.wait(timeout=_DRAIN_S)
    except subprocess.TimeoutExpired:
        raise TinyT2Error(f"'tinyt2 serve' does not stop; its log:\n{_tail(log)}") from None
    entry = _log_line(log, "stopped")
    if entry is None:
        raise TinyT2Error(f"'tinyt2 serve' did not stop well; its log:\n{_tail(log)}")
    return Accounting.from_log(entry)


def _log_line(log: Path, event: str) -> dict[str, Any] | None:
    for line in log.read_text().splitlines():
        if f'"event": "{event}"' in line:
            entry: dict[str, Any] = json.loads(line)
            return entry
    return None


def _tail(log: Path) -> str:
    return log.read_text()[-2000:]


def _committed(bootstrap_servers: str) -> int:
    """Return how many messages the service's group has committed."""
    consumer = open_consumer(KafkaOptions(bootstrap_servers, _GROUP))
    partitions = [TopicPartition(_INPUT, p) for p in range(_PARTITIONS)]
    offsets = [p.offset for p in consumer.committed(partitions, timeout=10)]
    consumer.close()
    return sum(offset for offset in offsets if offset > 0)


def _closes(
    console: Console,
    producer: PacedProducer,
    alerts: _Alerts,
    viewer: Viewer,
    accounts: Accounting,
    committed: int,
) -> bool:
    """Compare what went in with what came out, and say so."""
    sent = sum(producer.sent)
    checks = {
        "messages sent = consumed": (sent, accounts.messages_consumed),
        "messages consumed = decoded + dead letters": (
            accounts.messages_consumed,
            accounts.messages_decoded + accounts.dead_letters.total(),
        ),
        "messages consumed = offsets committed": (accounts.messages_consumed, committed),
        "alerts sent = decoded": (alerts.sent(producer.sent), accounts.alerts_decoded),
        "alerts decoded = classified + not classified": (
            accounts.alerts_decoded,
            accounts.alerts_classified + accounts.not_classified.total(),
        ),
        "alerts decoded = records on the output topic": (accounts.alerts_decoded, viewer.alerts),
    }
    for name, (left, right) in checks.items():
        mark = "[green]ok[/]" if left == right else "[bold red]NO[/]"
        console.print(f"{mark}  {name}: {left:,} = {right:,}", highlight=False)
    return sent > 0 and all(left == right for left, right in checks.values())
