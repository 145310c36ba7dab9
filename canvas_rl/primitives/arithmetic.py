"""Arithmetic of two operands: the left one is broadcast to the shape of the right one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from canvas_rl.errors import GraphError, shown
from canvas_rl.primitives.base import Family, FamilyContext, Primitive, Template, Typed, require
from canvas_rl.primitives.emission import Scope, reshaped
from canvas_rl.primitives.facts import MOST_GROWTH, NO_DIMS, Dims, Facts, Reason
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.shape import Shape
from canvas_rl.symbolic.size import ONE, Size, constant, product


class Operation(NamedTuple):
    """An arithmetic operation: Canvas's name, the PyTorch expression, what it is in numpy, whether operands commute."""

    family: str
    code: str
    reference: np.ufunc
    commutative: bool


OPERATIONS = {
    "add": Operation("BAdd", "{l} + {r}", np.add, True),
    "sub": Operation("BSub", "{l} - {r}", np.subtract, False),
    "mul": Operation("BMul", "{l} * {r}", np.multiply, True),
    "max": Operation("BMax", "torch.maximum({l}, {r})", np.maximum, True),
    "min": Operation("BMin", "torch.minimum({l}, {r})", np.minimum, True),
}


def _least(left: int, right: int) -> int:
    return -1 if -1 in (left, right) else min(left, right)


_SIGNS: dict[str, Callable[[int, int], int]] = {
    "add": lambda left, right: left if left == right else 0,
    "sub": lambda left, right: left if left == -right else 0,
    "mul": lambda left, right: left * right,
    "max": lambda left, right: -_least(-left, -right),
    "min": _least,
}


