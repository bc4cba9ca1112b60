"""Simulated LSST light curves of PLAsTiCC (arXiv 1810.00001) from its public CSV files.

Read are the names and columns of both releases, plain, ``.gz`` or ``.zip``:

============  ==================================  ===================================
part          Zenodo record 2539456 (all classes  Kaggle (test part without classes)
              are given)
============  ==================================  ===================================
training      ``plasticc_train_lightcurves.csv``  ``training_set.csv``
test          ``plasticc_test_lightcurves_*.csv`` ``test_set.csv``,
                                                  ``test_set_batch*.csv``
metadata      ``plasticc_train_metadata.csv``,    ``training_set_metadata.csv``,
              ``plasticc_test_metadata.csv``      ``test_set_metadata.csv``
============  ==================================  ===================================

Light curves: ``object_id``, ``mjd``, ``passband`` (0-5: u g r i z y), ``flux`` and
``flux_err`` (FLUXCAL), ``detected`` or ``detected_bool``; the rows of an object are
together. Metadata: ``object_id``, ``true_target`` or ``target`` (class number),
``hostgal_photoz`` and ``hostgal_photoz_err``, and ``true_submodel`` where it is given:
class and submodel make the group. The redshifts of spectra are not read.

The test part has 450 million rows. It is read in a stream: in memory are the metadata
(60 bytes per object, 0.2 GB for 3.5 million), ``rows_per_chunk`` rows several times over
(about 200 bytes per row), and a block of the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.datasets.csv_files import csv_batches, csv_columns, found_csv
from models.datasets.fluxes import NJY_PER_FLUXCAL, with_redshift
from models.datasets.joined import join
from models.datasets.labelled import LabelledCurves
from models.datasets.plasticc_classes import CLASS_OF_NUMBER, UNSEEN_NUMBERS, label_numbers
from models.errors import ConfigurationError, DataError
from models.lightcurve import DETECTION, FORCED, LightCurves, band_index

__all__ = ["ROWS_PER_CHUNK", "PlasticcChunks", "load_plasticc", "plasticc_chunks"]

ROWS_PER_CHUNK: Final = 500_000

_LIGHT_CURVES: Final = {
    "training": ("plasticc_train_lightcurves", "training_set"),
    "test": ("plasticc_test_lightcurves_*", "test_set", "test_set_batch*"),
}
_METADATA: Final = {
    "training": ("plasticc_train_metadata", "training_set_metadata"),
    "test": ("plasticc_test_metadata", "test_set_metadata"),
}
_CLASSES: Final = tuple(CLASS_OF_NUMBER.values())
_OBSERVATIONS: Final = {
    "object_id": pa.int64(),
    "mjd": pa.float64(),
    "passband": pa.uint8(),
    "flux": pa.float64(),
    "flux_err": pa.float64(),
}
_DETECTED: Final = ("detected", "detected_bool")
_TARGET: Final = ("true_target", "target")
_SUBMODEL: Final = "true_submodel"
_PHOTOMETRIC: Final = ("hostgal_photoz", "hostgal_photoz_err")
_BANDS: Final = np.array([band_index("lsst", name) for name in "ugrizy"], np.uint8)
_WHERE: Final = (
    "download the files of https://zenodo.org/records/2539456 into the folder; "
    "models/datasets/README.md has the commands"
)


def load_plasticc(folder: Path) -> LabelledCurves:
    """Read the training part: 7,848 objects, 1.4 million observations.

    Raise `DataError` when a file or column is missing or not as documented.
    """
    chunks = PlasticcChunks(folder, "training", ROWS_PER_CHUNK)
    return join(chunks.name, list(chunks))


def plasticc_chunks(
    folder: Path, rows_per_chunk: int = ROWS_PER_CHUNK, part: str = "test"
) -> PlasticcChunks:
    """Return the curves of a part (``training`` or ``test``) as an iterable of chunks.

    Raise `DataError` when a file or column is missing or not as documented.
    """
    return PlasticcChunks(folder, part, rows_per_chunk)


class PlasticcChunks:
    """The complete objects of a part of PLAsTiCC, some at a time.

    All chunks have the same 14 classes and the same groups. Objects of the classes that
    only the test part has are left out and counted in ``skipped``.
    """

    def __init__(self, folder: Path, part: str, rows_per_chunk: int) -> None:
        if part not in _METADATA:
            raise ConfigurationError(f"no part {part!r}; known: {', '.join(_METADATA)}", part)
        self.name = f"simulated LSST light curves (PLAsTiCC, {part} part)"
        self.skipped: Counter[int] = Counter()
        """Class number -> objects left out, of the chunks so far."""
        self._files = found_csv(folder, _LIGHT_CURVES[part], _WHERE)
        self._metadata = _read_metadata(found_csv(folder, _METADATA[part], _WHERE)[0])
        self._rows_per_chunk = rows_per_chunk

    def __iter__(self) -> Iterator[LabelledCurves]:
        self.skipped.clear()
        seen = np.zeros(len(self._metadata.object_id), np.bool_)
        for table in self._whole_objects():
            data = self._chunk(table, seen)
            if len(data):
                yield data

    def _whole_objects(self) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Yield columns of complete objects: the last one of a block may go on in the next."""
        held: list[dict[str, npt.NDArray[Any]]] = []
        n_rows = 0
        for columns in self._columns():
            held.append(columns)
            n_rows += len(columns["object_id"])
            if n_rows >= self._rows_per_chunk:
                joined = _joined(held)
                ids = joined["object_id"]
                end = int(np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))[-1])
                # Copied, for a view would keep the whole chunk in memory.
                held = [{name: values[end:].copy() for name, values in joined.items()}]
                n_rows -= end
                if end:
                    yield {name: values[:end] for name, values in joined.items()}
        if n_rows:
            yield _joined(held)

    def _columns(self) -> Iterator[dict[str, npt.NDArray[Any]]]:
        for path in self._files:
            detected = _one_of(path, csv_columns(path), _DETECTED)
            types = {**_OBSERVATIONS, detected: pa.bool_()}
            for batch in csv_batches(path, types, _WHERE):
                columns = {name: _values(batch, name, path) for name in types}
                columns["detected"] = columns.pop(detected)
                yield columns

    def _chunk(
        self, columns: dict[str, npt.NDArray[Any]], seen: npt.NDArray[np.bool_]
    ) -> LabelledCurves:
        ids = columns["object_id"]
        start = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
        rows = self._metadata.rows_of(ids[start])
        self._check_whole(ids[start], rows, seen)
        number = self._metadata.number[rows]
        unseen = np.isin(number, UNSEEN_NUMBERS)
        self.skipped.update(number[unseen].tolist())
        kept = np.where(unseen, -1, np.cumsum(~unseen) - 1)
        curve = np.repeat(kept, np.diff(np.append(start, len(ids))))
        columns = {name: values[curve >= 0] for name, values in columns.items()}
        rows = rows[~unseen]
        curves = _curves(columns, curve[curve >= 0], len(rows))
        metadata = self._metadata
        return LabelledCurves(
            name=self.name,
            curves=with_redshift(curves, metadata.redshift[rows], metadata.redshift_err[rows]),
            classes=_CLASSES,
            label=label_numbers(metadata.number[rows]),
            group=metadata.group[rows],
            groups=metadata.groups,
            object_id=metadata.object_id[rows],
        )

    def _check_whole(
        self, ids: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], seen: npt.NDArray[np.bool_]
    ) -> None:
        unique, first = np.unique(rows, return_index=True)
        again = np.append(ids[np.setdiff1d(np.arange(len(ids)), first)], ids[seen[rows]])
        if len(again):
            raise DataError(
                f"the rows of object {again[0]} are not together in {self._files[0].parent}: "
                "sort the light curves by object_id",
                int(again[0]),
            )
        seen[unique] = True


