"""Made-up light curves: random ones, and a small SPCC file in its exact format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.lightcurve import LightCurves

Floats = npt.NDArray[np.float64]

TEMPLATES = {
    "Ia": ("SALT2", "MLCS"),
    "Ib": ("SDSS-1", "SDSS-2"),
    "Ic": ("CSP-1", "SNLS-1"),
    "Ibc": ("NUGENT1bc",),
    "II": ("SDSS-3", "SDSS-4", "SDSS-5"),
    "IIP": ("NUGENT2P",),
    "IIn": ("NUGENT2n",),
}
"""Types of the challenge and, for each, simulation templates in the style of its own."""

_FALL_DAYS = {"Ia": 18.0, "Ib": 35.0, "Ic": 35.0, "Ibc": 35.0, "II": 90.0, "IIP": 90.0, "IIn": 90.0}
_RED = {"Ia": 0.0, "Ib": 0.6, "Ic": 0.6, "Ibc": 0.6, "II": -0.4, "IIP": -0.4, "IIn": -0.4}

OBJECT_DTYPE = np.dtype(
    [
        ("snid", "<i4"),
        ("type", "<U4"),
        ("model", "<U24"),
        ("sntype", "<i2"),
        ("z", "<f4"),
        ("hz", "<f4"),
        ("hzerr", "<f4"),
        ("specz", "<f4"),
        ("mwebv", "<f4"),
        ("peakmjd", "<f8"),
    ]
)


def spcc_arrays(per_template: int, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an SPCC file: types differ in how fast they fade and in colour."""
    rng = np.random.default_rng(seed)
    rows = [(kind, model) for kind, models in TEMPLATES.items() for model in models] * per_template
    objects = np.zeros(len(rows), OBJECT_DTYPE)
    columns: dict[str, list[npt.NDArray[Any]]] = {k: [] for k in ("mjd", "band", "flux", "err")}
    for i, (kind, model) in enumerate(rows):
        peak = 56200.0 + rng.uniform(-20, 20)
        objects[i] = (1000 + i, kind, model, -9, 0.5, 0.5, 0.05, -9, 0.02, peak)
        n = int(rng.integers(20, 50))
        mjd = np.sort(rng.uniform(peak - 40, peak + 90, n))
        band = rng.integers(0, 4, n)
        age = mjd - peak
        shape = np.where(age < 0, np.exp(age / 6), np.exp(-age / _FALL_DAYS[kind]))
        colour = 10 ** (0.4 * _RED[kind] * (band - 1.5) / 1.5)
        err = np.full(n, 4.0)
        flux = rng.uniform(100, 300) * shape * colour + rng.normal(0, err)
        for name, values in zip(columns, (mjd, band, flux, err), strict=True):
            columns[name].append(values)
    offset = np.cumsum([0, *(len(mjd) for mjd in columns["mjd"])])
    dtypes = {"mjd": np.float64, "band": np.int8, "flux": np.float32, "err": np.float32}
    flat = {name: np.concatenate(columns[name]).astype(dtypes[name]) for name in columns}
    return {"obj": objects, "offset": offset.astype(np.int64), **flat}


def write_spcc(folder: Path, per_template: int, seed: int = 0) -> Path:
    """Write ``spcc_train.npz`` into a folder."""
    np.savez(folder / "spcc_train.npz", **spcc_arrays(per_template, seed))  # type: ignore[arg-type]
    return folder


def random_curves(
    lengths: Sequence[int], seed: int = 0, bands: Sequence[int] = range(9)
) -> tuple[LightCurves, Floats]:
    """Return curves of given lengths and their last times; times are multiples of 2^-10 d."""
    rng = np.random.default_rng(seed)
    curve = np.repeat(np.arange(len(lengths)), lengths)
    mjd = 60000 + rng.permutation(2**18)[: len(curve)] / 1024
    curves = LightCurves.from_observations(
        curve=curve,
        mjd=mjd,
        band=rng.choice(np.array(bands, np.uint8), len(curve)),
        flux=rng.normal(0, 3000, len(curve)).astype(np.float32),
        flux_err=rng.uniform(50, 500, len(curve)).astype(np.float32),
        rank=rng.integers(0, 3, len(curve)).astype(np.uint8),
        n_curves=len(lengths),
    )
    return curves, curves.mjd[curves.splits[1:] - 1]
