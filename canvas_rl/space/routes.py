"""Which actions the search for a finishing program tries, best first; which of them are legal, the moves say."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import combinations

from canvas_rl.primitives.arithmetic import OPERATIONS, align
from canvas_rl.space.machine import Machine
from canvas_rl.space.memo import Memo
from canvas_rl.space.state import State
from canvas_rl.symbolic.shape import Dim, Shape
from canvas_rl.symbolic.size import Size, product

ARITHMETIC = tuple(operation.family for operation in OPERATIONS.values())
_KEEP_SHAPE = ("GeLU", "ReLU", "TanH", "Sigmoid", "Sin", "Neg", "Abs", "Exp", "Sqrt", "Sqr", "Shift", "Softmax")
_CHANGE_SHAPE = ("Fold", "Group", "UnfoldH", "UnfoldW", "UnfoldHW")
_MEMO_SIZE = 1 << 13


class Routes:
    """Routes that finish a kernel, by the templates that a search space has."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        names = machine.actions.index
        self._fold_names = {name: index for name, index in names.items() if name.startswith("fold(")}
        self._by_family = {family: machine.actions.of_family(family) for family in machine.actions.families}
        self.joins = self._of(*ARITHMETIC)
        self.plain_joins = self._of("BAdd", "BSub", "BMul")
        self._joins_into = {label: self._ending(self.joins, f"({label})") for label in ("under->top", "top->under")}
        self._bmm, self._unary, self._group_fold = self._of("BMM"), self._of(*_KEEP_SHAPE), self._of("Group", "Fold")
        self._push_zero = tuple(self._of_names("push(0)")) if self.joins or self._bmm else ()
        self._weighted = tuple(self._of_names("fc(C)", "scale(0.C)", "scale(0)", "scale(1)", "scale(all)"))
        self._weighted += tuple(self._windows(",C)"))
        self._weighted += tuple(self._mixes())
        self._last = {
            1: (*self._of("Fold", "Mix", "FC", "Group", "Convolution"), *self._push_zero),
            2: self._of(*ARITHMETIC, "BMM"),
        }
        self.can_fold = bool(self._of("Fold"))
        self._folds: Memo[tuple[Dim, ...] | None] = Memo(_MEMO_SIZE)

    def _of(self, *families: str) -> tuple[int, ...]:
        return tuple(index for family in families for index in self._by_family.get(family, ()))

    def _ending(self, indices: tuple[int, ...], ending: str) -> tuple[int, ...]:
        names = self.machine.actions.names
        return tuple(index for index in indices if names[index].endswith(ending))

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

    def last(self, state: State) -> tuple[int, ...]:
        """Primitives that may be the last one, where one more fits."""
        return self._last.get(len(state.stack), ()) if state.remaining == 1 else ()

    def hopeless(self, state: State) -> bool:
        """Whether too few primitives remain to join the stack or to get the weights, so that nothing need be tried."""
        weighted = self.machine.options.num_weighted_range[0] - state.weighted
        return state.remaining < max(len(state.stack) - 1, weighted, 1)

    def candidates(self, state: State) -> Iterator[int]:
        """What to do next, best first."""
        missing = {family for _, families in self.machine.missing(state) for family in families}
        if missing or state.weighted < self.machine.options.num_weighted_range[0]:
            yield from self._toward_required(state, missing)
        if len(state.stack) > 1:
            yield from self._join(state)
            return
        top = state.top.shape
        ready = top.numel() is self.machine.input.shape.numel()
        if not ready:
            yield from self._of_names("fc(C)")
            yield from self._folds_to_size(top)
            yield from self._toward(state, self.machine.input.shape, self._push_zero)
        if not self.machine.reaches(state, state.stack[-1]):
            yield from self._wider_field(state)
        yield from self._unary
        yield from self._push_zero
        yield from self._weighted
        yield from self._group_fold

    def _of_names(self, *names: str) -> Iterator[int]:
        return (self.machine.actions.index[name] for name in names if name in self.machine.actions.index)

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
            yield from self._push_zero

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
        if state.stack[-1] == state.stack[-2]:  # few primitives take a tensor twice: make the two different
            yield from self._bmm
            yield from self._unary
            yield from self._weighted
            yield from self._group_fold
        under, top = (state.nodes[tensor].shape for tensor in state.stack[-2:])
        into_top = top == self.machine.input.shape or len(top.dims()) < len(under.dims())
        for label in ("under->top", "top->under") if into_top else ("top->under", "under->top"):
            yield from self._joins_into[label]
        yield from self._toward(state, under, ())
        yield from self._bmm

    def _folds_to_size(self, shape: Shape) -> Iterator[int]:
        """Fold what makes the top as large as the output."""
        wanted = self.machine.input.shape.numel()
        for dims in _fold_sets(shape):
            rest = product(
                tuple(size for dim, size in zip(shape.dims(), shape.sizes(), strict=True) if dim not in dims)
            )
            if rest is wanted:
                yield from self._fold_first(dims)
                return

    def _fold_first(self, dims: tuple[Dim, ...]) -> Iterator[int]:
        """Fold the first of some dims, together with its pair where that is among them."""
        pairs = (("H", "W"), ("KH", "KW"))
        pair = next((p for p in pairs for g in (0, 1) if {Dim(g, s) for s in p} <= set(dims)), None)
        first = dims[0]
        slots = "".join(pair) if pair and first.slot in pair else first.slot
        yield from self._fold_actions(f"{first.group}.{slots}")
        yield from self._fold_actions(str(first))

    def _toward(self, state: State, target: Shape, then: tuple[int, ...]) -> Iterator[int]:
        """Fold the top until it can be broadcast to a target; `then` once it can."""
        if not self.joins:
            yield from then
            return
        shape, witness = state.top.shape, state.sizes.witness
        dims = self._folds.get((shape, target, *witness.items()), lambda: self._fewest_folds(shape, target, witness))
        if dims is None:
            return
        if not dims:
            yield from then
            return
        yield from self._fold_first(dims)

    def _fold_actions(self, name: str) -> Iterator[int]:
        for kind in ("avg", "max"):
            if f"fold({name},{kind})" in self._fold_names:
                yield self._fold_names[f"fold({name},{kind})"]

    def _fewest_folds(self, shape: Shape, target: Shape, witness: Mapping[int, Size]) -> tuple[Dim, ...] | None:
        """The fewest dims to fold so that a shape can be broadcast to a target under the witness."""
        for dims in _fold_sets(shape):
            folded = shape
            for dim in dims:
                folded = folded.with_dim(dim, None)
            prefix, suffix = align(folded, target)
            left = folded.sizes()[prefix : len(folded.sizes()) - suffix]
            right = target.sizes()[prefix : len(target.sizes()) - suffix]
            quotient = (product(right) / product(left)).substitute(witness)
            if self.machine.binding.at_least(quotient, 1):
                return dims
        return None


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
