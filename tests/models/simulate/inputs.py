"""Made-up spectra and bandpasses in the form that the simulator reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_FloatArray = npt.NDArray[np.float64]

EDGES = {
    "lsst_u": (3200, 4000),
    "lsst_g": (4000, 5500),
    "lsst_r": (5500, 6900),
    "lsst_i": (6900, 8200),
    "lsst_z": (8200, 9250),
    "lsst_y": (9250, 10600),
    "ztf_g": (4100, 5550),
    "ztf_r": (5600, 7300),
    "ztf_i": (7050, 8800),
}

CORE_COLLAPSE = [
    ("V19_SNa_HostExtCorr", "V19", "SN Ib", "2001a", 8000.0, 12.0),
    ("V19_SNa_noHostExtCorr", "V19", "SN Ib", "2001a", 6000.0, 12.0),
    ("S11_SNa", "S11", "SN Ib", "2001a", 7800.0, 11.0),
    ("v2.0-b", "snana", "SN Ic", "2001b", 7500.0, 10.0),
    ("v2.0-c", "snana", "SN Ic-BL", "2001c", 9000.0, 14.0),
    ("v2.0-d", "snana", "SN IIb", "2001d", 8500.0, 13.0),
    ("v2.0-e", "snana", "SN IIP", "2001e", 10000.0, 60.0),
    ("v2.0-f", "snana", "SN IIP", "", 11000.0, 50.0),
    ("v2.0-g", "snana", "SN IIn", "2001g", 11000.0, 40.0),
    ("v2.0-h", "snana", "SN II", "2001h", 10500.0, 30.0),
    ("v2.0-i", "snana", "SN II-pec", "2001i", 6500.0, 45.0),
]
"""name, source, type, sn, temperature at peak, e-folding time of the decline."""


def write_inputs(folder: Path) -> Path:
    """Write everything that the transient populations read."""
    sed = folder / "sed"
    sed.mkdir(parents=True)
    np.savez(folder / "bandpasses.npz", allow_pickle=False, **bandpasses())
    np.savez(sed / "salt2_extended.npz", allow_pickle=False, **salt(1000.0, 12000.0))
    np.savez(sed / "salt3_f22.npz", allow_pickle=False, **salt(2000.0, 11000.0))
    phase, wavelength = np.arange(-20.0, 86.0), np.arange(1000.0, 12001.0, 10.0)
    np.savez(
        sed / "hsiao_v3.npz",
        phase=phase,
        wavelength=wavelength,
        flux=spectra(phase, wavelength, 11000.0, 18.0),
    )
    np.savez(sed / "snia_91bg_sequence.npz", allow_pickle=False, **subluminous())
    np.savez(sed / "core_collapse.npz", allow_pickle=False, **core_collapse())
    return folder


def bandpasses() -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, (low, high) in EDGES.items():
        wavelength = np.arange(low - 100.0, high + 101.0, 5.0)
        edges = 1 / (1 + np.exp((low - wavelength) / 20)) / (1 + np.exp((wavelength - high) / 20))
        arrays[f"{name}_wavelength"] = wavelength.astype(np.float32)
        arrays[f"{name}_transmission"] = (0.5 * edges).astype(np.float32)
    return arrays


def spectra(
    phase: _FloatArray, wavelength: _FloatArray, temperature: float, decline: float
) -> _FloatArray:
    """A cooling black body with two broad lines that rises and falls, [phase, wavelength]."""
    kelvin = temperature * np.exp(-np.clip(phase, -20.0, 60.0) / 100.0)[:, None]
    planck = (5000.0 / wavelength) ** 5 / np.expm1(1.4388e8 / (wavelength * kelvin))
    lines = 1.0 - 0.5 * np.exp(-0.5 * ((wavelength - 6150.0) / 90.0) ** 2)
    lines -= 0.4 * np.exp(-0.5 * ((wavelength - 3800.0) / 80.0) ** 2)
    rising = np.exp(-0.5 * (np.minimum(phase, 0.0) / 6.0) ** 2)
    falling = np.exp(-np.sqrt(np.maximum(phase, 0.0) ** 2 + 9.0) / decline + 3.0 / decline)
    cooled = (kelvin / temperature) ** -2.0
    return np.asarray((rising * falling)[:, None] * cooled * planck * lines)


def salt(low: float, high: float) -> dict[str, npt.NDArray[Any]]:
    phase, wavelength = np.arange(-20.0, 51.0), np.arange(low, high + 1.0, 10.0)
    mean = spectra(phase, wavelength, 11000.0, 18.0)
    slow = np.tanh(phase / 15.0)[:, None]
    return {
        "phase": phase.astype(np.float32),
        "wavelength": wavelength.astype(np.float32),
        "M0": (1e-13 * mean).astype(np.float32),
        "M1": (1e-13 * 0.1 * slow * mean).astype(np.float32),
        "colorlaw": (2.0 * (4400.0 / wavelength - 1.0)).astype(np.float32),
    }


def subluminous() -> dict[str, npt.NDArray[Any]]:
    phase, wavelength = np.arange(-6.0, 71.0), np.arange(1000.0, 12001.0, 20.0)
    decline = np.array([1.7, 1.8, 1.9])
    flux = [spectra(phase, wavelength, 8000.0 - 1000.0 * k, 12.0 - k) for k in range(3)]
    return {
        "third_axis": decline,
        "phase": phase,
        "wavelength": wavelength,
        "flux": np.stack(flux).astype(np.float32),
    }


def core_collapse() -> dict[str, npt.NDArray[Any]]:
    names, sources, types, supernovae, _, _ = zip(*CORE_COLLAPSE, strict=True)
    arrays: dict[str, npt.NDArray[Any]] = {
        "name": np.array(names),
        "source": np.array(sources),
        "type": np.array(types),
        "sn": np.array(supernovae),
        "peak": np.ones(len(names)),
    }
    for i, (*_, temperature, decline) in enumerate(CORE_COLLAPSE):
        phase, wavelength = np.arange(-15.0, 80.0, 1.5), np.arange(1700.0, 11001.0, 10.0)
        flux = spectra(phase, wavelength, temperature, decline)
        arrays[f"phase_{i}"] = phase.astype(np.float32)
        arrays[f"wavelength_{i}"] = wavelength.astype(np.float32)
        arrays[f"flux_{i}"] = (flux / flux.max()).astype(np.float32)
    return arrays
