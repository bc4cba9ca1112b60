"""Archives for tests."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

__all__ = ["add_member", "link_alerts", "write_tarball"]


def write_tarball(
    path: Path,
    values: Iterable[bytes],
    then: Callable[[tarfile.TarFile], None] = lambda archive: None,
) -> Path:
    """Write alerts as members of a tarball, gzipped if its name says so; return its path."""
    with tarfile.open(path, "w:gz" if path.suffix.endswith("gz") else "w") as archive:
        for i, value in enumerate(values):
            add_member(archive, f"night/{i:06}.avro", value)
        then(archive)
    return path


def add_member(archive: tarfile.TarFile, name: str, value: bytes = b"", **about: Any) -> None:
    """Add a member; ``about`` changes what its header says."""
    info = tarfile.TarInfo(name)
    info.size = len(value)
    for key, said in about.items():
        setattr(info, key, said)
    archive.addfile(info, io.BytesIO(value))


def link_alerts(folder: Path, originals: Iterable[Path], n: int) -> Path:
    """Fill a folder with n alert files that are hard links to copies of the originals."""
    store = folder.with_name(f"{folder.name}-originals")
    store.mkdir(parents=True)
    copies = []
    for i, original in enumerate(originals):
        copies.append(store / f"{i:03}")
        copies[-1].write_bytes(original.read_bytes())
    for i in range(n):
        below = folder / f"{i // 1000:04}"
        if not i % 1000:
            below.mkdir(parents=True)
        os.link(copies[i % len(copies)], below / f"{i:07}.avro")
    return folder
