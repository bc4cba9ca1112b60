"""Core-collapse supernovae from spectral templates.

Notation: n sources, K candidates, G supernovae.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.simulate.transients.dust import reddening
from models.simulate.transients.photometry import (
    REST_WAVELENGTH,
    Photometry,
    blue_magnitude_scale,
)
from models.simulate.transients.population import CANDIDATES, Series, SpectralPopulation, Traits
from models.simulate.transients.spectra import first_light, on_grid, plateau_end
from models.simulate.transients.volume import Redshifts, star_formation_rate

__all__ = ["hydrogen_poor", "hydrogen_rich"]

_FloatArray = npt.NDArray[np.float64]

_N_Z: Final = 36  # z <= 1.01
_STRETCH_SCATTER: Final = 0.08
_LARGEST_REDDENING: Final = 1.0
_SIGMAS: Final = (-1.5, 2.0)
"""Limits of the luminosity functions. Seen out to larger volumes, their bright wings would be most
of a sample, and real samples do not have that many."""


@dataclass(frozen=True, slots=True)
class Subtype:
    """A spectroscopic type among the templates."""

    fraction: float
    """Share of its class in a volume."""
    magnitude: float
    """Mean peak absolute B magnitude (Vega), corrected for dust."""
    scatter: float
    """Standard deviation of that magnitude."""
    reddening: float
    """Mean E(B-V) of host dust, exponentially distributed."""


# Magnitudes: Richardson et al. 2014 (AJ 147, 118), table 1; of Ic-BL 0.5 mag fainter in B than
# M_r of Taddia et al. 2019 (A&A 621, A71). Fractions: Shivvers et al. 2017 (PASP 129, 054201).
# Reddening: Stritzinger et al. 2018 (A&A 609, A135).
_HYDROGEN_POOR: Final = {
    "SN Ib": Subtype(0.36, -17.45, 1.12, 0.15),
    "SN Ic": Subtype(0.26, -17.66, 1.18, 0.18),
    "SN Ic-BL": Subtype(0.08, -18.2, 0.8, 0.12),
    "SN IIb": Subtype(0.30, -16.99, 0.92, 0.12),
}
# Magnitudes: Richardson et al. 2014; "SN II" holds fast and slow decliners alike, a mean of
# their IIP and IIL; 87A-like: Taddia et al. 2016 (A&A 588, A5). Fractions: Li et al. 2011
# (MNRAS 412, 1441), table 7, with IIn raised to its share of templates that are needed to learn it.
# Reddening: after Hatano et al. 1998 (ApJ 502, 177).
_HYDROGEN_RICH: Final = {
    "SN IIP": Subtype(0.60, -16.75, 0.98, 0.10),
    "SN II": Subtype(0.25, -17.2, 1.0, 0.10),
    "SN IIn": Subtype(0.12, -18.53, 1.36, 0.07),
    "SN II-pec": Subtype(0.03, -15.5, 0.8, 0.10),
}


@dataclass(frozen=True, slots=True)
class _Template:
    """One spectral series of the file."""

    index: int
    subtype: str
    supernova: str


def hydrogen_poor(inputs: Path, photometry: Photometry) -> SpectralPopulation:
    """Return the population SNIbc: types Ib, Ic, Ic-BL and IIb."""
    return _population("SNIbc", _HYDROGEN_POOR, inputs / "sed" / "core_collapse.npz", photometry)


def hydrogen_rich(inputs: Path, photometry: Photometry) -> SpectralPopulation:
    """Return the population SNII: types IIP, II (IIL), IIn and II-pec."""
    return _population("SNII", _HYDROGEN_RICH, inputs / "sed" / "core_collapse.npz", photometry)


def _population(
    name: str, subtypes: Mapping[str, Subtype], path: Path, photometry: Photometry
) -> SpectralPopulation:
    """Return a class with one group per supernova; the rate follows star formation."""
    templates = _templates(path, subtypes)
    groups = tuple(sorted({t.supernova for t in templates}))
    kinds = [next(t.subtype for t in templates if t.supernova == g) for g in groups]
    return SpectralPopulation(
        name=name,
        groups=groups,
        weights=np.array([subtypes[k].fraction / kinds.count(k) for k in kinds]),
        load=partial(_series, path, templates, groups, photometry),
        traits=partial(_traits, [subtypes[t.subtype] for t in templates]),
        redshifts=Redshifts(star_formation_rate, z_max=0.95),
        last_phase=150.0,
    )


def _templates(path: Path, subtypes: Mapping[str, Subtype]) -> list[_Template]:
    """List the templates of some types; of a pair, the one corrected for host extinction.

    Our own dust then takes the place of the host's. Templates without such a pair keep
    what dust their host had.
    """
    with np.load(path) as arrays:
        missing = {"name", "type", "sn"} - set(arrays)
        if missing:
            raise DataError(f"{path} lacks {', '.join(sorted(missing))}", path)
        rows = list(zip(*(arrays[k].astype(str) for k in ("name", "type", "sn")), strict=True))
    names = {name for name, _, _ in rows}
    chosen = []
    for i, (name, kind, supernova) in enumerate(rows):
        uncorrected = name.endswith("_noHostExtCorr")
        paired = name.replace("_noHostExtCorr", "_HostExtCorr") in names
        if kind in subtypes and not (uncorrected and paired):
            chosen.append(_Template(i, kind, f"SN {supernova}" if supernova else name))
    if not chosen:
        raise DataError(f"{path} has no template of {', '.join(subtypes)}", path)
    return chosen


def _series(
    path: Path, templates: list[_Template], groups: tuple[str, ...], photometry: Photometry
) -> Series:
    """Tabulate the templates."""
    law = reddening(REST_WAVELENGTH)
    tables, first = [], []
    with np.load(path) as arrays:
        for t in templates:
            phase, wavelength, flux = (
                arrays[f"{k}_{t.index}"].astype(float) for k in ("phase", "wavelength", "flux")
            )
            spectra = on_grid(phase, wavelength, flux[None])[0]
            if t.subtype == "SN IIP":
                spectra *= plateau_end(phase[-1])[:, None]
            spectra /= blue_magnitude_scale(spectra).max()
            tables.append(photometry.table([spectra], law, _N_Z))
            first.append(first_light(spectra))
    group = np.array([groups.index(t.supernova) for t in templates], np.int64)
    return Series(np.stack(tables), group, np.array(first))


def _traits(
    kinds: list[Subtype], rng: np.random.Generator, series: npt.NDArray[np.int64]
) -> Traits:
    """Draw candidates [n, K] from the distributions of each source's subtype."""
    mean, scatter, dust = (
        np.array([getattr(k, field) for k in kinds])[series][:, None]
        for field in ("magnitude", "scatter", "reddening")
    )
    shape = (len(series), CANDIDATES)
    magnitude = mean + scatter * np.clip(rng.standard_normal(shape), *_SIGMAS)
    excess = np.minimum(dust * rng.exponential(size=shape), _LARGEST_REDDENING)
    stretch = np.exp(rng.normal(0.0, _STRETCH_SCATTER, shape))
    return Traits(magnitude, excess, np.zeros(shape), stretch)
