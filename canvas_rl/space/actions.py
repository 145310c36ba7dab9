"""The action set: templates of primitives, pushes and outputs."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import gcd

import numpy as np
from numpy.typing import NDArray

from canvas_rl.config import SearchOptions
from canvas_rl.errors import ConfigError
from canvas_rl.primitives import FAMILIES, FamilyContext, Template
from canvas_rl.space.filters import family_rules
from canvas_rl.symbolic.site import Site

FILL_LEVELS = (Fraction(1), Fraction(1, 2), Fraction(1, 4), Fraction(1, 8))
PUSH, OUTPUT = "Push", "Output"
MAX_GROUPS = 1 << 10


@dataclass(frozen=True)
class Action:
    """One action: exactly one of its three kinds is set.

    Attributes:
        name: how saved programs call it.
        family: the family it belongs to, for samplers that choose the family first.
        template: applies a primitive.
        push: pushes this tensor again.
        fill: ends the kernel with this fill level.
    """

    name: str
    family: str
    template: Template | None = None
    push: int | None = None
    fill: Fraction | None = None


class ActionSet:
    """All actions of a search space, in a fixed order that depends on its options alone."""

    def __init__(self, sites: tuple[Site, ...], options: SearchOptions) -> None:
        enabled = family_rules(options).enabled
        context = FamilyContext(options, sites[0].spatial_dims, group_counts(sites))
        templates = [template for template in _templates(context) if template.family in enabled]
        self.actions = (
            *(Action(template.name, template.family, template=template) for template in templates),
            *(Action(f"push({i})", PUSH, push=i) for i in range(options.num_primitive_range[1] + 1)),
            *(Action(f"output({level})", OUTPUT, fill=level) for level in FILL_LEVELS),
        )
        self.index = {action.name: i for i, action in enumerate(self.actions)}

    def __len__(self) -> int:
        return len(self.actions)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the actions, by index."""
        return tuple(action.name for action in self.actions)

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Different families, in the order of their first action."""
        return tuple(dict.fromkeys(action.family for action in self.actions))

    @cached_property
    def family_of(self) -> NDArray[np.int64]:
        """For each action the index of its family."""
        rank = {family: i for i, family in enumerate(self.families)}
        return np.array([rank[action.family] for action in self.actions], dtype=np.int64)

    @cached_property
    def members(self) -> tuple[NDArray[np.int64], ...]:
        """For each family the indices of its actions."""
        return tuple(np.flatnonzero(self.family_of == family) for family in range(len(self.families)))

    def of_arity(self, arity: int) -> tuple[int, ...]:
        """Indices of the templates with so many operands, in order."""
        return self._of_arity.get(arity, ())

    @cached_property
    def _of_arity(self) -> dict[int, tuple[int, ...]]:
        arities = {i: action.template.arity for i, action in enumerate(self.actions) if action.template is not None}
        return {arity: tuple(i for i in arities if arities[i] == arity) for arity in set(arities.values())}

    @cached_property
    def others(self) -> tuple[int, ...]:
        """Indices of the pushes and outputs."""
        return tuple(i for i, action in enumerate(self.actions) if action.template is None)

    def of_family(self, *families: str) -> tuple[int, ...]:
        """Indices of the actions of some families, in order."""
        return tuple(i for i, action in enumerate(self.actions) if action.family in families)


def _templates(context: FamilyContext) -> Iterator[Template]:
    """The templates of all families.

    Raises:
        ConfigError: one is of a family that no filter would know.
    """
    for family in FAMILIES:
        for template in family.templates(context):
            if template.family not in family.names:
                raise ConfigError(
                    f"the template {template.name!r} has the family {template.family!r}: expected one of its Family's "
                    f"names, {', '.join(family.names)}"
                )
            yield template


def group_counts(sites: tuple[Site, ...]) -> tuple[int, ...]:
    """Powers of two from 2 that divide the channels of every site and leave at least 2 of them."""
    common = gcd(*(site.c for site in sites))
    counts = [2]
    while counts[-1] < MAX_GROUPS:
        counts.append(counts[-1] * 2)
    return tuple(count for count in counts if common % count == 0 and min(site.c for site in sites) // count >= 2)
