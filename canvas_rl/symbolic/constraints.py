"""Constraints on free variables, and the search for a witness that meets them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from canvas_rl.symbolic.binding import Binding
from canvas_rl.symbolic.size import CHANNELS, FIRST_VARIABLE, HEIGHT, ONE, WIDTH, Size, constant, symbol

Assignment = Mapping[int, Size]

_SMALL = tuple(constant(value) for value in (2, 4, 8, 16, 32))
_SHARES = tuple(CHANNELS / constant(value) for value in (64, 32, 16, 8, 4, 2, 1))


class Constraint(NamedTuple):
    """Says that a size is an integer of at least `least` at every site."""

    size: Size
    least: int = 1

    def substitute(self, values: Assignment) -> "Constraint":
        """The constraint with free variables replaced."""
        return Constraint(self.size.substitute(values), self.least)

    def __str__(self) -> str:
        return f"{self.size} is an integer of at least {self.least} at every site"


def holds(constraint: Constraint, binding: Binding, assignment: Assignment) -> bool:
    """Whether a constraint holds at every site under an assignment of its free variables."""
    return binding.at_least(constraint.size.substitute(assignment), constraint.least)


def solve_linear(left: Size, right: Size) -> tuple[int, Size] | None:
    """Solve `left == right` for the newest free variable that occurs linearly: (variable, its value), or None.

    The value may contain older variables. Equal sides have nothing to solve: don't ask.
    """
    ratio = left / right
    for variable in reversed(ratio.variables()):
        exp = ratio.exponent(variable)
        if abs(exp) == 1:
            rest = ratio / symbol(variable) if exp == 1 else ratio * symbol(variable)
            return variable, rest.inverse() if exp == 1 else rest
    return None


def domain(variable: int, constraints: Iterable[Constraint], binding: Binding) -> tuple[Size, ...]:
    """Values that a variable may take: small powers of two and shares of C, times what the constraints divide it by.

    Sorted by size at the first site, smallest first; all are integers of at least 2 at every site. H and W are
    offered only where the spatial sizes are fixed.
    """
    factors = {ONE}
    for constraint in constraints:
        if constraint.size.exponent(variable) > 0:
            factors.update(_divisors_wanted(constraint.size, binding))
    return binding.remember(frozenset(factors), lambda: _multiples(factors, binding))


def _multiples(factors: set[Size], binding: Binding) -> tuple[Size, ...]:
    candidates = {base * factor for base in (ONE, *_SMALL, *_SHARES) for factor in factors}
    usable = {size: values for size in candidates if (values := binding.integers(size)) and min(values) >= 2}
    return tuple(sorted(usable, key=lambda size: (usable[size], str(size))))


def _divisors_wanted(size: Size, binding: Binding) -> Iterator[Size]:
    """Numbers and image sizes in the denominator of a constraint: multiples of these satisfy it."""
    yield constant(size.den)
    if not binding.spatial_fixed:
        return
    for space, dim in ((HEIGHT, 1), (WIDTH, 2)):
        if size.exponent(dim) < 0:
            yield space
            yield space * constant(size.den)
    if size.exponent(1) < 0 and size.exponent(2) < 0:
        yield HEIGHT * WIDTH


def find_witness(
    variables: Sequence[int],
    constraints: Sequence[Constraint],
    binding: Binding,
    assignment: Assignment,
    tries: int = 400,
) -> dict[int, Size] | None:
    """An assignment of all variables that meets every constraint, close to `assignment`, or None.

    Only the variables of violated constraints are searched, then those tied to them too, smallest values first.
    `None` after `tries` tested values: such a state counts as illegal.
    """
    kept = {variable: assignment[variable] for variable in variables if variable in assignment}
    missing = [variable for variable in variables if variable not in kept]
    violated = [c for c in constraints if not _unknown(c, kept) and not holds(c, binding, kept)]
    if not all(c.size.has_variables for c in violated):
        return None
    free = set(missing).union(*(c.size.variables() for c in violated))
    if not free:
        return kept
    tied = _tied(free, constraints)
    for searched in (free, tied) if tied != free else (free,):
        base = {variable: value for variable, value in kept.items() if variable not in searched}
        found = _Backtrack(sorted(searched), constraints, binding, base, tries).run()
        if found is not None:
            return {**base, **found}
    return None


def _unknown(constraint: Constraint, assignment: Assignment) -> bool:
    return any(variable not in assignment for variable in constraint.size.variables())


def _tied(variables: set[int], constraints: Sequence[Constraint]) -> set[int]:
    """The variables, and all that share a constraint with them, directly or not."""
    tied = set(variables)
    while True:
        grown = tied.union(*(c.size.variables() for c in constraints if tied & set(c.size.variables())))
        if grown == tied:
            return tied
        tied = grown


class _Numeric(NamedTuple):
    """A constraint at the sites: fractions of its known part, and the exponents of the searched variables."""

    fractions: tuple[tuple[int, int], ...]
    powers: tuple[tuple[int, int], ...]
    least: int

    def holds(self, values: Mapping[int, tuple[int, ...]]) -> bool:
        for site, (num, den) in enumerate(self.fractions):
            for variable, exp in self.powers:
                if exp > 0:
                    num *= values[variable][site] ** exp
                else:
                    den *= values[variable][site] ** -exp
            if num % den or num < self.least * den:
                return False
        return True


class _Backtrack:
    """Depth-first search over the variables' domains, checking each constraint once all its variables are set."""

    def __init__(
        self, order: list[int], constraints: Sequence[Constraint], binding: Binding, base: Assignment, tries: int
    ) -> None:
        self.tries = tries
        self.due: list[list[_Numeric]] = [[] for _ in order]
        rank = {variable: index for index, variable in enumerate(order)}
        for constraint in constraints:
            ranks = [rank[variable] for variable in constraint.size.variables() if variable in rank]
            if ranks:
                self.due[max(ranks)].append(_numeric(constraint, rank, binding, base))
        self.order = order
        self.domains = [
            [
                (size, integers)
                for size in domain(variable, constraints, binding)
                if (integers := binding.integers(size))
            ]
            for variable in order
        ]

    def run(self) -> dict[int, Size] | None:
        """The first assignment found of the searched variables."""
        return self._descend(0, {}, {})

    def _descend(
        self, depth: int, chosen: dict[int, Size], values: dict[int, tuple[int, ...]]
    ) -> dict[int, Size] | None:
        if depth == len(self.order):
            return dict(chosen)
        variable = self.order[depth]
        for size, integers in self.domains[depth]:
            self.tries -= 1
            if self.tries < 0:
                return None
            values[variable], chosen[variable] = integers, size
            for constraint in self.due[depth]:
                if not constraint.holds(values):
                    break
            else:
                found = self._descend(depth + 1, chosen, values)
                if found is not None:
                    return found
        return None


def _numeric(constraint: Constraint, rank: Mapping[int, int], binding: Binding, base: Assignment) -> _Numeric:
    size = constraint.size.substitute(base)
    powers = tuple((symbol, exp) for symbol, exp in size.exps if symbol in rank)
    known = Size.of(size.num, size.den, tuple(pair for pair in size.exps if pair[0] not in rank))
    return _Numeric(binding.fractions(known), powers, constraint.least)


def variable(index: int) -> Size:
    """The free variable x`index`."""
    return symbol(FIRST_VARIABLE + index)
