"""Drawings of the known operators and of sampled kernels: nothing overlaps, all is there, always the same."""

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from canvas_rl import zoo
from canvas_rl.config import SearchOptions
from canvas_rl.drawing import lay_out, to_pixels, to_svg, to_text
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

SVG = "{http://www.w3.org/2000/svg}"
JOINS = "badd,bsub,bmul,bmax,bmin,bmm,fc,fold,relu,unfold,group,output"
SAMPLED = {
    "short": ({"num_primitive_range": (2, 8)}, DEFAULT_SITES, 6),
    "long": ({"num_primitive_range": (16, 20)}, DEFAULT_SITES, 5),
    "branching": ({"num_primitive_range": (12, 20), "allowed_filter": JOINS}, (Site(16, 8, 8),), 12),
    "flat": ({"num_primitive_range": (4, 12)}, (Site(16, 8),), 4),
}


@pytest.fixture(scope="module")
def kernels():
    """The known operators, and kernels of up to 20 primitives, many of them with branches."""
    found = {name: zoo.load(name) for name in zoo.names()}
    for kind, (options, sites, count) in SAMPLED.items():
        space, rng = SearchSpace(sites, SearchOptions(num_max_width_range=(2, 8), **options)), np.random.default_rng(3)
        found |= {f"{kind} {number}": space.sample(rng) for number in range(count)}
    return found


def test_the_kernels_are_worth_drawing(kernels):
    assert max(graph.primitive_count for graph in kernels.values()) == 20
    joins = [sum(len(node.inputs) > 1 for node in graph.nodes) for graph in kernels.values()]
    assert sum(count >= 2 for count in joins) >= 10


def test_boxes_do_not_overlap_and_are_inside(kernels):
    for name, graph in kernels.items():
        layout = lay_out(graph)
        assert [box.node for box in layout.boxes] == list(range(len(graph.nodes))), name
        for box in layout.boxes:
            assert 0 <= box.x < box.x + box.width <= layout.width, name
            assert 0 <= box.y < box.bottom <= layout.height, name
        for one, other in combinations(layout.boxes, 2):
            beside = one.x + one.width <= other.x or other.x + other.width <= one.x
            assert beside or one.bottom <= other.y or other.bottom <= one.y, (name, one, other)


def test_edges_join_their_ends_and_cross_no_box(kernels):
    for name, graph in kernels.items():
        layout = lay_out(graph)
        expected = {
            (source, index, at) for index, node in enumerate(graph.nodes) for at, source in enumerate(node.inputs)
        }
        assert {(edge.source, edge.target, edge.operand) for edge in layout.edges} == expected, name
        assert len(layout.edges) == len(expected), name
        for edge in layout.edges:
            source, target = layout.boxes[edge.source], layout.boxes[edge.target]
            points = edge.flattened()
            assert points[0] == (source.centre, source.bottom), name
            assert points[-1] == (target.ports[edge.operand], target.y), name
            assert target.x < points[-1].x < target.x + target.width, name
            assert all(start.y < end.y for start, end in pairwise(points)), name
            assert all(0 < point.x < layout.width for point in points), name
            for box in layout.boxes:
                assert not any(_crosses(start, end, box) for start, end in pairwise(points)), (name, edge, box)


def _crosses(start, end, box):
    """Whether a line that goes down passes through the inside of a box."""
    top, bottom = max(start.y, box.y), min(end.y, box.bottom)
    if top >= bottom:
        return False
    at = [start.x + (end.x - start.x) * (y - start.y) / (end.y - start.y) for y in (top, bottom)]
    return max(at) > box.x and min(at) < box.x + box.width


def test_operands_arrive_without_crossing(kernels):
    for graph in kernels.values():
        layout = lay_out(graph)
        for box in layout.boxes:
            arriving = [edge for edge in layout.edges if edge.target == box.node]
            if len(arriving) > 1:
                first, second = (_x_at(edge.flattened(), box.y - 24) for edge in arriving)
                left, right = box.ports
                assert left != right
                assert first == second or (first < second) == (left < right)


def _x_at(points, y):
    """Where a line that goes down is at a height."""
    start, end = next((start, end) for start, end in pairwise(points) if start.y <= y <= end.y)
    return start.x + (end.x - start.x) * (y - start.y) / (end.y - start.y)


def test_a_skip_edge_passes_beside_the_chain():
    layout = lay_out(zoo.load("squeeze_excitation"))
    chain = {box.centre for box in layout.boxes}
    assert len(chain) == 1  # all below each other
    skip = next(edge for edge in layout.edges if edge.target - edge.source > 1)
    assert len({point.x for point in skip.points}) == 3  # down from the source, beside the chain, down to the target
    assert max(point.x for point in skip.points) > max(box.x + box.width for box in layout.boxes)


def test_svg_is_one_element_with_all_nodes_and_both_operands(kernels):
    for name, graph in kernels.items():
        text = to_svg(graph)
        root = ElementTree.fromstring(text)
        assert root.tag == f"{SVG}svg"
        assert root.get("role") == "img"
        assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
        assert graph.hash[:8] in root.findtext(f"{SVG}title")
        assert len(root.findall(f".//{SVG}rect")) == len(graph.nodes), name
        groups = [" ".join(line.text for line in group.iter(f"{SVG}text")) for group in root.findall(f"{SVG}g")]
        for node, words in zip(graph.nodes, groups, strict=True):
            marks = "lhs rhs " if len(node.inputs) > 1 else ""
            assert words == f"{marks}{node.primitive.describe()} {node.shape}", name
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_colours_of_svg_can_be_set_by_a_page_and_have_defaults():
    text = to_svg(zoo.load("large_kernel_attention"))
    for name in ("weighted", "plain", "end", "border", "line", "text", "faint"):
        assert re.search(rf"var\(--kernel-{name},#[0-9a-f]{{6}}\)", text), name


