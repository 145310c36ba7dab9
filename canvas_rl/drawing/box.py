"""The box of a node: its words, its size, and where its operands arrive."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from canvas_rl.ir.graph import Node

TITLE_SIZE, SHAPE_SIZE, MARK_SIZE = 13, 12, 10
MARKS = ("lhs", "rhs")
_CHARACTER = 0.6
"""Width of a character as a share of its size: enough for the wide ones among sans-serif fonts."""

_LINE_HEIGHT = 17
_MARK_HEIGHT = 12
_PADDING = (12, 7)
_MOST_CHARACTERS = 30
_LEAST_WIDTH = 96


@dataclass(frozen=True)
class Box:
    """A node of a drawing, in units of about a pixel; y grows downwards.

    Attributes:
        node: its index in the graph.
        kind: "end" (Input and Output), "weighted" or "plain".
        x: left side.
        y: upper side.
        title: what it does, in lines.
        shape: its tensor's shape, in lines.
        ports: for each operand, the x where its edge arrives; two of them are marked as lhs and rhs.
    """

    node: int
    kind: str
    title: tuple[str, ...]
    shape: tuple[str, ...]
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0
    ports: tuple[float, ...] = ()

    @property
    def centre(self) -> float:
        """The x of its middle."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """The y of its lower side."""
        return self.y + self.height

    def lines(self) -> Iterator[tuple[str, str, float, float]]:
        """Its words, centred: "title", "shape" or "mark", the line, the x of its middle and the y of its baseline."""
        y = self.y + _PADDING[1] - 4
        if len(self.ports) > 1:
            for mark, x in zip(MARKS, self.ports, strict=True):
                yield "mark", mark, x, self.y + _MARK_HEIGHT
            y += _MARK_HEIGHT
        for kind, lines in (("title", self.title), ("shape", self.shape)):
            for line in lines:
                y += _LINE_HEIGHT
                yield kind, line, self.centre, y


def box_of(index: int, node: Node) -> Box:
    """A node's box, without a place."""
    title, shape = _wrapped(node.primitive.describe()), _wrapped(str(node.shape))
    widest = max(max(map(len, title)) * TITLE_SIZE, max(map(len, shape)) * SHAPE_SIZE)
    width = max(_LEAST_WIDTH, round(widest * _CHARACTER) + 2 * _PADDING[0])
    height = (len(title) + len(shape)) * _LINE_HEIGHT + 2 * _PADDING[1] + _MARK_HEIGHT * (len(node.inputs) > 1)
    ends = node.primitive.family in ("Input", "Output")
    return Box(
        index, "end" if ends else "weighted" if node.primitive.weighted else "plain", title, shape, width, height
    )


def ports(centre: float, width: float, above: tuple[float, ...]) -> tuple[float, ...]:
    """Where edges that come from above at some x arrive at a box, so that they don't cross.

    Args:
        centre: of the box.
        width: of the box.
        above: for each operand, where its edge comes from.
    """
    if len(above) < 2:
        return (centre,) * len(above)
    left, right = sorted(range(2), key=lambda operand: (above[operand], operand))
    if above[left] == above[right]:
        places = {left: -0.2, right: 0.2}
    elif centre in above:  # one comes straight down
        places = {left: 0.0, right: 0.3} if above[left] == centre else {left: -0.3, right: 0.0}
    else:
        places = {left: -0.25, right: 0.25}
    return centre + places[0] * width, centre + places[1] * width


def _wrapped(text: str) -> tuple[str, ...]:
    """Lines of about equal length."""
    if len(text) <= _MOST_CHARACTERS:
        return (text,)
    lines = textwrap.wrap(text, _MOST_CHARACTERS)
    for width in range(-(-len(text) // len(lines)), _MOST_CHARACTERS):
        if len(evener := textwrap.wrap(text, width)) == len(lines):
            return tuple(evener)
    return tuple(lines)
