"""Make the simulator's spectral inputs from the registry of sncosmo.

The registry downloads what it is asked for, so this needs a connection to the internet;
the simulator itself reads only the files written here:

``bandpasses.npz``
    ``SURVEY_BAND_wavelength`` (Angstrom), ``SURVEY_BAND_transmission``
``sed/salt2_extended.npz``, ``sed/salt3_f22.npz``
    ``phase`` (days), ``wavelength``, ``M0`` and ``M1`` [phase, wavelength], ``colorlaw``:
    flux = x0 (M0 + x1 M1) 10^(-0.4 c colorlaw)
``sed/hsiao_v3.npz``
    ``phase``, ``wavelength``, ``flux``
``sed/snia_91bg_sequence.npz``
    ``third_axis`` (decline rate), ``phase``, ``wavelength``, ``flux`` [decline, phase, wavelength]
``sed/core_collapse.npz``
    ``name``, ``source``, ``type``, ``sn``, ``peak`` and, for template i, ``phase_i``,
    ``wavelength_i``, ``flux_i`` (divided by its maximum, ``peak``)

sncosmo: Barbary et al. (https://sncosmo.readthedocs.io). Cite what its registry says of each
source.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.errors import DataError, MissingExtraError
from models.lightcurve import BANDS

__all__ = [
    "Template",
    "registry_templates",
    "write_bandpasses",
    "write_core_collapse",
    "write_inputs",
    "write_salt",
    "write_sequence",
    "write_series",
]

_FloatArray = npt.NDArray[np.float64]

_PHASE_STEP_DAYS: Final = 1.0
_WAVELENGTH_STEP_AA: Final = 10.0
_TYPES: Final = ("SN Ib", "SN Ic", "SN Ic-BL", "SN IIb", "SN IIP", "SN II", "SN IIn", "SN II-pec")
_NUGENT_91BG_DECLINE: Final = 1.8
_N_SURVEY_BANDS: Final = 9


class Template(NamedTuple):
    """A core-collapse template of the registry."""

    name: str
    version: str
    type: str

    @property
    def supernova(self) -> str:
        """Return the name of the supernova: 2004gq of v19-2004gq-corr."""
        return self.name.partition("-")[2].removesuffix("-corr")


def write_inputs(folder: Path, leave_out: Iterable[str] = ()) -> None:
    """Fetch all spectra and bandpasses of the simulator into ``folder``.

    ``leave_out`` names supernovae (2004gq) whose templates are not wanted, for example because
    they are kept for an independent evaluation. The registry has one 91bg template (Nugent),
    not the sequence of SNooPy: it is written as a sequence of one. `DataError` when something
    cannot be fetched, `MissingExtraError` without sncosmo.
    """
    sed = folder / "sed"
    sed.mkdir(parents=True, exist_ok=True)
    write_bandpasses(folder / "bandpasses.npz")
    write_salt(sed / "salt2_extended.npz", _source("salt2-extended", "1.0"))
    write_salt(sed / "salt3_f22.npz", _source("salt3", "2.0"))
    write_series(sed / "hsiao_v3.npz", _source("hsiao", "3.0"))
    subluminous = {_NUGENT_91BG_DECLINE: _source("nugent-sn91bg", "1.1")}
    write_sequence(sed / "snia_91bg_sequence.npz", subluminous)
    unwanted = set(leave_out)
    wanted = [t for t in registry_templates() if t.supernova not in unwanted]
    write_core_collapse(sed / "core_collapse.npz", {t: _source(t.name, t.version) for t in wanted})


def registry_templates() -> list[Template]:
    """List the core-collapse templates of sncosmo's registry, of each the newest version."""
    # The registry has no public listing; the documentation of sncosmo is made from this one.
    listed = _sncosmo().models._SOURCES.get_loaders_metadata()
    newest: dict[str, Template] = {}
    for entry in listed:
        name, kind = entry["name"], entry.get("type")
        if kind in _TYPES and name.startswith(("snana-", "v19-", "s11-")):
            template = Template(name, entry["version"], kind)
            if name not in newest or newest[name].version < template.version:
                newest[name] = template
    return list(newest.values())


