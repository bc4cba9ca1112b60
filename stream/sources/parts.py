"""What an archive consists of: files found, and cut into parts that are read independently.

A part is a run of small alert files, a tarball, or some row groups of a Parquet file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from models.errors import ConfigurationError
from stream.nested import survey_of
from stream.surveys import SURVEYS
from stream.surveys.survey import Survey

__all__ = ["MAX_PACKET_BYTES", "Form", "Part", "alert_files", "plan", "shown_path"]

MAX_PACKET_BYTES: Final = 512 * 2**20
"""Largest file or member of a tarball that is read; it is in memory as a whole."""

_TARBALLS: Final = (".tar", ".tar.gz", ".tgz")
_PARQUET: Final = ".parquet"
_ENDINGS: Final = (".avro", *_TARBALLS, _PARQUET)
_PART_BYTES: Final = 512 * 2**20
_PACKET_COLUMNS: Final = ("value", "alert", "packet", "payload", "content")
"""Binary columns that hold packets, the likeliest first, where a table has several."""
_ALL: Final = tuple(survey.name for survey in SURVEYS)


class Form(StrEnum):
    """How a part holds its alerts."""

    FILES = "files"
    TARBALL = "tarball"
    PACKETS = "packets"
    """Parquet with one packet a row."""
    ROWS = "rows"
    """Parquet with one decoded alert a row."""


@dataclass(frozen=True, slots=True)
class Part:
    """Messages that one reader takes in order, numbered from 0."""

    form: Form
    paths: tuple[Path, ...]
    """Several only of `Form.FILES`, which are one message each."""
    n_bytes: int
    """Size on disk."""
    identity: str
    """Digest of the names, sizes and times of the files."""
    row_groups: tuple[int, ...] = ()
    n_rows: int = 0
    """Rows of Parquet."""
    first_row: int = 0
    """Row of the Parquet file that the part begins with."""
    columns: tuple[str, ...] = ()
    """Columns, or leaves of nested ones, that are read of a Parquet file."""

    @property
    def n_messages(self) -> int | None:
        """Return the number of its messages where that is known, unless damage cuts it short."""
        if self.form is Form.TARBALL:
            return None
        return len(self.paths) if self.form is Form.FILES else self.n_rows


def alert_files(paths: Iterable[Path], out: Path | None = None) -> list[Path]:
    """Return the files that are named and, sorted, those of alerts below folders.

    ``out``, where the output will be, is left out of folders; `ConfigurationError` when it is
    named.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = list(_files_below(path, out))
            if not found:
                raise ConfigurationError(
                    f"no alert files (*{', *'.join(_ENDINGS)}) below {path}", path
                )
            files += found
        elif path.is_file():
            if out is not None and out.exists() and path.samefile(out):
                raise ConfigurationError(
                    f"{path} is input and output: name another file to write to", path
                )
            files.append(path)
        else:
            raise ConfigurationError(f"no such file or folder: {path}", path)
    return files


def plan(
    paths: Iterable[Path],
    surveys: Sequence[str] = _ALL,
    max_messages: int = 32_768,
    out: Path | None = None,
) -> list[Part]:
    """Return the parts of an archive, in order.

    ``max_messages`` is about how many files or rows a part has; a row group or a tarball is
    never cut. `ConfigurationError` for what is not there or holds no alerts.
    """
    parts: list[Part] = []
    group = _Group(max_messages)
    for path in alert_files(paths, out):
        size, identity = _stat(path)
        if path.name.endswith((*_TARBALLS, _PARQUET)):
            parts += group.close()
        if path.name.endswith(_TARBALLS):
            parts.append(Part(Form.TARBALL, (path,), size, identity))
        elif path.name.endswith(_PARQUET):
            parts += _parquet_parts(path, size, identity, surveys, max_messages)
        else:
            parts += group.add(path, size, identity)
    return parts + group.close()


