"""From alert to classification at a steady rate, the service on one processor.

The latency runs from the time stamp of the alert's message to that of the
record. A topic set to LogAppendTime stamps when its broker appends; otherwise,
as with the embedded broker, the stamp is when the producer was given the
message: then the latency includes the way of the alert to the broker and ends
when the service hands its record to Kafka's client. The row
``latency_received_p99_s`` goes on until a consumer has the record.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer
from rich.progress import Progress

from deploy.bench.alerts import ZTF, messages
from deploy.bench.cluster import fresh, fresh_topics, open_reader, published
from deploy.bench.measure import Result, single
from deploy.bench.processes import cores, cpu_seconds, pin, pinned
from deploy.serving import Serve
from deploy.visits import PacedProducer, Release
from models.errors import TinyT2Error
from stream.librdkafka import KafkaOptions

__all__ = ["measure"]

_WARM_UP_S: Final = 5.0
"""Meanwhile each schema comes for the first time; a quarter of the time at most."""
_SILENCE_S: Final = 60.0


def measure(
    progress: Progress, servers: str, folder: Path, alerts_per_s: float, seconds: float
) -> list[Result]:
    """Send ZTF packets at a steady rate for some seconds."""
    core, other = cores()
    topics = fresh_topics(servers)
    releases = [Release(i / alerts_per_s, 1) for i in range(round(alerts_per_s * seconds))]
    with pinned(other), closing(open_reader(servers, topics.classifications)) as reader:
        producer = PacedProducer(KafkaOptions(servers), topics.alerts, messages(ZTF), releases)
        with Serve(servers, fresh("group"), topics, folder / "latency.log") as service:
            pin(service.pid, core)
            service.wait_until_ready()
            before = cpu_seconds(service.pid)
            producer.start()
            records, received = _read(progress, reader, len(releases), service)
            cpu_s = cpu_seconds(service.pid) - before
            service.stop()
    return _results(records, np.array(received), min(_WARM_UP_S, seconds / 4), cpu_s)


def _read(
    progress: Progress, reader: Consumer, n: int, service: Serve
) -> tuple[list[tuple[int, bytes]], list[float]]:
    """Return n records with their time stamps in ms, and when each came, Unix seconds."""
    records: list[tuple[int, bytes]] = []
    received: list[float] = []
    last = time.monotonic()
    task = progress.add_task("latency_p99_s", total=n)
    while len(records) < n:
        message = reader.poll(0.05)
        if message is not None and message.error() is None:
            value = message.value()
            assert isinstance(value, bytes)
            received.append(time.time())
            records.append((message.timestamp()[1], value))
            progress.advance(task)
            last = time.monotonic()
        elif time.monotonic() - last > _SILENCE_S or not service.running:
            raise TinyT2Error(
                f"{len(records)} of {n} records came out; the log of the service:\n{service.tail()}"
            )
    return records, received


def _results(
    records: Sequence[tuple[int, bytes]],
    received: npt.NDArray[np.float64],
    warm_up_s: float,
    cpu_s: float,
) -> list[Result]:
    times = published(records)
    latency = times.published - times.appended
    steady = times.appended >= times.appended.min() + warm_up_s
    p50, p99 = np.percentile(latency[steady], [50, 99])
    arrival = np.percentile((received - times.appended)[steady], 99)
    n = int(steady.sum())
    return [
        single("latency_p50_s", float(p50), "s", n),
        single("latency_p99_s", float(p99), "s", n),
        single("latency_max_s", float(latency[steady].max()), "s", n),
        single("latency_received_p99_s", float(arrival), "s", n),
        single(
            "latency_first_seconds_max_s", float(latency[~steady].max()), "s", int((~steady).sum())
        ),
        single("latency_cpu_per_alert", cpu_s / len(records) * 1e6, "CPU us/alert", len(records)),
    ]
