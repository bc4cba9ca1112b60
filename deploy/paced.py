"""Send the messages of an archive to a Kafka topic in the rhythm of a survey telescope."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message

from deploy.settings import Settings
from deploy.visits import VISIT_S, visit_releases
from deploy.wiring import kafka_options
from models.errors import ConfigurationError, DeliveryError
from stream.librdkafka import KafkaOptions, check_topics, open_producer
from stream.sources.archive import ArchiveSource
from stream.sources.parts import Form, Part, plan, shown_path

__all__ = ["Sent", "send_archive"]

_BROKER_WAIT_S: Final = 30.0
_POLL_MESSAGES: Final = 512
_QUEUE_KBYTES: Final = 64 * 1024
_TIMEOUT_MS: Final = 120_000
"""How long a broker may take for a message, before the replay gives up."""


@dataclass(slots=True)
class Sent:
    """What became of the messages of an archive."""

    acknowledged: int = 0
    unreadable: int = 0
    """Members of tarballs and the like that hold no message."""


def send_archive(
    settings: Settings,
    paths: Sequence[Path],
    topic: str,
    per_visit: int,
    on_start: Callable[[int], None],
    on_bytes: Callable[[int], None],
    *,
    forever: bool = False,
) -> Sent:
    """Send every message as it is, ``per_visit`` in each visit of 39 s, and wait for the broker.

    ``on_start`` is given the size of the archive, ``on_bytes`` how much of it was sent;
    ``forever`` begins again at its end, until the process is interrupted.
    Raises `ConfigurationError` when it holds decoded alerts or the topic is not there, and
    `DeliveryError` when a message cannot be delivered.
    """
    parts = plan(paths, tuple(settings.input.surveys))
    _check_packets(parts)
    sender = _Sender(kafka_options(settings), topic)
    sender.check()
    on_start(sum(part.n_bytes for part in parts))
    sent = Sent()
    messages = _messages(parts, sent, on_bytes, forever)
    with _interrupts_told(sender), closing(messages):
        _send(messages, sender, per_visit)
        sender.finish()
    sent.acknowledged = sender.acknowledged
    return sent


def _check_packets(parts: Sequence[Part]) -> None:
    for part in parts:
        if part.form is Form.ROWS:
            raise ConfigurationError(
                f"{shown_path(part.paths[0])} holds decoded alerts in nested columns, not the "
                "packets that a topic takes: classify it with --out",
                part.paths[0],
            )


def _messages(
    parts: Sequence[Part], sent: Sent, on_bytes: Callable[[int], None], forever: bool
) -> Generator[bytes, None, None]:
    again = True
    while again:
        source, again = ArchiveSource.over(parts), False
        try:
            while (batch := source.poll(_POLL_MESSAGES, 0.0)) is not None:
                sent.unreadable += len(batch.refused)
                values = [v for i, v in enumerate(batch.values) if i not in batch.refused]
                yield from values
                again = again or (forever and bool(values))
                on_bytes(source.bytes_read)
        finally:
            source.close()


def _send(messages: Iterator[bytes], sender: _Sender, per_visit: int) -> None:
    """Send messages as the detectors of one visit after another finish."""
    start = time.monotonic()
    for visit in count():
        for release in visit_releases(VISIT_S, per_visit, seed=visit):
            sender.wait_until(start + visit * VISIT_S + release.at_s)
            for _ in range(release.n_messages):
                value = next(messages, None)
                if value is None:
                    return
                sender.send(value)


@contextmanager
def _interrupts_told(sender: _Sender) -> Iterator[None]:
    """Tell the sender of the first Ctrl-C; a second one ends the process at once.

    An exception in the midst of a delivery report can be lost: confluent-kafka (2.16) then raises
    a `SystemError` instead.
    """

    def tell(signum: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sender.interrupted = True

    before = signal.signal(signal.SIGINT, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Sender:
    """A producer that counts what the broker acknowledged."""

    def __init__(self, options: KafkaOptions, topic: str) -> None:
        ours = {
            "message.timeout.ms": _TIMEOUT_MS,
            "queue.buffering.max.kbytes": _QUEUE_KBYTES,
        }
        self._options = options
        self._producer = open_producer(replace(options, producer={**ours, **options.producer}))
        self._topic = topic
        self._failure: KafkaError | None = None
        self.acknowledged = 0
        self.interrupted = False

    def check(self) -> None:
        """Raise `ConfigurationError` when the cluster or the topic is not there."""
        check_topics(self._producer, self._options, [self._topic], _BROKER_WAIT_S)

    def wait_until(self, moment: float) -> None:
        """Serve the producer until a moment of the monotonic clock."""
        while (wait := moment - time.monotonic()) > 0:
            self._producer.poll(min(wait, 0.1))
            self._check()

    def send(self, value: bytes) -> None:
        """Queue a message, waiting while the queue is full."""
        while True:
            self._check()
            try:
                self._producer.produce(self._topic, value, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                self._failure = error.args[0]
            else:
                self._producer.poll(0)
                return

    def finish(self) -> None:
        """Wait until the broker has everything; `DeliveryError` when it will not."""
        while len(self._producer):
            self._producer.flush(1.0)
            self._check()
        self._check()

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self._failure = error

    def _check(self) -> None:
        if self._failure is not None:
            raise DeliveryError(
                f"Kafka did not take a message: {self._failure.str()}. "
                f"{self.acknowledged:,} messages are on topic {self._topic}",
                self._failure,
            )
        if self.interrupted:
            raise DeliveryError(
                f"stopped: {self.acknowledged:,} messages are on topic {self._topic}, "
                f"{len(self._producer):,} more may be",
                self.acknowledged,
            )
