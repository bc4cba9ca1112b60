"""Avro object containers, the framing of ZTF alerts and of re-wrapped LSST ones.

A container is magic bytes, a metadata map with the writer schema, a sync
marker, and blocks that each end with the same marker (Avro specification 1.12,
"Object Container Files"). It is read to its end before a record of it is used:
a damaged container often begins with a record that looks whole.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NoReturn

import cramjam

from stream.alerts import RefusedReason
from stream.avro.framing import Block
from stream.avro.writer import MAX_SCHEMA_BYTES, WriterSchema
from stream.refusal import Refusal, shown

__all__ = ["MAGIC", "MAX_DECOMPRESSED_BYTES", "MAX_RATIO", "Header", "HeaderCache", "read_blocks"]

MAGIC: Final = b"Obj\x01"

MAX_DECOMPRESSED_BYTES: Final = 8 << 20
"""Most bytes that the compressed blocks of one message may unfold to, unless it is a large one.

The largest alerts known have 0.25 MB; records made of them can take 200 times as much.
"""

MAX_TOTAL_RATIO: Final = 5
"""Most times its size that a large message may unfold to: archives hold whole nights in one."""

MAX_RATIO: Final = 100
"""Most times its size that a compressed block may unfold to.

The alerts in tests/data unfold to 5 times at most; a kilobyte of deflate can claim a megabyte.
"""

_SYNC: Final = 16
_CODECS: Final = ("null", "deflate", "snappy")


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a container says, without its sync marker."""

    length: int
    """Bytes before the sync marker."""
    codec: str
    schema: WriterSchema


class HeaderCache:
    """Parse each distinct header once, and forget those that are long out of use.

    The key is the bytes of the header: the version numbers inside alerts are
    not reliable (ZTF's schema 3.3 alone has at least six texts).
    """

    def __init__(self, capacity: int = 64) -> None:
        self._capacity = capacity
        self._headers: OrderedDict[bytes, Header] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def known(self) -> dict[bytes, Header]:
        """Return the headers with their bytes."""
        return dict(self._headers)

    def used(self, header: bytes, times: int = 1) -> None:
        """Note that messages had a known header."""
        self._headers.move_to_end(header)
        self.hits += times

    def find(self, value: bytes) -> Header:
        """Return the header that a message starts with; `Refusal` when it has none."""
        for known in reversed(self._headers):
            if value.startswith(known):
                self.used(known)
                return self._headers[known]
        self.misses += 1
        header = _parse_header(value)
        if header.length <= 2 * MAX_SCHEMA_BYTES:
            self._headers[value[: header.length]] = header
        if len(self._headers) > self._capacity:
            self._headers.popitem(last=False)
        return header


def read_blocks(value: bytes, header: Header) -> Iterator[Block]:
    """Yield the blocks of a container, decompressed; `Refusal` for any damage of the framing.

    All of the framing is checked before the first block is yielded.
    """
    left = most = max(MAX_DECOMPRESSED_BYTES, MAX_TOTAL_RATIO * len(value))
    for block in _blocks(value, header.length):
        if header.codec != "null":
            packed = value[block.start : block.end]
            data = _decompressed(packed, header.codec, block.name, left, most)
            left -= len(data)
            block = replace(block, data=data, start=0, end=len(data))
        if block.n_records > block.end - block.start:
            _damaged(
                f"{block.name} claims {block.n_records} records in {block.end - block.start} bytes"
            )
        yield block


def _blocks(value: bytes, header_length: int) -> list[Block]:
    at = header_length + _SYNC
    sync = value[header_length:at]
    if len(sync) < _SYNC:
        _damaged("it ends inside the sync marker of its header")
    blocks: list[Block] = []
    while at < len(value):
        number = len(blocks) + 1
        count, at = _read_long(value, at)
        size, at = _read_long(value, at)
        if count < 0 or size < 0:
            _damaged(f"block {number} claims {count} records in {size} bytes")
        end = at + size
        if end + _SYNC > len(value):
            _damaged(
                f"block {number} at byte {at} and its sync marker need {size + _SYNC} bytes, "
                f"{len(value) - at} are left"
            )
        if value[end : end + _SYNC] != sync:
            _damaged(f"sync marker of block {number} at byte {end} does not match")
        blocks.append(Block(value, at, end, count, f"block {number}"))
        at = end + _SYNC
    return blocks


def _parse_header(value: bytes) -> Header:
    if not value.startswith(MAGIC):
        raise Refusal(RefusedReason.NOT_AVRO, "not an Avro container: magic bytes are missing")
    meta, length = _read_metadata(value, len(MAGIC))
    codec = meta.get(b"avro.codec", b"null").decode("ascii", "replace")
    if codec not in _CODECS:
        _damaged(f"its codec {shown(codec)} is not one of {', '.join(_CODECS)}")
    if b"avro.schema" not in meta:
        raise Refusal(RefusedReason.INVALID_SCHEMA, "container has no schema in its header")
    return Header(length, codec, WriterSchema.parse(meta[b"avro.schema"]))


def _read_metadata(value: bytes, at: int) -> tuple[dict[bytes, bytes], int]:
    meta: dict[bytes, bytes] = {}
    count, at = _read_long(value, at)
    while count:
        if count < 0:
            _, at = _read_long(value, at)
        for _ in range(abs(count)):
            key, at = _read_bytes(value, at)
            meta[key], at = _read_bytes(value, at)
        count, at = _read_long(value, at)
    return meta, at


def _read_bytes(value: bytes, at: int) -> tuple[bytes, int]:
    size, at = _read_long(value, at)
    if not 0 <= size <= len(value) - at:
        _damaged(f"its header claims {size} bytes at byte {at}, {len(value) - at} are left")
    return value[at : at + size], at + size


def _read_long(value: bytes, at: int) -> tuple[int, int]:
    number = 0
    for i, byte in enumerate(value[at : at + 10]):
        number |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at + i + 1
    _damaged(f"number at byte {at} does not end")


def _decompressed(data: bytes, codec: str, name: str, left: int, most: int) -> bytes:
    limit = min(left, MAX_RATIO * len(data))
    try:
        plain = _inflated(data, limit) if codec == "deflate" else _unsnapped(data, limit)
    except Exception as error:  # the codecs report damage each in its own way
        _damaged(f"{name} cannot be decompressed with {codec}: {error}")
    if len(plain) > limit:
        _damaged(
            f"{name} unfolds to more than {MAX_RATIO} times its size, or the message "
            f"to more than {most} bytes"
        )
    return plain


def _inflated(data: bytes, limit: int) -> bytes:
    """Return raw deflate data unfolded, cut just above ``limit``."""
    stream = zlib.decompressobj(wbits=-15)
    plain = stream.decompress(data, limit + 1)
    # fastavro leaves most of zlib's checksum behind the deflate data.
    if len(plain) <= limit and (not stream.eof or len(stream.unused_data) > 4):
        raise ValueError("its data end too early or too late")
    return plain


def _unsnapped(data: bytes, limit: int) -> bytes:
    """Return a snappy block unfolded; it ends with a CRC-32 of the plain bytes."""
    if cramjam.snappy.decompress_raw_len(data[:-4]) > limit:
        raise ValueError(f"more than {limit} bytes")
    plain = bytes(cramjam.snappy.decompress_raw(data[:-4]))
    if zlib.crc32(plain).to_bytes(4, "big") != data[-4:]:
        raise ValueError("its checksum does not match")
    return plain


def _damaged(what: str) -> NoReturn:
    raise Refusal(RefusedReason.CORRUPT_CONTAINER, f"container is damaged: {what}")
