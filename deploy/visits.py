"""Alerts in the rhythm of a survey telescope.

LSST takes an exposure about every 39 s and publishes its alerts within 60 s,
as the pipelines of its 189 detectors finish: bursts with gaps between them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from stream.librdkafka import KafkaOptions, open_producer

__all__ = ["VISIT_S", "PacedProducer", "Release", "visit_releases"]

VISIT_S: Final = 39.0
"""From one exposure to the next, seconds."""

_DETECTORS: Final = 189
_SPREAD_S: Final = 20.0
"""The detectors of one visit finish within this time."""


@dataclass(frozen=True, slots=True)
class Release:
    """The alerts of one detector of one visit."""

    at_s: float
    """Seconds after the start."""
    n_messages: int


def visit_releases(duration_s: float, messages_per_visit: int, seed: int = 0) -> list[Release]:
    """Return when how many messages are published, in order of time."""
    rng = np.random.default_rng(seed)
    releases = []
    for start in np.arange(0.0, duration_s, VISIT_S):
        at = start + np.sort(rng.uniform(0.0, _SPREAD_S, _DETECTORS))
        counts = rng.multinomial(messages_per_visit, np.full(_DETECTORS, 1 / _DETECTORS))
        releases += [
            Release(float(t), int(n))
            for t, n in zip(at, counts, strict=True)
            if t < duration_s and n > 0
        ]
    return releases


class PacedProducer(threading.Thread):
    """Produce messages to a topic at the given times, round and round over ``values``."""

    def __init__(
        self, options: KafkaOptions, topic: str, values: Sequence[bytes], releases: list[Release]
    ) -> None:
        super().__init__(name="producer", daemon=True)
        self._producer = open_producer(options)
        self._topic = topic
        self._values = values
        self._releases = releases
        self.sent = [0] * len(values)
        """How often each of ``values`` was acknowledged by the broker."""

    def run(self) -> None:
        """Produce everything and wait until the broker has it."""
        start = time.monotonic()
        turn = self._turns()
        for release in self._releases:
            while (wait := start + release.at_s - time.monotonic()) > 0:
                self._producer.poll(min(wait, 0.1))
            for _ in range(release.n_messages):
                self._produce(next(turn))
        self._producer.flush()

    def _turns(self) -> Iterator[int]:
        while True:
            yield from range(len(self._values))

    def _produce(self, i: int) -> None:
        def acknowledged(error: object, message: object) -> None:
            if error is None:
                self.sent[i] += 1

        while True:
            try:
                self._producer.produce(self._topic, self._values[i], on_delivery=acknowledged)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return
