"""The generated module against the interpreter, over random kernels: values, shape, gradients.

How to run each property 10,000 times by hand stands in `conftest.py`.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from drawing import Drawn, for_all, kernels

from canvas_rl.codegen import build_module, write_weights
from canvas_rl.ir.interpret import Weights, interpret, random_weights
from canvas_rl.primitives.reference import Array

BATCH = 2
NOISE = 1e-12


def numbers(drawn: Drawn) -> tuple[Array, dict[int, tuple[Array, ...]]]:
    """An input and weights that float32 holds exactly, in float64."""
    rng = np.random.default_rng(drawn.seed)
    x = rng.normal(size=(BATCH, *drawn.site.shape))
    weights = random_weights(drawn.graph, drawn.site, rng)
    return rounded(x), {index: tuple(map(rounded, tensors)) for index, tensors in weights.items()}


def rounded(value: Array) -> Array:
    return value.astype(np.float32).astype(np.float64)


def run_module(drawn: Drawn, x: Array, weights: Weights, dtype: torch.dtype) -> Array:
    module = build_module(drawn.graph, drawn.site).to(dtype)
    write_weights(module, drawn.graph, drawn.site, weights)
    with torch.no_grad():
        result: Array = module(torch.from_numpy(x).to(dtype)).double().numpy()
    return result


def difference(value: Array, reference: Array) -> float:
    """Largest error, relative to the reference's largest magnitude."""
    error = float(np.abs(value - reference).max())
    return error / float(np.abs(reference).max()) if error else 0.0


def single_precision_error(drawn: Drawn, x: Array, weights: Weights) -> float:
    """The interpreter's own difference between float32 and float64; not finite where an output is not."""
    wanted = interpret(drawn.graph, drawn.site, x, weights).output
    single = interpret(drawn.graph, drawn.site, x.astype(np.float32), weights).output.astype(np.float64)
    finite = np.isfinite(wanted).all() and np.isfinite(single).all()
    return difference(single, wanted) if finite else float("nan")


def errors_nearby(drawn: Drawn, x: Array, weights: Weights) -> Iterator[float]:
    """The same at inputs that differ in the last digits: at one point rounding errors can happen to be small."""
    rng = np.random.default_rng(drawn.seed)
    for _ in range(50):
        yield single_precision_error(drawn, rounded(x * (1 + rng.uniform(-1e-6, 1e-6, x.shape))), weights)


def test_in_float64_a_module_equals_the_interpreter(tally: Counter[str]) -> None:
    @for_all(tally, kernels)
    def check(drawn: Drawn) -> None:
        x, weights = numbers(drawn)
        wanted = interpret(drawn.graph, drawn.site, x, weights).output
        found = run_module(drawn, x, weights, torch.float64)
        assert found.shape == x.shape
        if not np.isfinite(wanted).all():
            tally["not finite"] += 1
            return
        if difference(found, wanted) > 1e-10:
            precise = interpret(drawn.graph, drawn.site, x.astype(np.longdouble), weights).output
            assert difference(wanted, precise.astype(np.float64)) > 1e-11, drawn
            tally["only rounding errors"] += 1

    assert tally["not finite"] <= 0.01 * tally["examples"]
    assert tally["only rounding errors"] <= 0.01 * tally["examples"]


def test_in_float32_a_module_is_as_exact_as_the_interpreter(tally: Counter[str]) -> None:
    @for_all(tally, kernels)
    def check(drawn: Drawn) -> None:
        x, weights = numbers(drawn)
        wanted = interpret(drawn.graph, drawn.site, x, weights).output
        own = single_precision_error(drawn, x, weights)
        if not np.isfinite(own):
            tally["not finite"] += 1
            return
        error = difference(run_module(drawn, x, weights, torch.float32), wanted)
        if error > max(1e-5, 20 * own):
            tally["exact here by chance"] += 1
            assert error <= 20 * max(errors_nearby(drawn, x, weights)), drawn

    assert tally["not finite"] <= 0.01 * tally["examples"]
    assert tally["exact here by chance"] <= 0.01 * tally["examples"]
