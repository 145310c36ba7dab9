"""What the canonical hash merges: other programs that compute the same at the same cost, and nothing else."""

import numpy as np
import pytest

from canvas_rl.config import SearchOptions
from canvas_rl.ir import KernelGraph, static_cost
from canvas_rl.ir.interpret import interpret, random_weights
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

SITE = Site(16, 8, 8)
SPACE = SearchSpace(
    [SITE], SearchOptions(num_primitive_range=(1, 8), num_weighted_range=(0, 4), max_weighted_ratio=1.0)
)

SAME = {
    "shift and function": ("relu shift(1.H,+1) fc(C)", "shift(1.H,+1) relu fc(C)"),
    "shift and softmax": ("softmax(1.H) shift(1.H,+1) fc(C)", "shift(1.H,+1) softmax(1.H) fc(C)"),
    "two shifts": ("shift(1.H,+1) relu shift(1.W,-2)", "shift(1.W,-2) shift(1.H,+1) relu"),
    "group and function": ("exp group(0,4) fc(C)", "group(0,4) exp fc(C)"),
    "group and shift": ("shift(1.W,+1) group(0,4) fc(C)", "group(0,4) shift(1.W,+1) fc(C)"),
    "group and softmax": ("softmax(1.W) group(0,4) fc(C)", "group(0,4) softmax(1.W) fc(C)"),
    "neg and odd function": ("neg tanh exp", "tanh neg exp"),
    "relu and tanh": ("tanh relu fc(C)", "relu tanh fc(C)"),
    "neg and shift": ("neg shift(1.H,+1) exp", "shift(1.H,+1) neg exp"),
    "order of operands": ("relu push(0) exp mul(under->top)", "exp push(0) relu mul(under->top)"),
    "brackets of a sum": (
        "relu push(0) exp add(under->top) push(0) sin add(under->top)",
        "exp push(0) sin add(under->top) push(0) relu add(under->top)",
    ),
    "brackets of a maximum": (
        "relu push(0) sin max(under->top) push(0) tanh max(under->top)",
        "tanh push(0) sin push(0) relu max(under->top) max(under->top)",
    ),
    "sizes that became equal": ("fc(x) push(0) mul(top->under)", "fc(C) push(0) mul(under->top)"),
    "repeated or pushed": ("relu push(0) relu fc(C) mul(under->top)", "relu push(1) fc(C) mul(under->top)"),
    "repeated and moved": (
        "relu shift(1.H,+1) fc(C) push(0) shift(1.H,+1) relu mul(under->top)",
        "shift(1.H,+1) relu fc(C) push(2) mul(under->top)",
    ),
}
DIFFERENT = {
    "shift and unfold": ("shift(1.H,+1) unfold(H,k3,d1) fc(C)", "unfold(H,k3,d1) shift(1.H,+1) fc(C)"),
    "neg and even function": ("neg exp", "exp neg"),
    "group and shift of its channels": ("shift(0.C,+1) group(0,4) fc(C)", "group(0,4) shift(0.C,+1) exp fc(C)"),
    "group and softmax of its channels": ("softmax(0.C) group(0,4) fc(C)", "group(0,4) softmax(0.C) fc(C)"),
    "order of a difference": ("relu push(0) exp sub(under->top)", "relu push(0) exp sub(top->under)"),
}


def kernel(program: str) -> KernelGraph:
    """The kernel of a program, whether or not all in it makes sense."""
    state = SPACE.start()
    for name in [*program.split(), "output(1)"]:
        state = SPACE.move(state, SPACE.actions.index(name))
    return state.graph


def output(graph: KernelGraph) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((2, *SITE.shape))
    return interpret(graph, SITE, x, random_weights(graph, SITE, np.random.default_rng(1))).output


@pytest.mark.parametrize("name", SAME)
def test_kernels_of_one_hash_compute_the_same(name):
    one, other = map(kernel, SAME[name])
    assert one.hash == other.hash
    np.testing.assert_allclose(output(one), output(other), rtol=1e-12, atol=1e-12)
    if not name.startswith("repeated"):
        assert static_cost(one, SITE) == static_cost(other, SITE)


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_does_not_commute_is_not_merged(name):
    one, other = map(kernel, DIFFERENT[name])
    assert one.hash != other.hash
    assert not np.allclose(output(one), output(other))


def test_a_sum_that_is_used_twice_keeps_its_brackets():
    shared = kernel("relu push(0) exp add(under->top) push(0) add(under->top) push(3) mul(under->top)")
    again = kernel(
        "relu push(0) exp add(under->top) push(2) push(0) add(under->top) push(1) add(under->top) mul(under->top)"
    )
    np.testing.assert_allclose(output(shared), output(again), rtol=1e-12)
    assert static_cost(shared, SITE) != static_cost(again, SITE)
    assert shared.hash != again.hash
