"""Resident memory of ``tinyt2 serve`` over a long run.

The broker is the mock cluster inside librdkafka, in this process: it keeps 5 MiB
per partition, so a million alerts cost it no memory, as long as no more are on
the way than it keeps. The alerts are the bundled ZTF packets without cutouts and
without the prose in their schemas.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import fastavro
from confluent_kafka import Consumer, Producer
from rich.progress import Progress

from deploy.bench.alerts import ZTF, messages
from deploy.bench.cluster import fresh, open_reader
from deploy.bench.measure import Result
from deploy.bench.processes import Footprint, footprint
from deploy.serving import Serve, ServeTopics, children_end_with_us
from models.errors import TinyT2Error
from stream.librdkafka import KafkaOptions, open_producer

__all__ = ["measure", "small_packets"]

_TOPICS: Final = ServeTopics("alerts", "classifications", "dead-letters")
_ON_THE_WAY: Final = 512
"""Alerts at once: at 20 kB each, half of what the mock cluster keeps in its 4 partitions."""
_SILENCE_S: Final = 60.0
_CUTOUTS: Final = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


def measure(progress: Progress, alerts: int, first: int) -> list[Result]:
    """Send so many alerts; look at the memory after ``first`` and after all."""
    mock = KafkaOptions("mock", producer={"test.mock.num.brokers": 1})
    with children_end_with_us(), tempfile.TemporaryDirectory(prefix="tinyt2-bench-") as name:
        producer = open_producer(mock, report_errors_only=True)
        servers, partitions = _open_topics(producer)
        log = Path(name) / "serve.log"
        with (
            closing(open_reader(servers, _TOPICS.classifications, partitions)) as reader,
            Serve(servers, fresh("group"), _TOPICS, log) as service,
        ):
            service.wait_until_ready()
            feed = _Feed(producer, partitions, reader, service, small_packets())
            task = progress.add_task("rss_mb", total=alerts)
            footprints = {}
            for goal in (min(first, alerts), alerts):
                while feed.received < goal:
                    feed.turn(goal)
                    progress.update(task, completed=feed.received)
                footprints[goal] = footprint(service.pid)
            accounts = service.stop()
    if accounts.alerts_decoded != alerts:
        raise TinyT2Error(f"{alerts} alerts were sent, {accounts.alerts_decoded} decoded", accounts)
    return _results(footprints[min(first, alerts)], footprints[alerts], first)


def _results(before: Footprint, after: Footprint, first: int) -> list[Result]:
    peer = f"after {first:,} alerts"

    def beside(name: str, unit: str, value: float, earlier: float) -> Result:
        return Result(name, value, unit, peer, earlier, earlier / value, 1)

    growth = (after.rss_mb / before.rss_mb - 1) * 100
    return [
        beside("rss_mb", "MB", after.rss_mb, before.rss_mb),
        Result("rss_growth_percent", growth, "%", None, None, None, 1),
        beside("rss_peak_mb", "MB", after.peak_mb, before.peak_mb),
        beside("rss_threads", "threads", after.threads, before.threads),
        beside("rss_descriptors", "descriptors", after.descriptors, before.descriptors),
    ]


def small_packets() -> list[bytes]:
    """Return the bundled ZTF packets, each without cutouts and with a schema without prose."""
    packets = []
    for value in messages(ZTF):
        reader = fastavro.reader(BytesIO(value))
        records = [{**_record(record), **dict.fromkeys(_CUTOUTS)} for record in reader]
        packet = BytesIO()
        fastavro.writer(packet, _without_prose(reader.writer_schema), records)
        packets.append(packet.getvalue())
    return packets


def _record(record: object) -> dict[str, Any]:
    assert isinstance(record, dict)
    return record


def _without_prose(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_prose(value) for key, value in schema.items() if key != "doc"}
    if isinstance(schema, list):
        return [_without_prose(part) for part in schema]
    return schema


def _open_topics(producer: Producer) -> tuple[str, int]:
    """Return the address of the mock cluster and the partitions of its topics.

    It makes a topic as soon as somebody asks for it.
    """
    (broker,) = producer.list_topics(timeout=10).brokers.values()
    partitions = {
        len(producer.list_topics(topic, timeout=10).topics[topic].partitions)
        for topic in (_TOPICS.alerts, _TOPICS.classifications, _TOPICS.dead_letters)
    }
    return f"{broker.host}:{broker.port}", partitions.pop()


class _Feed:
    """Send alerts only as fast as their records come out."""

    def __init__(
        self,
        producer: Producer,
        partitions: int,
        reader: Consumer,
        service: Serve,
        packets: Sequence[bytes],
    ) -> None:
        self._producer = producer
        self._partitions = partitions
        self._reader = reader
        self._service = service
        self._packets = packets
        self._sent = 0
        self.received = 0
        self._last = time.monotonic()

    def turn(self, goal: int) -> None:
        """Send what may be on the way and is still missing, take in what has come."""
        for i in range(self._sent, min(goal, self.received + _ON_THE_WAY)):
            packet = self._packets[i % len(self._packets)]
            self._producer.produce(_TOPICS.alerts, packet, partition=i % self._partitions)
            self._sent = i + 1
        self._producer.poll(0)
        came = sum(m.error() is None for m in self._reader.consume(_ON_THE_WAY, 0.01))
        self.received += came
        if came:
            self._last = time.monotonic()
        elif time.monotonic() - self._last > _SILENCE_S or not self._service.running:
            raise TinyT2Error(
                f"{self.received} of {self._sent} records came out; the log of the service:\n"
                f"{self._service.tail()}"
            )
