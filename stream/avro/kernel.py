"""Run compiled schemas over the bytes of many messages: the hot loop of decoding.

Every read is checked against the end of its record, every write against the end
of its column: damaged bytes give a `Fault`, whatever they are. A loop comes to an
end because no item of a safe schema takes no bytes (`stream.avro.writer`).
"""

# ruff: noqa: ANN001, ANN201, ANN202 (numba infers the types of the kernels)

from __future__ import annotations

from typing import Final

import numpy as np

from models.jit import compiled, inlined
from stream.avro.cells import (
    ABSENT,
    SYMBOL_BYTES,
    TEXT_BYTES,
    TOO_LONG,
    UNUSABLE,
    VALUE,
    Event,
    Fault,
)
from stream.avro.memory import compare, memory_of, operand, uint8s
from stream.avro.program import Op
from stream.avro.writer import MAX_NESTING

__all__ = ["read_messages", "read_records"]

_SYNC_BYTES: Final = 16
_CONFLUENT_BYTES: Final = 5


@inlined
def _long(data, at, end):  # type: ignore[no-untyped-def]
    """Return a zigzag-coded number and the position behind it."""
    number = np.uint64(0)
    shift = np.uint64(0)
    while at < end:
        byte = np.uint64(data[at])
        at += 1
        number |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            sign = np.int64(number & np.uint64(1))
            return np.int64(number >> np.uint64(1)) ^ -sign, np.int64(at)
        shift += np.uint64(7)
        if shift > np.uint64(63):
            return np.int64(0), np.int64(-Fault.BAD_LONG)
    return np.int64(0), np.int64(-Fault.TRUNCATED)


@inlined
def _length(data, at, end):  # type: ignore[no-untyped-def]
    """Return the length of what fits between the position behind it and the end."""
    length, at = _long(data, at, end)
    if at >= 0 and length < 0:
        return length, np.int64(-Fault.BAD_LENGTH)
    if at >= 0 and length > end - at:
        return length, np.int64(-Fault.TRUNCATED)
    return length, at


@inlined
def _index(data, at, end, n):  # type: ignore[no-untyped-def]
    """Return the index of one of n branches or symbols, and the position behind it."""
    index, at = _long(data, at, end)
    if at >= 0 and not 0 <= index < n:
        return np.int64(0), np.int64(-Fault.BAD_INDEX)
    return index, at


@inlined
def _block_count(data, at, end):  # type: ignore[no-untyped-def]
    """Return how many items the next block of an array or map has, 0 at its end."""
    count, at = _long(data, at, end)
    if at >= 0 and count < 0:
        # The size in bytes follows, for readers that skip: fastavro trusts the items, so do we.
        _, at = _long(data, at, end)
        count = -count
        if count < 0:
            return np.int64(0), np.int64(-Fault.BAD_LENGTH)
    if at >= 0 and count > end - at:
        return np.int64(0), np.int64(-Fault.TRUNCATED)
    return count, at


@inlined
def _optional(data, at, end, size, index, count):  # type: ignore[no-untyped-def]
    """Skip unions of null and ``size`` bytes; return the position and how many were skipped."""
    present, absent = np.uint8(2 * index), np.uint8(2 - 2 * index)
    start = at
    # Where all of them fit, whatever they are: no branch that the processor has to guess.
    if count * (size + 1) <= end - at:
        strange = False
        for _ in range(count):
            byte = data[at]
            strange |= (byte != present) & (byte != absent)
            at += 1 + size * (byte == present)
        if not strange:
            return at, count
    at = start
    for done in range(count):
        branch, at = _index(data, at, end, 2)
        if at >= 0 and branch == index:
            at = at + size if size <= end - at else np.int64(-Fault.TRUNCATED)
        if at < 0:
            return at, done
    return at, count


@inlined
def _optional_longs(data, at, end, index, count):  # type: ignore[no-untyped-def]
    """Skip unions of null and a number; return the position and how many were skipped."""
    for done in range(count):
        branch, at = _index(data, at, end, 2)
        if at >= 0 and branch == index:
            _, at = _long(data, at, end)
        if at < 0:
            return at, done
    return at, count


