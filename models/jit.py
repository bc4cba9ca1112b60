"""Kernels compiled to machine code by numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba

__all__ = ["compiled", "inlined", "vectorised"]

_ANY_ORDER: Final = {"reassoc", "contract", "nsz"}
"""What may be rearranged; infinities and NaN keep their meaning."""


def compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel that runs without the GIL, cached on disk where there is a folder for it.

    The cache notices changes of the kernel's own file only: what it calls stands there too.
    """
    return _compile(kernel, fastmath=False)


def vectorised(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel as `compiled`, with sums taken in any order: in vector registers."""
    return _compile(kernel, fastmath=_ANY_ORDER)


def inlined(part: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a part of kernels that is too small to be called: it is put where it is used."""
    return numba.njit(part, nogil=True, forceinline=True)  # type: ignore[no-any-return]


def _compile(kernel: Callable[..., Any], fastmath: bool | set[str]) -> Callable[..., Any]:
    try:
        return numba.njit(kernel, cache=True, nogil=True, fastmath=fastmath)  # type: ignore[no-any-return]
    except RuntimeError:  # the installation and the home directory are both read-only
        return numba.njit(kernel, nogil=True, fastmath=fastmath)  # type: ignore[no-any-return]
