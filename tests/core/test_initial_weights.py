"""Initial weights: whatever they are applied to, elements of the output have a mean square near 1."""

import pytest
import torch

from canvas_rl.codegen import build_module
from canvas_rl.config import SearchOptions
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

SITE = Site(32, 12, 12)
SPACE = SearchSpace([SITE], SearchOptions(num_primitive_range=(1, 6), max_weighted_ratio=1.0))
BEFORE = [
    "",
    "relu",
    "sigmoid",
    "softmax(0.C)",
    "softmax(1.W)",
    "softmax(0.C) square",
    "softmax(1.H) sqrt",
    "exp",
    "neg exp",
    "square",
    "square square",
    "push(0) sin mul(under->top)",
    "push(0) fold(0.C,avg) add(top->under)",
    "unfold(HW,k3,d1) fold(0.KHKW,avg)",
    "unfold(HW,k3,d1) square fold(0.KHKW,avg)",
    "fc(C) push(0) bmm(under.0,top.0,softmax) push(0) bmm(top.1,under.1)",
    "group(0,4) softmax(0.G)",
]


@pytest.mark.parametrize("weighted", ["fc(C)", "scale(0.C)", "mix(1.W,fresh)"])
@pytest.mark.parametrize("before", BEFORE)
def test_the_mean_square_stays_near_one(before, weighted):
    state = SPACE.start()
    for name in [*before.split(), weighted]:
        state = SPACE.step(state, SPACE.actions.index(name))
    if weighted.startswith("mix"):
        state = SPACE.step(state, SPACE.actions.index("fc(C)"))
    graph = SPACE.step(state, SPACE.actions.index("output(1)")).graph
    assert graph is not None
    torch.manual_seed(0)
    squares = [build_module(graph, SITE)(torch.randn(4, *SITE.shape)).square().mean() for _ in range(8)]
    assert 0.1 < float(torch.stack(squares).detach().mean()) < 10
