"""Level 2: choosing the free sizes of a kernel whose structure is complete."""

from fractions import Fraction

from canvas_rl.space.machine import Machine, free_variables
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
    widest = solver.widen(None)
    if level == 1:
        return widest
    caps = {variable: solver.largest(size) * level for variable, size in widest.items()}
    return solver.widen(caps)


class _Filler:
    def __init__(self, machine: Machine, state: State) -> None:
        self.machine, self.state = machine, state
        self.variables = free_variables(state)
        self.domains = {v: domain(v, state.constraints, machine.binding) for v in self.variables}

    def largest(self, size: Size) -> int:
        values = self.machine.binding.integers(size)
        return max(values) if values else 0

    def widen(self, caps: dict[int, Fraction] | None) -> Assignment:
        """Coordinate ascent from the witness, two rounds, widest values first."""
        assignment = dict(self.state.witness)
        channels = self.largest(CHANNELS)
        for _ in range(2):
            for variable in self.variables:
                cap = Fraction(channels) if caps is None else caps[variable]
                assignment = self._widest(variable, cap, assignment)
        return assignment

    def _widest(self, variable: int, cap: Fraction, assignment: Assignment) -> Assignment:
        now = self.largest(assignment[variable])
        for value in reversed(self.domains[variable]):
            size = self.largest(value)
            if size <= now:
                break
            if size <= cap and self._allowed({**assignment, variable: value}):
                return {**assignment, variable: value}
        return assignment

    def _allowed(self, assignment: Assignment) -> bool:
        machine, state = self.machine, self.state
        return (
            all(holds(constraint, machine.binding, assignment) for constraint in state.constraints)
            and all(machine.budget.fits_volume(size, most, assignment) for size, most in state.volumes)
            and machine.budget.within_width(state.costs, assignment)
        )
