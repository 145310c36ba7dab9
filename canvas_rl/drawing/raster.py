"""A kernel graph as pixels."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from canvas_rl.drawing.box import Box
from canvas_rl.drawing.layout import Point, flattened, lay_out
from canvas_rl.drawing.look import ARROW, COLOURS, CORNERS, LINE_WIDTH, TEXTS
from canvas_rl.ir import KernelGraph

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

_BACKGROUND = "#ffffff"
_SCALE = 1.5
_FINER = 2  # lines are drawn larger and made smaller, so that they have no steps

Pixels = npt.NDArray[np.uint8]


def to_pixels(graph: KernelGraph) -> Pixels:
    """A kernel as a picture on white, [height, width, 3]; the drawing is that of `to_svg`."""
    from PIL import Image, ImageDraw  # only pictures need it

    layout, scale = lay_out(graph), _SCALE * _FINER
    size = (_FINER * round(layout.width * _SCALE), _FINER * round(layout.height * _SCALE))
    image = Image.new("RGB", size, _BACKGROUND)
    canvas = ImageDraw.Draw(image)
    for line in layout.lines():
        points = [(x * scale, y * scale) for x, y in flattened(*line)]
        canvas.line(points, fill=COLOURS["line"], width=round(LINE_WIDTH * scale), joint="curve")
    for edge in layout.edges:
        _arrow(canvas, edge.points[-1], scale)
    for box in layout.boxes:
        _box(canvas, box, scale)
    image = image.reduce(_FINER)
    canvas = ImageDraw.Draw(image)
    for box in layout.boxes:
        _words(canvas, box)
    return np.asarray(image, dtype=np.uint8)


def _arrow(canvas: "ImageDraw", tip: Point, scale: float) -> None:
    (x, y), (half, length) = (side * scale for side in tip), (side * scale for side in ARROW)
    canvas.polygon([(x, y), (x - half, y - length), (x + half, y - length)], fill=COLOURS["line"])


def _box(canvas: "ImageDraw", box: Box, scale: float) -> None:
    corners = (box.x * scale, box.y * scale, (box.x + box.width) * scale, box.bottom * scale)
    canvas.rounded_rectangle(corners, CORNERS[box.kind] * scale, COLOURS[box.kind], COLOURS["border"], round(scale))


def _words(canvas: "ImageDraw", box: Box) -> None:
    from PIL import ImageFont

    for kind, line, x, y in box.lines():
        size, colour = TEXTS[kind]
        font = ImageFont.load_default(size * _SCALE)
        canvas.text((x * _SCALE, y * _SCALE), line, COLOURS[colour], font, anchor="ms")
