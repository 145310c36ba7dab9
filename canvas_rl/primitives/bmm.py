"""BMM: contract one group of each operand."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from canvas_rl.primitives.base import Family, FamilyContext, Primitive, Template, Typed, require
from canvas_rl.primitives.emission import Scope, reshaped, root
from canvas_rl.primitives.facts import MOST_GROWTH, Facts, Reason, summed
from canvas_rl.primitives.receptive import Field
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.primitives.softmax import unfit_for_softmax
from canvas_rl.symbolic.shape import SLOTS, SPATIAL, Dim, Shape
from canvas_rl.symbolic.size import Size, constant


@dataclass(frozen=True)
class BMM(Primitive):
    """Batched matrix product over one group of each operand, scaled by 1 / sqrt(contracted size).

    The output's groups are those left over: lhs's, then rhs's. With `softmax`, a softmax over the (flattened) second
    of them follows, as in attention.

    Args:
        lhs: which group of the left operand is contracted.
        rhs: which group of the right operand is contracted.
    """

    lhs: int
    rhs: int
    softmax: bool

    family = "BMM"
    arity = 2

    def equation(self, inputs: tuple[Shape, ...]) -> tuple[Size, Size]:
        return inputs[0][self.lhs].numel(), inputs[1][self.rhs].numel()

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        require(
            self.lhs in (0, 1) and self.rhs in (0, 1),
            "BMM contracts groups {}, {}: expected 0 or 1",
            self.lhs,
            self.rhs,
        )
        left, right = self.equation(inputs)
        for shape, group in ((inputs[0], self.lhs), (inputs[1], self.rhs)):
            require(
                len(shape[group].present()) > 0, "BMM would contract group {} of {}, which has no dim", group, shape
            )
        require(left is right, "BMM contracts {} with {}: the sizes differ", left, right)
        return Typed(Shape(inputs[0][1 - self.lhs], inputs[1][1 - self.rhs]))

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        elements = out.numel()
        product = constant(2) * elements * self.equation(inputs)[0]
        return (product, elements, constant(5) * elements) if self.softmax else (product, elements)

    def receptive(self, fields: tuple[Field, ...], inputs: tuple[Shape, ...]) -> Field:
        joined = Field.union(*fields)
        everywhere = (SPATIAL in (inputs[0][self.lhs].kind, inputs[1][self.rhs].kind)) or self.softmax
        return joined.everywhere(everywhere, everywhere)

    def facts(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Facts:
        product = self._product(operands)
        if not self.softmax:
            return product
        second = inputs[1][1 - self.rhs]
        slots = (slot for slot in SLOTS[second.kind] if second.size(slot) is not None)
        return Facts(sign=1, unit=-1, small=True, flat=True, normalised=frozenset(Dim(1, slot) for slot in slots))

    def pointless(self, operands: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> str | None:
        contracted = (self.lhs, self.rhs)
        if any(group in known.regrouped for group, known in zip(contracted, operands, strict=True)):
            return Reason.GROUP_UNUSED
        if not self.softmax:
            return None
        if not inputs[1][1 - self.rhs].present():
            return Reason.SOFTMAX_OF_ONE
        return unfit_for_softmax(self._product(operands))

    @staticmethod
    def _product(operands: tuple[Facts, ...]) -> Facts:
        lhs, rhs = operands
        return Facts(
            sign=lhs.sign * rhs.sign,
            growth=min(summed(lhs.growth + rhs.growth), MOST_GROWTH),
            small=lhs.small or rhs.small,
            flat=lhs.flat and rhs.flat,
            signed=lhs.signed or rhs.signed,
        )

    def mean_square(self, operands: tuple[Size, ...], facts: tuple[Facts, ...], inputs: tuple[Shape, ...]) -> Size:
        contracted, size = self.equation(inputs)[0], inputs[1][1 - self.rhs].numel()
        if self.softmax:
            return constant(3) / (size * size)
        square = operands[0] * operands[1]
        return square * contracted if all(known.leaning for known in facts) else square

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        left, right = work.matrix(0, values[0]), work.matrix(1, values[1])
        equation = f"n{'ka' if self.lhs == 0 else 'ak'},n{'kb' if self.rhs == 0 else 'bk'}->nab"
        root = np.sqrt(left.shape[1 + self.lhs]).astype(left.dtype)
        result = work.apply(np.divide, work.contract(equation, left, right), root)
        result = work.softmax(result, 2) if self.softmax else result
        return result.reshape(work.shape(len(result)))

    def emit(self, scope: Scope) -> None:
        left, right = (
            self._matrix(scope, operand, transposed) for operand, transposed in ((0, self.lhs == 0), (1, self.rhs == 1))
        )
        scope.forward.append(f"{scope.target} = torch.bmm({left}, {right}) * {root(self.equation(scope.inputs)[0])}")
        if self.softmax:
            scope.forward.append(f"{scope.target} = {scope.target}.softmax(dim=2)")
        matrix = (scope.out.first.numel(), scope.out.second.numel())
        if scope.out.sizes() != matrix:
            scope.assign(reshaped(scope.target, matrix, scope.out.sizes()))

    @staticmethod
    def _matrix(scope: Scope, operand: int, transposed: bool) -> str:
        shape = scope.inputs[operand]
        flat = reshaped(scope.args[operand], shape.sizes(), (shape.first.numel(), shape.second.numel()))
        return f"{flat}.transpose(1, 2)" if transposed else flat

    def describe(self) -> str:
        return f"matrix product over group {self.lhs} of lhs and {self.rhs} of rhs{', softmax' if self.softmax else ''}"


def _build(lhs: int, rhs: int, softmax: bool, shapes: tuple[Shape, ...], fresh: object) -> Primitive:
    return BMM(lhs, rhs, softmax)


def _templates(context: FamilyContext) -> Iterator[Template]:
    for names, order in ((("under", "top"), (0, 1)), (("top", "under"), (1, 0))):
        for lhs in (0, 1):
            for rhs in (0, 1):
                for softmax in (False, True):
                    name = f"bmm({names[0]}.{lhs},{names[1]}.{rhs}{',softmax' if softmax else ''})"
                    yield Template(name, "BMM", partial(_build, lhs, rhs, softmax), arity=2, order=order, view="groups")


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    return BMM(int(data["lhs"]), int(data["rhs"]), bool(data["softmax"]))


FAMILY = Family((BMM,), _templates, _parse)
