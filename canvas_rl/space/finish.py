"""Whether a kernel can still be finished: no action may lead to a dead end.

An action is allowed only if one finishing program is known afterwards. Far from the limits a bound is enough: fold
every tensor to a number, join them and broadcast onto the input (the state then is "home", where the program is again
a single tensor shaped like the input), then meet what is required. Near the limits a program is searched, by playing
it, so what is found surely works.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from canvas_rl.ir import Node
from canvas_rl.primitives.arithmetic import Arithmetic
from canvas_rl.primitives.facts import Facts
from canvas_rl.primitives.receptive import GLOBAL, Field
from canvas_rl.space.machine import Machine
from canvas_rl.space.memo import Memo
from canvas_rl.space.moves import Moves
from canvas_rl.space.routes import Routes
from canvas_rl.space.state import State
from canvas_rl.symbolic.shape import Shape

Plan = tuple[int, ...]
_IMPOSSIBLE = 1 << 20
_BRANCHES, _HOMES = 1 << 5, 1 << 13


class Finisher:
    """Finds finishing programs. Playing is left to the moves, so their rules are the only rules."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._routes = Routes(machine)
        self._bound_holds = bool(self._routes.plain_joins) and self._routes.can_fold
        self._branches: Memo[Branch] = Memo(_BRANCHES)
        self._home_totals: Memo[int] = Memo(_HOMES)
        self._home_facts = Facts(wide=True, offset=frozenset(machine.input.shape.dims()))

    def search(self, state: State) -> Plan | None:
        """Actions that finish the kernel (the Output left out), or None if none are found."""
        return self.branch(state).plan()

    def branch(self, state: State) -> "Branch":
        """The search from a state, whatever primitive is on top."""
        return self._branches.get(_signature(self.machine, state), lambda: Branch(self, self._routes, state))

    # The bound

    def far_from_limits(self, state: State) -> bool:
        """Whether the bound alone says that the kernel can be finished."""
        if not self._bound_holds or state.limits.width < 2:
            return False
        if any(state.facts[tensor].negated for tensor in state.stack):  # some joins would be pointless
            return False
        steps = self._steps_home(state)
        reached = state.primitives + steps
        if reached > state.limits.max_primitives:
            return False
        budget = self.machine.budget
        if budget.active:
            if self.machine.missing(state) or state.weighted < self.machine.options.num_weighted_range[0]:
                return False
            if not self._affordable(state, state.limits.max_primitives - state.primitives):
                return False
        return self._home_total(state, reached) <= state.limits.max_primitives

    def _affordable(self, state: State, steps: int) -> bool:
        budget = self.machine.budget
        shapes = [self.machine.input.shape, *(state.nodes[tensor].shape for tensor in state.stack)]
        return all(budget.slack(state.costs, state.sizes.witness, steps, shape.numel()) for shape in shapes)

    def _steps_home(self, state: State) -> int:
        """Primitives that surely turn the stack into one tensor shaped like the input."""
        shapes = [state.nodes[tensor].shape for tensor in state.stack]
        if (
            len(shapes) == 1
            and shapes[0] == self.machine.input.shape
            and state.facts[state.stack[-1]] == self._home_facts
        ):
            return 0
        return sum(_folds_to_number(shape) for shape in shapes) + len(shapes)

    def _home_total(self, state: State, reached: int) -> int:
        """The kernel's length if it is home after `reached` primitives and then meets what is required."""
        machine = self.machine
        reaches = any(machine.reaches(state, tensor) for tensor in state.stack)
        missing = tuple(entry[0] for entry in machine.missing(state))
        limits = state.limits
        key = (reached, state.weighted, missing, reaches, limits.min_primitives, limits.max_primitives)
        return self._home_totals.get(key, lambda: self._length(self._home(state, reached, reaches)))

    def _length(self, state: State) -> int:
        """Primitives of the kernel that the search finds from a state."""
        plan = self.search(state)
        if plan is None:
            return _IMPOSSIBLE
        return state.primitives + sum(self.machine.actions.actions[index].template is not None for index in plan)

    def _home(self, state: State, reached: int, reaches: bool) -> State:
        machine = self.machine
        return replace(
            machine.start(state.limits),
            nodes=(machine.input, Node(Arithmetic("add", 0, 0), (0, 0), machine.input.shape)),
            stack=(1,),
            fields=(Field(), Field(-GLOBAL, GLOBAL, -GLOBAL, GLOBAL) if reaches else Field()),
            facts=(machine.input_facts, self._home_facts),
            primitives=reached,
            weighted=state.weighted,
            families=state.families,
        )


