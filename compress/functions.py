"""Let what a graph does more than once be written once: functions of the file (ONNX ``functions``).

A run of nodes that comes again with the same wiring, as the blocks of a transformer and the
nodes that unfold its weights, becomes a call of a few bytes. ONNX Runtime puts the nodes back
when it opens the file, before it optimises anything.
"""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product
from typing import Final

import onnx
from onnx import NodeProto, helper

__all__ = ["DOMAIN", "extract_functions", "short_names"]

DOMAIN: Final = "f"
"""Of the functions of a file."""
_MOST_NODES: Final = 40
_HEAD: Final = 15
"""Bytes of a function beside its nodes and names, and of a call; what a name takes in either."""
_CALL: Final = 8
_NAME: Final = 4

Wiring = tuple[object, ...]


def extract_functions(proto: onnx.ModelProto) -> None:
    """Move repeated runs of nodes into functions, as long as that saves bytes.

    The nodes must have no names and those of values be short: sizes are judged by them.
    """
    graph, names = proto.graph, short_names()
    while (best := _best(graph)) is not None:
        function = best.function(name := next(names), proto.opset_import[0])
        nodes = list(graph.node)
        for start in reversed(best.starts):
            run = _Run(nodes[start : start + best.length])
            outputs = [run.made[i] for i in best.outputs]
            call = helper.make_node(name, run.read, outputs, domain=DOMAIN)
            nodes[start : start + best.length] = [call]
        del graph.node[:]
        graph.node.extend(nodes)
        proto.functions.append(function)
    if proto.functions:
        proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))


def short_names() -> Iterator[str]:
    """Yield names, the shortest first."""
    for length in count(1):
        yield from map("".join, product(string.ascii_letters, repeat=length))


class _Run:
    """Nodes that follow one another, and the values that they read and make, in order."""

    def __init__(self, nodes: Sequence[NodeProto] = ()) -> None:
        self.nodes: list[NodeProto] = []
        self.read: list[str] = []
        self.made: list[str] = []
        self._said: dict[str, tuple[str, int]] = {}
        self.wiring: Wiring = ()
        self.bytes = 0
        for node in nodes:
            self.append(node)

    def append(self, node: NodeProto) -> None:
        for name in node.input:
            if name and name not in self._said:
                self._said[name] = ("read", len(self.read))
                self.read.append(name)
        read = tuple(self._said.get(name) for name in node.input)
        for name in node.output:
            self._said[name] = ("made", len(self.made))
            self.made.append(name)
        attributes = tuple(a.SerializeToString(deterministic=True) for a in node.attribute)
        self.nodes.append(node)
        self.wiring = (*self.wiring, (node.op_type, attributes, read, len(node.output)))
        self.bytes += node.ByteSize() + 2


@dataclass(frozen=True, slots=True)
class _Repeated:
    """A run that comes more than once."""

    run: _Run
    """The first of them."""
    length: int
    starts: list[int]
    outputs: list[int]
    """Which of the values that it makes are read elsewhere, anywhere."""

    @property
    def saving(self) -> int:
        """Return the bytes that a function would save, about."""
        names = len(self.run.read) + len(self.outputs)
        again = len(self.starts) * (self.run.bytes - _CALL - _NAME * names)
        return again - self.run.bytes - _HEAD - _NAME * names

    def function(self, name: str, opset: onnx.OperatorSetIdProto) -> onnx.FunctionProto:
        """Return the function."""
        short = dict(zip([*self.run.read, *self.run.made], short_names(), strict=False)) | {"": ""}
        nodes = []
        for node in self.run.nodes:
            own = NodeProto()
            own.CopyFrom(node)
            own.input[:] = [short[value] for value in node.input]
            own.output[:] = [short[value] for value in node.output]
            nodes.append(own)
        outputs = [short[self.run.made[i]] for i in self.outputs]
        read = [short[value] for value in self.run.read]
        return helper.make_function(DOMAIN, name, read, outputs, nodes, [opset])


def _best(graph: onnx.GraphProto) -> _Repeated | None:
    """Return what saves most as a function, None when nothing saves anything."""
    found = (_repeated(graph, *some) for some in _same(graph))
    return max(
        (one for one in found if one is not None and one.saving > 0),
        key=lambda one: (one.saving, -one.starts[0]),
        default=None,
    )


def _same(graph: onnx.GraphProto) -> Iterator[tuple[int, list[int]]]:
    """Yield length and starts of runs that have one wiring; these do not overlap."""
    nodes = list(graph.node)
    given = {value.name for value in graph.output}
    runs = {start: _Run() for start in range(len(nodes))}
    for length in range(1, _MOST_NODES + 1):
        by_wiring: dict[Wiring, list[int]] = defaultdict(list)
        for start in list(runs):
            end = start + length
            # Calls stay calls, and what gives the graph's outputs stays where tools look for it.
            if end > len(nodes) or nodes[end - 1].domain or given & {*nodes[end - 1].output}:
                del runs[start]
                continue
            runs[start].append(nodes[end - 1])
            by_wiring[runs[start].wiring].append(start)
        runs = {
            start: runs[start] for some in by_wiring.values() if len(some) > 1 for start in some
        }
        for some in by_wiring.values():
            apart: list[int] = []
            for start in some:
                if not apart or start >= apart[-1] + length:
                    apart.append(start)
            if len(apart) > 1:
                yield length, apart


def _repeated(graph: onnx.GraphProto, length: int, starts: list[int]) -> _Repeated:
    outputs: set[int] = set()
    nodes = list(graph.node)
    for start in starts:
        run = _Run(nodes[start : start + length])
        elsewhere = {
            name for node in (*nodes[:start], *nodes[start + length :]) for name in node.input
        }
        outputs |= {i for i, name in enumerate(run.made) if name in elsewhere}
    return _Repeated(_Run(nodes[starts[0] : starts[0] + length]), length, starts, sorted(outputs))