@inlined
def _skip(op, data, at, end, memory, pc):  # type: ignore[no-untyped-def]
    """Skip a value; return the position and, of several values, how many were skipped."""
    a = operand(memory, pc, 1)
    if op == Op.OPTIONAL:
        return _optional(data, at, end, a, operand(memory, pc, 2), operand(memory, pc, 3))
    if op == Op.OPTIONAL_LONG:
        return _optional_longs(data, at, end, operand(memory, pc, 2), operand(memory, pc, 3))
    if op == Op.SKIP:
        return (at + a if a <= end - at else np.int64(-Fault.TRUNCATED)), np.int64(0)
    if op == Op.SKIP_LONG:
        return _long(data, at, end)[1], np.int64(0)
    if op == Op.SKIP_BYTES:
        length, at = _length(data, at, end)
        return (at + length if at >= 0 else at), np.int64(0)
    return _index(data, at, end, a)[1], np.int64(0)


@inlined
def _is_utf8(data, at, end):  # type: ignore[no-untyped-def]
    """Tell whether bytes are UTF-8 (RFC 3629)."""
    while at < end:
        lead = data[at]
        if lead < 0x80:
            at += 1
            continue
        n = 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
        if lead < 0xC2 or lead > 0xF4 or at + n >= end:
            return False
        low = 0xA0 if lead == 0xE0 else 0x90 if lead == 0xF0 else 0x80
        high = 0x9F if lead == 0xED else 0x8F if lead == 0xF4 else 0xBF
        if not low <= data[at + 1] <= high:
            return False
        for k in range(2, n + 1):
            if data[at + k] & 0xC0 != 0x80:
                return False
        at += n + 1
    return True


@inlined
def _store_symbol(data, at, length, memory, cell):  # type: ignore[no-untyped-def]
    """Pack a short text into a cell, as `stream.avro.program.pack_symbol` does."""
    if length > SYMBOL_BYTES:
        memory.state[cell] = TOO_LONG
        return at + length
    packed = np.int64(length)
    for k in range(length):
        packed |= np.int64(data[at + k]) << np.int64(8 * (k + 1))
    memory.values[cell] = packed
    return at + length


@inlined
def _store_text(data, at, length, memory, cell):  # type: ignore[no-untyped-def]
    """Copy a text to those of the columns."""
    if length > TEXT_BYTES:
        memory.state[cell] = TOO_LONG
        return at + length
    offset = memory.n_text[0]
    if offset + length > memory.text_capacity:
        return np.int64(-Fault.FULL)
    for k in range(length):
        memory.text[offset + k] = data[at + k]
    memory.n_text[0] = offset + length
    memory.values[cell] = offset << np.int64(32) | length
    return at + length


@inlined
def _store_string(op, data, at, end, memory, cell):  # type: ignore[no-untyped-def]
    length, at = _length(data, at, end)
    if at < 0:
        return at
    if not _is_utf8(data, at, at + length):
        return np.int64(-Fault.BAD_UTF8)
    if op == Op.SYMBOL:
        return _store_symbol(data, at, length, memory, cell)
    return _store_text(data, at, length, memory, cell)


@inlined
def _store_long(op, data, at, end, memory, cell):  # type: ignore[no-untyped-def]
    number, at = _long(data, at, end)
    if op == Op.INTEGER:
        memory.values[cell] = number
    else:
        memory.numbers[cell] = np.float64(number)
    return at


@inlined
def _store_fixed(op, data, at, end, memory, cell):  # type: ignore[no-untyped-def]
    """Store a float, double or boolean."""
    size = 4 if op == Op.FLOAT else 8 if op == Op.DOUBLE else 1
    if size > end - at:
        return np.int64(-Fault.TRUNCATED)
    bits = np.uint64(0)
    for k in range(size):
        bits |= np.uint64(data[at + k]) << np.uint64(8 * k)
    if op == Op.DOUBLE:
        memory.values[cell] = np.int64(bits)
    elif op == Op.FLOAT:
        memory.numbers[cell] = np.float64(np.uint32(bits).view(np.float32))
    else:
        memory.values[cell] = 1 | (ord("t") if bits else ord("f")) << 8
    return at + size