def write_bandpasses(path: Path) -> None:
    """Write the bandpasses of LSST and ZTF."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for band in BANDS[:_N_SURVEY_BANDS]:
        passed = _fetched(_sncosmo().get_bandpass, f"{band.survey}{band.name}")
        arrays[f"{band.survey}_{band.name}_wavelength"] = np.asarray(passed.wave, np.float32)
        arrays[f"{band.survey}_{band.name}_transmission"] = np.asarray(passed.trans, np.float32)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def write_salt(path: Path, source: Any) -> None:
    """Write a SALT2 or SALT3 source."""
    phase, wavelength = _grid(source)
    source.set(x0=1.0, x1=0.0, c=0.0)
    mean = source.flux(phase, wavelength)
    source.set(x1=1.0)
    np.savez_compressed(
        path,
        phase=phase.astype(np.float32),
        wavelength=wavelength.astype(np.float32),
        M0=mean.astype(np.float32),
        M1=(source.flux(phase, wavelength) - mean).astype(np.float32),
        colorlaw=source.colorlaw(wavelength).astype(np.float32),
    )


def write_series(path: Path, source: Any) -> None:
    """Write a single time series."""
    phase, wavelength, flux = _sampled(source)
    np.savez_compressed(path, phase=phase, wavelength=wavelength, flux=flux)


def write_sequence(path: Path, sources: Mapping[float, Any]) -> None:
    """Write time series along an axis (axis value -> source), on the grid of the first."""
    phase, wavelength = _grid(next(iter(sources.values())))
    flux = np.stack([source.flux(phase, wavelength) for source in sources.values()])
    np.savez_compressed(
        path,
        third_axis=np.array(list(sources), np.float32),
        phase=phase.astype(np.float32),
        wavelength=wavelength.astype(np.float32),
        flux=flux.astype(np.float32),
    )


def write_core_collapse(path: Path, sources: Mapping[Template, Any]) -> None:
    """Write templates of core-collapse supernovae (description -> source)."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    peaks = []
    names = {template.name for template in sources}
    for i, source in enumerate(sources.values()):
        phase, wavelength, flux = _sampled(source)
        peaks.append(float(flux.max()))
        arrays |= {
            f"phase_{i}": phase,
            f"wavelength_{i}": wavelength,
            f"flux_{i}": flux / peaks[-1],
        }
    arrays |= {
        "name": np.array([_file_name(template, names) for template in sources]),
        "source": np.array([t.name.partition("-")[0] for t in sources]),
        "type": np.array([t.type for t in sources]),
        "sn": np.array([t.supernova for t in sources]),
        "peak": np.array(peaks),
    }
    np.savez_compressed(path, allow_pickle=False, **arrays)


def _file_name(template: Template, names: set[str]) -> str:
    """Return a name that tells whether a template of V19 is corrected for host extinction."""
    if template.name.endswith("-corr"):
        return f"{template.name.removesuffix('-corr')}_HostExtCorr"
    paired = f"{template.name}-corr" in names
    return f"{template.name}_noHostExtCorr" if paired else template.name


def _grid(source: Any) -> tuple[_FloatArray, _FloatArray]:
    """Return phases and wavelengths that cover a source."""
    phase = np.arange(source.minphase(), source.maxphase() + 1e-6, _PHASE_STEP_DAYS)
    wavelength = np.arange(source.minwave(), source.maxwave() + 1e-6, _WAVELENGTH_STEP_AA)
    return phase, wavelength


def _sampled(source: Any) -> tuple[npt.NDArray[np.float32], ...]:
    """Return phase, wavelength and flux of a source as it is in the registry."""
    phase, wavelength = _grid(source)
    flux = source.flux(phase, wavelength)
    return phase.astype(np.float32), wavelength.astype(np.float32), flux.astype(np.float32)


def _source(name: str, version: str) -> Any:
    return _fetched(_sncosmo().get_source, name, version=version)


def _fetched(get: Any, name: str, **options: str) -> Any:
    """Call a getter of the registry, which may download; `DataError` when it cannot."""
    try:
        return get(name, **options)
    except Exception as error:  # sncosmo lets errors of the network and of its parsers through
        raise DataError(
            f"sncosmo could not provide {name!r}: {error}; it downloads its files once, "
            f"which needs a connection to the internet",
            name,
        ) from error


def _sncosmo() -> Any:
    try:
        return importlib.import_module("sncosmo")
    except ImportError:
        raise MissingExtraError("fetching spectra", "train") from None
