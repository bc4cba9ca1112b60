"""Memory as kernels see it: plain pointers, which numba neither counts nor checks.

Whoever makes a pointer keeps what it points to alive, and checks every access.
"""

# ruff: noqa: ANN001, ANN201 (numba infers the types of the kernels)

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from models.jit import compiled, inlined

__all__ = ["Memory", "compare", "memory_of", "operand", "uint8s"]


def pointer_to(item: types.Type) -> Any:
    """Return a function of kernels that turns an address into a pointer to items."""

    @intrinsic
    def pointer(context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(item)(types.intp), generate  # type: ignore[no-untyped-call]

    return pointer


uint8s = pointer_to(types.uint8)
int32s = pointer_to(types.int32)
int64s = pointer_to(types.int64)
float64s = pointer_to(types.float64)


@intrinsic
def compare(context: Any, a: Any, b: Any, n: Any) -> Any:
    """Compare n bytes as C's memcmp does."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [pointer, pointer, ir.IntType(64)])
        memcmp = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, "memcmp"
        )
        return builder.call(memcmp, arguments)

    return types.int32(a, b, types.int64), generate


class Memory(NamedTuple):
    """What a kernel works on, as plain pointers: arrays would be counted at every step."""

    code: Any
    values: Any
    numbers: Any
    state: Any
    parent: Any
    n_rows: Any
    text: Any
    n_text: Any
    loops: Any
    """Items left in the block of each loop that is open."""
    fault: Any
    """[4] a `Fault`, the position, the instruction, and which of its fields."""
    capacity: Any
    """R"""
    text_capacity: Any


@compiled
def memory_of(code, cells, loops, fault):  # type: ignore[no-untyped-def]
    """Return the memory of arrays, which the caller keeps."""
    return Memory(
        int32s(code.ctypes.data),
        int64s(cells.values.ctypes.data),
        float64s(cells.values.ctypes.data),
        uint8s(cells.state.ctypes.data),
        int32s(cells.parent.ctypes.data),
        int64s(cells.n_rows.ctypes.data),
        uint8s(cells.text.ctypes.data),
        int64s(cells.n_text.ctypes.data),
        int64s(loops.ctypes.data),
        int64s(fault.ctypes.data),
        np.int64(cells.state.shape[1]),
        np.int64(len(cells.text)),
    )


@inlined
def operand(memory, pc, k):  # type: ignore[no-untyped-def]
    """Return an instruction's operation (k = 0) or operand a, b, c (1, 2, 3)."""
    return np.int64(memory.code[4 * pc + k])
