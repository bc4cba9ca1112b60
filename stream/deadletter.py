"""The form of a dead letter on its topic: a refused message, and in headers why.

Key, value and headers of the message are kept, so that it can be sent again as it
was: a tombstone stays one, and a header ``name`` is called ``original.name``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import structlog
from confluent_kafka import Message

from stream.alerts import Headers, MessageBatch, RefusedReason
from stream.output.outcomes import Outcomes

__all__ = [
    "ORIGINAL",
    "REASONS",
    "RECORD_TOO_LARGE",
    "REPLAY_OF",
    "DeadLetter",
    "Letter",
    "headers_of",
]

log = structlog.get_logger()

ORIGINAL: Final = "original."
"""Stands before the name of a header that the message came with."""

REPLAY_OF: Final = "tinyt2_replay_of"
"""Header of a letter that was sent again: ``topic/partition/offset`` of the letter.

The same for every time that it is sent, so that consumers can tell repeats.
"""

RECORD_TOO_LARGE: Final = "record_too_large"
"""Reason of a message that was decoded, but of which a record fits into no topic."""

REASONS: Final = (*map(str, RefusedReason), RECORD_TOO_LARGE)
"""Every reason of a dead letter."""

_OMITTED: Final = "payload_omitted_bytes"
_MAX_KEY_BYTES: Final = 1024
"""Longest key that a letter keeps where its bytes are too many."""
_VERSION: Final = version("tinyt2")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter to be written."""

    key: bytes | None
    value: bytes | None
    """None for a tombstone."""
    headers: Headers
    origin: tuple[str, int, int]
    """Topic, partition and offset of the message."""

    @classmethod
    def of(cls, messages: MessageBatch, row: int, reason: str, error: str) -> DeadLetter:
        """Return a message's bytes untouched, with what is known of it in headers."""
        ours = {
            "reason": reason,
            "error": error,
            "source_topic": messages.topic[row],
            "source_partition": messages.partition[row],
            "source_offset": messages.offset[row],
            "source_timestamp_ms": messages.timestamp_ms[row],
            "tinyt2_version": _VERSION,
        }
        return cls(
            messages.keys[row],
            messages.payload(row),
            [
                *((name, str(value).encode()) for name, value in ours.items()),
                *((f"{ORIGINAL}{name}", value) for name, value in messages.headers_of(row)),
            ],
            (messages.topic[row], int(messages.partition[row]), int(messages.offset[row])),
        )

    @classmethod
    def of_record(cls, outcomes: Outcomes, alert: int) -> DeadLetter:
        """Return the letter of a message one of whose alerts, a row, has too large a record."""
        alert_id = outcomes.alerts.alert_id[alert]
        return cls.of(
            outcomes.messages,
            int(outcomes.alerts.message[alert]),
            RECORD_TOO_LARGE,
            f"the record of alert {alert_id} is larger than its topic allows: raise "
            "max.message.bytes",
        )

    def without_payload(self) -> DeadLetter:
        """Return a dead letter that only says where its bytes are.

        A message that no topic takes must not stop the stream for ever. Its headers
        or key may be what is too large: they are left out, too.
        """
        key = self.key if len(self.key or b"") <= _MAX_KEY_BYTES else None
        ours = [(k, v) for k, v in self.headers if not k.startswith(ORIGINAL)]
        omitted = (_OMITTED, str(len(self.value or b"")).encode())
        return DeadLetter(key, b"", [*ours, omitted], self.origin)

    @property
    def shortened(self) -> bool:
        """Tell whether the bytes were left out."""
        return any(name == _OMITTED for name, _ in self.headers)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it is read."""

    topic: str
    """Of the dead letters."""
    partition: int
    offset: int
    timestamp_ms: int
    """When it was written, Unix ms; -1 = not known."""
    reason: str
    error: str
    source: str
    """Topic that the message came from."""
    source_partition: int
    source_offset: int
    written_by: str
    """Version of the tinyt2 that refused the message."""
    omitted_bytes: int | None
    """Length of a message that was too large to be kept; None where it is kept."""
    key: bytes | None
    value: bytes | None
    original: Headers
    """Headers that the message came with."""

    @classmethod
    def read(cls, message: Message) -> Letter | None:
        """Return a message of the topic; None when it is no dead letter of tinyt2."""
        headers = [(name, _bytes(value)) for name, value in headers_of(message)]
        ours = {name: (value or b"").decode("utf-8", "replace") for name, value in headers}
        if not {"reason", "source_topic", "source_partition", "source_offset"} <= set(ours):
            return None
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None and partition is not None and offset is not None
        omitted = ours.get(_OMITTED)
        return cls(
            topic=topic,
            partition=partition,
            offset=offset,
            timestamp_ms=message.timestamp()[1],
            reason=ours["reason"],
            error=ours.get("error", ""),
            source=ours["source_topic"],
            source_partition=_number(ours["source_partition"]),
            source_offset=_number(ours["source_offset"]),
            written_by=ours.get("tinyt2_version", "unknown"),
            omitted_bytes=None if omitted is None else _number(omitted),
            key=_bytes(message.key()),
            value=_bytes(message.value()),
            original=[
                (name.removeprefix(ORIGINAL), value)
                for name, value in headers
                if name.startswith(ORIGINAL)
            ],
        )

    @property
    def name(self) -> str:
        """Return what commands call it: ``partition:offset``."""
        return f"{self.partition}:{self.offset}"

    def replay_headers(self) -> Headers:
        """Return the headers to send it again with: those that it came with, and `REPLAY_OF`."""
        kept = [(name, value) for name, value in self.original if name != REPLAY_OF]
        return [*kept, (REPLAY_OF, f"{self.topic}/{self.partition}/{self.offset}".encode())]

    def matches(
        self,
        reasons: Sequence[str] = (),
        sources: Sequence[str] = (),
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> bool:
        """Tell whether it has one of the reasons and sources, and a time in [since, until)."""
        return (
            (not reasons or self.reason in reasons)
            and (not sources or self.source in sources)
            and (since_ms is None or self.timestamp_ms >= since_ms)
            and (until_ms is None or self.timestamp_ms < until_ms)
        )


def headers_of(message: Message) -> Headers:
    """Return the headers of a message, in order; none when a name among them is not UTF-8."""
    try:
        headers = message.headers() or []
    except SystemError:
        # The client cannot make a text of a name. The message itself is as good as any.
        log.warning("headers are left out: a name among them is not UTF-8", topic=message.topic())
        return []
    return list(headers.items()) if isinstance(headers, dict) else headers


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _number(text: str) -> int:
    return int(text) if text.lstrip("-").isdigit() else -1
