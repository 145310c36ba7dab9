"""Fold: remove a dim, or a pair of dims, by average or maximum."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from canvas_rl.errors import GraphError, shown
from canvas_rl.primitives.base import Family, FamilyContext, Primitive, Template, Typed, json_dims, require
from canvas_rl.primitives.emission import Scope
from canvas_rl.primitives.facts import NO_DIMS, Facts, Reason, apart, untouched
from canvas_rl.primitives.receptive import Field
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.primitives.selection import PAIRS, SINGLE_DIMS, check_present, check_window, listed
from canvas_rl.symbolic.shape import Dim, Shape
from canvas_rl.symbolic.size import Size, product

_METHODS = {"avg": "mean", "max": "amax"}
_MANY = ("C", "H", "W")
_PAIRS = tuple(map(set, PAIRS))


@dataclass(frozen=True)
class Fold(Primitive):
    """Reduce over `dims`: one dim, or a pair KH, KW or H, W of one group."""

    dims: tuple[Dim, ...]
    kind: str

    family = "Fold"

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        out = inputs[0]
        check_present(self.dims, out, "Fold")
        check_window(self.dims, "Fold")
        require(self.kind in _METHODS, "Fold is by {!r}: expected avg or max", self.kind)
        for dim in self.dims:
            out = out.with_dim(dim, None)
        return Typed(out)

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return (inputs[0].numel(),)

    def receptive(self, fields: tuple[Field, ...], inputs: tuple[Shape, ...]) -> Field:
        slots = {dim.slot for dim in self.dims}
        return fields[0].everywhere("H" in slots, "W" in slots)

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        known, average = operands[0], self.kind == "avg"
        channels = any(dim.group == 0 and dim.slot in ("G", "C") for dim in self.dims)
        return Facts(
            sign=known.sign,
            lean=known.lean or int(not average and any(dim.slot in _MANY for dim in self.dims)),
            unit=known.unit,
            growth=known.growth,
            small=known.small,
            flat=known.flat,
            steady=known.steady,
            negated=known.negated and average,
            signed=known.signed and average,
            normalised=known.normalised.difference(self.dims) if average else NO_DIMS,
            scaled=apart(known.scaled, self.dims) if average else NO_DIMS,
            absorbs=known.absorbs.difference(self.dims) if average else NO_DIMS,
            dense=known.dense.difference(self.dims) if average else NO_DIMS,
            square=known.square and average and not channels,
            wide=known.wide and Dim(0, "C") not in self.dims,
            regrouped=untouched(known.regrouped, self.dims),
            folded=(self.kind, self.dims[0]) if len(self.dims) == 1 else None,
        )

    def pointless(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> str | None:
        known = operands[0]
        normalised = known.normalised.intersection(inputs[0].dims())
        if self.kind == "avg" and normalised and normalised.issubset(self.dims):
            return Reason.ADDS_UP
        if self.kind == "max" and known.clipped > 0:
            return Reason.TOP_WINS
        if self.kind == "max" and known.function == "increasing" and not normalised:
            return Reason.FOLD_FIRST
        if known.folded is not None and len(self.dims) == 1:
            kind, before = known.folded
            if kind == self.kind and {before, *self.dims} in _PAIRS:
                return Reason.FOLD_PAIR
        return None

    def mean_square(self, operands: tuple[Size, ...], facts: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Size:
        if self.kind == "max" or facts[0].leaning:
            return operands[0]
        return operands[0] / product(tuple(size for dim in self.dims if (size := inputs[0].size(dim)) is not None))

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        axes = tuple(work.inputs[0].axis(dim) for dim in self.dims)
        folded = work.fold(np.add if self.kind == "avg" else np.maximum, values[0], axes)
        if self.kind == "avg":  # n - 1 additions and this division: n operations, as counted
            folded = folded * folded.size / values[0].size
        return folded.reshape(work.shape(len(folded)))

    def emit(self, scope: Scope) -> None:
        axes = tuple(scope.inputs[0].axis(dim) for dim in self.dims)
        scope.assign(f"{scope.args[0]}.{_METHODS[self.kind]}(dim={axes[0] if len(axes) == 1 else axes})")

    def describe(self) -> str:
        return f"{'average' if self.kind == 'avg' else 'maximum'} over {listed(self.dims)}"


def _build(dims: tuple[Dim, ...], kind: str, shapes: tuple[Shape, ...], fresh: object) -> Primitive:
    return Fold(dims, kind)


def _templates(context: FamilyContext) -> Iterator[Template]:
    singles: list[tuple[Dim, ...]] = [(dim,) for dim in SINGLE_DIMS]
    for dims in [*singles, *PAIRS]:
        name = f"{dims[0].group}.{''.join(dim.slot for dim in dims)}"
        for kind in _METHODS:
            yield Template(f"fold({name},{kind})", "Fold", partial(_build, dims, kind))


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    if data["kind"] not in _METHODS:
        raise GraphError(f"Fold is by {shown(data['kind'])}: expected avg or max")
    return Fold(json_dims(data["dims"]), data["kind"])


FAMILY = Family((Fold,), _templates, _parse)
