"""What the zoo knows of an operator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from canvas_rl.config import SearchOptions
from canvas_rl.errors import PlaceholderError

ROOM = 8
"""Primitives beyond its own that a search space must allow: a mask keeps room for a program that surely finishes."""


@dataclass(frozen=True)
class Operator:
    """An operator that people designed, as programs of the kernel language.

    Attributes:
        name: how it is asked for.
        description: what it does, in one sentence.
        reference: who published it, and where.
        program_2d: names of the actions for sites with height and width, separated by spaces.
        program_1d: the same for sites with a length; empty where the operator makes no sense there.
        program_0d: the same for sites without spatial dims.
        needs: search options without which it is refused, or narrower than published.
    """

    name: str
    description: str
    reference: str
    program_2d: str
    program_1d: str = ""
    program_0d: str = ""
    needs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dims(self) -> tuple[int, ...]:
        """The numbers of spatial dims for which there is a program."""
        return tuple(count for count, program in enumerate(self._programs()) if program)

    def program(self, spatial_dims: int) -> tuple[str, ...]:
        """Names of the actions that build it.

        Raises:
            PlaceholderError: it makes no sense at sites with so many spatial dims.
        """
        if spatial_dims not in self.dims:
            listed = " or ".join(f"{dims}-D" for dims in self.dims)
            raise PlaceholderError(
                f"the operator {self.name!r} does not exist for {spatial_dims}-D sites: expected {listed}"
            )
        return tuple(self._programs()[spatial_dims].split())

    def primitive_count(self, spatial_dims: int) -> int:
        """How many primitives its program applies."""
        return sum(not name.startswith(("push(", "output(")) for name in self.program(spatial_dims))

    def options(self, spatial_dims: int) -> SearchOptions:
        """Search options under which its program is legal, as wide as published."""
        count = self.primitive_count(spatial_dims)
        return SearchOptions(
            num_primitive_range=(1, count + ROOM), num_weighted_range=(0, count), max_weighted_ratio=1.0, **self.needs
        )

    def _programs(self) -> tuple[str, str, str]:
        return self.program_0d, self.program_1d, self.program_2d
