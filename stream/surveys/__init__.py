"""The surveys whose alerts are understood, one small module each.

To add one: write its module with a class like `Ztf`, and list an instance in
`SURVEYS`. Bands it brings are appended to `models.lightcurve.BANDS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from models.errors import ConfigurationError
from stream.surveys.lsst import Lsst
from stream.surveys.survey import Survey
from stream.surveys.ztf import Ztf

__all__ = ["SURVEYS", "surveys_named"]

SURVEYS: Final[tuple[Survey, ...]] = (Ztf(), Lsst())
"""Every survey that is understood."""


def surveys_named(names: Sequence[str]) -> tuple[Survey, ...]:
    """Return the surveys of these names; `ConfigurationError` for an unknown one."""
    known = {survey.name: survey for survey in SURVEYS}
    for name in names:
        if name not in known:
            raise ConfigurationError(f"unknown survey {name!r}; known: {', '.join(known)}", name)
    return tuple(known[name] for name in names)
