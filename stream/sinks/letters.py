"""Dead letters: the bytes of a message untouched, and in headers what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, TypeAlias

from stream.alerts import MessageBatch
from stream.output.outcomes import Outcomes

__all__ = ["RECORD_TOO_LARGE", "DeadLetter", "refused_message", "refused_record"]

RECORD_TOO_LARGE: Final = "record_too_large"
"""Reason of a message that was decoded, but of which a record fits into no topic."""

_VERSION: Final = version("tinyt2")

_Headers: TypeAlias = list[tuple[str, str | bytes | None]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record of the dead-letter topic."""

    key: bytes | None
    value: bytes
    headers: _Headers
    origin: tuple[str, int, int]
    """Topic, partition and offset of the message."""

    def without_payload(self) -> DeadLetter:
        """Return a dead letter that only says where its bytes are.

        A message that no topic takes must not stop the stream for ever.
        """
        omitted = ("payload_omitted_bytes", str(len(self.value)).encode())
        return DeadLetter(self.key, b"", [*self.headers, omitted], self.origin)


def refused_message(messages: MessageBatch, row: int, reason: str, error: str) -> DeadLetter:
    """Return the dead letter of a message that could not be decoded."""
    headers = {
        "reason": reason,
        "error": error,
        "source_topic": messages.topic[row],
        "source_partition": messages.partition[row],
        "source_offset": messages.offset[row],
        "source_timestamp_ms": messages.timestamp_ms[row],
        "tinyt2_version": _VERSION,
    }
    return DeadLetter(
        messages.keys[row],
        messages.payload(row),
        [(name, str(value).encode()) for name, value in headers.items()],
        (messages.topic[row], int(messages.partition[row]), int(messages.offset[row])),
    )


def refused_record(outcomes: Outcomes, alert: int) -> DeadLetter:
    """Return the dead letter of a message one of whose alerts, a row, has too large a record."""
    alert_id = outcomes.alerts.alert_id[alert]
    return refused_message(
        outcomes.messages,
        int(outcomes.alerts.message[alert]),
        RECORD_TOO_LARGE,
        f"the record of alert {alert_id} is larger than its topic allows: raise max.message.bytes",
    )
