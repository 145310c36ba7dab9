"""Drawings of kernel graphs: SVG, pixels and text for a terminal, made without Graphviz."""

from canvas_rl.drawing.box import Box
from canvas_rl.drawing.layout import Edge, Layout, lay_out
from canvas_rl.drawing.raster import to_pixels
from canvas_rl.drawing.svg import to_svg
from canvas_rl.drawing.text import to_text

__all__ = ["Box", "Edge", "Layout", "lay_out", "to_pixels", "to_svg", "to_text"]
