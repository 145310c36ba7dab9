"""A picture of a kernel graph, drawn without Graphviz."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from canvas_rl.ir import KernelGraph

_BOX = (250, 40)
_GAP = (30, 28)
_LANES = 5
_MARGIN = 16
_BACKGROUND, _LINE, _TEXT = "#ffffff", "#667788", "#112233"
_FILLS = {True: "#ffe0b8", False: "#d8e8f8"}
_ENDS = "#d8f0d8"

Pixels = npt.NDArray[np.uint8]


def draw(graph: "KernelGraph") -> Pixels:
    """Draw a kernel as boxes from the input at the top to the output at the bottom, [height, width, 3].

    Primitives with learned weights are orange. A box is one row below the lowest of its operands.
    """
    from PIL import Image, ImageDraw  # only pictures need it

    rows = _rows(graph)
    places = _places(rows)
    width = 2 * _MARGIN + max(rows.count(row) for row in rows) * (_BOX[0] + _GAP[0])
    height = 2 * _MARGIN + (max(rows) + 1) * (_BOX[1] + _GAP[1]) - _GAP[1]
    image = Image.new("RGB", (width, height), _BACKGROUND)
    canvas = ImageDraw.Draw(image)
    for index, node in enumerate(graph.nodes):
        for source in node.inputs:
            _edge(canvas, places[source], places[index], source)
    for index, node in enumerate(graph.nodes):
        x, y = places[index]
        fill = _ENDS if node.primitive.family in ("Input", "Output") else _FILLS[node.primitive.weighted]
        canvas.rectangle((x, y, x + _BOX[0], y + _BOX[1]), fill=fill, outline=_LINE)
        canvas.text((x + 6, y + 5), _cut(node.primitive.describe()), fill=_TEXT)
        canvas.text((x + 6, y + 22), _cut(str(node.shape)), fill=_LINE)
    return np.asarray(image, dtype=np.uint8)


def _rows(graph: "KernelGraph") -> list[int]:
    rows: list[int] = []
    for node in graph.nodes:
        rows.append(1 + max((rows[source] for source in node.inputs), default=-1))
    return rows


def _places(rows: list[int]) -> list[tuple[int, int]]:
    """Upper left corner of every box; boxes of a row stand side by side."""
    return [
        (_MARGIN + rows[:index].count(row) * (_BOX[0] + _GAP[0]), _MARGIN + row * (_BOX[1] + _GAP[1]))
        for index, row in enumerate(rows)
    ]


def _edge(canvas: Any, source: tuple[int, int], target: tuple[int, int], number: int) -> None:
    """A line down; one that skips rows runs to the right of the boxes between, each tensor's in a lane of its own."""
    start = (source[0] + _BOX[0] // 2, source[1] + _BOX[1])
    end = (target[0] + _BOX[0] // 2, target[1])
    points = [start, end]
    if end[1] - start[1] > _GAP[1]:
        lane = max(source[0], target[0]) + _BOX[0] + 3 + number % _LANES * (_GAP[0] - 6) // _LANES
        points = [start, (lane, start[1] + _GAP[1] // 2), (lane, end[1] - _GAP[1] // 2), end]
    canvas.line(points, fill=_LINE, width=2)
    canvas.polygon([end, (end[0] - 4, end[1] - 7), (end[0] + 4, end[1] - 7)], fill=_LINE)


def _cut(text: str, most: int = 40) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