@inlined
def _store_enum(data, at, end, memory, pc, cell):  # type: ignore[no-untyped-def]
    """Store the symbol that the table behind the next instruction has for an index."""
    index, at = _index(data, at, end, operand(memory, pc, 2))
    if at >= 0:
        low = np.int64(np.uint32(operand(memory, pc + 2 + index, 1)))
        high = operand(memory, pc + 2 + index, 2)
        memory.values[cell] = low | high << np.int64(32)
        if not operand(memory, pc + 2 + index, 3):
            memory.state[cell] = TOO_LONG
    return at


@inlined
def _store(op, data, at, end, memory, pc, row):  # type: ignore[no-untyped-def]
    """Store a value; return the position behind it."""
    cell = operand(memory, pc, 1) * memory.capacity + row
    memory.state[cell] = VALUE
    if op == Op.FLOAT or op == Op.DOUBLE or op == Op.BOOLEAN:
        return _store_fixed(op, data, at, end, memory, cell)
    if op == Op.INTEGER or op == Op.LONG_NUMBER:
        return _store_long(op, data, at, end, memory, cell)
    if op == Op.SYMBOL or op == Op.TEXT:
        return _store_string(op, data, at, end, memory, cell)
    if op == Op.ENUM:
        return _store_enum(data, at, end, memory, pc, cell)
    memory.state[cell] = UNUSABLE
    return at


@inlined
def _begin_row(memory, pc, parent):  # type: ignore[no-untyped-def]
    """Return the new row of a table, its cells absent; negative when the table is full."""
    table, slot = operand(memory, pc, 1), operand(memory, pc, 2)
    row = memory.n_rows[table]
    if row >= memory.capacity:
        return np.int64(-Fault.FULL)
    memory.n_rows[table] = row + 1
    memory.parent[table * memory.capacity + row] = np.int32(parent)
    for k in range(slot, slot + operand(memory, pc, 3)):
        memory.state[k * memory.capacity + row] = ABSENT
    return row


@inlined
def _next(data, at, end, memory, depth):  # type: ignore[no-untyped-def]
    """Return whether a loop has another item, and the position where that begins."""
    if memory.loops[depth] == 0:
        memory.loops[depth], at = _block_count(data, at, end)
    if at < 0 or memory.loops[depth] == 0:
        return False, at
    memory.loops[depth] -= 1
    return True, at


@compiled
def _read_record(data, at, end, memory, entry, message):  # type: ignore[no-untyped-def]
    """Read one record; return the position behind it, or -1 with the fault written down."""
    pc = np.int64(entry)
    depth = np.int64(0)
    which = np.int64(0)
    start = at
    alert = row = _begin_row(memory, pc, message)
    at = at if row >= 0 else row
    while at >= 0:
        pc += 1
        start = at
        op = memory.code[4 * pc]
        if op >= Op.FLOAT:
            at = _store(op, data, at, end, memory, pc, row)
        elif op >= Op.SKIP:
            at, which = _skip(op, data, at, end, memory, pc)
        elif op == Op.PRESENT:
            index, at = _index(data, at, end, np.int64(2))
            if at >= 0 and index != operand(memory, pc, 2):
                pc += operand(memory, pc, 1) - 1
        elif op == Op.UNION:
            index, at = _index(data, at, end, operand(memory, pc, 1))
            pc += index
        elif op == Op.JUMP:
            pc += operand(memory, pc, 1) - 1
        elif op == Op.NEXT:
            another, at = _next(data, at, end, memory, depth)
            if not another and at >= 0:
                depth -= 1
                row = alert if operand(memory, pc, 2) else row
                pc += operand(memory, pc, 1) - 1
        elif op == Op.LOOP:
            depth += 1
            memory.loops[depth] = 0
        elif op == Op.ROW:
            row = _begin_row(memory, pc, alert)
            at = at if row >= 0 else row
        elif op == Op.END:
            return at
        else:
            at = np.int64(-Fault.WRONG_TYPE)
    memory.fault[0], memory.fault[1], memory.fault[2], memory.fault[3] = -at, start, pc, which
    return np.int64(-1)


@compiled
def _cut_back(cells, n_rows, n_text):  # type: ignore[no-untyped-def]
    cells.n_rows[:] = n_rows
    cells.n_text[0] = n_text


