"""A small folder of inputs for the simulator, in the exact format of the real one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

DAYS = 900
FIRST_MJD = 58400.0
POSITIONS = 6
DEEP_POSITION = 5
ZTF_DEPTH = 20.3
LSST_DEPTH = {"u": 23.6, "g": 24.6, "r": 24.2, "i": 23.6, "z": 23.0, "y": 22.1}


def write_inputs(folder: Path) -> Path:
    """Write cadences, noise and RR Lyrae templates to a folder and return it."""
    (folder / "cadence").mkdir(parents=True)
    rng = np.random.default_rng(7)
    _write_ztf(folder, rng)
    _write_lsst(folder, rng)
    _write_noise(folder / "ztf_noise.json")
    _write_templates(folder / "rrlyrae_ugriz_templates.npz")
    return folder


def _write_ztf(folder: Path, rng: np.random.Generator) -> None:
    night = np.repeat(np.arange(0, DAYS, 2), 3)
    band = np.tile(np.array(["g", "r", "r"]), len(night) // 3)
    hour = np.tile([0.2, 0.25, 0.3], len(night) // 3)
    keep = night % 300 < 220  # seasons
    night, band, hour = night[keep], band[keep], hour[keep]
    _write(
        folder / "cadence" / "ztf_pointings.parquet",
        position=np.repeat(np.arange(POSITIONS), len(night)).astype(np.int16),
        mjd=np.round((FIRST_MJD + np.tile(night + hour, POSITIONS)) * 256) / 256,
        band=np.tile(band, POSITIONS),
        limmag=rng.normal(20.8, 0.5, POSITIONS * len(night)).astype(np.float32),
    )
    _write_positions(folder / "cadence" / "ztf_positions.csv", deep=False)


def _write_lsst(folder: Path, rng: np.random.Generator) -> None:
    night = np.repeat(np.arange(0, DAYS, 3), 2)
    band = np.array(list("ugrizy"))[rng.integers(0, 6, len(night))]
    mjd = FIRST_MJD + night + np.tile([0.1, 0.14], len(night) // 2)
    position = np.repeat(np.arange(POSITIONS), len(night))
    mjd, band = np.tile(mjd, POSITIONS), np.tile(band, POSITIONS)
    again = np.repeat(np.flatnonzero(position == DEEP_POSITION), 4)  # five visits per night
    position, mjd, band = (np.append(x, x[again]) for x in (position, mjd, band))
    mjd[-len(again) :] += rng.uniform(0, 0.02, len(again))
    _write(
        folder / "cadence" / "rubin_visits.parquet",
        position=position.astype(np.int16),
        mjd=mjd,
        band=band,
        m5=np.array([LSST_DEPTH[name] for name in band], np.float32),
    )
    _write_positions(folder / "cadence" / "rubin_positions.csv", deep=True)


def _write(path: Path, **columns: npt.NDArray[np.generic]) -> None:
    pyarrow.parquet.write_table(pa.table(columns), path)


def _write_positions(path: Path, deep: bool) -> None:
    columns: dict[str, object] = {"position": np.arange(POSITIONS)}
    if deep:
        columns["kind"] = ["WFD"] * DEEP_POSITION + ["DDF"]
    columns["ra_deg"] = np.linspace(120.0, 220.0, POSITIONS)
    columns["dec_deg"] = np.linspace(10.0, 40.0, POSITIONS)
    pyarrow.csv.write_csv(pa.table(columns), path)


def _write_noise(path: Path) -> None:
    edges = np.round(np.arange(18.0, 21.2, 0.1), 1)
    middle = (edges[1:] + edges[:-1]) / 2
    counts = np.round(1000 * np.exp(-0.5 * ((middle - ZTF_DEPTH) / 0.3) ** 2)).astype(int)
    limits = {"hist_edges": edges.tolist(), "hist": counts.tolist()}
    path.write_text(json.dumps({"diffmaglim": {"g": limits, "r": limits}}))


def _write_templates(path: Path) -> None:
    """Sawtooth-like curves for one template of type c and seven of type ab, some without u."""
    phase = np.arange(0, 1, 0.01, dtype=np.float32)
    names, bands, curves = [], [], []
    for k, name in enumerate(["0", *(str(100 + i) for i in range(7))]):
        for band in "ugriz" if k % 2 else "griz":
            peak = 0.15 + 0.02 * k
            curve = np.where(phase < 1 - peak, phase / (1 - peak), (1 - phase) / peak)
            names.append(name)
            bands.append(band)
            curves.append(curve.astype(np.float32))
    np.savez(
        path,
        template=np.array(names),
        band=np.array(bands),
        offset=np.arange(len(names) + 1) * len(phase),
        phase=np.tile(phase, len(names)),
        mag=np.concatenate(curves),
    )
