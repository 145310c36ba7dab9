"""Scale: multiply by a learned tensor over a subset of dims."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from canvas_rl.primitives.base import Family, FamilyContext, Primitive, Template, Typed, Weight, json_dims
from canvas_rl.primitives.emission import Scope
from canvas_rl.primitives.facts import Facts, Reason, apart, untouched, within
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.primitives.selection import check_present, listed, selected, selections
from canvas_rl.symbolic.shape import Dim, Shape
from canvas_rl.symbolic.size import ONE, Size


@dataclass(frozen=True)
class Scale(Primitive):
    """Multiply by a learned tensor over `dims`; it starts normal, so that elements keep their mean square."""

    dims: tuple[Dim, ...]

    family = "Scale"
    weighted = True

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        check_present(self.dims, inputs[0], "Scale")
        return Typed(inputs[0])

    def weights(self, inputs: tuple[Shape, ...]) -> tuple[Weight, ...]:
        return (Weight(tuple(size for dim in self.dims if (size := inputs[0].size(dim)) is not None), ONE),)

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return (out.numel(),)

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        known, dims = operands[0], frozenset(self.dims)
        return Facts(
            growth=known.growth,
            flat=known.flat and not known.small,
            signed=True,
            scaled=dims,
            absorbs=dims,
            dense=apart(known.dense, dims),
            square=known.square and all(dim.group != 0 for dim in dims),
            wide=known.wide,
            regrouped=untouched(known.regrouped, dims),
        )

    def pointless(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> str | None:
        known, dims = operands[0], frozenset(self.dims)
        if within(dims, known.absorbs):
            return Reason.SCALE_BEFORE
        if within(known.scaled, dims):
            return Reason.SCALE_IN_WEIGHT
        if known.scaled and sorted(dims) < sorted(known.scaled):
            return Reason.SCALE_ORDER
        return Reason.SIGN_IN_WEIGHT if known.negated else None

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        weight = weights[0]
        for axis, dim in enumerate(work.inputs[0].dims()):
            if dim not in self.dims:
                weight = np.expand_dims(weight, axis)
        return work.apply(np.multiply, values[0], weight)

    def emit(self, scope: Scope) -> None:
        shape, name = scope.inputs[0], scope.attribute("scale")
        first = min(shape.axis(dim) for dim in self.dims)
        sizes = [s if d in self.dims else ONE for d, s in zip(shape.dims(), shape.sizes(), strict=True)][first - 1 :]
        scope.parameter(name, sizes)
        scope.init.append(f"nn.init.normal_(self.{name}, std={scope.deviation(ONE)})")
        scope.assign(f"{scope.args[0]} * self.{name}")

    def describe(self) -> str:
        return f"learned scale over {listed(self.dims)}"


def _build(selection: str, shapes: tuple[Shape, ...], fresh: object) -> Primitive:
    return Scale(selected(selection, shapes[0]))


def _templates(context: FamilyContext) -> Iterator[Template]:
    for selection in selections():
        yield Template(f"scale({selection})", "Scale", partial(_build, selection), weighted=True)


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    return Scale(json_dims(data["dims"]))


FAMILY = Family((Scale,), _templates, _parse)
