"""Whether a kernel can still be finished: no action may lead to a dead end.

An action is allowed only if one finishing program is known afterwards. Far from the limits a bound is enough: fold
every tensor to a number, join them and broadcast onto the input (the state then is "home", where the program is again
a single tensor shaped like the input), then meet what is required. Near the limits a program is searched, by playing
it, so what is found surely works.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import combinations

from canvas_rl.errors import GraphError
from canvas_rl.ir import Node
from canvas_rl.primitives.arithmetic import OPERATIONS, Arithmetic, align
from canvas_rl.primitives.receptive import GLOBAL, Field
from canvas_rl.space.actions import PUSH
from canvas_rl.space.machine import Machine
from canvas_rl.space.state import Limits, State
from canvas_rl.symbolic.shape import Dim, Shape
from canvas_rl.symbolic.size import product

ARITHMETIC = tuple(operation.family for operation in OPERATIONS.values())
_KEEP_SHAPE = ("GeLU", "ReLU", "TanH", "Sigmoid", "Sin", "Neg", "Abs", "Exp", "Sqrt", "Sqr", "Shift", "Softmax")
_CHANGE_SHAPE = ("Fold", "Group", "UnfoldH", "UnfoldW", "UnfoldHW")
_IMPOSSIBLE = 1 << 20
_MEMO_SIZE = 1 << 15


class Finisher:
    """Finds finishing programs. Playing is left to the machine, so its rules are the only rules."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        names = machine.actions.index
        self._fold_names = {name: index for name, index in names.items() if name.startswith("fold(")}
        self._by_family = {family: machine.actions.of_family(family) for family in machine.actions.families}
        self._joins = self._of(*ARITHMETIC)
        self._unary = self._of(*_KEEP_SHAPE)
        self._weighted = tuple(names[name] for name in ("fc(C)", "scale(0.C)", "scale(0)", "scale(1)", "scale(all)") if name in names)
        self._weighted += tuple(self._windows(",C)"))
        self._weighted += tuple(self._mixes())
        self._bound_holds = bool(self._joins) and bool(self._of("Fold"))
        self._plans: dict[tuple[object, ...], tuple[int, ...] | None] = {}
        self._home_totals: dict[tuple[object, ...], int] = {}
        self._input = machine.start(Limits(1, 1, 2)).nodes[0].shape

    def _of(self, *families: str) -> tuple[int, ...]:
        return tuple(index for family in families for index in self._by_family.get(family, ()))

    def _windows(self, ending: str) -> Iterator[int]:
        """The first action of each window form of Convolution (square, high, wide)."""
        forms: set[tuple[bool, bool]] = set()
        for index in self._of("Convolution"):
            name = self.machine.actions.names[index]
            form = ("x1," in name, "(1x" in name)
            if name.endswith(ending) and form not in forms:
                forms.add(form)
                yield index

    def _mixes(self) -> Iterator[int]:
        """Mix actions, those that add no free variable first."""
        names = self.machine.actions.names
        mixes = self._of("Mix")
        yield from (index for index in mixes if names[index] == "mix(0.C,dropped)")
        yield from (index for index in mixes if names[index] in ("mix(0.C,fresh)", "mix(1.W,fresh)", "mix(1.H,fresh)"))

    def certify(self, state: State) -> State | None:
        """The state with a finishing program where one is needed, or None if none is known."""
        if self._far_from_limits(state):
            return state
        key = _signature(state)
        if key not in self._plans:
            if len(self._plans) > _MEMO_SIZE:
                self._plans.clear()
            self._plans[key] = self.search(state)
        plan = self._plans[key]
        return None if plan is None else replace(state, plan=plan)

    # The bound

    def _far_from_limits(self, state: State) -> bool:
        if not self._bound_holds or state.limits.width < 2:
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
        shapes = [self._input, *(state.nodes[tensor].shape for tensor in state.stack)]
        return all(budget.slack(state.costs, state.witness, steps, shape.numel()) for shape in shapes)

    def _steps_home(self, state: State) -> int:
        """Primitives that surely turn the stack into one tensor shaped like the input."""
        shapes = [state.nodes[tensor].shape for tensor in state.stack]
        if len(shapes) == 1 and shapes[0] == self._input and state.stack != (0,):
            return 0
        return sum(_folds_to_number(shape) for shape in shapes) + len(shapes)

    def _home_total(self, state: State, reached: int) -> int:
        """The kernel's length if it is home after `reached` primitives and then meets what is required."""
        machine = self.machine
        fields = [state.fields[tensor] for tensor in state.stack]
        reaches = machine.options.min_receptive_size <= 1 or any(
            machine.reaches(state, tensor) for tensor in state.stack
        )
        missing = tuple(entry[0] for entry in machine.missing(state))
        key = (reached, state.weighted, missing, reaches, state.limits)
        if key not in self._home_totals:
            field = Field(-GLOBAL, GLOBAL, -GLOBAL, GLOBAL) if reaches else Field.union(Field(), *fields)
            home = replace(
                machine.start(state.limits),
                nodes=(*machine.start(state.limits).nodes, Node(Arithmetic("add", 0, 0), (0, 0), self._input)),
                stack=(1,),
                fields=(Field(), field if reaches else Field()),
                primitives=reached,
                weighted=state.weighted,
                families=state.families,
            )
            plan = self.search(home)
            added = _IMPOSSIBLE if plan is None else sum(machine.actions.actions[i].template is not None for i in plan)
            self._home_totals[key] = reached + added
        return self._home_totals[key]

    # The search

    def search(self, state: State) -> tuple[int, ...] | None:
        """Actions that finish the kernel (the Output left out), or None if none are found."""
        plan: list[int] = []
        first = state
        for _ in range(3 * state.limits.max_primitives + 8):
            if self.can_end(state):
                return tuple(plan)
            step = self._first_legal(state)
            if step is None:
                break
            plan.append(step[0])
            state = step[1]
        return self._last_step(first)

    def can_end(self, state: State) -> bool:
        """Whether the kernel can end right here."""
        try:
            self.machine.solve_output(state)
        except GraphError:
            return False
        return True

    def _first_legal(self, state: State) -> tuple[int, State] | None:
        for index in self._candidates(state):
            try:
                return index, self.machine.apply(state, index)
            except GraphError:
                continue
        return None

    def _last_step(self, state: State) -> tuple[int, ...] | None:
        """The last primitive, searched exactly."""
        if state.remaining != 1 or len(state.stack) > 2:
            return None
        families = (*ARITHMETIC, "BMM") if len(state.stack) == 2 else ("Fold", "Mix", "FC", "Group", "Convolution")
        for index in self._of(*families):
            try:
                after = self.machine.apply(state, index)
            except GraphError:
                continue
            if self.can_end(after):
                return (index,)
        return None

    def _candidates(self, state: State) -> Iterator[int]:
        """What to do next, best first; which of it is legal, the machine says."""
        missing = {family for _, families in self.machine.missing(state) for family in families}
        if missing or state.weighted < self.machine.options.num_weighted_range[0]:
            yield from self._toward_required(state, missing)
        if len(state.stack) > 1:
            yield from self._join(state)
            return
        top = state.top.shape
        ready = top.numel() is self._input.numel()
        if not ready:
            yield from self._of_names("fc(C)")
            yield from self._toward(state, self._input, self._push_input(state))
        if not self.machine.reaches(state, state.stack[-1]):
            yield from self._wider_field(state)
        yield from self._unary
        yield from self._push_input(state)
        yield from self._weighted
        yield from self._of("Group", "Fold")

    def _of_names(self, *names: str) -> Iterator[int]:
        return (self.machine.actions.index[name] for name in names if name in self.machine.actions.index)

    def _push_input(self, state: State) -> Iterator[int]:
        if self._joins or self._of("BMM"):
            yield from self._of_names(f"{PUSH.lower()}(0)")

    def _toward_required(self, state: State, missing: set[str]) -> Iterator[int]:
        if state.weighted < self.machine.options.num_weighted_range[0]:
            wanted = [i for i in self._weighted if self.machine.actions.actions[i].family in missing]
            yield from wanted
            yield from self._weighted
        for family in _KEEP_SHAPE:
            if family in missing:
                yield from self._by_family.get(family, ())
        if len(state.stack) > 1:
            yield from self._of(*(family for family in ("BMM", *ARITHMETIC) if family in missing))
            return
        for family in ("FC", "Scale", "Convolution", "Mix"):
            if family in missing:
                yield from (index for index in self._weighted if self.machine.actions.actions[index].family == family)
                yield from self._by_family.get(family, ())
        for family in _CHANGE_SHAPE:
            if family in missing:
                yield from self._by_family.get(family, ())
        if missing & {"BMM", *ARITHMETIC}:
            yield from self._push_input(state)

    def _wider_field(self, state: State) -> Iterator[int]:
        """Actions that widen the receptive field: over both axes first, then over the one that is narrower."""
        yield from reversed(self._named("Convolution", lambda name: "1x" not in name and "x1," not in name))
        yield from reversed(self._of("UnfoldHW"))
        yield from self._of_names("fold(1.HW,avg)", "fold(1.HW,max)")
        field = state.fields[state.stack[-1]]
        tall = field.bottom - field.top > field.right - field.left
        for axis, window in (("W", "(1x"), ("H", "x1,")) if tall else (("H", "x1,"), ("W", "(1x")):
            yield from reversed(self._named("Convolution", lambda name, window=window: window in name))  # type: ignore[misc]
            yield from reversed(self._of(f"Unfold{axis}"))
            yield from self._of_names(f"fold(1.{axis},avg)", f"fold(1.{axis},max)", f"mix(1.{axis},fresh)")

    def _named(self, family: str, accept: Callable[[str], bool]) -> tuple[int, ...]:
        names = self.machine.actions.names
        return tuple(index for index in self._of(family) if accept(names[index]) and not names[index].endswith(",x)"))

    def _join(self, state: State) -> Iterator[int]:
        """Join the top two tensors, after folding the top where that is needed."""
        under, top = (state.nodes[tensor].shape for tensor in state.stack[-2:])
        into_top = top == self._input or len(top.dims()) < len(under.dims())
        label = ("(under->top)", "(top->under)") if into_top else ("(top->under)", "(under->top)")
        names = self.machine.actions.names
        for ending in label:
            yield from (index for index in self._joins if names[index].endswith(ending))
        yield from self._toward(state, under, iter(()))
        yield from self._of("BMM")

    def _toward(self, state: State, target: Shape, then: Iterator[int]) -> Iterator[int]:
        """Fold the top until it can be broadcast to a target; `then` once it can."""
        if not self._joins:
            yield from then
            return
        dims = self._fewest_folds(state, state.top.shape, target)
        if dims is None:
            return
        if not dims:
            yield from then
            return
        pair = next((p for p in (("H", "W"), ("KH", "KW")) for g in (0, 1) if {Dim(g, s) for s in p} <= set(dims)), None)
        first = dims[0]
        slots = "".join(pair) if pair and first.slot in pair else first.slot
        yield from self._fold_actions(f"{first.group}.{slots}")
        yield from self._fold_actions(str(first))

    def _fold_actions(self, name: str) -> Iterator[int]:
        for kind in ("avg", "max"):
            if f"fold({name},{kind})" in self._fold_names:
                yield self._fold_names[f"fold({name},{kind})"]

    def _fewest_folds(self, state: State, shape: Shape, target: Shape) -> tuple[Dim, ...] | None:
        """The fewest dims to fold so that a shape can be broadcast to a target under the witness."""
        for dims in _fold_sets(shape):
            folded = shape
            for dim in dims:
                folded = folded.with_dim(dim, None)
            prefix, suffix = align(folded, target)
            left = folded.sizes()[prefix : len(folded.sizes()) - suffix]
            right = target.sizes()[prefix : len(target.sizes()) - suffix]
            quotient = (product(right) / product(left)).substitute(state.witness)
            if self.machine.binding.at_least(quotient, 1):
                return dims
        return None


