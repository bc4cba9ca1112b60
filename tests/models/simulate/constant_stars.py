"""A population whose light never changes, and one of a known transient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.simulate.source import Sources


@dataclass(frozen=True, slots=True)
class Shining:
    """Sources of constant flux in nJy; ``change`` is added from day 0 on."""

    flux_njy: float
    change_njy: float = 0.0
    name: str = "DN"
    variable: bool = True
    galactic: bool = False
    groups: tuple[str, ...] = ("a", "b", "c", "d", "e")

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        return np.ones(len(self.groups))

    def draw(
        self,
        rng: np.random.Generator,
        n: int,
        survey: str,
        groups: npt.NDArray[np.int64] | None = None,
    ) -> Sources:
        rows = np.arange(len(self.groups)) if groups is None else groups
        half = np.full(n, 50.0)
        redshift = np.full(n, np.nan, np.float32)
        return Sources(rng.choice(rows, n), redshift, self._flux, -half, half)

    def _flux(
        self,
        source: npt.NDArray[np.int64],
        days: npt.NDArray[np.float64],
        band: npt.NDArray[np.uint8],
    ) -> npt.NDArray[np.float64]:
        return self.flux_njy + np.where(days >= 0, self.change_njy, 0.0)
