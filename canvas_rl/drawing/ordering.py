"""Rows of a drawing: which boxes stand in them, in which order, and where edges pass between the boxes.

The first steps of Sugiyama, Tagawa and Toda, Methods for visual understanding of hierarchical system structures, 1981:
layers, a vertex in every layer that an edge passes, and fewer crossings by barycentres.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, pairwise

from canvas_rl.ir import KernelGraph

_SWEEPS = 12

Order = list[list[int]]
"""The vertices of every row from left to right."""

Cost = tuple[int, int, int]
"""Crossings, operands in the wrong order, steps aside."""

_FREE: Cost = (0, 0, 0)


@dataclass(frozen=True)
class Rows:
    """A kernel's vertices in rows from top to bottom, ordered from left to right.

    Vertices below `boxes` are the kernel's nodes. The others are bends: places in a row where the edges that read a
    tensor from above pass it, all of them on one trunk.

    Attributes:
        order: vertices by row.
        segments: (upper, lower) vertices that a line joins; they stand in neighbouring rows.
        spine: one vertex of every row, joined from Input to the last row.
        trunks: the bend at which a tensor passes a row, by tensor and row.
        row: the row of every vertex.
        boxes: number of nodes.
    """

    order: tuple[tuple[int, ...], ...]
    segments: tuple[tuple[int, int], ...]
    spine: tuple[int, ...]
    trunks: dict[tuple[int, int], int]
    row: dict[int, int]
    boxes: int

    def path(self, source: int, target: int) -> tuple[int, ...]:
        """The vertices on the way from a tensor to a node that reads it."""
        bends = (self.trunks[source, row] for row in range(self.row[source] + 1, self.row[target]))
        return source, *bends, target


def arrange(graph: KernelGraph) -> Rows:
    """Give every node a row and every row an order with few crossings."""
    row_of = _rows(graph)
    trunks: dict[tuple[int, int], int] = {}
    segments: dict[tuple[int, int], None] = {}
    for target, node in enumerate(graph.nodes):
        for source in node.inputs:
            above = source
            for row in range(row_of[source] + 1, row_of[target]):
                bend = trunks.setdefault((source, row), len(graph.nodes) + len(trunks))
                segments[above, bend] = None
                above = bend
            segments[above, target] = None
    order: Order = [[] for _ in range(max(row_of) + 1)]
    for vertex, row in [*enumerate(row_of), *((bend, row) for (_, row), bend in trunks.items())]:
        order[row].append(vertex)
    spine = _spine(graph, row_of)
    pairs = [
        tuple(trunks.get((source, row_of[i] - 1), source) for source in n.inputs) for i, n in enumerate(graph.nodes)
    ]
    best = _Ordering(tuple(segments), spine, [pair for pair in pairs if len(pair) > 1]).best(order)
    places = {vertex: index for index, vertices in enumerate(best) for vertex in vertices}
    return Rows(tuple(map(tuple, best)), tuple(segments), spine, trunks, places, len(graph.nodes))


def _rows(graph: KernelGraph) -> list[int]:
    """As low as the users allow: side branches end beside what joins them, and long ways are those of few tensors."""
    depth = [0] * len(graph.nodes)
    for index, node in enumerate(graph.nodes):
        depth[index] = 1 + max((depth[source] for source in node.inputs), default=-1)
    rows = [max(depth)] * len(graph.nodes)
    for index in reversed(range(len(graph.nodes))):
        for source in graph.nodes[index].inputs:
            rows[source] = min(rows[source], rows[index] - 1)
    return rows


def _spine(graph: KernelGraph, row_of: list[int]) -> tuple[int, ...]:
    """A longest way through the kernel; it exists because every node stands right above one of its users."""
    spine = [0]
    while row_of[spine[-1]] < max(row_of):
        below = row_of[spine[-1]] + 1
        spine.append(next(i for i, n in enumerate(graph.nodes) if spine[-1] in n.inputs and row_of[i] == below))
    return tuple(spine)


class _Ordering:
    """Looks for an order of the rows with few crossings, then with lhs left of rhs, then with short ways aside.

    Args:
        segments: (upper, lower) vertices that are joined.
        spine: its vertices.
        pairs: the vertices from which lhs and rhs come to each binary node.
    """

    def __init__(
        self, segments: tuple[tuple[int, int], ...], spine: tuple[int, ...], pairs: list[tuple[int, ...]]
    ) -> None:
        self._spine = set(spine)
        self._pairs = pairs
        self._above: dict[int, list[int]] = {}
        self._below: dict[int, list[int]] = {}
        for upper, lower in segments:
            self._above.setdefault(lower, []).append(upper)
            self._below.setdefault(upper, []).append(lower)

    def best(self, first: Order) -> Order:
        """The best order met while rows are sorted by their neighbours' places, downwards and upwards in turn."""
        found, least = first, self._cost(first)
        met: set[tuple[bool, tuple[tuple[int, ...], ...]]] = set()
        for start in (first, [row[::-1] for row in first]):
            order = [row[:] for row in start]
            for sweep in range(_SWEEPS):
                downwards = sweep % 2 == 0
                state = (downwards, tuple(map(tuple, order)))
                if least == _FREE or state in met:
                    break  # from here on nothing is better, or everything has been seen
                met.add(state)
                self._sort(order, downwards)
                self._exchange(order)
                if (cost := self._cost(order)) < least:
                    found, least = [row[:] for row in order], cost
        return found

    def _sort(self, order: Order, downwards: bool) -> None:
        neighbours, place = self._above if downwards else self._below, self._places(order)
        for row in order if downwards else reversed(order):
            if len(row) > 1:
                row.sort(key=self._barycentre(neighbours, place))
                self._put(row, place)

    def _barycentre(self, neighbours: dict[int, list[int]], place: dict[int, int]) -> Callable[[int], float]:
        def key(vertex: int) -> float:
            joined = neighbours.get(vertex, [vertex])
            return sum(place[other] for other in joined) / len(joined)

        return key

    def _exchange(self, order: Order) -> None:
        """Exchange neighbours in a row wherever that is better."""
        place = self._places(order)
        for index, row in enumerate(order):
            if len(row) == 1:
                continue
            around = order[max(index - 1, 0) : index + 2]  # all that an exchange can make better or worse
            before = self._weigh(around, place)
            for left in range(len(row) - 1):
                row[left], row[left + 1] = row[left + 1], row[left]
                self._put(row, place)
                after = self._weigh(around, place)
                if after >= before:
                    row[left], row[left + 1] = row[left + 1], row[left]
                    self._put(row, place)
                else:
                    before = after

    def _places(self, order: Order) -> dict[int, int]:
        """Where vertices stand: steps to the right of the spine."""
        place: dict[int, int] = {}
        for row in order:
            self._put(row, place)
        return place

    def _put(self, row: list[int], place: dict[int, int]) -> None:
        """Set where the vertices of one row stand."""
        step = 0
        while row[step] not in self._spine:
            step += 1
        for vertex in row:
            place[vertex] = -step
            step -= 1

    def _cost(self, order: Order) -> Cost:
        return self._weigh(order, self._places(order))

    def _weigh(self, rows: Order, place: dict[int, int]) -> Cost:
        """The cost of some rows below each other, and of all pairs, where vertices stand at given places."""
        crossings = length = 0
        for row in rows[:-1]:
            lines = [(place[upper], place[lower]) for upper in row for lower in self._below.get(upper, ())]
            length += sum([abs(a - b) for a, b in lines])
            if len(lines) > 1:
                crossings += sum([(a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(lines, 2)])
        return crossings, sum([place[left] > place[right] for left, right in self._pairs]), length


def aligned(rows: Rows) -> list[tuple[int, int]]:
    """Segments to draw as straight lines: at most one above and below a vertex, none crossing another.

    The spine comes first, then trunks, then what is left.
    """
    spine = set(pairwise(rows.spine))

    def rank(segment: tuple[int, int]) -> int:
        return 0 if segment in spine else 1 if min(segment) >= rows.boxes else 2

    place = {vertex: index for found in rows.order for index, vertex in enumerate(found)}
    chosen: list[tuple[int, int]] = []
    for upper, lower in sorted(rows.segments, key=rank):
        beside = [(place[a], place[b]) for a, b in chosen if rows.row[a] == rows.row[upper]]
        if all((a - place[upper]) * (b - place[lower]) > 0 for a, b in beside):
            chosen.append((upper, lower))
    return chosen
