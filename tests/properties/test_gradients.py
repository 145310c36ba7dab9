"""Gradients of generated modules against finite differences of the interpreter.

How to run each property 10,000 times by hand stands in `conftest.py`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from drawing import Drawn, for_all, kernels

from canvas_rl.codegen import build_module, read_weights, write_weights
from canvas_rl.ir.interpret import Weights, interpret, random_weights
from canvas_rl.primitives.reference import Array

STEP = 1e-5
EXACT = 1e-5
ROUNDING = 1e-9  # of the sum of the function's terms: 1e-15 of it in each value, divided by STEP, times ten


class Probed:
    """A kernel at a point: its output, summed up with random factors, as a function of input and weights."""

    def __init__(self, drawn: Drawn) -> None:
        self.drawn, self.rng = drawn, np.random.default_rng(drawn.seed)
        self.x = self.rng.normal(size=(1, *drawn.site.shape))
        self.weights = random_weights(drawn.graph, drawn.site, self.rng)
        self.factors = self.rng.normal(size=self.x.shape)

    def terms(self, x: Array, weights: Weights) -> Array:
        return interpret(self.drawn.graph, self.drawn.site, x, weights).output * self.factors

    def gradients(self) -> tuple[Array, Weights]:
        """What the generated module's backward pass gives."""
        drawn = self.drawn
        module, x = build_module(drawn.graph, drawn.site).double(), torch.from_numpy(self.x).requires_grad_()
        write_weights(module, drawn.graph, drawn.site, self.weights)
        (module(x) * torch.from_numpy(self.factors)).sum().backward()
        for parameter in module.parameters():
            assert parameter.grad is not None
            parameter.data = parameter.grad
        assert x.grad is not None
        return x.grad.numpy(), read_weights(module, drawn.graph, drawn.site)

    def along_input(self, direction: Array, step: float) -> float:
        return float(self.terms(self.x + step * direction, self.weights).sum())

    def along_weight(self, index: int, direction: Array, step: float) -> float:
        moved = self.weights[index][0] + step * direction
        return float(self.terms(self.x, {**self.weights, index: (moved,)}).sum())

    def slopes(self) -> Iterator[tuple[float, Callable[[float], float]]]:
        """The module's slope along a random direction of the input and of each weight, and the function there."""
        of_x, of_weights = self.gradients()
        direction = self.rng.choice([-1.0, 1.0], self.x.shape)
        yield float((of_x * direction).sum()), partial(self.along_input, direction)
        for index, (tensor,) in self.weights.items():
            direction = self.rng.choice([-1.0, 1.0], tensor.shape) * np.abs(tensor).mean()
            yield float((of_weights[index][0] * direction).sum()), partial(self.along_weight, index, direction)


def numeric_slope(function: Callable[[float], float], step: float) -> float:
    """Central difference of fourth order."""
    near, far = function(step) - function(-step), function(2 * step) - function(-2 * step)
    return (8 * near - far) / (12 * step)


def test_gradients_equal_finite_differences(tally: Counter[str]) -> None:
    @for_all(tally, kernels)
    def check(drawn: Drawn) -> None:
        probed = Probed(drawn)
        rounding = ROUNDING * float(np.abs(probed.terms(probed.x, probed.weights)).sum())
        for slope, function in probed.slopes():
            tally["slopes"] += 1
            wide, narrow = (numeric_slope(function, step) for step in (STEP, STEP / 3))
            if not np.isfinite([slope, wide, narrow]).all():
                tally["not finite"] += 1
                continue
            allowed = EXACT * (abs(slope) + abs(wide)) + rounding
            if abs(wide - narrow) > allowed:  # within these steps the function has a kink
                tally["not smooth"] += 1
                continue
            assert abs(slope - narrow) <= allowed, drawn

    assert tally["not finite"] <= 0.01 * tally["slopes"]
    assert tally["not smooth"] <= 0.01 * tally["slopes"]
