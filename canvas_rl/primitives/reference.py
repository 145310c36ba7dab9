"""Computing a primitive from its definition, in numpy: what the generated code is compared with."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from canvas_rl.symbolic.shape import Shape
from canvas_rl.symbolic.size import Size

Array = NDArray[np.floating[Any]]


@dataclass
class Calculation:
    """What a reference computation knows about its sizes, and the count of what it does.

    Arrays hold a batch in axis 0; they keep the floating-point type of the operands.

    Args:
        inputs: shapes of the operands.
        out: shape of the result.
        integer: what a size is at the site.

    Attributes:
        contracted: FLOPs of contractions, 2 per multiply-add.
        elementary: FLOPs of everything else, 1 per elementary operation, a call of exp, erf, sin or tanh among them.
    """

    inputs: tuple[Shape, ...]
    out: Shape
    integer: Callable[[Size], int]
    contracted: int = 0
    elementary: int = 0

    def apply(self, function: Callable[..., Array], *values: Array | float) -> Array:
        """An element-wise function of arrays and numbers: one operation for each element of the result."""
        result = function(*values)
        self.elementary += result.size
        return result

    def contract(self, equation: str, left: Array, right: Array) -> Array:
        """An einsum of two arrays: one multiply-add for each combination of its indices."""
        letters = equation.split("->")[0].split(",")
        sizes = {
            letter: size
            for name, a in zip(letters, (left, right), strict=True)
            for letter, size in zip(name, a.shape, strict=True)
        }
        self.contracted += 2 * prod(sizes.values())
        result: Array = np.einsum(equation, left, right)
        return result

    def fold(self, function: np.ufunc, value: Array, axes: tuple[int, ...]) -> Array:
        """A reduction over axes, which stay with size 1: one operation for each element read."""
        self.elementary += value.size
        result: Array = function.reduce(value, axis=axes, keepdims=True)
        return result

    def softmax(self, value: Array, axis: int) -> Array:
        """exp(v) / sum of exp(v) along an axis, with the maximum subtracted first."""
        powers = self.apply(np.exp, self.apply(np.subtract, value, self.fold(np.maximum, value, (axis,))))
        return self.apply(np.divide, powers, self.fold(np.add, powers, (axis,)))

    def numel(self, sizes: tuple[Size, ...]) -> int:
        """Product of sizes at the site."""
        return prod(self.integer(size) for size in sizes)

    def shape(self, batch: int) -> tuple[int, ...]:
        """The array shape of the result."""
        return batch, *(self.integer(size) for size in self.out.sizes())

    def matrix(self, operand: int, value: Array) -> Array:
        """An operand as [batch, elements of group 0, elements of group 1]."""
        first, second = self.inputs[operand]
        return value.reshape(len(value), self.numel(first.present()), self.numel(second.present()))


def neighbour(value: Array, axis: int, offset: int) -> Array:
    """For each place along an axis the element `offset` places further on, 0 outside."""
    result = np.zeros_like(value)
    for place in range(value.shape[axis]):
        if 0 <= place + offset < value.shape[axis]:
            np.moveaxis(result, axis, 0)[place] = np.moveaxis(value, axis, 0)[place + offset]
    return result
