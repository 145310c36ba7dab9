"""Unfold: gather each pixel's neighbours into new KH and KW dims."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from canvas_rl.errors import GraphError, shown
from canvas_rl.primitives.base import Family, FamilyContext, Primitive, Template, Typed, require
from canvas_rl.primitives.emission import Scope
from canvas_rl.primitives.facts import NO_DIMS, Facts, apart
from canvas_rl.primitives.receptive import Field
from canvas_rl.primitives.reference import Array, Calculation, neighbour
from canvas_rl.symbolic.shape import Dim, Shape
from canvas_rl.symbolic.size import Size, constant


@dataclass(frozen=True)
class Unfold(Primitive):
    """Zero-padded neighbourhoods of `k` taps, `dilation` apart, along H and/or W, in new KH and/or KW dims."""

    axes: str
    k: int
    dilation: int

    @property
    def family(self) -> str:  # type: ignore[override]
        return f"Unfold{self.axes}"

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        shape = inputs[0]
        require(shape.is_image(), "Unfold needs a channel group and a spatial group, in this order, not {}", shape)
        require(self.axes in ("H", "W", "HW"), "Unfold is along {!r}: expected H, W or HW", self.axes)
        require(
            self.k >= 3 and self.k % 2 == 1 and self.dilation >= 1,
            "Unfold has k={}, dilation={}",
            self.k,
            self.dilation,
        )
        for axis in self.axes:
            require(shape.second.size(axis) is not None, "Unfold{} needs {}: {}", self.axes, axis, shape)
            require(shape.first.size(f"K{axis}") is None, "there is a K{} dim already: {}", axis, shape)
            shape = shape.with_dim(Dim(0, f"K{axis}"), constant(self.k))
        return Typed(shape)

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return ()

    def receptive(self, fields: tuple[Field, ...], inputs: tuple[Shape, ...]) -> Field:
        reach = self.k // 2 * self.dilation
        return fields[0].grow(reach if "H" in self.axes else 0, reach if "W" in self.axes else 0)

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        known, along = operands[0], [Dim(1, axis) for axis in self.axes]
        return replace(
            known,
            unit=min(known.unit, 0),
            function="",
            steady=False,
            offset=known.offset.difference(along),
            rolled=NO_DIMS,
            wide=False,
            scaled=apart(known.scaled, along),
            absorbs=apart(known.absorbs, along),
            dense=apart(known.dense, along),
            folded=None,
        )

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        shape, result = work.inputs[0], np.zeros(work.shape(len(values[0])), values[0].dtype)
        for taps in product(range(self.k), repeat=len(self.axes)):
            seen, place = values[0], [slice(None)] * result.ndim
            for axis, tap in zip(self.axes, taps, strict=True):
                seen = neighbour(seen, shape.axis(Dim(1, axis)), (tap - self.k // 2) * self.dilation)
                place[work.out.axis(Dim(0, f"K{axis}"))] = slice(tap, tap + 1)
            result[tuple(place)] = seen.reshape(result[tuple(place)].shape)
        return result

    def emit(self, scope: Scope) -> None:
        shape, source = scope.inputs[0], scope.args[0]
        for axis in self.axes:
            grown = shape.with_dim(Dim(0, f"K{axis}"), constant(self.k))
            scope.forward.extend(self._along(axis, shape, grown, source, scope.target))
            shape, source = grown, scope.target

    def _along(self, axis: str, shape: Shape, grown: Shape, source: str, target: str) -> Iterator[str]:
        dim, reach = Dim(1, axis), self.k // 2 * self.dilation
        after = len(shape.dims()) - shape.axis(dim)
        size = shape.size(dim)
        assert size is not None
        yield f"{target} = F.pad({source}, ({'0, 0, ' * after}{reach}, {reach}))"
        taps = f"range(0, {self.k * self.dilation}, {self.dilation})" if self.dilation > 1 else f"range({self.k})"
        window = f"{target}.narrow({shape.axis(dim)}, i, {size.python()})"
        yield f"{target} = torch.stack([{window} for i in {taps}], dim={grown.axis(Dim(0, f'K{axis}'))})"

    def describe(self) -> str:
        dilated = f", dilation {self.dilation}" if self.dilation > 1 else ""
        return f"unfold {self.k} neighbours along {' and '.join(self.axes)}{dilated}"


def _build(axes: str, k: int, dilation: int, shapes: tuple[Shape, ...], fresh: object) -> Primitive:
    return Unfold(axes, k, dilation)


def _templates(context: FamilyContext) -> Iterator[Template]:
    for axes in {0: (), 1: ("H",), 2: ("H", "W", "HW")}[context.spatial_dims]:
        for k in context.options.kernel_sizes:
            for dilation in context.options.dilated_sizes:
                yield Template(f"unfold({axes},k{k},d{dilation})", f"Unfold{axes}", partial(_build, axes, k, dilation))


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    if data["axes"] not in ("H", "W", "HW"):
        raise GraphError(f"Unfold is along {shown(data['axes'])}: expected H, W or HW")
    return Unfold(data["axes"], int(data["k"]), int(data["dilation"]))


FAMILY = Family((Unfold,), _templates, _parse, ("UnfoldH", "UnfoldW", "UnfoldHW"))