def test_the_same_kernel_is_drawn_the_same(kernels):
    for name, graph in kernels.items():
        again = type(graph).from_json(graph.to_json())
        assert to_svg(again) == to_svg(graph), name
        assert to_text(again) == to_text(graph), name
    pixels = [to_pixels(zoo.load("involution")) for _ in range(2)]
    assert np.array_equal(*pixels)


def test_pixels_show_boxes_where_the_layout_has_them(kernels):
    for name, graph in kernels.items():
        layout, pixels = lay_out(graph), to_pixels(graph)
        assert pixels.dtype == np.uint8
        scale = pixels.shape[1] / layout.width
        assert pixels.shape == (pytest.approx(layout.height * scale, abs=3), pytest.approx(layout.width * scale), 3)
        colours = {"weighted": (255, 224, 184), "plain": (219, 233, 248), "end": (217, 239, 217)}
        for box in layout.boxes:
            inside = pixels[round((box.bottom - 3) * scale), round((box.x + 8) * scale)]
            assert tuple(inside) == colours[box.kind], (name, box)
            words = pixels[round(box.y * scale) + 3 : round(box.bottom * scale) - 3, round(box.centre * scale) - 20 :]
            assert words[:, :40].min() < 90, (name, box)  # dark letters


def test_words_fit_into_boxes_of_pixels(kernels):
    from PIL import ImageFont

    from canvas_rl.drawing.look import TEXTS

    for graph in kernels.values():
        for box in lay_out(graph).boxes:
            for kind, line, x, _ in box.lines():
                half = ImageFont.load_default(TEXTS[kind][0]).getlength(line) / 2
                assert box.x < x - half < x + half < box.x + box.width, line


@pytest.mark.parametrize("width", [40, 80, 120])
def test_text_keeps_to_its_width_and_tells_all(kernels, width):
    for name, graph in kernels.items():
        lines = to_text(graph, width).splitlines()
        if width >= 80:
            assert max(map(len, lines)) <= width, name
        numbered = [line for line in lines if re.match(r" *\d+  \S", line)]
        assert len(numbered) == len(graph.nodes), name
        told = re.sub(r"[│├┤┼╰╯┴─●○\s]+", "", "".join(lines))
        for index, node in enumerate(graph.nodes):
            operands = f"(lhs {node.inputs[0]}, rhs {node.inputs[1]})" if len(node.inputs) > 1 else ""
            words = f"{index}{node.primitive.describe()}{operands}{node.shape}"
            assert words.replace(" ", "") in told, (name, words)


def test_rails_carry_each_tensor_to_its_readers():
    assert (
        to_text(zoo.load("local_attention"))
        == """\
 0  ○      input                        [C, H, W]
 1  ├─●    FC to C channels             [C, H, W]
 2  ├─│─●  FC to C channels             [C, H, W]
 3  │ │ ○  unfold 7 neighbours along W  [C, KW=7, H, W]
 4  │ ○─╯  lhs * rhs (lhs 1, rhs 3)     [C, KW=7, H, W]
 5  │ ○    average over C               [KW=7, H, W]
 6  │ ○    softmax over KW              [KW=7, H, W]
 7  ● │    FC to C channels             [C, H, W]
 8  ○ │    unfold 7 neighbours along W  [C, KW=7, H, W]
 9  ○─╯    lhs * rhs (lhs 6, rhs 8)     [C, KW=7, H, W]
10  ○      average over KW              [C, H, W]
11  ○      output                       [C, H, W]
● with learned weights  ○ without
"""
    )


def test_rails_are_followed_from_every_node_to_its_operands(kernels):
    """Reads the operands of every node back from the rails alone, where no line has a junction to tell apart."""
    for name, graph in kernels.items():
        live: dict[int, int] = {}
        rows = [line for line in to_text(graph, 200).splitlines()[:-1] if re.match(r" *\d+  ", line)]
        start = len(str(len(graph.nodes) - 1)) + 2
        for index, (node, row) in enumerate(zip(graph.nodes, rows, strict=True)):
            column = next(at for at, mark in enumerate(row[start:]) if mark in "●○")
            joined = {at for at, mark in enumerate(row[start : column + start + 40]) if mark in "├┤┼╰╯┴"}
            read = {live[at] for at in joined}
            if column in live and live[column] in node.inputs:
                read.add(live[column])
            assert read == set(node.inputs), (name, index)
            for at in [at for at in joined if row[start + at] in "╰╯┴"]:
                del live[at]
            live[column] = index


def test_words_with_markup_in_them_stay_words(monkeypatch):
    graph = zoo.load("bottleneck")
    monkeypatch.setattr(type(graph.nodes[1].primitive), "describe", lambda self: "a < b & c")
    root = ElementTree.fromstring(to_svg(graph))
    assert "a < b & c" in [line.text for line in root.iter(f"{SVG}text")]
    assert "a < b & c" in root.findtext(f"{SVG}title")
