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
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from deploy import display, wiring
from deploy.broker import EmbeddedBroker
from deploy.settings import Settings
from deploy.visits import VISIT_S, PacedProducer, visit_releases
from models.errors import TinyT2Error
from models.runtime import load_classifier
from stream.accounting import Accounting
from stream.librdkafka import KafkaOptions, consumer_config
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
_LATEST: Final = 8


@dataclass(slots=True)
class _Seen:
    """What the classifications topic has said so far."""

    alerts: int = 0
    latency_s: list[float] = field(default_factory=list)
    arrivals: deque[float] = field(default_factory=deque)
    latest: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_LATEST))

    def add(self, record: dict[str, Any], alert_ms: int, publish_ms: int) -> None:
        self.alerts += 1
        self.latency_s.append((publish_ms - alert_ms) / 1000)
        self.arrivals.append(time.monotonic())
        self.latest.appendleft(record)

    def rate(self, window_s: float = 5.0) -> float:
        """Return alerts per second over the last few seconds."""
        now = time.monotonic()
        while self.arrivals and self.arrivals[0] < now - window_s:
            self.arrivals.popleft()
        return len(self.arrivals) / window_s


def run_demo(console: Console, seconds: float, alerts_per_visit: int) -> bool:
    """Run the demonstration; True if every message and alert was accounted for."""
    values = [
        path.read_bytes()
        for path in alert_files(SAMPLE_ALERTS / survey for survey in ("lsst", "ztf"))
    ]
    alerts_in = _alerts_in(values)
    classifier = load_classifier()
    console.print(
        f"{len(values)} real messages with {sum(alerts_in)} ZTF and LSST alerts, played round and "
        f"round for {seconds:g} s; {alerts_per_visit:,} messages per visit of {VISIT_S:g} s."
    )
    with tempfile.TemporaryDirectory(prefix="tinyt2-demo-") as folder, EmbeddedBroker() as broker:
        broker.create_topics([_INPUT, _OUTPUT, _DEAD_LETTERS], _PARTITIONS)
        options = KafkaOptions(broker.bootstrap_servers, _GROUP)
        log = Path(folder) / "serve.log"
        with _serve_process(broker.bootstrap_servers, log) as service:
            _wait_until_ready(console, service, log)
            releases = visit_releases(seconds, alerts_per_visit)
            producer = PacedProducer(options, _INPUT, values, releases)
            producer.start()
            seen = _watch(console, options, producer, alerts_in, service)
            service.send_signal(signal.SIGTERM)
            service.wait(timeout=_DRAIN_S)
        accounts = _final_accounts(log)
        committed = _committed(options)
    console.print(display.accounts_table(accounts, "Demo"))
    console.print(display.classes_table(accounts))
    console.print(_latency_line(seen))
    console.print(Panel(display.model_notice(classifier.bundle), title="Model", title_align="left"))
    return _closes(console, producer, alerts_in, seen, accounts, committed)


def _alerts_in(values: list[bytes]) -> list[int]:
    """Return how many alerts each message holds."""
    batch = wiring.open_decoder(Settings()).decode(message_batch(values))
    if len(batch.refused):
        raise TinyT2Error(f"a bundled alert cannot be decoded: {batch.refused.error[0]}")
    return [int(n) for n in np.bincount(batch.message, minlength=len(values))]


