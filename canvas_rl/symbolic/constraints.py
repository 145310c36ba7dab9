"""Constraints on sizes."""

from typing import NamedTuple

from canvas_rl.symbolic.size import FIRST_VARIABLE, Size, symbol


class Constraint(NamedTuple):
    """Says that a size is an integer of at least `least` at every site."""

    size: Size
    least: int = 1

    def __str__(self) -> str:
        return f"{self.size} is an integer of at least {self.least} at every site"


def variable(index: int) -> Size:
    """The free variable x`index`."""
    return symbol(FIRST_VARIABLE + index)
