"""The canonical hash: equal for kernels that differ only in the order or repetition of their construction."""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from canvas_rl.primitives import Primitive
from canvas_rl.symbolic.shape import Shape


class _Node(Protocol):
    @property
    def primitive(self) -> Primitive: ...
    @property
    def inputs(self) -> tuple[int, ...]: ...
    @property
    def shape(self) -> Shape: ...


def canonical_hash(nodes: Sequence[_Node]) -> str:
    """Hex digest of what a graph computes.

    Repeated sub-expressions without weights are merged (each weighted primitive has weights of its own, so two of
    them stay two), operands of commutative primitives are ordered, and nodes are numbered in the order of a
    depth-first walk from the output, so that neither names nor the order of construction matter.
    """
    labels = [_label(node.primitive) for node in nodes]
    merged = _merge(nodes, labels)
    digests: list[str] = []
    for node, label in zip(nodes, labels, strict=True):
        operands = [digests[operand] for operand in node.inputs]
        digests.append(_digest([label, *(sorted(operands) if _symmetric(nodes, node) else operands)]))
    numbers: dict[int, int] = {}
    lines: list[str] = []

    def visit(index: int) -> int:
        index = merged[index]
        if index not in numbers:
            node = nodes[index]
            order = sorted(node.inputs, key=lambda i: digests[i]) if _symmetric(nodes, node) else node.inputs
            operands = [visit(operand) for operand in order]
            numbers[index] = len(numbers)
            lines.append(json.dumps([labels[index], operands]))
        return numbers[index]

    visit(len(nodes) - 1)
    return _digest(lines)


@lru_cache(maxsize=1 << 12)
def _label(primitive: Primitive) -> str:
    return json.dumps(primitive.to_json(), sort_keys=True)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _symmetric(nodes: Sequence[_Node], node: _Node) -> bool:
    if not node.primitive.commutative:
        return False
    left, right = (nodes[operand].shape for operand in node.inputs)
    return left == right


def _merge(nodes: Sequence[_Node], labels: Sequence[str]) -> list[int]:
    """For each node the first one that surely computes the same."""
    seen: dict[tuple[str, tuple[int, ...]], int] = {}
    merged: list[int] = []
    for index, node in enumerate(nodes):
        operands = tuple(merged[operand] for operand in node.inputs)
        key = (labels[index], tuple(sorted(operands)) if _symmetric(nodes, node) else operands)
        merged.append(index if node.primitive.weighted else seen.setdefault(key, index))
    return merged
