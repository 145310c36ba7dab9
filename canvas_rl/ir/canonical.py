"""The canonical hash: equal for kernels that differ only in the order or repetition of their construction."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

from canvas_rl.primitives import Primitive
from canvas_rl.primitives.arithmetic import Arithmetic
from canvas_rl.primitives.elementwise import ODD, Elementwise
from canvas_rl.primitives.group import Group
from canvas_rl.primitives.shift import Shift
from canvas_rl.primitives.softmax import Softmax
from canvas_rl.symbolic.shape import Dim, Shape


class _Node(Protocol):
    @property
    def primitive(self) -> Primitive: ...
    @property
    def inputs(self) -> tuple[int, ...]: ...
    @property
    def shape(self) -> Shape: ...


def canonical_hash(nodes: Sequence[_Node]) -> str:
    """Hex digest of what a graph computes, at its cost.

    Repeated sub-expressions without weights are merged (each weighted primitive has weights of its own, so two of
    them stay two), primitives that may come in either order come in one, operands of commutative primitives are
    ordered, however they are bracketed, and nodes are numbered in the order of a depth-first walk from the output, so
    that neither names nor the order of construction matter.
    """
    return _Canonical(nodes).digest()


class _Canonical:
    """Brings a graph into its canonical form."""

    def __init__(self, nodes: Sequence[_Node]) -> None:
        self._nodes = nodes
        self._labels = [self._label(index, node.primitive) for index, node in enumerate(nodes)]
        self._operands = [node.inputs for node in nodes]
        self._operands = self._distinct()
        self._users = Counter(operand for index in self._reached() for operand in self._operands[index])
        self._labels = [self._label(index, primitive) for index, primitive in enumerate(self._ordered())]
        for index in range(len(nodes)):
            self._operands[index] = self._flat(index)
        self._operands = self._distinct()
        self._digests: list[str] = []
        for index, operands in enumerate(self._operands):
            below = [self._digests[operand] for operand in operands]
            self._digests.append(_digest([self._labels[index], *(sorted(below) if self._symmetric(index) else below)]))

    def _label(self, index: int, primitive: Primitive) -> str:
        """How dims were aligned means nothing where operands have equal shapes; sizes may have become equal later."""
        if isinstance(primitive, Arithmetic):
            left, right = (self._nodes[operand].shape for operand in self._nodes[index].inputs)
            if left == right:
                primitive = replace(primitive, prefix=0, suffix=len(left.dims()))
        return _label(primitive)

    def _distinct(self) -> list[tuple[int, ...]]:
        """The operands of each node, of those that surely compute the same always the first."""
        seen: dict[tuple[str, tuple[int, ...]], int] = {}
        merged: list[int] = []
        found: list[tuple[int, ...]] = []
        for index, label in enumerate(self._labels):
            operands = tuple(merged[operand] for operand in self._operands[index])
            key = (label, tuple(sorted(operands)) if self._symmetric(index) else operands)
            merged.append(index if self._nodes[index].primitive.weighted else seen.setdefault(key, index))
            found.append(operands)
        return found

    def _reached(self) -> set[int]:
        """The nodes that the last one needs."""
        reached = {len(self._nodes) - 1}
        for index in reversed(range(len(self._nodes))):
            if index in reached:
                reached.update(self._operands[index])
        return reached

    def digest(self) -> str:
        """Of all nodes, numbered from the output."""
        numbers: dict[int, int] = {}
        lines: list[str] = []
        self._visit(len(self._nodes) - 1, numbers, lines)
        return _digest(lines)

    def _visit(self, index: int, numbers: dict[int, int], lines: list[str]) -> int:
        """Number a node, its operands first, and describe it; the number."""
        if index not in numbers:
            order: Sequence[int] = self._operands[index]
            if self._symmetric(index):
                order = sorted(order, key=lambda i: self._digests[i])
            operands = [self._visit(operand, numbers, lines) for operand in order]
            numbers[index] = len(numbers)
            lines.append(json.dumps([self._labels[index], operands]))
        return numbers[index]

    def _ordered(self) -> list[Primitive]:
        """The primitives, those of each chain moved towards the input where nothing changes by it."""
        primitives = [node.primitive for node in self._nodes]
        for index in range(len(primitives)):
            upper = index
            while len(self._operands[upper]) == 1:
                lower = self._operands[upper][0]
                if self._users[lower] > 1 or not comes_first(primitives[upper], primitives[lower]):
                    break
                primitives[upper], primitives[lower] = primitives[lower], primitives[upper]
                upper = lower
        return primitives

    def _symmetric(self, index: int) -> bool:
        node = self._nodes[index]
        if not node.primitive.commutative:
            return False
        left, right = (self._nodes[operand].shape for operand in node.inputs)
        return left == right

    def _flat(self, index: int) -> tuple[int, ...]:
        """The operands, in place of sums (products, ...) that are used here alone their own operands."""
        inputs = self._operands[index]
        if not self._symmetric(index):
            return inputs
        flat: list[int] = []
        for operand in inputs:
            same = self._labels[operand] == self._labels[index] and self._symmetric(operand)
            flat.extend(self._operands[operand] if same and self._users[operand] == 1 else (operand,))
        return tuple(flat)


def comes_first(outer: Primitive, inner: Primitive) -> bool:
    """Whether a primitive may as well be applied before the one that it is applied to, and is so canonically.

    Group comes first, then Shift, then element-wise functions and Softmax, then Neg; ReLU before TanH.
    """
    if isinstance(outer, Elementwise):
        before = inner.function if isinstance(inner, Elementwise) else ""
        return (outer.function in ODD and before == "neg") or (outer.function, before) == ("relu", "tanh")
    if isinstance(outer, Shift):
        return isinstance(inner, Elementwise | Softmax) or (isinstance(inner, Shift) and _label(outer) < _label(inner))
    if not isinstance(outer, Group):
        return False
    channels = Dim(outer.where, "C")
    if isinstance(inner, Softmax | Shift):
        return channels not in (inner.dims if isinstance(inner, Shift) else (inner.dim,))
    return isinstance(inner, Elementwise) or (isinstance(inner, Group) and outer.where < inner.where)


@lru_cache(maxsize=1 << 12)
def _label(primitive: Primitive) -> str:
    return json.dumps(primitive.to_json(), sort_keys=True)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
