"""Group: split the channels into groups."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from canvas_rl.primitives.base import Family, FamilyContext, Fresh, Primitive, Template, Typed, require
from canvas_rl.primitives.emission import Scope, reshaped
from canvas_rl.primitives.facts import Facts, split
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.shape import Dim, Shape
from canvas_rl.symbolic.size import Size, constant, parse


@dataclass(frozen=True)
class Group(Primitive):
    """C becomes G = factor and C / factor; with factor = all of C, only G is left."""

    where: int
    factor: Size

    family = "Group"

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        shape = inputs[0]
        require(self.where in (0, 1), "Group is about group {}: expected 0 or 1", self.where)
        channels = shape.size(Dim(self.where, "C"))
        require(channels is not None, "Group needs a C dim in group {}: {}", self.where, shape)
        assert channels is not None
        require(shape.size(Dim(self.where, "G")) is None, "there is a G dim already: {}", shape)
        shape = shape.with_dim(Dim(self.where, "G"), self.factor)
        if self.factor is channels:
            return Typed(shape.with_dim(Dim(self.where, "C"), None), (Constraint(self.factor, 2),))
        rest = channels / self.factor
        return Typed(shape.with_dim(Dim(self.where, "C"), rest), (Constraint(self.factor, 2), Constraint(rest, 2)))

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return ()

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        known, where = operands[0], self.where
        return replace(
            known,
            normalised=split(known.normalised, where),
            offset=split(known.offset, where),
            rolled=known.rolled - {Dim(where, "C")},
            scaled=split(known.scaled, where),
            absorbs=split(known.absorbs, where),
            dense=split(known.dense, where),
            wide=known.wide and where != 0,
            regrouped=known.regrouped | {where},
            function="",
            folded=None,
        )

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        axis, factor = work.inputs[0].axis(Dim(self.where, "C")), work.integer(self.factor)
        rest = values[0].shape[axis] // factor
        channels = np.arange(factor)[:, None] * rest + np.arange(rest)
        result: Array = values[0].take(channels, axis=axis)
        return result.reshape(work.shape(len(result)))

    def emit(self, scope: Scope) -> None:
        scope.assign(reshaped(scope.args[0], scope.inputs[0].sizes(), scope.out.sizes()))

    def describe(self) -> str:
        return f"split the channels into {self.factor} groups"

    @property
    def count(self) -> int | None:
        """The group count if it is a number (and so the kernel's global one), else None."""
        return None if self.factor.exps else self.factor.num


def _build(where: int, factor: int | str, shapes: tuple[Shape, ...], fresh: Fresh) -> Primitive:
    if isinstance(factor, int):
        return Group(where, constant(factor))
    if factor == "x":
        return Group(where, fresh())
    channels = shapes[0].size(Dim(where, "C"))
    require(channels is not None, "Group needs a C dim in group {}: {}", where, shapes[0])
    assert channels is not None
    return Group(where, channels)


def _templates(context: FamilyContext) -> Iterator[Template]:
    factors: tuple[int | str, ...] = (*context.group_counts, "C", "x")
    for where in (0, 1):
        for factor in factors:
            yield Template(f"group({where},{factor})", "Group", partial(_build, where, factor))


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    return Group(int(data["where"]), parse(data["factor"]))


FAMILY = Family((Group,), _templates, _parse)
