"""Level 2: choosing the free sizes of a kernel whose structure is complete."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from operator import le

from canvas_rl.space.machine import Machine
from canvas_rl.space.state import State
from canvas_rl.symbolic.constraints import domain, holds
from canvas_rl.symbolic.size import CHANNELS, Size

Assignment = dict[int, Size]


def fill(machine: Machine, state: State, level: Fraction) -> Assignment:
    """Values of the free variables: as wide as constraints and budgets allow, times the fill level.

    First every variable is widened in turn (up to C) as far as constraints, the activation limit and the budgets
    (without budgets: the replaced convolution's own cost) allow; then the same is done again with each variable
    bounded by `level` times what it had got. The witness is the starting point, so a solution always exists.
    """
    solver = _Filler(machine, state)
    widest = solver.widen(machine.binding.integers(CHANNELS) or ())
    return widest if level == 1 else solver.widen_below(widest, level)


class _Filler:
    def __init__(self, machine: Machine, state: State) -> None:
        self.machine, self.state = machine, state
        self.variables = sorted(state.sizes.witness)
        self.domains = {v: domain(v, state.sizes.constraints, machine.binding) for v in self.variables}

    def widen(self, caps: Sequence[float]) -> Assignment:
        """Every variable as wide as allowed, at most `caps` (one a site)."""
        return self._ascend(dict.fromkeys(self.variables, tuple(caps)))

    def widen_below(self, widest: Assignment, level: Fraction) -> Assignment:
        """Every variable as wide as allowed, at most `level` times its value in `widest`."""
        return self._ascend({v: tuple(level * value for value in self._values(size)) for v, size in widest.items()})

    def _values(self, size: Size) -> tuple[int, ...]:
        values = self.machine.binding.integers(size)
        assert values is not None, f"{size} is in a domain and no integer"
        return values

    def _ascend(self, caps: Mapping[int, Sequence[float | Fraction]]) -> Assignment:
        """Coordinate ascent from the witness, two rounds."""
        assignment = dict(self.state.sizes.witness)
        for _ in range(2):
            for variable in self.variables:
                assignment[variable] = self._widest(variable, caps[variable], assignment)
        return assignment

    def _widest(self, variable: int, cap: Sequence[float | Fraction], assignment: Assignment) -> Size:
        now = sum(self._values(assignment[variable]))
        for value in sorted(self.domains[variable], key=lambda size: -sum(self._values(size))):
            values = self._values(value)
            if sum(values) <= now:
                break
            if all(map(le, values, cap)) and self._allowed(variable, {**assignment, variable: value}):
                return value
        return assignment[variable]

    def _allowed(self, variable: int, assignment: Assignment) -> bool:
        """Whether an assignment is, that differs in one variable from one that meets all constraints and volumes."""
        machine, state, sizes = self.machine, self.state, self.state.sizes
        return (
            all(holds(c, machine.binding, assignment) for c in sizes.constraints if c.size.exponent(variable))
            and all(machine.solver.fits(s, most, assignment) for s, most in sizes.volumes if s.exponent(variable))
            and machine.budget.within_width(state.costs, assignment)
        )
