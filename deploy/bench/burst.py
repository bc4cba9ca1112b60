"""Ten thousand alerts that wait in a topic: how fast, and at what cost.

``tinyt2 serve`` and the bare loop of `deploy.bench.consume` read the same
messages by turns, each on a processor of its own; broker and observer run on
another. Processor time counts from the assignment of the partitions to the last
record. The time of a burst is from the first batch handed out to the last
record published; of the loop, from its first batch to its last.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer
from rich.progress import Progress

from deploy.bench.alerts import ZTF, messages
from deploy.bench.cluster import PARTITIONS, fill, fresh, fresh_topics, open_reader, published
from deploy.bench.measure import Result, rate, time_per_alert
from deploy.bench.processes import cores, cpu_seconds, pin, pinned
from deploy.serving import LoggedProcess, Serve
from models.errors import TinyT2Error

__all__ = ["measure"]

_DRAIN_S: Final = 300.0
_ATTEMPTS: Final = 3
_ASSIGNED: Final = "partitions assigned"
_LOOP: Final = "bare consume loop"


Runs = npt.NDArray[np.float64]
"""[rounds, 2] columns as of `_Run`."""


class _Run(NamedTuple):
    """What one run over the topic took."""

    cpu_s: float
    """Processor time of all replicas together."""
    seconds: float


def measure(
    progress: Progress, servers: str, folder: Path, rounds: int, alerts: int
) -> list[Result]:
    """Fill a topic with so many ZTF packets and read it every so often with each."""
    core, other = cores()
    ours, theirs, twice = [], [], []
    with pinned(other):
        topic = fill(servers, messages(ZTF), alerts)
        task = progress.add_task("burst_s", total=3 * rounds)
        for _ in range(rounds):
            ours.append(_serve(servers, topic, alerts, [core], folder))
            progress.advance(task)
            theirs.append(_consume(servers, topic, alerts, core, folder))
            progress.advance(task)
            twice.append(_serve(servers, topic, alerts, [core, other], folder))
            progress.advance(task)
    return _results(np.array(ours), np.array(theirs), np.array(twice), alerts)


def _results(ours: Runs, theirs: Runs, twice: Runs, alerts: int) -> list[Result]:
    cpu_s, loop_cpu_s = ours[:, 0] / alerts, theirs[:, 0] / alerts
    cost = Result(
        name="serve_cpu_vs_consume",
        value=float(np.median(cpu_s)) * 1e6,
        unit="CPU us/alert",
        peer=_LOOP,
        peer_value=float(np.median(loop_cpu_s)) * 1e6,
        ratio=float(np.median(cpu_s / loop_cpu_s)),
        n=len(ours),
    )
    return [
        cost,
        time_per_alert("burst_s", ours[:, 1], _LOOP, theirs[:, 1], "s"),
        rate("burst_rate", ours[:, 1] / alerts, _LOOP, theirs[:, 1] / alerts),
        rate("replicas_2", twice[:, 1] / alerts, "1 replica on 1 core", ours[:, 1] / alerts),
    ]


def _serve(
    servers: str, topic: str, alerts: int, replica_cores: Sequence[int], folder: Path
) -> _Run:
    """Let replicas of the service classify a topic."""
    for _ in range(_ATTEMPTS):
        run = _try_to_serve(servers, topic, alerts, replica_cores, folder)
        if run is not None:
            return run
    raise TinyT2Error("the replicas did not share the partitions evenly from the start")


def _try_to_serve(
    servers: str, topic: str, alerts: int, replica_cores: Sequence[int], folder: Path
) -> _Run | None:
    """Return None when not every replica was there as the partitions were first given out."""
    topics = fresh_topics(servers, topic)
    group = fresh("group")
    reader = open_reader(servers, topics.classifications)
    with ExitStack() as stack:
        stack.callback(reader.close)
        services = []
        for _ in replica_cores:
            log = folder / f"{fresh('serve')}.log"
            services.append(stack.enter_context(Serve(servers, group, topics, log)))
        # They start on the same cores, to be in the group at about the same time.
        for service, core in zip(services, replica_cores, strict=True):
            service.wait_for_event("started")
            pin(service.pid, core)
        before = sum(_cpu_before_assignment(service) for service in services)
        share = PARTITIONS // len(services)
        if any(len(_assignment(service)) != share for service in services):
            return None
        records = _read(reader, alerts, services)
        cpu_s = sum(cpu_seconds(service.pid) for service in services) - before
        for service in services:
            service.stop()
    times = published(records)
    return _Run(cpu_s, float(times.published.max() - times.ingested.min()))


def _cpu_before_assignment(process: LoggedProcess) -> float:
    """Wait for the partitions; return the processor time that was taken until just before."""
    before = cpu_seconds(process.pid)

    def look() -> float | None:
        nonlocal before
        now = cpu_seconds(process.pid)
        if process.event(_ASSIGNED) is not None:
            return before
        before = now
        return None

    return process.wait_for("partitions", look)


def _assignment(service: Serve) -> list[str]:
    partitions: list[str] = service.wait_for_event(_ASSIGNED)["partitions"]
    return partitions


def _read(reader: Consumer, n: int, services: Sequence[Serve]) -> list[tuple[int, bytes]]:
    """Return n records with their time stamps in ms, as soon as they are there."""
    records: list[tuple[int, bytes]] = []
    deadline = time.monotonic() + _DRAIN_S
    while len(records) < n:
        if time.monotonic() > deadline or not all(service.running for service in services):
            tails = "\n".join(service.tail() for service in services)
            raise TinyT2Error(f"{len(records)} of {n} records came out; the logs:\n{tails}")
        for message in reader.consume(1000, 0.05):
            value = message.value()
            if message.error() is None and isinstance(value, bytes):
                records.append((message.timestamp()[1], value))
    return records


def _consume(servers: str, topic: str, alerts: int, core: int, folder: Path) -> _Run:
    """Let the bare loop read a topic."""
    # -P: a module in the working directory must not take the place of ours.
    command = [sys.executable, "-P", "-m", "deploy.bench.consume"]
    command += [servers, fresh("loop"), topic, str(alerts)]
    with LoggedProcess(command, folder / f"{fresh('loop')}.log") as loop:
        loop.name = "the bare consume loop"
        pin(loop.pid, core)
        before = _cpu_before_assignment(loop)
        seconds: float = loop.wait_for_event("read", _DRAIN_S)["seconds"]
        return _Run(cpu_seconds(loop.pid) - before, seconds)
