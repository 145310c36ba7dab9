"""The Pareto front of a search as a picture: speedup against quality.

Drawn with Pillow, which is installed anyway and takes some milliseconds: a search redraws it whenever its front
changes, on every installation.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from canvas_rl.study.axes import FINER, MARGINS, SIZE, Axes, Figures

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

_MEASURED, _FRONT, _REFERENCE = "#b9c3cd", "#1f5fa8", "#c2410c"
_TEXT, _FAINT = "#17222e", "#4a5968"


def draw_front(
    measured: Sequence[Figures], front: Sequence[Figures], reference: float | None, evaluations: int
) -> npt.NDArray[np.uint8]:
    """A picture [height, width, 3]: all kernels faint, those of the front with their steps, the convolution.

    Args:
        measured: every kernel that was measured without failure.
        front: those that no other beats; where parameters count as well, the steps join those of two objectives.
        reference: quality of the replaced convolution; None if it is not known.
        evaluations: kernels evaluated so far, for the title.
    """
    from PIL import Image, ImageDraw  # only pictures need it

    image = Image.new("RGB", (SIZE[0] * FINER, SIZE[1] * FINER), "#ffffff")
    canvas = ImageDraw.Draw(image)
    marked = [] if reference is None else [Figures(1.0, reference)]
    axes = Axes([*measured, *front, *marked, Figures(1.0, 0.5)])
    for ticks, horizontal in ((axes.speedups(), False), (axes.qualities(), True)):
        for value in ticks:
            axes.grid(canvas, value, horizontal)
    for kernel in measured:
        _dot(canvas, axes.place(kernel), 4, _MEASURED)
    canvas.line([axes.place(corner) for corner in _staircase(front, axes.lowest)], fill=_FRONT, width=2 * FINER)
    for kernel in front:
        _dot(canvas, axes.place(kernel), 5, _FRONT)
    for kernel in marked:
        _diamond(canvas, axes.place(kernel))
    image = image.reduce(FINER)
    _label(ImageDraw.Draw(image), axes, evaluations, bool(marked))
    return np.asarray(image, dtype=np.uint8)


def _staircase(front: Sequence[Figures], lowest: Figures) -> list[Figures]:
    """Corners of what the front dominates, from below the fastest kernel to the left of the best."""
    corners: list[Figures] = []
    quality = lowest.quality
    for kernel in sorted(front, key=lambda kernel: (-kernel.speedup, -kernel.quality)):
        if kernel.quality > quality:
            corners += [Figures(kernel.speedup, quality), kernel]
            quality = kernel.quality
    return [*corners, Figures(lowest.speedup, quality)]


def _dot(canvas: "ImageDraw", place: tuple[float, float], radius: int, colour: str) -> None:
    (x, y), r = place, radius * FINER
    canvas.ellipse((x - r, y - r, x + r, y + r), fill=colour, outline="#ffffff", width=FINER // 2)


def _diamond(canvas: "ImageDraw", place: tuple[float, float]) -> None:
    (x, y), r = place, 8 * FINER
    canvas.polygon([(x, y - r), (x + r, y), (x, y + r), (x - r, y)], fill=_REFERENCE)


def _label(canvas: "ImageDraw", axes: Axes, evaluations: int, reference: bool) -> None:
    """Title, ticks, names of the axes and what the marks mean."""
    from PIL import ImageFont

    left, top, right, bottom = MARGINS
    small, normal = ImageFont.load_default(15), ImageFont.load_default(17)
    canvas.text((10, 26), f"Pareto front at evaluation {evaluations}", _TEXT, normal, anchor="ls")
    canvas.text((10, top - 12), "quality", _TEXT, small, anchor="ls")
    for tick in axes.speedups():
        x = axes.place(Figures(tick, 0.0))[0] / FINER
        canvas.text((x, SIZE[1] - bottom + 8), f"{tick:g}x", _FAINT, small, anchor="ma")
    for tick in axes.qualities():
        y = axes.place(Figures(1.0, tick))[1] / FINER
        canvas.text((left - 8, y), f"{tick:.4g}", _FAINT, small, anchor="rm")
    middle = (left + SIZE[0] - right) / 2
    canvas.text((middle, SIZE[1] - 12), "speedup (geometric mean of the sites)", _TEXT, small, anchor="ms")
    x = SIZE[0] - right
    marks = [("measured", _MEASURED), ("front", _FRONT), *([("convolution", _REFERENCE)] if reference else [])]
    for words, colour in reversed(marks):
        canvas.text((x, top - 12), words, _FAINT, small, anchor="rs")
        x -= round(small.getlength(words)) + 10
        canvas.ellipse((x - 5, top - 22, x + 5, top - 12), fill=colour)
        x -= 18
