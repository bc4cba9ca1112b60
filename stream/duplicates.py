"""Alerts that came before, in another message: found in a window of bounded memory.

The window is two tables of alerts that were seen, filled by turns: when the newer
one has ``window`` alerts, it becomes the older one, whose place is emptied. So the last
``window`` alerts at least, and twice as many at most, are known. A table is an open hash
of (alert id and survey, where the alert stands); 64 bytes for each alert of the window.

An alert that is read again from the same place, after a failed delivery for example, is
not a duplicate of itself.

Notation: n alerts, C slots of a table.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.jit import compiled, inlined
from stream.alerts import AlertBatch, MessageBatch

# ruff: noqa: ANN001 (numba infers the types of the kernels)

__all__ = ["DuplicateWindow"]

_EMPTY: Final = np.int64(-(2**63))
_PROBES: Final = 32
"""Slots that are looked at: ids made to collide cost no more than that, but are forgotten."""
_GOLDEN: Final = 0x9E3779B97F4A7C15
_MASK: Final = 2**64 - 1


class DuplicateWindow:
    """The last ``window`` alerts at least, by id and survey."""

    def __init__(self, window: int) -> None:
        self.window = window
        capacity = 1 << max(4, (2 * window - 1).bit_length())
        # Filled, not only reserved: the memory of a service must not grow over the night.
        self._new, self._old = (np.full((capacity, 2), _EMPTY, np.int64) for _ in range(2))
        self._n_new = 0
        self._mark(np.zeros(0, np.int64), np.zeros(0, np.int64))

    @property
    def n_bytes(self) -> int:
        """Return the memory that is taken, for good."""
        return int(self._new.nbytes + self._old.nbytes)

    def mark(self, messages: MessageBatch, alerts: AlertBatch) -> npt.NDArray[np.bool_]:
        """Return [n] True where the id came before in another message, and remember all."""
        return self._mark(_keys(alerts), _places(messages, alerts))

    def _mark(
        self, key: npt.NDArray[np.int64], place: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        repeated = np.zeros(len(key), np.bool_)
        key = np.where(key == _EMPTY, _EMPTY + np.int64(1), key)
        at = 0
        while True:
            left = self.window - self._n_new
            at, added = _look_up(key, place, at, left, self._new, self._old, repeated)
            self._n_new += added
            if at == len(key):
                return repeated
            self._new, self._old = self._old, self._new
            self._new.fill(_EMPTY)
            self._n_new = 0


def _keys(alerts: AlertBatch) -> npt.NDArray[np.int64]:
    """Return [n] the alert id, told apart by survey."""
    names = alerts.survey.dictionary.to_pylist()
    salt = np.array([_text_hash(name) for name in names] or [0], np.uint64)
    mixed = alerts.alert_id.view(np.uint64) ^ salt[alerts.survey.indices.to_numpy()]
    key: npt.NDArray[np.int64] = mixed.view(np.int64)
    return key


def _places(messages: MessageBatch, alerts: AlertBatch) -> npt.NDArray[np.int64]:
    """Return [n] a number for topic, partition, offset, and which alert of the message it is."""
    topics = messages.topics()
    topic = np.array([_text_hash(x) for x in topics.dictionary.to_pylist()] or [0], np.uint64)
    of_message = (
        topic[topics.indices.to_numpy()]
        + messages.partition.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03)
        + messages.offset.view(np.uint64) * np.uint64(_GOLDEN)
    )
    place = of_message[alerts.message] + _number_in_message(alerts.message) * np.uint64(
        0x8CB92BA72F3D8DD7
    )
    result: npt.NDArray[np.int64] = place.view(np.int64)
    return result


def _number_in_message(message: npt.NDArray[np.int32]) -> npt.NDArray[np.uint64]:
    """Return [n] 0, 1, ... for the alerts of each message, whatever their order."""
    order = np.argsort(message, kind="stable")
    ordered = message[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else ordered
    counts = np.diff(np.r_[starts, len(ordered)]).astype(np.int64)
    number = np.empty(len(message), np.uint64)
    number[order] = np.arange(len(message)) - np.repeat(starts, counts)
    return number


def _text_hash(text: str) -> int:
    """Return FNV-1a of a text: the same in every process, unlike Python's own."""
    value = 0xCBF29CE484222325
    for byte in text.encode("utf-8", "surrogatepass"):
        value = ((value ^ byte) * 0x100000001B3) & _MASK
    return value


@inlined
def _slot(key, capacity) -> Any:  # type: ignore[no-untyped-def]
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(32)
    return np.int64(mixed & np.uint64(capacity - 1))


@inlined
def _find(table, key) -> Any:  # type: ignore[no-untyped-def]
    """Return the slot of a key; if it has none, -1 minus that of a free one, or minus C."""
    capacity = len(table)
    slot = _slot(key, capacity)
    for _ in range(_PROBES):
        if table[slot, 0] == key:
            return slot
        if table[slot, 0] == _EMPTY:
            return -1 - slot
        slot = (slot + 1) & (capacity - 1)
    return -1 - capacity


@compiled
def _look_up(key, place, at, left, new, old, repeated) -> Any:  # type: ignore[no-untyped-def]
    """Look up and remember alerts from ``at`` on, until ``left`` of them are new.

    Return where it stopped and how many were new.
    """
    added = 0
    while at < len(key):
        slot = _find(new, key[at])
        if slot >= 0:
            repeated[at] = new[slot, 1] != place[at]
            at += 1
            continue
        if added == left:
            return at, added
        known = _find(old, key[at])
        seen = place[at]
        if known >= 0:
            repeated[at] = old[known, 1] != place[at]
            seen = old[known, 1]
        free = -1 - slot
        if free < len(new):
            new[free, 0] = key[at]
            new[free, 1] = seen
        added += 1
        at += 1
    return at, added