class _Step:
    """An action of the search: the state that it leads to until the plan from there is known, then the plan."""

    __slots__ = ("index", "plan", "state")

    def __init__(self, index: int, state: State) -> None:
        self.index = index
        self.state: State | None = state
        self.plan: Plan | None = None


class Branch:
    """The search from states between which it makes no difference."""

    def __init__(self, finisher: Finisher, routes: Routes, state: State) -> None:
        self._finisher = finisher
        self._moves = Moves(finisher.machine, state)
        self._ends = not isinstance(self._moves.ending(), str)
        self._first: dict[bool, _Step | None] = {}
        self._routes, self._state = routes, state

    def _step(self, last: bool) -> _Step | None:
        """The first step towards the end, or the first that is followed by it."""
        if last not in self._first:
            routes, state = self._routes, self._state
            if last:
                steps = self._ending_steps(routes.last(state))
            else:
                steps = iter(()) if routes.hopeless(state) else self._steps(routes.candidates(state))
            self._first[last] = next(steps, None)
        return self._first[last]

    def plan(self) -> Plan | None:
        """The first route to the end that is found.

        The last primitive is searched exactly, that after a push of the input included.
        """
        walked: list[_Step] = []
        branch: Branch = self
        plan: Plan | None = None
        while True:
            if branch._ends:
                plan = ()
                break
            last = branch._step(True)
            if last is not None:
                plan = (last.index, *(last.plan or ()))
                break
            step = branch._step(False)
            if step is None:
                break
            if step.state is None:
                plan = step.plan
                break
            walked.append(step)
            branch = self._finisher.branch(step.state)
        for step in reversed(walked):
            plan = None if plan is None else (step.index, *plan)
            step.state, step.plan = None, plan
        return plan

    def _steps(self, indices: Iterable[int]) -> Iterator[_Step]:
        moves = self._moves
        for index in indices:
            action = moves.machine.actions.actions[index]
            if action.push is not None:
                if moves.refused_push(action.push) is None:
                    yield _Step(index, moves.after_push(index, action.push))
                continue
            change = moves.change(index)
            if not isinstance(change, str):
                yield _Step(index, moves.after(change))

    def _ending_steps(self, indices: Iterable[int]) -> Iterator[_Step]:
        """Steps after which the kernel can end; of those with the same effect only one needs a look."""
        moves, refused = self._moves, set[tuple[Any, ...]]()
        for index in indices:
            if moves.machine.actions.actions[index].push is not None:
                yield from self._ending_push(index)
                continue
            change = moves.change(index)
            if isinstance(change, str) or moves.effect(change) in refused:
                continue
            after = moves.after(change)
            if isinstance(Moves(moves.machine, after).ending(), str):
                refused.add(moves.effect(change))
            else:
                yield _Step(index, after)

    def _ending_push(self, index: int) -> Iterator[_Step]:
        """A push of the input after which one primitive ends the kernel."""
        if self._moves.refused_push(0) is not None:
            return
        after = self._moves.after_push(index, 0)
        last = self._finisher.branch(after)._step(True)
        if last is not None:
            step = _Step(index, after)
            step.plan = (last.index,)
            yield step


def _signature(machine: Machine, state: State) -> tuple[Any, ...]:
    """All of a state that the search depends on, the primitive on top left out.

    The search pushes only where one tensor is on the stack, so that of the width only that is of interest.
    """
    stack, limits = state.stack, state.limits
    fields = tuple(state.fields[tensor] for tensor in stack) if machine.fields_matter else ()
    return (
        (limits.min_primitives, limits.max_primitives, limits.width > 1),
        tuple((state.nodes[tensor].shape, stack.index(tensor), tensor == 0, state.facts[tensor]) for tensor in stack),
        state.pushed,
        state.primitives,
        state.weighted,
        tuple(name for name, _ in machine.missing(state)),
        state.group_count,
        state.sizes.key,
        fields,
        state.costs if machine.budget.active else None,
    )


@lru_cache(maxsize=1 << 12)
def _folds_to_number(shape: Shape) -> int:
    """Fold primitives that remove every dim."""
    count = 0
    for group in shape:
        slots = {slot for slot in ("G", "C", "KH", "KW", "H", "W") if group.size(slot) is not None}
        count += len(slots) - ({"KH", "KW"} <= slots) - ({"H", "W"} <= slots)
    return count
