"""A kernel graph as text for a terminal."""

import textwrap
from collections.abc import Iterable

from canvas_rl.ir import KernelGraph
from canvas_rl.ir.graph import Node

_WEIGHTED, _OTHER = "●", "○"
_LEGEND = f"{_WEIGHTED} with learned weights  {_OTHER} without"
_LEAST_WORDS = 24


def to_text(graph: KernelGraph, width: int = 80) -> str:
    """A kernel as numbered lines, one per tensor, beside rails that carry each tensor to where it is read.

    A node stands at the end of its rail, joined to the rails of its operands; a rail goes on as long as somebody reads
    its tensor. Nodes of two operands name them: rails can cross.

    Args:
        graph: the kernel.
        width: columns; words that don't fit go on in another line.
    """
    rails = _Rails(graph)
    drawn = [rails.line(index) for index in range(len(graph.nodes))]
    room = max(len(joined) for joined, _ in drawn)
    digits = len(str(len(graph.nodes) - 1))
    texts = _texts(graph, max(width - digits - room - 4, _LEAST_WORDS))
    lines = []
    for index, (words, (joined, below)) in enumerate(zip(texts, drawn, strict=True)):
        fronts = [f"{index:>{digits}}  {joined:<{room}}  ", *[f"{'':{digits}}  {below:<{room}}  "] * len(words)]
        lines += [(front + word).rstrip() for front, word in zip(fronts, words, strict=False)]
    return "\n".join([*lines, _LEGEND]) + "\n"


def _texts(graph: KernelGraph, room: int) -> list[list[str]]:
    """Lines for every node: what it does, and its shape in a column of its own or, where there is no room, below."""
    words = [_words(node) for node in graph.nodes]
    shapes = [str(node.shape) for node in graph.nodes]
    beside = room - 2 - max(map(len, shapes))
    column = max((len(text) for text in words if len(text) <= beside), default=0)
    return [
        [f"{text:<{column}}  {shape}"] if len(text) <= column else _wrapped(text, room) + _wrapped(shape, room)
        for text, shape in zip(words, shapes, strict=True)
    ]


def _words(node: Node) -> str:
    operands = f" (lhs {node.inputs[0]}, rhs {node.inputs[1]})" if len(node.inputs) > 1 else ""
    return node.primitive.describe() + operands


def _wrapped(text: str, room: int) -> list[str]:
    return textwrap.wrap(text, room, subsequent_indent="  ")


class _Rails:
    """The columns in which tensors wait to be read, two characters each."""

    def __init__(self, graph: KernelGraph) -> None:
        self._nodes = graph.nodes
        self._last = {source: index for index, node in enumerate(graph.nodes) for source in node.inputs}
        self._columns: list[int | None] = []

    def line(self, index: int) -> tuple[str, str]:
        """The rails beside a node (call it in order), and below it."""
        node = self._nodes[index]
        sources = {self._columns.index(source) for source in node.inputs}
        ending = {column for column in sources if self._last[self._columns[column] or 0] == index}
        free = [column for column, tensor in enumerate(self._columns) if tensor is None]
        column = min(ending) if ending else min(free, default=len(self._columns))
        before = list(self._columns)
        for place in ending:
            self._columns[place] = None
        self._columns[column : column + 1] = [index]
        joined = self._joined(before, sources - {column}, ending, column)
        symbol = _WEIGHTED if node.primitive.weighted else _OTHER
        joined = joined[: 2 * column] + symbol + joined[2 * column + 1 :]
        if index not in self._last:
            self._columns[column] = None
        return joined.rstrip(), _upright(self._columns)

    def _joined(self, before: list[int | None], sources: set[int], ending: set[int], column: int) -> str:
        """The rails, with a line from every source to the node's column."""
        count = max(len(before), column + 1)
        reached = {*sources, column}
        text = ""
        for place in range(count):
            left, right = min(reached) < place <= max(reached), min(reached) <= place < max(reached)
            here = place < len(before) and before[place] is not None
            if place in sources:
                mark = _ENDS[left, right] if place in ending else _GOES_ON[left, right]
            else:
                mark = "│" if here else "─" if left and right else " "
            text += mark + ("─" if right else " ")
        return text


_ENDS = {(False, True): "╰", (True, False): "╯", (True, True): "┴"}
_GOES_ON = {(False, True): "├", (True, False): "┤", (True, True): "┼"}


def _upright(columns: Iterable[int | None]) -> str:
    return "".join("│ " if tensor is not None else "  " for tensor in columns).rstrip()
