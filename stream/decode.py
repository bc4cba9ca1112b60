"""Decode the messages of a poll into one `AlertBatch`.

A message is accepted or refused as a whole. Whatever its bytes are, decoding
returns: with its alerts, or with the reason why it has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from weakref import WeakKeyDictionary

from stream.alerts import AlertBatch, MessageBatch, RefusedMessages, RefusedReason
from stream.avro import confluent, container
from stream.avro.schemas import SchemaStore
from stream.avro.writer import Record, WriterSchema
from stream.columns import AlertColumns
from stream.refusal import Refusal, shown
from stream.surveys import SURVEYS, Survey, surveys_named
from stream.surveys.fields import check_fields

__all__ = ["Decoder"]

_ALL: Final = tuple(survey.name for survey in SURVEYS)


class Decoder:
    """Turn messages into alerts. Not safe for use by several threads at once.

    ``schemas`` are those of Confluent-framed messages, ``surveys`` the names of
    the surveys that are switched on; `ConfigurationError` for an unknown name.
    """

    def __init__(self, schemas: SchemaStore | None = None, surveys: Sequence[str] = _ALL) -> None:
        self._schemas = SchemaStore() if schemas is None else schemas
        self._surveys = surveys_named(surveys)
        self._headers = container.HeaderCache()
        self._survey_of: WeakKeyDictionary[WriterSchema, Survey] = WeakKeyDictionary()

    @property
    def schema_cache_hits(self) -> int:
        """Return how often a schema was already parsed."""
        return self._headers.hits + self._schemas.hits

    @property
    def schema_cache_misses(self) -> int:
        """Return how often a schema had to be parsed or fetched."""
        return self._headers.misses + self._schemas.misses

    @property
    def schema_unknown(self) -> int:
        """Return how many messages named a schema id that no source gave a schema for."""
        return self._schemas.unknown

    def decode(self, messages: MessageBatch) -> AlertBatch:
        """Decode a batch; refused messages are listed in the result, none is raised."""
        columns, refused = AlertColumns(), RefusedMessages()
        for message, value in enumerate(messages.values):
            mark = columns.mark()
            try:
                self._append(message, value, columns)
            except Refusal as refusal:
                columns.cut_back(mark)
                refused.add(message, refusal.reason, refusal.error)
        return columns.to_batch(refused)

    def _append(self, message: int, value: bytes, columns: AlertColumns) -> None:
        """Append the alerts of one message; `Refusal` for anything wrong in it."""
        if not value:
            raise Refusal(RefusedReason.EMPTY, "message has no bytes")
        schema, records = self._open(value)
        survey = self._survey(schema)
        before = columns.mark()
        for record in records:
            survey.append(record, columns)
            columns.end_alert(message, survey.name)
        if columns.mark() == before:
            raise Refusal(RefusedReason.EMPTY, "container is valid but holds no record")

    def _open(self, value: bytes) -> tuple[WriterSchema, Iterator[Record]]:
        """Return the writer schema of a message and its records, not yet read."""
        if value.startswith(container.MAGIC):
            header = self._headers.find(value)
            return header.schema, container.read_records(value, header)
        if value.startswith(confluent.MAGIC):
            schema = self._confluent_schema(confluent.schema_id(value))
            return schema, confluent.read_records(value, schema)
        raise Refusal(
            RefusedReason.NOT_AVRO,
            f"message begins with {shown(value[:16])}: neither an Avro container (Obj, 1) "
            "nor Confluent framing (0)",
        )

    def _confluent_schema(self, schema_id: int) -> WriterSchema:
        schema = self._schemas.get(schema_id)
        if schema is None:
            raise self._schemas.refusal(schema_id)
        return schema

    def _survey(self, schema: WriterSchema) -> Survey:
        """Return the survey whose alerts a schema describes; looked up once per schema."""
        known = self._survey_of.get(schema)
        if known is not None:
            return known
        for survey in self._surveys:
            if survey.recognises(schema):
                check_fields(survey.uses, schema, survey.name)
                self._survey_of[schema] = survey
                return survey
        raise Refusal(
            RefusedReason.UNSUPPORTED_SURVEY,
            f"schema {schema.name} is not that of an alert of "
            f"{' or '.join(survey.name for survey in self._surveys)}",
        )
