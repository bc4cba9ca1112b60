"""Type Ia supernovae from the SALT models.

Notation: n sources, K candidates.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.simulate.transients.photometry import (
    REST_WAVELENGTH,
    Photometry,
    blue_magnitude_scale,
)
from models.simulate.transients.population import CANDIDATES, Series, SpectralPopulation, Traits
from models.simulate.transients.spectra import first_light, on_grid
from models.simulate.transients.spectral import PHASES
from models.simulate.transients.volume import Redshifts

__all__ = ["normal_ia"]

_FloatArray = npt.NDArray[np.float64]

_FILES: Final = ("salt2_extended.npz", "salt3_f22.npz")
_N_Z: Final = 42  # z <= 1.27

M_B: Final = -19.365
"""Absolute B magnitude at x1 = c = 0 (Kessler et al. 2019, PASP 131, 094501, for H0 = 70)."""
ALPHA: Final = 0.14
BETA: Final = 3.1
"""Tripp 1998 (A&A 331, 815): M = M_B - ALPHA x1 + BETA c."""
_COHERENT_SCATTER: Final = 0.09


def normal_ia(inputs: Path, photometry: Photometry) -> SpectralPopulation:
    """Return the population of SNe Ia.

    SALT2-extended (Pierel et al. 2018) or SALT3 (Kenworthy et al. 2021), half each; x1 and c
    from the asymmetric distributions of Scolnic & Kessler 2016 (ApJ 822, L35) as used in
    PLAsTiCC (Kessler et al. 2019); scatter partly coherent and partly the colour dispersion
    of the models (Guy et al. 2010). The rate grows as (1 + z)^1.5 (Dilday et al. 2010, ApJ 713,
    1026). One group: both models describe the same supernovae.
    """
    return SpectralPopulation(
        name="SNIa",
        groups=("SNIa",),
        weights=np.ones(1),
        load=partial(_series, inputs / "sed", photometry),
        traits=_traits,
        redshifts=Redshifts(lambda z: (1.0 + z) ** 1.5, z_max=1.2),
        last_phase=120.0,
        dispersion=_dispersion,
    )


def _traits(rng: np.random.Generator, series: npt.NDArray[np.int64]) -> Traits:
    """Draw x1, c and the standardised magnitude, [n, K]."""
    shape = (len(series), CANDIDATES)
    x1 = np.clip(_two_sided(rng, shape, 0.973, 1.472, 0.222), -3.0, 2.0)
    c = np.clip(_two_sided(rng, shape, -0.054, 0.043, 0.101), -0.3, 0.5)
    scatter = rng.normal(0.0, _COHERENT_SCATTER, shape)
    # The colour law is 0 in B, so that beta c is part of the magnitude.
    return Traits(M_B - ALPHA * x1 + BETA * c + scatter, c, x1, np.ones(shape))


def _two_sided(
    rng: np.random.Generator, shape: tuple[int, int], peak: float, below: float, above: float
) -> _FloatArray:
    """Draw from a normal distribution with a width of its own on each side of the peak."""
    deviate = np.abs(rng.standard_normal(shape))
    left = rng.random(shape) < below / (below + above)
    return np.asarray(peak + np.where(left, -below, above) * deviate)


def _dispersion(rest: _FloatArray) -> _FloatArray:
    """Return the colour scatter, large in the ultraviolet (after Guy et al. 2010, figure 8)."""
    nodes = (2500.0, 3300.0, 3800.0, 4400.0, 6500.0, 8000.0, 10000.0)
    return np.interp(rest, nodes, (0.2, 0.1, 0.05, 0.02, 0.03, 0.05, 0.06))


def _series(folder: Path, photometry: Photometry) -> Series:
    """Tabulate both SALT models."""
    loaded = [_model(folder / name, photometry) for name in _FILES]
    return Series(
        np.stack([table for table, _ in loaded]),
        np.zeros(len(loaded), np.int64),
        np.array([first for _, first in loaded]),
    )


def _model(path: Path, photometry: Photometry) -> tuple[npt.NDArray[np.float32], float]:
    """Return the table [Z, B, P, 6] of one SALT file, and the phase of first light."""
    with np.load(path) as arrays:
        missing = {"phase", "wavelength", "M0", "M1", "colorlaw"} - set(arrays)
        if missing:
            raise DataError(f"{path} lacks {', '.join(sorted(missing))}", path)
        phase, wavelength = (arrays[k].astype(float) for k in ("phase", "wavelength"))
        spectra = on_grid(phase, wavelength, np.stack([arrays["M0"], arrays["M1"]]).astype(float))
        law = np.interp(REST_WAVELENGTH, wavelength, arrays["colorlaw"])
    at_maximum = spectra[0, np.searchsorted(PHASES, 0.0)]
    spectra /= blue_magnitude_scale(at_maximum[None])[0]
    return photometry.table(list(spectra), law, _N_Z), first_light(spectra[0])
