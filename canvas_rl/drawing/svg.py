"""A kernel graph as SVG."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from xml.sax.saxutils import escape

from canvas_rl.drawing.box import Box
from canvas_rl.drawing.layout import Point, control_points, lay_out
from canvas_rl.drawing.look import ARROW, COLOURS, CORNERS, LINE_WIDTH, TEXTS
from canvas_rl.ir import KernelGraph

_FONT = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def _colour(attribute: str, name: str) -> dict[str, str]:
    """A colour for programs that know no custom properties, and as one."""
    return {attribute: COLOURS[name], "style": f"{attribute}:var(--kernel-{name},{COLOURS[name]})"}


def _look(kind: str) -> dict[str, str]:
    fill, stroke = _colour("fill", kind), _colour("stroke", "border")
    return fill | stroke | {"style": f"{fill['style']};{stroke['style']}"}


_LOOKS = {kind: _look(kind) for kind in CORNERS}
_WORDS = {kind: {"font-size": str(size), **_colour("fill", colour)} for kind, (size, colour) in TEXTS.items()}


def to_svg(graph: KernelGraph) -> str:
    """A kernel as one `<svg>` element that needs nothing else.

    It is as wide as it needs, or as its container if that is narrower. A page sets the colours, for example for dark
    mode, as CSS custom properties: `--kernel-weighted`, `--kernel-plain`, `--kernel-end` (fills of the boxes),
    `--kernel-border`, `--kernel-line`, `--kernel-text` and `--kernel-faint` (shapes); the background is transparent.
    """
    layout = lay_out(graph)
    size = {"width": _number(layout.width), "height": _number(layout.height)}
    root = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": f"0 0 {size['width']} {size['height']}",
        **size,
        "role": "img",
        "font-family": _FONT,
        "text-anchor": "middle",
        "style": "max-width:100%;height:auto",
    }
    lines, arrows = _lines(layout.lines()), (_arrow(edge.points[-1]) for edge in layout.edges)
    stroke = {"fill": "none", "stroke-linecap": "round", "stroke-width": str(LINE_WIDTH), **_colour("stroke", "line")}
    parts = [
        _element("title", {}, escape(_title(graph))),
        _element("path", {"d": "".join(lines), **stroke}),
        _element("path", {"d": "".join(arrows), **_colour("fill", "line")}),
        *map(_drawn, layout.boxes),
    ]
    return _element("svg", root, "".join(parts))


def _drawn(box: Box) -> str:
    """A box about its upper middle: what boxes have in common is the same text, so that drawings compress well."""
    sides = {"x": -box.width / 2, "width": box.width, "height": box.height, "rx": CORNERS[box.kind]}
    inside = [_element("rect", {name: _number(value) for name, value in sides.items()} | _LOOKS[box.kind])]
    for kind, line, x, y in box.lines():
        place = {"x": _number(x - box.centre), "y": _number(y - box.y)}
        inside.append(_element("text", place | _WORDS[kind], escape(line)))
    return _element("g", {"transform": f"translate({_number(box.centre)} {_number(box.y)})"}, "".join(inside))


def _element(tag: str, attributes: dict[str, str], content: str | None = None) -> str:
    """An element of SVG; the attributes are our own and need no escaping."""
    listed = "".join([f' {name}="{value}"' for name, value in attributes.items()])
    return f"<{tag}{listed} />" if content is None else f"<{tag}{listed}>{content}</{tag}>"


def _title(graph: KernelGraph) -> str:
    listed = ", ".join(node.primitive.describe() for node in graph.nodes[1:-1])
    return f"Kernel {graph.hash[:8]}, {graph.length}: {listed}"


def _lines(lines: Iterable[tuple[Point, Point]]) -> Iterator[str]:
    """A path of all lines, each from where the one before ended if it starts there."""
    last = None
    for start, end in lines:
        if start != last:
            yield f"M{_point(start)}"
        yield _line(start, end)
        last = end


def _line(start: Point, end: Point) -> str:
    if start.x == end.x:
        return f"v{_number(end.y - start.y)}"
    points = (*control_points(start, end), end)
    return f"c{' '.join(_point(Point(point.x - start.x, point.y - start.y)) for point in points)}"


def _arrow(tip: Point) -> str:
    half, length = ARROW
    return f"M{_point(tip)}l{-half} {-length}h{2 * half}z"


def _point(point: Point) -> str:
    return f"{_number(point.x)} {_number(point.y)}"


@lru_cache(maxsize=1 << 14)
def _number(value: float) -> str:
    """At most one decimal, and no minus before a zero."""
    return f"{round(value, 1) + 0.0:g}"
