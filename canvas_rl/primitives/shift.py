"""Shift: a cyclic roll by a fixed signed step."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from canvas_rl.primitives.base import Family, FamilyContext, Primitive, Template, Typed, json_dims, require
from canvas_rl.primitives.emission import Scope
from canvas_rl.primitives.facts import Facts, Reason, untouched, within
from canvas_rl.primitives.receptive import Field
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.primitives.selection import PAIRS, SINGLE_DIMS, check_present, check_window, listed
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.shape import Dim, Shape
from canvas_rl.symbolic.size import Size


@dataclass(frozen=True)
class Shift(Primitive):
    """Roll each of `dims` by `step`; twice the step must fit into the dim at every site."""

    dims: tuple[Dim, ...]
    step: int

    family = "Shift"

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        shape = inputs[0]
        check_present(self.dims, shape, "Shift")
        check_window(self.dims, "Shift")
        require(self.step != 0, "Shift has a step of 0: expected a number of places")
        sizes = [size for dim in self.dims if (size := shape.size(dim)) is not None]
        return Typed(shape, tuple(Constraint(size, 2 * abs(self.step)) for size in sizes))

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return ()

    def receptive(self, fields: tuple[Field, ...], inputs: tuple[Shape, ...]) -> Field:
        slots = {dim.slot for dim in self.dims}
        return fields[0].shift(-self.step if "H" in slots else 0, -self.step if "W" in slots else 0)

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        known = operands[0]
        regrouped = untouched(known.regrouped, self.dims)
        return replace(known, rolled=known.rolled.union(self.dims), regrouped=regrouped, function="", folded=None)

    def pointless(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> str | None:
        known = operands[0]
        if known.rolled.intersection(self.dims):
            return Reason.ROLLED_ALREADY
        return Reason.ROLL_BEFORE if within(frozenset(self.dims), known.dense) else None

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        result = values[0]
        for axis in (work.inputs[0].axis(dim) for dim in self.dims):
            size = result.shape[axis]
            result = result.take([(place - self.step) % size for place in range(size)], axis=axis)
        return result

    def emit(self, scope: Scope) -> None:
        axes = tuple(scope.inputs[0].axis(dim) for dim in self.dims)
        if len(axes) == 1:
            scope.assign(f"torch.roll({scope.args[0]}, {self.step}, dims={axes[0]})")
        else:
            scope.assign(f"torch.roll({scope.args[0]}, {(self.step,) * len(axes)}, dims={axes})")

    def describe(self) -> str:
        return f"shift {listed(self.dims)} by {self.step:+d}"


def _build(dims: tuple[Dim, ...], step: int, shapes: tuple[Shape, ...], fresh: object) -> Primitive:
    return Shift(dims, step)


def _templates(context: FamilyContext) -> Iterator[Template]:
    singles: list[tuple[Dim, ...]] = [(dim,) for dim in SINGLE_DIMS]
    for dims in [*singles, *PAIRS]:
        name = f"{dims[0].group}.{''.join(dim.slot for dim in dims)}"
        for size in context.options.shift_sizes:
            for step in (size, -size):
                yield Template(f"shift({name},{step:+d})", "Shift", partial(_build, dims, step))


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    return Shift(json_dims(data["dims"]), int(data["step"]))


FAMILY = Family((Shift,), _templates, _parse)
