"""CSV files of public data sets, plain, gzipped or zipped, read in a stream."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv as pc

from models.errors import DataError

__all__ = ["csv_batches", "csv_columns", "found_csv"]

_ENDINGS: Final = (".csv", ".csv.gz", ".csv.zip")
_BLOCK_BYTES: Final = 4 * 2**20


def found_csv(folder: Path, stems: Sequence[str], where: str) -> list[Path]:
    """Return the files of the first stem that has any, in order of their numbers.

    Stems may hold ``*``; of several forms of a file, the plain one, then ``.gz``, is taken.
    Raise `DataError`, saying ``where`` to get them, when there is none.
    """
    for stem in stems:
        found: dict[str, Path] = {}
        for ending in _ENDINGS:
            for path in folder.glob(f"{stem}{ending}"):
                found.setdefault(path.name.removesuffix(ending), path)
        if found:
            return [found[name] for name in sorted(found, key=lambda name: (len(name), name))]
    names = " or ".join(f"{stem}{_ENDINGS[0]}" for stem in stems)
    raise DataError(f"{folder} has no {names} (nor .gz, .zip): {where}", folder)


def csv_columns(path: Path) -> list[str]:
    """Return the names in the first line of a file."""
    with _opened(path) as stream:
        block = b""
        while b"\n" not in block and (more := stream.read(4096)):
            block += more
    line = block.partition(b"\n")[0].decode("utf-8", "replace")
    return [name.strip().strip('"') for name in line.strip("\ufeff\r").split(",")]


def csv_batches(path: Path, types: Mapping[str, pa.DataType], where: str) -> Iterator[Any]:
    """Yield record batches of some columns of a file, a few megabytes at a time.

    Raise `DataError`, saying ``where`` to get a good one, for values of other types.
    """
    names = csv_columns(path)
    missing = [name for name in types if name not in names]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}: {where}", missing)
    try:
        with _opened(path) as stream:
            yield from pc.open_csv(
                stream,
                # Threads read ahead as far as memory goes.
                pc.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
                convert_options=pc.ConvertOptions(
                    column_types=dict(types), include_columns=list(types)
                ),
            )
    except (pa.ArrowInvalid, EOFError) as error:
        raise DataError(f"cannot read {path} ({error}): {where}", path) from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file, unpacked, as a stream of Arrow."""
    with ExitStack() as stack:
        try:
            yield _stream(path, stack)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"cannot read {path}: {error}", path) from error


def _stream(path: Path, stack: ExitStack) -> Any:
    if path.suffix != ".zip":
        return stack.enter_context(pa.input_stream(str(path), compression="detect"))
    archive = stack.enter_context(zipfile.ZipFile(path))
    members = [name for name in archive.namelist() if name.endswith(".csv")]
    if len(members) != 1:
        raise DataError(f"{path} must hold one CSV file, it holds {members}", members)
    member = stack.enter_context(archive.open(members[0]))
    return stack.enter_context(pa.PythonFile(member, mode="r"))
