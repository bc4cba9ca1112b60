"""Self-attention with narrow heads, forwards and backwards, on the processor.

Where a head has two channels, as in t2, almost all the time of attention goes to the
exponentials and to moving the L x L scores through memory. Here a row of scores never
leaves the first cache, and the backward pass computes it anew from what normalised it
(Dao et al. 2022, arXiv 2205.14135).

Notation: B batch, L steps, D width, H heads, d = D / H.
"""

# ruff: noqa: ANN001, ANN202 (numba infers the types of the kernels)

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from models.jit import inlined, vectorised

__all__ = ["attend"]

_F: Final = np.float32
_ZERO, _ONE, _HALF = _F(0), _F(1), _F(0.5)
_LOG2_E: Final = _F(np.log2(np.e))
_LN_2: Final = _F(np.log(2))
_LOWEST: Final = _F(-80)
_C2, _C3, _C4, _C5, _C6 = (_F(1 / n) for n in (2, 6, 24, 120, 720))
_BIAS: Final = np.int32(127)
_MANTISSA: Final = np.int32(23)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Return softmax(q k' / sqrt(d)) v of every head, side by side; all [B, L, D], float32."""
    found: Tensor = _Attention.apply(query, key, value, heads)  # type: ignore[no-untyped-call]
    return found


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        query, key, value = (x.contiguous() for x in (query, key, value))
        found = torch.empty_like(query)
        normaliser = query.new_empty(query.shape[0], heads, query.shape[1])
        tensors = (query, key, value, found, normaliser)
        _forward(*(x.detach().numpy() for x in tensors))
        ctx.save_for_backward(*tensors)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        saved = [x.detach().numpy() for x in ctx.saved_tensors]
        results = [torch.empty_like(x) for x in ctx.saved_tensors[:3]]
        _backward(*saved, gradients[0].contiguous().numpy(), *(x.numpy() for x in results))
        return results[0], results[1], results[2], None


@inlined
def _exponential(x):  # type: ignore[no-untyped-def]
    """Return exp(x) for x <= 0 in float32: 2^n and a Taylor series of what is left of x."""
    x = max(x, _LOWEST)
    n = np.floor(x * _LOG2_E + _HALF)
    r = x - n * _LN_2
    series = _C3 + r * (_C4 + r * (_C5 + r * _C6))
    series = _ONE + r * (_ONE + r * (_C2 + r * series))
    return series * np.int32((np.int32(n) + _BIAS) << _MANTISSA).view(np.float32)


@inlined
def _scores(query, keys, scale, scores):  # type: ignore[no-untyped-def]
    """Write the scores of one query [d] with all keys [d, L]."""
    for c in range(len(query)):
        q, row = query[c] * scale, keys[c]
        if c == 0:
            for j in range(len(scores)):
                scores[j] = q * row[j]
        else:
            for j in range(len(scores)):
                scores[j] += q * row[j]


@inlined
def _gather(tensor, first, head):  # type: ignore[no-untyped-def]
    """Write channels from ``first`` on of one sample [L, D], a row each, to ``head`` [d, L]."""
    for j in range(head.shape[1]):
        for c in range(len(head)):
            head[c, j] = tensor[j, first + c]


@vectorised
def _largest_scores(queries, keys, scores, largest):  # type: ignore[no-untyped-def]
    """Write the largest score of each query; key by key, so that all queries go at once."""
    length = keys.shape[1]
    largest[:] = -np.inf
    for j in range(length):
        _scores(keys[:, j], queries, _ONE, scores)
        for i in range(length):
            largest[i] = scores[i] if scores[i] > largest[i] else largest[i]


@vectorised
def _forward(query, key, value, found, normaliser):  # type: ignore[no-untyped-def]
    batch, length, width = query.shape
    heads = normaliser.shape[1]
    size = width // heads
    scale = _F(1 / np.sqrt(size))
    queries, keys = np.empty((size, length), _F), np.empty((size, length), _F)
    values = np.empty((size, length), _F)
    scores, largest = np.empty(length, _F), np.empty(length, _F)
    for b in range(batch):
        for h in range(heads):
            first = h * size
            _gather(query[b], first, queries)
            _gather(key[b], first, keys)
            _gather(value[b], first, values)
            for c in range(size):
                for i in range(length):
                    queries[c, i] *= scale
            _largest_scores(queries, keys, scores, largest)
            for i in range(length):
                _scores(queries[:, i], keys, _ONE, scores)
                top, total = largest[i], _ZERO
                for j in range(length):
                    scores[j] = _exponential(min(scores[j] - top, _ZERO))
                    total += scores[j]
                for c in range(size):
                    mixed, row = _ZERO, values[c]
                    for j in range(length):
                        mixed += scores[j] * row[j]
                    found[b, i, first + c] = mixed / total
                normaliser[b, h, i] = top + np.log(total)


@vectorised
def _backward(  # type: ignore[no-untyped-def]
    query, key, value, found, normaliser, gradient, to_query, to_key, to_value
):
    batch, length, width = query.shape
    heads = normaliser.shape[1]
    size = width // heads
    scale = _F(1 / np.sqrt(size))
    keys, values = np.empty((size, length), _F), np.empty((size, length), _F)
    of_keys, of_values = np.empty((size, length), _F), np.empty((size, length), _F)
    weights, of_scores = np.empty(length, _F), np.empty(length, _F)
    for b in range(batch):
        for h in range(heads):
            first = h * size
            part = slice(first, first + size)
            _gather(key[b], first, keys)
            _gather(value[b], first, values)
            of_keys[:], of_values[:] = _ZERO, _ZERO
            for i in range(length):
                _scores(query[b, i, part], keys, scale, weights)
                _scores(gradient[b, i, part], values, _ONE, of_scores)
                top = normaliser[b, h, i]
                mean = _ZERO
                for c in range(first, first + size):
                    mean += gradient[b, i, c] * found[b, i, c]
                for j in range(length):
                    weights[j] = _exponential(min(weights[j] - top, _ZERO))
                    of_scores[j] = weights[j] * (of_scores[j] - mean) * scale
                for c in range(size):
                    g, q = gradient[b, i, first + c], query[b, i, first + c]
                    row, of_key, of_value = keys[c], of_keys[c], of_values[c]
                    total = _ZERO
                    for j in range(length):
                        total += of_scores[j] * row[j]
                        of_key[j] += of_scores[j] * q
                        of_value[j] += weights[j] * g
                    to_query[b, i, first + c] = total
            for j in range(length):
                for c in range(size):
                    to_key[b, j, first + c] = of_keys[c, j]
                    to_value[b, j, first + c] = of_values[c, j]
