"""Read the dead-letter topic: all of it, a selection, or one letter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from confluent_kafka import Message

from models.errors import ConfigurationError
from stream.deadletter import Letter
from stream.sources.topic import TopicReader

__all__ = ["Group", "Selection", "letters", "read_letter", "summarise"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant; nothing given means all."""

    reasons: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """Topics that the messages came from."""
    since_ms: int | None = None
    until_ms: int | None = None
    """Times that the letters were written, Unix ms; the second is exclusive."""

    def holds(self, letter: Letter) -> bool:
        """Tell whether a letter is meant."""
        return letter.matches(self.reasons, self.sources, self.since_ms, self.until_ms)


@dataclass(slots=True)
class Group:
    """Letters with the same reason and source."""

    reason: str
    source: str
    count: int = 0
    n_bytes: int = 0
    first_ms: int = -1
    last_ms: int = -1
    example: str = ""
    """The last one of them."""
    errors: set[str] = field(default_factory=set)
    """Up to two texts."""

    def add(self, letter: Letter) -> None:
        """Count a letter."""
        self.count += 1
        self.n_bytes += len(letter.value or b"")
        if self.first_ms < 0 or letter.timestamp_ms < self.first_ms:
            self.first_ms = letter.timestamp_ms
        if letter.timestamp_ms >= self.last_ms:
            self.last_ms, self.example = letter.timestamp_ms, letter.name
        if len(self.errors) < 2:
            self.errors.add(letter.error)


def letters(messages: Iterable[Message], selection: Selection) -> Iterator[Letter]:
    """Yield the letters among messages that are meant; what tinyt2 did not write is left out."""
    for message in messages:
        letter = Letter.read(message)
        if letter is not None and selection.holds(letter):
            yield letter


def summarise(found: Iterable[Letter]) -> list[Group]:
    """Count letters by reason and source, most frequent first."""
    groups: dict[tuple[str, str], Group] = {}
    for letter in found:
        key = (letter.reason, letter.source)
        groups.setdefault(key, Group(*key)).add(letter)
    return sorted(groups.values(), key=lambda group: -group.count)


def read_letter(reader: TopicReader, name: str) -> Letter:
    """Return the letter ``partition:offset``; `ConfigurationError` when there is none."""
    partition, colon, offset = name.partition(":")
    if not (colon and partition.isdigit() and offset.isdigit()):
        raise ConfigurationError(
            f"{name!r} names no letter: write PARTITION:OFFSET, as 'dead-letters list --each' "
            "shows it",
            name,
        )
    message = reader.read(int(partition), int(offset))
    letter = None if message is None else Letter.read(message)
    if letter is None:
        raise ConfigurationError(f"topic {reader.topic!r} has no dead letter at {name}", name)
    return letter