@dataclass(frozen=True, slots=True)
class _Metadata:
    """n objects in order of their ids."""

    path: Path
    object_id: npt.NDArray[np.int64]
    number: npt.NDArray[np.int64]
    """[n] class number."""
    group: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    redshift: npt.NDArray[np.float64]
    redshift_err: npt.NDArray[np.float64]

    def rows_of(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the row of each id; `DataError` for one that is not there."""
        if not len(self.object_id):
            raise DataError(f"{self.path} has no objects: {_WHERE}", self.path)
        rows = np.minimum(np.searchsorted(self.object_id, ids), len(self.object_id) - 1)
        missing = ids[self.object_id[rows] != ids]
        if len(missing):
            raise DataError(
                f"object {missing[0]} of the light curves is not in {self.path}: {_WHERE}",
                int(missing[0]),
            )
        return rows


def _read_metadata(path: Path) -> _Metadata:
    names = csv_columns(path)
    target = _one_of(path, names, _TARGET)
    types = {"object_id": pa.int64(), target: pa.int64()}
    types |= {_one_of(path, names, (name,)): pa.float64() for name in _PHOTOMETRIC}
    if _SUBMODEL in names:
        types[_SUBMODEL] = pa.int64()
    batches = list(csv_batches(path, types, _WHERE))
    columns = _joined([{name: _values(b, name, path) for name in types} for b in batches])
    order = np.argsort(columns["object_id"], kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    redshift, error = (columns[name] for name in _PHOTOMETRIC)
    # Objects of the Milky Way have 0, those without a measurement -9.
    known = redshift > 0
    groups, group = _groups(columns[target], columns.get(_SUBMODEL))
    return _Metadata(
        path,
        columns["object_id"],
        columns[target],
        group,
        groups,
        np.where(known, redshift, np.nan),
        np.where(known & (error > 0), error, np.nan),
    )


def _groups(
    number: npt.NDArray[np.int64], submodel: npt.NDArray[np.int64] | None
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Return names of the models that objects were simulated from, and of each object which."""
    pairs = np.stack([number, np.zeros_like(number) if submodel is None else submodel], axis=1)
    unique, which = np.unique(pairs, axis=0, return_inverse=True)
    names = [CLASS_OF_NUMBER.get(int(k), str(k)) for k in unique[:, 0]]
    if submodel is not None:
        names = [f"{name} model {m}" for name, m in zip(names, unique[:, 1], strict=True)]
    return tuple(names), which.ravel().astype(np.int64)


def _curves(
    columns: dict[str, npt.NDArray[Any]], curve: npt.NDArray[np.int64], n: int
) -> LightCurves:
    if columns["passband"].max(initial=0) >= len(_BANDS):
        raise DataError("column passband must be 0 to 5, for u g r i z y", "passband")
    return LightCurves.from_observations(
        curve=curve,
        mjd=columns["mjd"],
        band=_BANDS[columns["passband"]],
        flux=(columns["flux"] * NJY_PER_FLUXCAL).astype(np.float32),
        flux_err=(columns["flux_err"] * NJY_PER_FLUXCAL).astype(np.float32),
        rank=np.where(columns["detected"], DETECTION, FORCED).astype(np.uint8),
        n_curves=n,
    )


def _one_of(path: Path, names: list[str], wanted: tuple[str, ...]) -> str:
    """Return the first wanted column that a file has; `DataError` when it has none of them."""
    for name in wanted:
        if name in names:
            return name
    raise DataError(f"{path} has no column {' or '.join(wanted)}: {_WHERE}", wanted[0])


def _values(batch: Any, name: str, path: Path) -> npt.NDArray[Any]:
    column = batch.column(name)
    if column.null_count:
        raise DataError(f"column {name} of {path} has empty values: {_WHERE}", name)
    # A copy: arrays that cannot be written to are another type to compiled kernels.
    return np.array(column.to_numpy(zero_copy_only=False))


def _joined(parts: list[dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