def shown_path(path: Path | str) -> str:
    """Return a path as text that every output format can hold."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _files_below(folder: Path, out: Path | None) -> Iterator[Path]:
    """Yield the alert files below a folder, in order of their names folder by folder."""
    # An archive has a million files: pathlib's own search and order take longer than to read them.
    for name, folders, files in os.walk(folder):
        folders[:] = sorted(x for x in folders if not _is_same(f"{name}/{x}", out))
        for file in sorted(files):
            # Writers of Parquet keep notes of their own in files that begin so.
            is_note = file.startswith(("_", ".")) and file.endswith(_PARQUET)
            full = f"{name}/{file}"
            wanted = file.endswith(_ENDINGS) and not is_note and not _is_same(full, out)
            if wanted and os.path.isfile(full):  # noqa: PTH113
                yield Path(full)


def _is_same(path: str, out: Path | None) -> bool:
    if out is None or not path.endswith(f"/{out.name}") or not out.exists():
        return False
    return out.samefile(path)


class _Group:
    """Small files on their way to a part."""

    def __init__(self, max_messages: int) -> None:
        self._max_messages = max_messages
        self._paths: list[Path] = []
        self._n_bytes = 0
        self._digest = sha256()

    def add(self, path: Path, size: int, identity: str) -> list[Part]:
        """Add a file; return the part that is full before it, if one is."""
        full = len(self._paths) >= self._max_messages or self._n_bytes + size > _PART_BYTES
        parts = self.close() if full else []
        self._paths.append(path)
        self._n_bytes += size
        self._digest.update(identity.encode())
        return parts

    def close(self) -> list[Part]:
        """Return the files so far as a part, if there are any, and begin anew."""
        part = Part(Form.FILES, tuple(self._paths), self._n_bytes, self._digest.hexdigest())
        self._paths, self._n_bytes, self._digest = [], 0, sha256()
        return [part] if part.paths else []


def _stat(path: Path) -> tuple[int, str]:
    """Return the size of a file, bytes, and a digest of what it is."""
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}", path) from error
    named = f"{shown_path(path)}\0{status.st_size}\0{status.st_mtime_ns}"
    return status.st_size, sha256(named.encode()).hexdigest()


def _parquet_parts(
    path: Path, size: int, identity: str, surveys: Sequence[str], max_messages: int
) -> Iterator[Part]:
    """Yield parts of whole row groups with at least ``max_messages`` rows, but the last."""
    try:
        with pq.ParquetFile(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
            leaves = [file.schema.column(i).path for i in range(len(file.schema))]
    except (OSError, pa.ArrowException) as error:
        raise ConfigurationError(
            f"cannot read {path} as Parquet: repair it or take it out of the archive ({error})",
            path,
        ) from error
    form, columns = _columns(path, schema, leaves, surveys)
    whole = Part(form, (path,), size, identity, columns=columns)
    groups: list[int] = []
    first = rows = 0
    for i in range(metadata.num_row_groups):
        groups.append(i)
        rows += metadata.row_group(i).num_rows
        if rows >= max_messages or i == metadata.num_row_groups - 1:
            share = size * rows // max(metadata.num_rows, 1)
            yield replace(
                whole, row_groups=tuple(groups), n_rows=rows, first_row=first, n_bytes=share
            )
            groups, first, rows = [], first + rows, 0


def _columns(
    path: Path, schema: pa.Schema, leaves: Sequence[str], surveys: Sequence[str]
) -> tuple[Form, tuple[str, ...]]:
    """Tell what a table holds, and which of its columns are read."""
    survey = survey_of(schema, surveys)
    if survey is not None:
        return Form.ROWS, tuple(leaf for leaf in leaves if _is_read(leaf, survey))
    binary = [
        f.name for f in schema if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)
    ]
    named = [name for name in _PACKET_COLUMNS if name in binary]
    if named or len(binary) == 1:
        return Form.PACKETS, ((named or binary)[0],)
    raise ConfigurationError(
        f"{path} holds no alerts: its columns are neither nested ones of {' or '.join(surveys)} "
        f"(candidate, diaSource) nor one of packets (binary, for example called "
        f"{_PACKET_COLUMNS[0]}), but {', '.join(schema.names[:20])}",
        path,
    )


def _is_read(leaf: str, survey: Survey) -> bool:
    """Tell whether a survey reads a leaf such as ``prv_candidates.list.element.jd``."""
    names = leaf.split(".")
    first, last = names[0], names[-1]
    if len(names) == 1:
        return any(first in used.fields for used in survey.uses if not used.path)
    return any(
        first == used.path and last in used.fields and (len(names) == 2 or used.repeated)
        for used in survey.uses
    )
