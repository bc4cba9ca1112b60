"""Small ZTF packets made byte by byte, for what no real one shows."""

from __future__ import annotations

import json
import struct
from typing import Any

from tests.avro_bytes import long_bytes

__all__ = ["CANDIDATE", "ZTF", "container", "only_for_fastavro", "record", "ztf_record"]


def record(*fields: tuple[str, Any]) -> dict[str, Any]:
    return {
        "type": "record",
        "name": "Alert",
        "fields": [{"name": name, "type": kind} for name, kind in fields],
    }


ZTF = record(
    ("objectId", "string"),
    ("candid", "long"),
    (
        "candidate",
        {
            **record(
                *(("jd", "double"), ("fid", "int"), ("magpsf", "float"), ("sigmapsf", "float")),
                *(("isdiffpos", "string"), ("other", ["null", "float"])),
            ),
            "name": "candidate",
        },
    ),
)
CANDIDATE = struct.pack("<d", 2459000.5) + b"\x02" + struct.pack("<ff", 18.0, 0.1) + b"\x02t"


def container(schema: dict[str, Any], records: list[bytes]) -> bytes:
    """Return an Avro container of one block."""
    text = json.dumps(schema).encode()
    head = b"Obj\x01\x02\x16avro.schema" + long_bytes(len(text)) + text + b"\0"
    body = b"".join(records)
    return head + b"s" * 16 + long_bytes(len(records)) + long_bytes(len(body)) + body + b"s" * 16


def ztf_record(
    candid: int, candidate: bytes = CANDIDATE + b"\0", object_id: bytes = b"ZTF"
) -> bytes:
    return long_bytes(len(object_id)) + object_id + long_bytes(candid) + candidate


def only_for_fastavro(candid: int, name: str = "Odd", padding: int = 0) -> bytes:
    """Return a packet whose schema has an enum where a string is expected."""
    names = {"type": "enum", "name": "N", "symbols": ["ZTF"]}
    rest = {"name": "rest", "type": "bytes"}
    fields = [{"name": "objectId", "type": names}, *ZTF["fields"][1:], rest]
    body = b"\0" + ztf_record(candid)[len(b"\x06ZTF") :] + long_bytes(padding) + b"x" * padding
    return container({**ZTF, "name": name, "fields": fields}, [body])
