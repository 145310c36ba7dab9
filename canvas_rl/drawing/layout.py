"""Where the boxes and edges of a kernel's drawing are."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from canvas_rl.drawing.box import Box, box_of, ports
from canvas_rl.drawing.ordering import Rows, aligned, arrange
from canvas_rl.ir import KernelGraph

_GAP = 24
_ROW_GAP = (28, 60)
_SLOPE = 0.08
_MARGIN = 12
_CURVE_STEPS = 24
_LANDING = 9  # an edge comes straight down at its end, so that the arrow's head sits well


class Point(NamedTuple):
    """A place in units of about a pixel; y grows downwards."""

    x: float
    y: float


@dataclass(frozen=True)
class Edge:
    """A tensor that a node reads.

    Attributes:
        source: the node that makes it.
        target: the node that reads it.
        operand: position among the target's operands.
        points: from the source's lower side to the target's upper one. Points with equal x are joined by a straight
            line, others by the cubic curve of `control_points`.
    """

    source: int
    target: int
    operand: int
    points: tuple[Point, ...]

    def flattened(self) -> list[Point]:
        """The edge as straight lines, its curves cut into short ones."""
        cuts = (flattened(start, end) for start, end in pairwise(self.points))
        return list(dict.fromkeys(point for cut in cuts for point in cut))


@dataclass(frozen=True)
class Layout:
    """A drawing: boxes in the order of the nodes, and edges."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]

    def lines(self) -> tuple[tuple[Point, Point], ...]:
        """Every part of the edges once, also where several edges share it."""
        return tuple(dict.fromkeys(line for edge in self.edges for line in pairwise(edge.points)))


def lay_out(graph: KernelGraph) -> Layout:
    """Place a kernel's nodes from Input at the top to Output at the bottom.

    The nodes of a longest way from Input to Output stand below each other; boxes don't overlap, and edges pass between
    them. The same graph always has the same layout.
    """
    rows = arrange(graph)
    boxes = [box_of(index, node) for index, node in enumerate(graph.nodes)]
    centres = _centres(rows, boxes)
    lanes = _lanes(rows, boxes, centres)
    for row, vertices in enumerate(rows.order):
        for index in (vertex for vertex in vertices if vertex < len(boxes)):
            box, (top, bottom) = boxes[index], lanes[row]
            above = tuple(centres[rows.path(source, index)[-2]] for source in graph.nodes[index].inputs)
            arrivals = ports(centres[index], box.width, above)
            x, y = centres[index] - box.width / 2, top + (bottom - top - box.height) / 2
            boxes[index] = replace(box, x=x, y=y, ports=arrivals)
    edges = tuple(
        Edge(source, target, operand, _route(rows, rows.path(source, target), boxes, centres, lanes, operand))
        for target, node in enumerate(graph.nodes)
        for operand, source in enumerate(node.inputs)
    )
    width = _MARGIN + max(max(centres.values()), max(box.x + box.width for box in boxes))
    return Layout(width, lanes[-1][1] + _MARGIN, tuple(boxes), edges)


def control_points(start: Point, end: Point) -> tuple[Point, Point]:
    """Of the cubic curve from one point to another that leaves and arrives vertically."""
    middle = (start.y + end.y) / 2
    return Point(start.x, middle), Point(end.x, middle)


def flattened(start: Point, end: Point) -> list[Point]:
    """Points of an edge's part, so close to each other that lines between them will do."""
    if start.x == end.x:
        return [start, end]
    corners = (start, *control_points(start, end), end)
    found = [start]
    for step in range(1, _CURVE_STEPS):
        t = step / _CURVE_STEPS
        weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
        x, y = (sum(weight * corner[axis] for weight, corner in zip(weights, corners, strict=True)) for axis in (0, 1))
        found.append(Point(x, y))
    return [*found, end]


def _centres(rows: Rows, boxes: list[Box]) -> dict[int, float]:
    """The x of every vertex: what is joined straight has one; the rest stands as near to the spine as there is room."""
    chain = {vertex: vertex for row in rows.order for vertex in row}
    for upper, lower in sorted(aligned(rows), key=lambda segment: rows.row[segment[0]]):
        chain[lower] = chain[upper]
    half = {vertex: boxes[vertex].width / 2 if vertex < len(boxes) else 0.0 for vertex in chain}
    x = dict.fromkeys(chain.values(), 0.0)
    moved = True
    while moved:
        moved = False
        for near, far, side in _outwards(rows):
            least = side * x[chain[near]] + half[near] + _GAP + half[far]
            if side * x[chain[far]] < least:
                x[chain[far]], moved = side * least, True
    left = min(x[chain[vertex]] - half[vertex] for vertex in chain) - _MARGIN
    return {vertex: x[chain[vertex]] - left for vertex in chain}


def _outwards(rows: Rows) -> list[tuple[int, int, int]]:
    """Neighbours in a row: the one nearer to the spine, the other, and its side (1 right, -1 left)."""
    found = []
    for row, spine in zip(rows.order, rows.spine, strict=True):
        middle = row.index(spine)
        found += [(near, far, 1) for near, far in pairwise(row[middle:])]
        found += [(near, far, -1) for near, far in pairwise(row[middle::-1])]
    return found


def _lanes(rows: Rows, boxes: list[Box], centres: dict[int, float]) -> list[tuple[float, float]]:
    """Upper and lower y of every row; there is more room between rows where edges go far aside."""
    lanes: list[tuple[float, float]] = []
    y = float(_MARGIN)
    for row, vertices in enumerate(rows.order):
        height = max(boxes[vertex].height for vertex in vertices if vertex < len(boxes))
        lanes.append((y, y + height))
        aside = [abs(centres[a] - centres[b]) for a, b in rows.segments if rows.row[a] == row]
        y += height + min(_ROW_GAP[0] + _SLOPE * max(aside, default=0), _ROW_GAP[1])
    return lanes


def _route(
    rows: Rows,
    path: tuple[int, ...],
    boxes: list[Box],
    centres: dict[int, float],
    lanes: list[tuple[float, float]],
    operand: int,
) -> tuple[Point, ...]:
    """Down from box to box: straight beside the boxes of a row, aside only between rows."""
    source, *bends, target = path
    port = boxes[target].ports[operand]
    points = [Point(centres[source], boxes[source].bottom), Point(centres[source], lanes[rows.row[source]][1])]
    for bend in bends:
        points += [Point(centres[bend], y) for y in lanes[rows.row[bend]]]
    points += [Point(port, lanes[rows.row[target]][0] - _LANDING), Point(port, boxes[target].y)]
    return tuple(dict.fromkeys(points))
