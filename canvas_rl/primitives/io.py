"""Input and Output: where a kernel begins and ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from canvas_rl.primitives.base import Family, FamilyContext, Primitive, Template, Typed, require
from canvas_rl.primitives.emission import Scope, reshaped
from canvas_rl.primitives.facts import Facts, Reason
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.symbolic.shape import CHANNEL, Shape, input_shape
from canvas_rl.symbolic.size import ONE, Size


@dataclass(frozen=True)
class Input(Primitive):
    """The kernel's input, {C} and {H, W} (2-D), {H} (1-D) or {} (0-D)."""

    spatial_dims: int

    family = "Input"
    arity = 0

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        require(self.spatial_dims in (0, 1, 2), "Input has {} spatial dims: expected 0, 1 or 2", self.spatial_dims)
        return Typed(input_shape(self.spatial_dims))

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return ()

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        return Facts(wide=True)

    def mean_square(self, operands: tuple[Size, ...], facts: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Size:
        return ONE

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        return values[0]

    def emit(self, scope: Scope) -> None:
        scope.assign("x")

    def describe(self) -> str:
        return "input"


@dataclass(frozen=True)
class Output(Primitive):
    """Permute the groups (swapped or not), then reshape to the input's shape.

    Args:
        spatial_dims: those of the kernel.
        swapped: whether the second group comes first; decided when applied, by `output_for`.
    """

    spatial_dims: int
    swapped: bool

    family = "Output"

    def equation(self, inputs: tuple[Shape, ...]) -> tuple[Size, Size]:
        return inputs[0].numel(), input_shape(self.spatial_dims).numel()

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        have, want = self.equation(inputs)
        require(have is want, "Output needs {} elements, not the {} of {}", want, have, inputs[0])
        return Typed(input_shape(self.spatial_dims))

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return ()

    def pointless(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> str | None:
        return Reason.GROUP_UNUSED if operands[0].regrouped else None

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        matrix = work.matrix(0, values[0])
        ordered = np.swapaxes(matrix, 1, 2) if self.swapped else matrix
        return ordered.reshape(work.shape(len(matrix)))

    def emit(self, scope: Scope) -> None:
        shape, name = scope.inputs[0], scope.args[0]
        first, second = shape.first.present(), shape.second.present()
        sizes = (*first, *second)
        if self.swapped and first and second:
            axes = [*range(1 + len(first), 1 + len(sizes)), *range(1, 1 + len(first))]
            name, sizes = f"{name}.permute(0, {', '.join(map(str, axes))})", (*second, *first)
        scope.assign(reshaped(name, sizes, scope.out.sizes()))

    def describe(self) -> str:
        return "output"


def output_for(shape: Shape, spatial_dims: int) -> Output:
    """The Output of a tensor: channel groups first; of two alike, the group that ends with W last."""
    first, second = shape
    if first.kind != second.kind:
        return Output(spatial_dims, swapped=second.kind == CHANNEL)
    return Output(spatial_dims, swapped=first.size("W") is not None and second.size("W") is None)


def _templates(context: FamilyContext) -> Iterator[Template]:
    return iter(())


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    dims = int(data["spatial_dims"])
    return Input(dims) if kind == "Input" else Output(dims, bool(data["swapped"]))


FAMILY = Family((Input, Output), _templates, _parse)