@contextmanager
def _serve_process(bootstrap_servers: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
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
    command = [sys.executable, "-m", "deploy.cli", "serve"]
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
    raise TinyT2Error(f"'tinyt2 serve' did not get ready; its log:\n{log.read_text()[-2000:]}")


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _log_line(log: Path, event: str) -> dict[str, Any] | None:
    for line in log.read_text().splitlines():
        if f'"event": "{event}"' in line:
            entry: dict[str, Any] = json.loads(line)
            return entry
    return None


def _watch(
    console: Console,
    options: KafkaOptions,
    producer: PacedProducer,
    alerts_in: list[int],
    service: subprocess.Popen[bytes],
) -> _Seen:
    """Show the classifications topic until every alert that was sent has come out."""
    seen = _Seen()
    consumer = Consumer(
        consumer_config(KafkaOptions(options.bootstrap_servers, f"{options.group_id}-view"))
    )
    consumer.assign([TopicPartition(_OUTPUT, p, 0) for p in range(_PARTITIONS)])
    deadline: float | None = None
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while deadline is None or time.monotonic() < deadline:
            for message in consumer.consume(500, 0.2):
                if message.error() is None:
                    _add(seen, json.loads(message.value() or b"{}"))
            live.update(_view(seen, producer))
            if not producer.is_alive():
                deadline = deadline or time.monotonic() + _DRAIN_S
                if seen.alerts >= _expected(producer, alerts_in) or service.poll() is not None:
                    break
    consumer.close()
    return seen


def _add(seen: _Seen, record: dict[str, Any]) -> None:
    times = np.array([record["alert_time"][:-6], record["publish_time"][:-6]], "datetime64[ms]")
    alert_ms, publish_ms = times.astype(np.int64).tolist()
    seen.add(record, alert_ms, publish_ms)


def _expected(producer: PacedProducer, alerts_in: list[int]) -> int:
    return sum(n * k for n, k in zip(producer.sent, alerts_in, strict=True))


def _view(seen: _Seen, producer: PacedProducer) -> Group:
    table = Table(title="Latest classifications", title_justify="left")
    for name in ("survey", "object", "observations", "outcome", "most probable"):
        table.add_column(name)
    for record in seen.latest:
        answer = record["probabilities"] or {}
        best = max(answer, key=answer.__getitem__, default="")
        table.add_row(
            record["survey"],
            escape(record["object_id"]),
            str(record["n_observations"]),
            record["reason"] or record["outcome"],
            f"{best} {answer[best]:.2f}" if best else "",
        )
    flow = f"messages sent {sum(producer.sent):,}   alerts out {seen.alerts:,}"
    return Group(f"{flow}   {seen.rate():,.0f} alerts/s", _latency_line(seen), table)


def _latency_line(seen: _Seen) -> str:
    if not seen.latency_s:
        return "waiting for the first alert"
    p50, p95, p99 = np.percentile(seen.latency_s, [50, 95, 99])
    return f"end-to-end latency: median {p50:.3f} s, 95 % {p95:.3f} s, 99 % {p99:.3f} s"


def _final_accounts(log: Path) -> Accounting:
    entry = _log_line(log, "stopped")
    if entry is None:
        raise TinyT2Error(f"'tinyt2 serve' did not stop well; its log:\n{log.read_text()[-2000:]}")
    return Accounting.from_log(entry)


def _committed(options: KafkaOptions) -> int:
    """Return how many messages the service's group has committed."""
    consumer = Consumer(consumer_config(options))
    partitions = [TopicPartition(_INPUT, p) for p in range(_PARTITIONS)]
    offsets = [p.offset for p in consumer.committed(partitions, timeout=10)]
    consumer.close()
    return sum(offset for offset in offsets if offset > 0)


def _closes(
    console: Console,
    producer: PacedProducer,
    alerts_in: list[int],
    seen: _Seen,
    accounts: Accounting,
    committed: int,
) -> bool:
    """Compare what went in with what came out, and say so."""
    sent, expected = sum(producer.sent), _expected(producer, alerts_in)
    checks = {
        "messages sent = consumed": (sent, accounts.messages_consumed),
        "messages consumed = decoded + dead letters": (
            accounts.messages_consumed,
            accounts.messages_decoded + accounts.dead_letters.total(),
        ),
        "messages consumed = offsets committed": (accounts.messages_consumed, committed),
        "alerts sent = decoded": (expected, accounts.alerts_decoded),
        "alerts decoded = classified + not classified": (
            accounts.alerts_decoded,
            accounts.alerts_classified + accounts.not_classified.total(),
        ),
        "alerts decoded = records on the output topic": (accounts.alerts_decoded, seen.alerts),
    }
    for name, (left, right) in checks.items():
        mark = "[green]ok[/]" if left == right else "[bold red]NO[/]"
        console.print(f"{mark}  {name}: {left:,} = {right:,}", highlight=False)
    return sent > 0 and all(left == right for left, right in checks.values())