def _signature(state: State) -> tuple[object, ...]:
    """All of a state that `Finisher.search` depends on."""
    first_of = {tensor: position for position, tensor in reversed(list(enumerate(state.stack)))}
    return (
        state.limits,
        tuple((state.nodes[t].shape, state.fields[t], first_of[t], t == 0) for t in state.stack),
        state.top.primitive,
        bool(state.program) and state.program[-1].startswith(PUSH.lower()),
        state.primitives,
        state.weighted,
        state.families,
        state.group_count,
        state.constraints,
        tuple(state.witness.items()),
        state.next_variable,
        state.volumes,
        state.costs,
    )


@lru_cache(maxsize=1 << 12)
def _folds_to_number(shape: Shape) -> int:
    """Fold primitives that remove every dim."""
    count = 0
    for group in shape:
        slots = {slot for slot in ("G", "C", "KH", "KW", "H", "W") if group.size(slot) is not None}
        count += len(slots) - ({"KH", "KW"} <= slots) - ({"H", "W"} <= slots)
    return count


@lru_cache(maxsize=1 << 12)
def _fold_sets(shape: Shape) -> tuple[tuple[Dim, ...], ...]:
    """Sets of dims to fold, those that cost the fewest primitives first, kernel dims before others."""
    rank = {"KH": 0, "KW": 1, "G": 2, "H": 3, "W": 4, "C": 5}
    dims = sorted(shape.dims(), key=lambda dim: (rank[dim.slot], dim.group))
    sets = [chosen for count in range(len(dims) + 1) for chosen in combinations(dims, count)]

    def price(chosen: tuple[Dim, ...]) -> int:
        pairs = sum({Dim(g, a), Dim(g, b)} <= set(chosen) for g in (0, 1) for a, b in (("H", "W"), ("KH", "KW")))
        return len(chosen) - pairs

    return tuple(sorted(sets, key=price))
