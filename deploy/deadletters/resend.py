"""Send dead letters again, as they were: bytes, key and headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, Message, Producer

from models.errors import ConfigurationError, DeliveryError
from stream.deadletter import Letter
from stream.librdkafka import KafkaOptions, check_topics, open_producer

__all__ = ["Plan", "send"]

_BROKER_WAIT_S = 30.0
_FLUSH_S = 60.0


@dataclass(slots=True)
class Plan:
    """Which letters go where."""

    to: str | None = None
    """A topic for all of them; None: each back to the one that it came from."""
    targets: Counter[str] = field(default_factory=Counter)
    """Letters to be sent, by topic."""
    omitted: int = 0
    """Letters that cannot be sent: their bytes were too many to be kept."""

    def target(self, letter: Letter) -> str:
        """Return the topic that a letter is sent to."""
        return self.to or letter.source

    def consider(self, letters: Iterable[Letter]) -> None:
        """Count letters."""
        for letter in letters:
            if letter.omitted_bytes is None:
                self.targets[self.target(letter)] += 1
            else:
                self.omitted += 1

    def check(self, forbidden: Iterable[str]) -> None:
        """Refuse topics that tinyt2 writes; `ConfigurationError`."""
        for topic in sorted(set(forbidden) & set(self.targets)):
            raise ConfigurationError(
                f"letters cannot be sent to {topic!r}, which tinyt2 writes: name another topic "
                "with --to",
                topic,
            )


def send(options: KafkaOptions, plan: Plan, letters: Iterable[Letter]) -> int:
    """Send letters and return their number once all of them are acknowledged.

    `ConfigurationError` when a target does not exist, `DeliveryError` when Kafka refuses one.
    """
    sender = _Sender(options, plan)
    for letter in letters:
        if letter.omitted_bytes is None:
            sender.send(letter)
    return sender.finish()


class _Sender:
    def __init__(self, options: KafkaOptions, plan: Plan) -> None:
        self._plan = plan
        self._sent = 0
        self._failure: KafkaError | None = None
        self._producer: Producer = open_producer(options, report_errors_only=True)
        check_topics(self._producer, options, plan.targets, _BROKER_WAIT_S)
        topics = self._producer.list_topics(timeout=_BROKER_WAIT_S).topics
        self._partitions = {name: set(topics[name].partitions) for name in plan.targets}

    def send(self, letter: Letter) -> None:
        """Hand a letter to the producer; where it goes home, into its partition."""
        topic = self._plan.target(letter)
        home = topic == letter.source and letter.source_partition in self._partitions[topic]
        while not self._taken(topic, letter, letter.source_partition if home else -1):
            self._producer.poll(0.1)
            self._check()
        self._sent += 1
        self._producer.poll(0)

    def finish(self) -> int:
        """Wait until everything is acknowledged."""
        left = self._producer.flush(_FLUSH_S)
        self._check()
        if left:
            raise DeliveryError(
                f"{left} of {self._sent} letters were not acknowledged within {_FLUSH_S:g} s: they "
                "may or may not have been sent",
                left,
            )
        return self._sent

    def _taken(self, topic: str, letter: Letter, partition: int) -> bool:
        try:
            self._producer.produce(
                topic,
                value=letter.value,
                key=letter.key,
                partition=partition,
                headers=letter.replay_headers(),
                on_delivery=self._on_delivery,
            )
        except BufferError:
            return False
        return True

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        self._failure = error or self._failure

    def _check(self) -> None:
        if self._failure is not None:
            raise DeliveryError(
                f"Kafka refused a letter: {self._failure.str()}; those before it were sent",
                self._failure,
            )
