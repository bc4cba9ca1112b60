"""The surveys whose alerts are understood, one small module each.

To add one: write its module with a class like `Ztf`, and list an instance in
`SURVEYS`. Bands it brings are appended to `models.lightcurve.BANDS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from models.errors import ConfigurationError
from stream.avro.writer import Record, WriterSchema
from stream.columns import AlertColumns
from stream.surveys.fields import RecordFields
from stream.surveys.lsst import Lsst
from stream.surveys.ztf import Ztf

__all__ = ["SURVEYS", "Survey", "surveys_named"]


class Survey(Protocol):
    """How one survey's alerts are recognised and what their fields mean."""

    @property
    def name(self) -> str:
        """Return the name in outputs, settings and `models.lightcurve.BANDS`."""

    @property
    def uses(self) -> Sequence[RecordFields]:
        """Return the fields that `append` reads."""

    def recognises(self, schema: WriterSchema) -> bool:
        """Tell by the structure of a schema whether it describes this survey's alerts."""

    def append(self, alert: Record, columns: AlertColumns) -> None:
        """Append one decoded alert: identity, triggering observation, history.

        Nothing later than the triggering observation is appended. `Refusal`
        with ``invalid_field`` when a required field has an unusable value;
        unusable entries of a history are left out.
        """


SURVEYS: Final[tuple[Survey, ...]] = (Ztf(), Lsst())
"""Every survey that is understood."""


def surveys_named(names: Sequence[str]) -> tuple[Survey, ...]:
    """Return the surveys of these names; `ConfigurationError` for an unknown one."""
    known = {survey.name: survey for survey in SURVEYS}
    for name in names:
        if name not in known:
            raise ConfigurationError(f"unknown survey {name!r}; known: {', '.join(known)}", name)
    return tuple(known[name] for name in names)
