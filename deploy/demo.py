"""The demonstration: broker, producer and service on one machine, with a live view.

Three processes: a real Kafka broker, ``tinyt2 serve`` exactly as in production,
and this one, which produces alerts, reads the classifications and adds up.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from confluent_kafka import TopicPartition
from rich.console import Console
from rich.live import Live
from rich.panel import Panel

from deploy import display, wiring
from deploy.broker import EmbeddedBroker
from deploy.serving import Serve, ServeTopics, children_end_with_us
from deploy.settings import Settings
from deploy.viewer import Viewer
from deploy.visits import VISIT_S, PacedProducer, visit_releases
from models.errors import TinyT2Error
from models.runtime import load_classifier
from stream.accounting import Accounting
from stream.librdkafka import KafkaOptions, open_consumer
from stream.sources.archive import alert_files
from stream.sources.memory import message_batch

__all__ = ["SAMPLE_ALERTS", "run_demo", "sample_files"]

SAMPLE_ALERTS: Final = Path(__file__).parent / "alerts"
"""Real ZTF and LSST alerts that come with tinyt2."""

_TOPICS: Final = ServeTopics("alerts", "classifications", "dead-letters")
_GROUP: Final = "tinyt2-demo"
_PARTITIONS: Final = 2
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
    alerts = _sample_alerts()
    bundle = load_classifier().bundle
    console.print(
        f"{len(alerts.values)} real messages with {sum(alerts.alerts_in)} ZTF and LSST alerts, "
        f"played round and round for {seconds:g} s; {alerts_per_visit:,} messages per visit of "
        f"{VISIT_S:g} s."
    )
    with (
        children_end_with_us(),
        tempfile.TemporaryDirectory(prefix="tinyt2-demo-") as folder,
        EmbeddedBroker() as broker,
    ):
        names = (_TOPICS.alerts, _TOPICS.classifications, _TOPICS.dead_letters)
        broker.create_topics(names, _PARTITIONS)
        servers = broker.bootstrap_servers
        viewer = Viewer(
            KafkaOptions(servers, f"{_GROUP}-view"), _TOPICS.classifications, _PARTITIONS
        )
        releases = visit_releases(seconds, alerts_per_visit)
        producer = PacedProducer(KafkaOptions(servers), _TOPICS.alerts, alerts.values, releases)
        log, settings = Path(folder) / "serve.log", {"TINYT2__OUTPUT__FORMAT": "json"}
        with Serve(servers, _GROUP, _TOPICS, log, settings) as service:
            with console.status("starting broker and service"):
                url = service.wait_until_ready()
            console.print(f"serving: live page at {url}/")
            console.print(f"metrics at {url}/metrics")
            producer.start()
            _watch(console, viewer, producer, alerts, service)
            accounts = service.stop()
        viewer.drain()
        viewer.close()
        committed = _committed(servers)
    console.print(display.accounts_table(accounts, "Demo"))
    console.print(display.classes_table(accounts))
    console.print(viewer.latency())
    console.print(Panel(display.model_notice(bundle), title="Model", title_align="left"))
    return _closes(console, producer, alerts, viewer, accounts, committed)


def sample_files() -> list[Path]:
    """Return the files of `SAMPLE_ALERTS`."""
    # Each survey's folder is a link in a checkout, and links inside folders are not followed.
    return alert_files(SAMPLE_ALERTS / survey for survey in ("lsst", "ztf"))


def _sample_alerts() -> _Alerts:
    values = [path.read_bytes() for path in sample_files()]
    batch = wiring.open_decoder(Settings()).decode(message_batch(values))
    if len(batch.refused):
        raise TinyT2Error(f"a bundled alert cannot be decoded: {batch.refused.error[0]}")
    return _Alerts(values, [int(n) for n in np.bincount(batch.message, minlength=len(values))])


def _watch(
    console: Console,
    viewer: Viewer,
    producer: PacedProducer,
    alerts: _Alerts,
    service: Serve,
) -> None:
    """Show the classifications until every alert that was sent has come out."""
    deadline: float | None = None
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while deadline is None or time.monotonic() < deadline:
            viewer.poll()
            live.update(viewer.render())
            if not producer.is_alive():
                deadline = deadline or time.monotonic() + _DRAIN_S
                if viewer.alerts >= alerts.sent(producer.sent) or not service.running:
                    return


def _committed(bootstrap_servers: str) -> int:
    """Return how many messages the service's group has committed."""
    consumer = open_consumer(KafkaOptions(bootstrap_servers, _GROUP))
    partitions = [TopicPartition(_TOPICS.alerts, p) for p in range(_PARTITIONS)]
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
