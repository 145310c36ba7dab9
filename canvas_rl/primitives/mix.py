"""Mix: an einsum with a learned weight over a subset of dims."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from canvas_rl.primitives.base import (
    Family,
    FamilyContext,
    Fresh,
    Primitive,
    Template,
    Typed,
    Weight,
    json_dims,
    json_sizes,
    require,
)
from canvas_rl.primitives.emission import Scope
from canvas_rl.primitives.facts import Facts, Reason, apart, channel_dims, summed, untouched, within
from canvas_rl.primitives.receptive import Field
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.primitives.selection import check_present, listed, selected, selections
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.shape import Dim, Shape
from canvas_rl.symbolic.size import Size, constant, product


@dataclass(frozen=True)
class Mix(Primitive):
    """Contract `dims` with a learned weight; each comes back with a new size in its slot, or is dropped (None)."""

    dims: tuple[Dim, ...]
    new: tuple[Size | None, ...]

    family = "Mix"
    weighted = True

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        shape = inputs[0]
        check_present(self.dims, shape, "Mix")
        require(len(self.new) == len(self.dims), "Mix needs one new size (or none) for each dim")
        out = shape
        for dim, size in zip(self.dims, self.new, strict=True):
            out = out.with_dim(dim, size)
        require(len(out.dims()) > 0, "Mix would drop every dim of {}", shape)
        return Typed(out, tuple(Constraint(size) for size in self._made()))

    def _made(self) -> tuple[Size, ...]:
        return tuple(size for size in self.new if size is not None)

    def weights(self, inputs: tuple[Shape, ...]) -> tuple[Weight, ...]:
        old = tuple(size for dim in self.dims if (size := inputs[0].size(dim)) is not None)
        return (Weight((*self._made(), *old), product(old)),)

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return (constant(2) * out.numel() * self.weights(inputs)[0].fan_in,)

    def receptive(self, fields: tuple[Field, ...], inputs: tuple[Shape, ...]) -> Field:
        slots = {dim.slot for dim in self.dims}
        return fields[0].everywhere("H" in slots, "W" in slots)

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        known = operands[0]
        made = frozenset(dim for dim, size in zip(self.dims, self.new, strict=True) if size is not None)
        return Facts(
            lean=2 if known.steady and not made else 0,
            growth=summed(known.growth),
            flat=known.flat and not known.small,
            signed=True,
            normalised=apart(known.normalised, self.dims),
            scaled=apart(known.scaled, self.dims),
            absorbs=made,
            dense=made,
            wide=known.wide and Dim(0, "C") not in self.dims,
            regrouped=untouched(known.regrouped, self.dims),
        )

    def pointless(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> str | None:
        known, dims = operands[0], frozenset(self.dims)
        if within(known.scaled, dims):
            return Reason.SCALE_IN_WEIGHT
        if within(dims, known.dense) and not any(self.new):
            return Reason.DROP_BEFORE
        channels = channel_dims(inputs[0])
        if known.square and dims.issuperset(dim for dim in channels if dim.slot in ("G", "C")):
            return Reason.WEIGHT_IN_WEIGHT
        if dims & known.rolled:
            return Reason.ROLL_IN_WEIGHT
        return Reason.SIGN_IN_WEIGHT if known.negated else None

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        old = range(-len(self.dims), 0)
        x = np.moveaxis(values[0], [work.inputs[0].axis(dim) for dim in self.dims], old)
        kept, mixed = x.shape[: -len(self.dims)], prod(x.shape[axis] for axis in old)
        rows = work.contract("rk,mk->rm", x.reshape(-1, mixed), weights[0].reshape(-1, mixed))
        made = [dim for dim, size in zip(self.dims, self.new, strict=True) if size is not None]
        result = rows.reshape(*kept, *weights[0].shape[: len(made)])
        return np.moveaxis(result, range(len(kept), result.ndim), [work.out.axis(dim) for dim in made])

    def emit(self, scope: Scope) -> None:
        name, weight = scope.attribute("mix"), self.weights(scope.inputs)[0]
        letters = dict(zip(scope.inputs[0].dims(), "abcdefghijkl", strict=False))
        renamed = {dim: letters[dim].upper() for dim, size in zip(self.dims, self.new, strict=True) if size is not None}
        made = "".join(renamed.values())
        old = "".join(letters[dim] for dim in self.dims)
        out = "".join(renamed.get(dim, letters[dim]) for dim in scope.out.dims())
        scope.parameter(name, weight.sizes)
        scope.init.append(f"nn.init.normal_(self.{name}, std={scope.deviation(weight.fan_in)})")
        equation = f"n{''.join(letters.values())},{made}{old}->n{out}"
        scope.assign(f'torch.einsum("{equation}", {scope.args[0]}, self.{name})')

    def describe(self) -> str:
        made = ", ".join(str(size) for size in self.new if size is not None)
        return f"learned mix of {listed(self.dims)} to {made or 'nothing'}"


def _build(selection: str, kind: str, shapes: tuple[Shape, ...], fresh: Fresh) -> Primitive:
    dims = selected(selection, shapes[0])
    require(kind != "first" or len(dims) > 1, "'first' needs at least two dims: 'fresh' is the same for one")
    new = {"fresh": [True] * len(dims), "dropped": [False] * len(dims), "first": [True] + [False] * (len(dims) - 1)}
    return Mix(dims, tuple(fresh() if keep else None for keep in new[kind]))


def _templates(context: FamilyContext) -> Iterator[Template]:
    for selection in selections():
        for kind in ("fresh", "dropped") if "." in selection else ("fresh", "dropped", "first"):
            yield Template(f"mix({selection},{kind})", "Mix", partial(_build, selection, kind), weighted=True)


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    return Mix(json_dims(data["dims"]), json_sizes(data["new"]))


FAMILY = Family((Mix,), _templates, _parse)
