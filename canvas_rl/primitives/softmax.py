"""Softmax along one dim."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from canvas_rl.primitives.base import Family, FamilyContext, Primitive, Template, Typed, json_dim
from canvas_rl.primitives.emission import Scope
from canvas_rl.primitives.facts import MOST_GROWTH, Facts, Reason, untouched
from canvas_rl.primitives.receptive import Field
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.primitives.selection import SINGLE_DIMS, check_present
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.shape import Dim, Shape
from canvas_rl.symbolic.size import Size, constant


def unfit_for_softmax(known: Facts) -> str | None:
    """Why a softmax of such elements makes no sense, along whatever dim."""
    if known.small or known.flat:
        return Reason.SOFTMAX_FLAT
    return Reason.SOFTMAX_PICKS if known.growth >= MOST_GROWTH else None


@dataclass(frozen=True)
class Softmax(Primitive):
    """Softmax along `dim`, which must have at least two elements at every site."""

    dim: Dim

    family = "Softmax"

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        check_present((self.dim,), inputs[0], "Softmax")
        size = inputs[0].size(self.dim)
        assert size is not None
        return Typed(inputs[0], (Constraint(size, 2),))

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return (constant(5) * out.numel(),)

    def receptive(self, fields: tuple[Field, ...], inputs: tuple[Shape, ...]) -> Field:
        return fields[0].everywhere(self.dim.slot == "H", self.dim.slot == "W")

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        known = operands[0]
        return Facts(
            sign=1,
            unit=-1,
            small=True,
            flat=True,
            normalised=frozenset((self.dim,)),
            wide=known.wide,
            regrouped=untouched(known.regrouped, (self.dim,)),
        )

    def pointless(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> str | None:
        known = operands[0]
        if self.dim in known.offset:
            return Reason.SOFTMAX_CANCELS
        return unfit_for_softmax(known)

    def mean_square(self, operands: tuple[Size, ...], facts: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Size:
        size = inputs[0].size(self.dim)
        assert size is not None
        return constant(3) / (size * size)

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        return work.softmax(values[0], work.inputs[0].axis(self.dim))

    def emit(self, scope: Scope) -> None:
        scope.assign(f"{scope.args[0]}.softmax(dim={scope.inputs[0].axis(self.dim)})")

    def describe(self) -> str:
        return f"softmax over {self.dim.slot}"


def _build(dim: Dim, shapes: tuple[Shape, ...], fresh: object) -> Primitive:
    return Softmax(dim)


def _templates(context: FamilyContext) -> Iterator[Template]:
    for dim in SINGLE_DIMS:
        yield Template(f"softmax({dim})", "Softmax", partial(_build, dim))


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    return Softmax(json_dim(data["dim"]))


FAMILY = Family((Softmax,), _templates, _parse)
