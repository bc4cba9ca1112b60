"""Dead letters as people see them: tables, one letter with its bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.deadletters.letters import Group
from deploy.times import shown_time
from stream.alerts import MessageBatch, RefusedReason
from stream.avro import confluent, container
from stream.deadletter import RECORD_TOO_LARGE, Letter
from stream.decode import Decoder
from stream.refusal import Refusal, shown
from stream.sources.memory import message_batch

__all__ = ["as_json", "hex_lines", "show_each", "show_groups", "show_letter"]

_ROW: Final = 16
_EXPECTED: Final[dict[str, str]] = {
    RefusedReason.EMPTY: "a message with bytes; in a container, at least one record",
    RefusedReason.NOT_AVRO: "an Avro container (bytes 4f 62 6a 01), Confluent framing (byte 00 and "
    "a schema id of 4 bytes), or a schema in JSON as key",
    RefusedReason.TOO_SHORT: "byte 00, a schema id of 4 bytes, then one record",
    RefusedReason.INVALID_SCHEMA: "the Avro schema of a record, of at most 1 MiB, nested at most "
    "32 deep, that does not contain itself",
    RefusedReason.UNKNOWN_SCHEMA_ID: "a schema id that the registry, the folder of schemas or the "
    "package lsst-alert-packet knows",
    RefusedReason.SCHEMA_UNAVAILABLE: "a schema registry that answers: send the letter again once "
    "it does",
    RefusedReason.UNSUPPORTED_SURVEY: "alerts of ZTF (a record candidate with magpsf and fid) or "
    "LSST (a record diaSource), of a survey that [input] switches on",
    RefusedReason.CORRUPT_CONTAINER: "a container whose blocks end with its sync marker, "
    "uncompressed or with deflate or snappy, and unfold to 100 times their size at most",
    RefusedReason.CORRUPT_BODY: "records that follow the schema they were sent with",
    RefusedReason.TRAILING_BYTES: "a message or block that ends where its last record ends",
    RefusedReason.INVALID_FIELD: "the fields that the error names, present and in range",
    RECORD_TOO_LARGE: "an output topic that takes the records: raise its max.message.bytes",
}


def show_groups(console: Console, groups: Sequence[Group], topic: str) -> None:
    """Print how many letters there are of each reason and source."""
    total = sum(group.count for group in groups)
    table = Table(title=f"{total:,} dead letters on {escape(topic)}", title_justify="left")
    for name in ("reason", "from topic"):
        table.add_column(name)
    for name in ("count", "bytes"):
        table.add_column(name, justify="right")
    for name in ("first (UTC)", "last (UTC)", "the last one"):
        table.add_column(name)
    for group in groups:
        table.add_row(
            escape(group.reason),
            escape(group.source),
            f"{group.count:,}",
            f"{group.n_bytes:,}",
            shown_time(group.first_ms),
            shown_time(group.last_ms),
            group.example,
        )
    console.print(table)


def show_each(console: Console, found: Iterable[Letter]) -> None:
    """Print a line for each letter."""
    for letter in found:
        console.print(
            f"{letter.name}  {shown_time(letter.timestamp_ms)}  {letter.reason}  "
            f"{_source(letter)}  {_size(letter)}  {letter.error}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def as_json(item: Letter | Group) -> dict[str, Any]:
    """Return a letter without its bytes, or a group, as JSON's types."""
    if isinstance(item, Group):
        return {
            "reason": item.reason,
            "source_topic": item.source,
            "count": item.count,
            "bytes": item.n_bytes,
            "first_ms": item.first_ms,
            "last_ms": item.last_ms,
            "example": item.example,
        }
    return {
        "letter": item.name,
        "timestamp_ms": item.timestamp_ms,
        "reason": item.reason,
        "error": item.error,
        "source_topic": item.source,
        "source_partition": item.source_partition,
        "source_offset": item.source_offset,
        "bytes": None if item.value is None else len(item.value),
        "omitted_bytes": item.omitted_bytes,
        "tinyt2_version": item.written_by,
    }


def show_letter(console: Console, letter: Letter, decoder: Decoder, n_bytes: int) -> None:
    """Print what is known of a letter, what was expected instead, and its first bytes."""
    lines = [
        ("written", f"{shown_time(letter.timestamp_ms)} UTC by tinyt2 {letter.written_by}"),
        ("reason", letter.reason),
        ("error", letter.error),
        ("expected", _EXPECTED.get(letter.reason, "not known to this version")),
        ("source", _source(letter)),
        ("key", "none" if letter.key is None else shown(letter.key)),
        *((f"header {shown(name)}", shown(value)) for name, value in letter.original),
        ("bytes", _size(letter)),
        ("framing", _framing(letter.value)),
        ("now", _today(letter, decoder)),
    ]
    width = max(len(name) for name, _ in lines)
    texts = [f"dead letter {letter.name} of topic {letter.topic}"]
    texts += [f"  {name:{width}}  {text}" for name, text in lines]
    for text in [*texts, *hex_lines((letter.value or b"")[:n_bytes])]:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def hex_lines(data: bytes) -> Iterator[str]:
    """Yield lines of offset, 16 bytes in hexadecimal, and the same as ASCII."""
    for at in range(0, len(data), _ROW):
        row = data[at : at + _ROW]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        yield f"{at:08x}  {row.hex(' '):{3 * _ROW - 1}}  |{text}|"


def _source(letter: Letter) -> str:
    return f"{letter.source}[{letter.source_partition}] at {letter.source_offset}"


def _size(letter: Letter) -> str:
    if letter.omitted_bytes is not None:
        return f"{letter.omitted_bytes:,} bytes, too many to be kept: read them at the source"
    return "a tombstone: no value" if letter.value is None else f"{len(letter.value):,} bytes"


def _framing(value: bytes | None) -> str:
    """Return what can be told of a message without decoding its records."""
    if not value:
        return "none"
    try:
        if value.startswith(container.MAGIC):
            header = container.HeaderCache().find(value)
            names = header.schema.fields() or ()
            return (
                f"Avro container, codec {header.codec}, schema {header.schema.name} with "
                f"{len(names)} fields: {', '.join(sorted(names)[:20])}"
            )
        if value.startswith(confluent.MAGIC):
            return f"Confluent, schema id {confluent.schema_id(value)}"
    except Refusal as refusal:
        return refusal.error
    return "neither an Avro container nor Confluent"


def _today(letter: Letter, decoder: Decoder) -> str:
    """Return what would become of the message if it came again."""
    if letter.omitted_bytes is not None:
        return "not known: its bytes are not here"
    batch = message_batch([letter.value or b""], topic=letter.source)
    alerts = decoder.decode(_with_key(batch, letter.key))
    if len(alerts):
        return f"it would be accepted: {len(alerts)} alerts"
    return f"it would be refused again: {alerts.refused.reason[0]}: {alerts.refused.error[0]}"


def _with_key(batch: MessageBatch, key: bytes | None) -> MessageBatch:
    batch.keys[0] = key
    return batch
