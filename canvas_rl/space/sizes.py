"""What must hold of a program's free sizes, and the solver that keeps a witness of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from canvas_rl.errors import GraphError
from canvas_rl.primitives.base import require
from canvas_rl.space.memo import Memo
from canvas_rl.symbolic.binding import Binding
from canvas_rl.symbolic.constraints import Constraint, find_witness, holds, solve_linear
from canvas_rl.symbolic.size import FIRST_VARIABLE, Size, symbol

MAX_VARIABLES = 8
Volume = tuple[Size, int]
_MEMO_SIZE = 1 << 13


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is known of the free variables of a program.

    Attributes:
        constraints: what must hold of them.
        witness: values of all of them that meet every constraint.
        next_variable: index of the first unused symbol.
        volumes: (elements, most allowed) of tensors and weights whose size has free variables.
    """

    constraints: tuple[Constraint, ...] = ()
    witness: Mapping[int, Size] = field(default_factory=dict)
    next_variable: int = FIRST_VARIABLE
    volumes: tuple[Volume, ...] = ()

    @property
    def key(self) -> tuple[Any, ...]:
        """Hashable, equal for equal contents."""
        return self.constraints, tuple(self.witness.items()), self.next_variable, self.volumes


NO_SIZES = Sizes()


class SizeSolver:
    """Adds constraints and solves equations; every result has a witness.

    Args:
        binding: the sites.
    """

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self._witnesses: Memo[dict[int, Size] | None] = Memo(_MEMO_SIZE)

    def open(self, constraints: Iterable[Constraint]) -> tuple[Constraint, ...]:
        """The constraints that have free variables.

        Raises:
            GraphError: one without free variables does not hold.
        """
        for constraint in constraints:
            if not constraint.size.has_variables:
                fits = holds(constraint, self.binding, {})
                require(fits, "{} would not be {} or more at every site", constraint.size, constraint.least)
        return tuple(dict.fromkeys(c for c in constraints if c.size.has_variables))

    def open_volumes(self, volumes: Iterable[Volume]) -> tuple[Volume, ...]:
        """The volumes that have free variables.

        Raises:
            GraphError: one without free variables is too large.
        """
        volumes = tuple(volumes)
        self._check_volumes((volume for volume in volumes if not volume[0].has_variables), {})
        return tuple(volume for volume in volumes if volume[0].has_variables)

    def extend(
        self, sizes: Sizes, constraints: Sequence[Constraint], next_variable: int, volumes: tuple[Volume, ...]
    ) -> Sizes:
        """Sizes with more constraints, fresh variables (each at least 2) and volumes.

        The witness is kept where it still holds, else searched anew.

        Raises:
            GraphError: no witness is found, or there are too many variables.
        """
        added = tuple(c for c in constraints if c not in sizes.constraints)
        fresh = range(sizes.next_variable, next_variable)
        if not fresh and not added and not volumes:
            return sizes
        added += tuple(Constraint(symbol(index), 2) for index in fresh)
        every = tuple(dict.fromkeys((*sizes.constraints, *added)))
        count = len(sizes.witness) + len(fresh)
        require(count <= MAX_VARIABLES, "the kernel would have more than {} free sizes", MAX_VARIABLES)
        witness, checked, all_volumes = sizes.witness, volumes, (*sizes.volumes, *volumes)
        if fresh or not all(holds(constraint, self.binding, witness) for constraint in added):
            witness, checked = self._witness((*sizes.witness, *fresh), every, witness), all_volumes
        self._check_volumes(checked, witness)
        return Sizes(every, witness, next_variable, all_volumes)

    def solve(self, left: Size, right: Size) -> tuple[int, Size]:
        """The free variable, and its value, that makes two sizes equal.

        Raises:
            GraphError: no variable can, or its value would depend on image sizes that are not fixed.
        """
        solution = solve_linear(left, right)
        if solution is None:
            raise GraphError(f"{left} can't be made equal to {right}")
        allowed = self.binding.spatial_fixed or not solution[1].has_spatial
        require(allowed, "{} would tie a free size to the image size", solution[1])
        return solution

    def substitute(self, sizes: Sizes, values: Mapping[int, Size]) -> Sizes:
        """Sizes with some variables replaced.

        Raises:
            GraphError: a constraint or an activation limit can't hold any more.
        """
        constraints = self.open(dict.fromkeys(c.substitute(values) for c in sizes.constraints))
        volumes = self.open_volumes((size.substitute(values), most) for size, most in sizes.volumes)
        kept = {variable: size for variable, size in sizes.witness.items() if variable not in values}
        witness = self._witness(tuple(kept), constraints, kept)
        self._check_volumes(volumes, witness)
        return Sizes(constraints, witness, sizes.next_variable, volumes)

    def _witness(
        self, variables: tuple[int, ...], constraints: tuple[Constraint, ...], near: Mapping[int, Size]
    ) -> dict[int, Size]:
        key = (variables, constraints, tuple(near.items()))
        found = self._witnesses.get(key, lambda: find_witness(variables, constraints, self.binding, near))
        if found is None:
            raise GraphError("no values of the free sizes would meet every constraint")
        return found

    def _check_volumes(self, volumes: Iterable[Volume], witness: Mapping[int, Size]) -> None:
        for size, most in volumes:
            require(self.fits(size, most, witness), "a tensor of {} elements would break the activation limit", size)

    def fits(self, elements: Size, most: int, witness: Mapping[int, Size]) -> bool:
        """Whether a tensor has at most `most` elements at every site."""
        values = self.binding.integers(elements.substitute(witness))
        return values is not None and max(values) <= most