@compiled
def read_records(address, at, end, n_records, code, message, cells, fault):  # type: ignore[no-untyped-def]
    """Read records that stand one behind another; return how many, and where the last ends.

    ``address`` is that of the bytes, ``at`` and ``end`` are positions there. Reading stops
    at the first `Fault`, which is written with its position, instruction and field to
    ``fault`` [4]; nothing of that record stays in the columns.
    """
    data = uint8s(address)
    loops = np.empty(MAX_NESTING + 2, np.int64)
    memory = memory_of(code, cells, loops, fault)
    fault[0] = Fault.NONE
    for done in range(n_records):
        n_rows, n_text = cells.n_rows.copy(), cells.n_text[0]
        behind = _read_record(data, at, end, memory, 0, message)
        if behind < 0:
            _cut_back(cells, n_rows, n_text)
            return done, at
        at = behind
    return n_records, at


@compiled
def _find_header(data, length, known, likely):  # type: ignore[no-untyped-def]
    """Return which known header a container begins with, -1 for none; ``likely`` is tried first."""
    n = len(known.header_entry)
    for turn in range(n):
        h = (max(likely, 0) + turn) % n
        start, end = known.header_start[h], known.header_start[h + 1]
        header = uint8s(known.header.ctypes.data + start)
        fits = end - start + _SYNC_BYTES <= length
        if fits and compare(data, header, end - start) == 0:  # type: ignore[call-arg]
            return h
    return -1


@compiled
def _read_container(data, length, header, known, memory, message):  # type: ignore[no-untyped-def]
    """Read a container without compression to its end; return False for anything unusual."""
    sync = known.header_start[header + 1] - known.header_start[header]
    at = sync + _SYNC_BYTES
    n_records = np.int64(0)
    while at < length:
        count, at = _long(data, at, length)
        if at < 0:
            return False
        size, at = _long(data, at, length)
        if at < 0 or count < 0 or not 0 <= size <= length - at - _SYNC_BYTES:
            return False
        end = at + size
        for k in range(_SYNC_BYTES):
            if data[end + k] != data[sync + k]:
                return False
        for _ in range(count):
            at = _read_record(data, at, end, memory, known.header_entry[header], message)
            if at < 0:
                return False
        if at != end:
            return False
        at = end + _SYNC_BYTES
        n_records += count
    return n_records > 0


@compiled
def _read_confluent(data, length, known, memory, message):  # type: ignore[no-untyped-def]
    """Read a record in Confluent framing; return False for anything unusual."""
    if length < _CONFLUENT_BYTES:
        return False
    wanted = np.int64(0)
    for k in range(1, _CONFLUENT_BYTES):
        wanted = wanted << np.int64(8) | np.int64(data[k])
    for i in range(len(known.schema_id)):
        if known.schema_id[i] == wanted:
            at = np.int64(_CONFLUENT_BYTES)
            at = _read_record(data, at, length, memory, known.schema_entry[i], message)
            known.schema_hits[i] += at == length
            return at == length
    return False


@compiled
def read_messages(address, length, first, known, cells):  # type: ignore[no-untyped-def]
    """Read messages from number ``first`` on into the columns; return where it stopped and why.

    ``address`` and ``length`` [N] are those of the messages' bytes. At an `Event` other than
    ``DONE`` nothing of the message that is returned stands in the columns.
    """
    loops = np.empty(MAX_NESTING + 2, np.int64)
    fault = np.zeros(4, np.int64)
    memory = memory_of(known.code, cells, loops, fault)
    n_rows = np.empty_like(cells.n_rows)
    header = 0
    for message in range(first, len(address)):
        data, n = uint8s(address[message]), length[message]
        n_rows[:] = cells.n_rows
        n_text = cells.n_text[0]
        complete = False
        if n > 0 and data[0] == 0:
            complete = _read_confluent(data, n, known, memory, message)
        elif n > 0:
            header = _find_header(data, n, known, header)
            if header >= 0:
                complete = _read_container(data, n, header, known, memory, message)
                known.header_hits[header] += complete
        if not complete:
            _cut_back(cells, n_rows, n_text)
            if fault[0] == Fault.FULL and n_rows.any():
                return message, Event.FULL
            return message, Event.LOOK
    return len(address), Event.DONE
