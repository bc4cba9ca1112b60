"""Alerts given as records, read by a survey through its tables."""

from __future__ import annotations

from typing import Any

from stream.alerts import AlertBatch
from stream.avro.projection import lay_out
from stream.avro.tables import Tables
from stream.columns import AlertColumns
from stream.refusal import Refusal
from stream.surveys.survey import Survey


def read(survey: Survey, *records: dict[str, Any]) -> AlertBatch:
    """Return the alerts of records, each a message of its own."""
    layout = lay_out(survey.uses)
    tables = Tables([layout], capacity=100)
    columns = AlertColumns(len(records))
    for message, record in enumerate(records):
        try:
            tables.append(record, layout, message)
        except Refusal as refusal:
            columns.refuse(message, refusal)
    columns.add(survey, {path: tables.rows(table) for path, table in layout.tables.items()})
    return columns.to_batch()
