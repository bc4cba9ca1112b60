"""The alert files in a tarball, read from front to back; nothing is written to disk.

A tarball is not trusted: what its members and headers may take in memory, and how far it
may unfold, is bounded.
"""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from stream.alerts import RefusedReason
from stream.refusal import Refusal, shown
from stream.sources.parts import MAX_PACKET_BYTES

__all__ = ["Member", "Tarball"]

_MAX_HEADER_BYTES: Final = 2**20
_MAX_RATIO: Final = 100
"""A tarball may be so many times as long as its file: twice is usual, alerts are dense."""
_FREE_BYTES: Final = 2**30
"""The ratio counts from here on."""
_CHUNK_BYTES: Final = 2**20
_REGULAR: Final = (tarfile.REGTYPE, tarfile.AREGTYPE)


class Member(NamedTuple):
    """One message: an alert file, or what is wrong where one should be."""

    name: str
    value: bytes
    refusal: Refusal | None = None


class Tarball:
    """The members of a tarball, gzipped or not, that end in ``.avro``; the others are not alerts.

    Damage ends it with a last member that says so. `OSError` where the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = _Stream(path)

    @property
    def bytes_read(self) -> int:
        """Return how far the file on disk was read."""
        return self._stream.raw_position

    def members(self, start: int = 0) -> Iterator[Member]:
        """Yield the members from number ``start`` on; those before are only passed over."""
        number = 0
        try:
            for info in self._headers():
                if number >= start:
                    yield self._member(info)
                elif _is_packet(info):
                    # Damage must be met at the same number as when it was not passed over.
                    self._stream.seek(self._stream.tell() + info.size)
                number += 1
            self._stream.check_end()
        except Refusal as refusal:
            damage = refusal
        except Exception as error:  # tarfile and zlib meet hostile bytes with any error there is
            damage = _damaged(f"{error or 'it ends too early'} ({type(error).__name__})")
        else:
            return
        if number >= start:
            yield Member("", b"", damage)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _headers(self) -> Iterator[tarfile.TarInfo]:
        file: Any = self._stream
        with tarfile.TarFile(fileobj=file, mode="r") as archive:
            while (info := archive.next()) is not None:
                # Otherwise tarfile remembers every member there was.
                archive.members.clear()  # type: ignore[attr-defined]
                if info.size < 0:
                    raise _damaged(f"member {shown(info.name)} has a negative size")
                if info.name.endswith(".avro") and not info.isdir():
                    yield info

    def _member(self, info: tarfile.TarInfo) -> Member:
        if info.type not in _REGULAR:
            return Member(
                info.name,
                b"",
                Refusal(
                    RefusedReason.NOT_A_FILE,
                    f"the member of the tarball is no regular file but of type {info.type!r}, a "
                    "link for example: make the tarball with the files themselves "
                    "(tar --hard-dereference --dereference)",
                ),
            )
        if info.size > MAX_PACKET_BYTES:
            return Member(
                info.name,
                b"",
                Refusal(
                    RefusedReason.TOO_LARGE,
                    f"the member has {info.size} bytes, at most {MAX_PACKET_BYTES} are read",
                ),
            )
        value = self._stream.read_member(info.size)
        if len(value) < info.size:
            raise _damaged(f"it ends inside member {shown(info.name)}")
        return Member(info.name, value)


def _is_packet(info: tarfile.TarInfo) -> bool:
    return info.type in _REGULAR and info.size <= MAX_PACKET_BYTES


class _Stream:
    """Bytes of the unzipped tarball as tarfile reads them, forwards only."""

    def __init__(self, path: Path) -> None:
        self._raw = path.open("rb")
        zipped = self._raw.read(2) == b"\x1f\x8b"
        self._raw.seek(0)
        self._file: Any = gzip.GzipFile(fileobj=self._raw) if zipped else self._raw
        self._position = 0
        self._last = b""

    @property
    def raw_position(self) -> int:
        return self._raw.tell()

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        """Move forwards."""
        if position < self._position:
            raise _damaged("a header points backwards")
        while self._position < position:
            if not self.read_member(min(position - self._position, _CHUNK_BYTES)):
                raise _damaged("it ends inside a member")

    def read(self, size: int) -> bytes:
        """Return a header."""
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise _damaged(f"a header of {size} bytes, at most {_MAX_HEADER_BYTES} are read")
        self._last = self.read_member(size)
        return self._last

    def read_member(self, size: int) -> bytes:
        """Return the next bytes, fewer only at the end."""
        data: bytes = self._file.read(size)
        self._position += len(data)
        if self._position > max(_FREE_BYTES, _MAX_RATIO * self._raw.tell()):
            raise _damaged(f"it unfolds to more than {_MAX_RATIO} times its size")
        return data

    def check_end(self) -> None:
        """Refuse a tarball that does not end with its mark, or that goes on after it."""
        if self._last != bytes(tarfile.BLOCKSIZE):
            raise _damaged("it does not end with the mark of its end, or a header is damaged")
        while data := self.read_member(_CHUNK_BYTES):
            if data.count(0) < len(data):
                raise _damaged("something follows the mark of its end")

    def close(self) -> None:
        self._file.close()
        self._raw.close()


def _damaged(why: str) -> Refusal:
    return Refusal(RefusedReason.CORRUPT_ARCHIVE, f"the rest of the tarball cannot be read: {why}")
