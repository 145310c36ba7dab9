"""Draws the pictures of docs/concepts.md into docs/images/: `python docs/pictures.py`. A test holds them current."""

from pathlib import Path

from canvas_rl import zoo
from canvas_rl.config import SearchOptions
from canvas_rl.drawing import to_svg
from canvas_rl.ir import KernelGraph
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

FOLDER = Path(__file__).resolve().parent / "images"
LINE = "#7a8a9b"
OPERATORS = ("depthwise_separable", "self_attention")
GATE = ("fold(1.HW,avg)", "fc(x)", "relu", "push(0)", "mul(under->top)", "output(1/4)")
"""The program that the page builds step by step."""


def gate() -> KernelGraph:
    """The page's own example, at the sites and under the options that the page names."""
    options = SearchOptions(num_primitive_range=(1, 8), max_weighted_ratio=1.0)
    graph = SearchSpace((Site(64, 56, 56), Site(512, 7, 7)), options).replay(GATE).graph
    assert graph is not None
    return graph


def draw(graph: KernelGraph) -> str:
    """A kernel with lines of a grey that shows on white and on black: a picture file can't know the page's colours."""
    return to_svg(graph).replace('style="max-width', f'style="--kernel-line:{LINE};max-width', 1)


def pictures() -> dict[str, str]:
    """The SVG text of every picture, by file name."""
    drawn = {f"{name}.svg": draw(zoo.load(name)) for name in OPERATORS}
    return {**drawn, "gate.svg": draw(gate())}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pictures().items():
        (FOLDER / name).write_text(f"{text}\n", encoding="utf-8")
