"""How drawings look: the same as SVG and as pixels."""

from canvas_rl.drawing.box import MARK_SIZE, SHAPE_SIZE, TITLE_SIZE

COLOURS = {
    "weighted": "#ffe0b8",  # boxes with learned weights
    "plain": "#dbe9f8",
    "end": "#d9efd9",  # Input and Output
    "border": "#8496a9",
    "line": "#5b6b7c",
    "text": "#17222e",
    "faint": "#4a5968",  # shapes, lhs and rhs
}
TEXTS = {"title": (TITLE_SIZE, "text"), "shape": (SHAPE_SIZE, "faint"), "mark": (MARK_SIZE, "faint")}
"""Size and colour of the words in a box, by kind."""

CORNERS = {"weighted": 5, "plain": 5, "end": 12}
"""Radius of a box's corners, by kind."""

LINE_WIDTH = 1.5
ARROW = (4, 8)
"""Half the width of an arrow's head, and its length."""
