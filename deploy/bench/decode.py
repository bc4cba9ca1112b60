"""From message bytes to an `AlertBatch`: the decoder against fastavro.

fastavro returns a Python dict for each record and stops there; ours returns
the columns that classification needs. It is given the place of the record and
the parsed schema; other rows let it parse the schema for every message, as a
reader of containers does. The row with memcpy shows the lower bound: to copy a
message once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import fastavro
from rich.progress import Progress

from deploy.bench.alerts import copies, messages
from deploy.bench.fastavro_peer import FastavroReader, Framed
from deploy.bench.measure import Result, time_per_alert
from deploy.settings import Settings
from deploy.wiring import open_decoder
from models.errors import TinyT2Error
from models.timing import Task, interleave
from stream.decode import Decoder
from stream.sources.memory import message_batch

__all__ = ["measure"]

_CACHED = "fastavro, cached schema"
_CONTAINER = "fastavro.reader, schema parsed each time"
_PARSED = "fastavro, schema parsed each time"
_MEMCPY = "memcpy of the message"
_LONG = 128
"""A message of seven alerts with long histories takes fastavro as long as this many others."""

Read = Callable[[Framed, bytes], list[Any]]


def measure(progress: Progress, rounds: int, alerts: int) -> list[Result]:
    """Decode batches of so many alerts, every so often."""
    v3, v4 = messages("ztf/3.3"), messages("ztf/4.02")
    results = _survey(progress, "decode_ztf", v3 + v4, rounds, alerts, container=True)
    for version, values in (("4.02", v4), ("3.3", v3)):
        batch = _Batch(values, alerts)
        tasks = {"ours": batch.ours(), "theirs": batch.theirs(Framed.read)}
        name = f"decode_ztf_{version}"
        taken = interleave(tasks, rounds, progress, name)
        results.append(time_per_alert(name, taken["ours"], _CACHED, taken["theirs"]))
    lsst = messages("lsst/9.0/confluent")
    results += _survey(progress, "decode_lsst", lsst, rounds, alerts, container=False)
    long = _Batch(messages("lsst/10.0"), max(1, alerts // _LONG))
    tasks = {"ours": long.ours(), "theirs": long.theirs(Framed.read)}
    taken = interleave(tasks, rounds, progress, "decode_lsst_long")
    results.append(time_per_alert("decode_lsst_long", taken["ours"], _CACHED, taken["theirs"]))
    return results


def _survey(
    progress: Progress, name: str, values: list[bytes], rounds: int, alerts: int, container: bool
) -> list[Result]:
    """Return the rows of a survey's messages against every peer."""
    batch = _Batch(values, alerts)
    parsing = Framed.read_parsing if not container else _read_container
    tasks = {
        "ours": batch.ours(),
        "cached": batch.theirs(Framed.read),
        "parsing": batch.theirs(parsing),
        "memcpy": batch.memcpy(),
    }
    taken = interleave(tasks, rounds, progress, name)
    parser = _CONTAINER if container else _PARSED
    return [
        time_per_alert(name, taken["ours"], _CACHED, taken["cached"]),
        time_per_alert(f"{name}_vs_parsing", taken["ours"], parser, taken["parsing"]),
        time_per_alert(f"{name}_vs_memcpy", taken["ours"], _MEMCPY, taken["memcpy"]),
    ]


def _read_container(framed: Framed, value: bytes) -> list[Any]:
    return list(fastavro.reader(BytesIO(value)))


class _Batch:
    """Messages that both sides decode to the same alerts."""

    def __init__(self, values: Sequence[bytes], n: int) -> None:
        self.values = copies(values, n)
        reader = FastavroReader()
        self._framed = [reader.open(value) for value in self.values]
        self._decoder: Decoder = open_decoder(Settings())
        self._messages = message_batch(self.values)
        self.alerts = self._check()

    def ours(self) -> Task:
        """Return the task for our decoder."""
        return Task(lambda: self._decoder.decode(self._messages), self.alerts)

    def theirs(self, read: Read) -> Task:
        """Return the task for fastavro."""

        def run() -> None:
            for framed, value in zip(self._framed, self.values, strict=True):
                read(framed, value)

        return Task(run, self.alerts)

    def memcpy(self) -> Task:
        """Return the task of copying every message once, to a place that is there already."""
        place = memoryview(bytearray(max(map(len, self.values))))

        def run() -> None:
            for value in self.values:
                place[: len(value)] = value

        return Task(run, self.alerts)

    def _check(self) -> int:
        """Return the number of alerts; `TinyT2Error` if the two sides differ in their ids."""
        ours = self._decoder.decode(self._messages).source_id.tolist()
        theirs = [
            _source_id(record)
            for framed, value in zip(self._framed, self.values, strict=True)
            for record in framed.read(value)
        ]
        if ours != theirs:
            raise TinyT2Error("fastavro and tinyt2 decode different alerts", (ours, theirs))
        return len(ours)


def _source_id(record: dict[str, Any]) -> int:
    source: int = record["candid"] if "candid" in record else record["diaSource"]["diaSourceId"]
    return source
