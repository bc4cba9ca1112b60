"""What the survey simulator observes: sources of one class, and populations of them.

Notation: n sources, m evaluations in all, G groups (templates).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["REFERENCE_DAYS", "FluxModel", "Population", "Sources"]

REFERENCE_DAYS: Final = 1000.0
"""How long before its window a variable source may be asked for the flux of references."""

FluxModel: TypeAlias = Callable[
    [npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.uint8]],
    npt.NDArray[np.float64],
]
"""(source [m], days [m], band [m]) -> flux [m], see `Sources.flux`."""


@dataclass(frozen=True, slots=True)
class Sources:
    """n astrophysical sources of one class."""

    group: npt.NDArray[np.int64]
    """[n] row of `Population.groups`: which template each was made from."""
    redshift: npt.NDArray[np.float32]
    """[n] NaN for galactic classes."""
    flux: FluxModel
    """Return nJy above the atmosphere and the Milky Way (host dust and redshift included), [m].

    ``source`` [m] numbers the sources 0 .. n - 1; ``days`` [m] since the source's reference
    time in the observer's frame; ``band`` [m] is the row of `models.lightcurve.BANDS`: all
    bands of LSST and ZTF must work.
    """
    start_days: npt.NDArray[np.float64]
    """[n] begin of the window around the reference time worth observing, observer's frame."""
    end_days: npt.NDArray[np.float64]
    """[n] end of that window."""

    def __len__(self) -> int:
        return len(self.group)


class Population(Protocol):
    """A class of sources that can be drawn in any number."""

    @property
    def name(self) -> str:
        """Class name of `models.taxonomy`."""

    @property
    def variable(self) -> bool:
        """Whether ``flux`` is total flux, of which the survey subtracts a reference per band.

        False for a transient, whose reference is 0.
        """

    @property
    def galactic(self) -> bool:
        """Whether the sources lie in the Milky Way: decides sky positions and extinction."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of templates; objects of one group are siblings and never parted.

        (class name,) for parametric classes.
        """

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """How often each group is drawn, [G]; all versions of one object share a weight."""

    def draw(
        self,
        rng: np.random.Generator,
        n: int,
        survey: str,
        groups: npt.NDArray[np.int64] | None = None,
    ) -> Sources:
        """Draw n sources that ``survey`` ("ztf" or "lsst") could detect.

        ``groups``: the only rows of `groups` that may be drawn (hold-out); None for all.
        """