@dataclass(frozen=True)
class Arithmetic(Primitive):
    """`lhs op rhs` with the shape of rhs.

    The first `prefix` and the last `suffix` dims of both are equal; the product L of the other dims of lhs divides
    that of rhs: lhs is repeated along the quotient, which is the outer factor. Both numbers are kept as they were
    when the primitive was applied: sizes that become equal later don't change its meaning.
    """

    operation: str
    prefix: int
    suffix: int

    arity = 2
    takes_twice = False

    @property
    def family(self) -> str:  # type: ignore[override]
        return OPERATIONS[self.operation].family

    @property
    def commutative(self) -> bool:
        return OPERATIONS[self.operation].commutative

    def _split(self, shape: Shape) -> tuple[tuple[Size, ...], tuple[Size, ...], tuple[Size, ...]]:
        sizes = shape.sizes()
        end = len(sizes) - self.suffix
        return sizes[: self.prefix], sizes[self.prefix : end], sizes[end:]

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        lhs, rhs = inputs
        fits = min(len(lhs.dims()), len(rhs.dims())) >= self.prefix + self.suffix and min(self.prefix, self.suffix) >= 0
        require(
            fits, "{} shares {} + {} dims, more than {} and {} have", self.family, self.prefix, self.suffix, lhs, rhs
        )
        left, right = self._split(lhs), self._split(rhs)
        require(
            left[0] == right[0] and left[2] == right[2],
            "{} shares dims that differ in {} and {}",
            self.family,
            lhs,
            rhs,
        )
        return Typed(rhs, (Constraint(product(right[1]) / product(left[1])),))

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return (out.numel(),)

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        lhs, rhs = operands
        both, product = lhs.small and rhs.small, self.operation == "mul"
        growth = lhs.growth + rhs.growth if product else max(lhs.growth, rhs.growth)
        return Facts(
            sign=_SIGNS[self.operation](lhs.sign, rhs.sign),
            growth=min(growth, MOST_GROWTH),
            small=lhs.small or rhs.small if product else both,
            flat=lhs.flat and rhs.flat,
            offset=self._repeated(inputs) if self.operation in ("add", "sub") else NO_DIMS,
            wide=rhs.wide,
        )

    def pointless(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> str | None:
        lhs, rhs = operands
        if any(
            self._flattened(group, shape) for k, shape in zip(operands, inputs, strict=True) for group in k.regrouped
        ):
            return Reason.GROUP_UNUSED
        if self.operation in ("add", "sub"):
            return Reason.NEG_OPERAND if lhs.negated or rhs.negated else None
        if self.operation == "mul":
            return None
        if lhs.negated and rhs.negated:
            return Reason.NEG_OPERAND
        if {lhs.leaning, rhs.leaning} == {1, -1} or {lhs.unit, rhs.unit} == {1, -1}:
            return Reason.ONE_SIDE
        for small, other in ((lhs, rhs), (rhs, lhs)):
            if small.small and other.leaning and not other.small:
                return Reason.SMALL_SIDE
        return None

    def _flattened(self, group: int, shape: Shape) -> bool:
        """Whether the channels of a group of an operand are one dim as far as the alignment is concerned."""
        dims = shape.dims()
        channels = [place for place, dim in enumerate(dims) if dim.group == group and dim.slot in ("G", "C")]
        return all(self.prefix <= place < len(dims) - self.suffix for place in channels)

    def _repeated(self, inputs: tuple[Shape, ...]) -> Dims:
        """Dims of the output along which lhs is the same everywhere, as far as can be said without sizes."""
        lhs, rhs = (shape.dims() for shape in inputs)
        if len(lhs) > self.prefix + self.suffix:
            return NO_DIMS
        return frozenset(rhs[self.prefix : len(rhs) - self.suffix])

    def mean_square(self, operands: tuple[Size, ...], facts: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Size:
        left, right = operands
        if self.operation == "mul":
            return left * right
        if left is right:
            return left * constant(2) if self.operation in ("add", "sub") else left
        return left if facts[1].small and not facts[0].small else right

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        first, _, last = (work.numel(part) for part in self._split(work.inputs[1]))
        x, y = (value.reshape(len(value), first, -1, last) for value in values)
        places = [place % x.shape[2] for place in range(y.shape[2])]
        result = work.apply(OPERATIONS[self.operation].reference, x[:, :, places], y)
        return result.reshape(work.shape(len(y)))

    def emit(self, scope: Scope) -> None:
        (left, right), (lhs, rhs) = scope.args, scope.inputs
        first, rest, last = self._split(lhs)
        inner = self._split(rhs)[1]
        code = OPERATIONS[self.operation].code
        shared, repeated = product(rest), product(inner) / product(rest)
        if shared is ONE:
            filler = (ONE,) * len(inner)
            scope.assign(code.format(l=reshaped(left, lhs.sizes(), (*first, *filler, *last)), r=right))
        elif repeated is ONE:
            scope.assign(code.format(l=reshaped(left, lhs.sizes(), rhs.sizes()), r=right))
        else:
            scope.forward.append(f"{scope.target} = {reshaped(left, lhs.sizes(), (*first, ONE, shared, *last))}")
            wide = reshaped(right, rhs.sizes(), (*first, repeated, shared, *last))
            result = f"({code.format(l=scope.target, r=wide)})"
            scope.assign(reshaped(result, (), rhs.sizes()))

    def describe(self) -> str:
        return {"add": "lhs + rhs", "sub": "lhs - rhs", "mul": "lhs * rhs", "max": "maximum", "min": "minimum"}[
            self.operation
        ]


def align(lhs: Shape, rhs: Shape) -> tuple[int, int]:
    """Lengths of the common prefix and suffix of dims (slot and size); the suffix is stripped first."""
    left = [(dim.slot, size) for dim, size in zip(lhs.dims(), lhs.sizes(), strict=True)]
    right = [(dim.slot, size) for dim, size in zip(rhs.dims(), rhs.sizes(), strict=True)]
    limit = min(len(left), len(right))
    suffix = next((i for i in range(limit) if left[-1 - i] != right[-1 - i]), limit)
    limit -= suffix
    prefix = next((i for i in range(limit) if left[i] != right[i]), limit)
    return prefix, suffix


def _build(operation: str, mirrored: bool, shapes: tuple[Shape, ...], fresh: object) -> Primitive:
    same = shapes[0] == shapes[1]
    require(not (mirrored and same and OPERATIONS[operation].commutative), "the other operand order does the same")
    return Arithmetic(operation, *align(*shapes))


def _templates(context: FamilyContext) -> Iterator[Template]:
    for name, operation in OPERATIONS.items():
        for label, order in (("under->top", (0, 1)), ("top->under", (1, 0))):
            build = partial(_build, name, order == (1, 0))
            yield Template(f"{name}({label})", operation.family, build, arity=2, order=order, view="aligned")


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    if data["operation"] not in OPERATIONS:
        raise GraphError(f"unknown operation {shown(data['operation'])}: expected one of {', '.join(OPERATIONS)}")
    return Arithmetic(data["operation"], int(data["prefix"]), int(data["suffix"]))


FAMILY = Family((Arithmetic,), _templates, _parse, tuple(item.family for item in OPERATIONS.values()))
