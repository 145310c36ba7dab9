"""The interpreter on examples small enough to compute by hand, and weights of modules by node."""

import numpy as np
import pytest
import torch

from canvas_rl.codegen import build_module, read_weights, write_weights
from canvas_rl.config import SearchOptions
from canvas_rl.errors import GraphError
from canvas_rl.ir import KernelGraph
from canvas_rl.ir.interpret import interpret, random_weights, weight_shapes
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

OPTIONS = SearchOptions(num_primitive_range=(1, 8), num_weighted_range=(0, 8), max_weighted_ratio=1.0)
LINE, PLANE = Site(2, 3), Site(4, 3, 3)
SPACES = {site: SearchSpace([site], OPTIONS) for site in (LINE, PLANE)}


def kernel(site: Site, *program: str) -> KernelGraph:
    graph = SPACES[site].replay((*program, "output(1)")).graph
    assert graph is not None
    return graph


def after_first(program: list[str], x: list[list[float]], weight: list[object] | None = None) -> list[object]:
    """What the first primitive of a 1-D kernel gives."""
    graph = kernel(LINE, *program)
    given = {1: (np.array(weight, dtype=float),)} if weight else {}
    rng = np.random.default_rng(0)
    weights = {**random_weights(graph, LINE, rng), **given}
    result: list[object] = interpret(graph, LINE, np.array([x], dtype=float), weights).values[1][0].tolist()
    return result


X = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    ("program", "weight", "wanted"),
    [
        (
            ["unfold(H,k3,d1)", "fold(0.KH,max)"],
            None,
            [[[0, 1, 2], [1, 2, 3], [2, 3, 0]], [[0, 4, 5], [4, 5, 6], [5, 6, 0]]],
        ),
        (["shift(1.H,+1)"], None, [[3, 1, 2], [6, 4, 5]]),
        (["fc(C)"], [[1, 10], [0, 2]], [[41, 52, 63], [8, 10, 12]]),
        (["conv(3x1,d1,C)"], [[[[1], [0], [0]]] * 2, [[[0], [0], [1]]] * 2], [[0, 5, 7], [7, 9, 0]]),
        (["conv(3x1,d1,depthwise)"], [[[[1], [2], [0]]], [[[0], [0], [3]]]], [[2, 5, 8], [15, 18, 0]]),
        (["scale(0.C)"], [2, 3], [[2, 4, 6], [12, 15, 18]]),
        (["mix(1.H,dropped)", "push(0)", "add(under->top)"], [1, 10, 100], [321, 654]),
        (["fold(1.H,avg)", "push(0)", "mul(under->top)"], None, [2, 5]),
        (["fold(0.C,max)", "push(0)", "mul(under->top)"], None, [4, 5, 6]),
        (["group(0,C)", "fc(C)"], None, X),
    ],
)
def test_primitives_compute_what_their_definitions_say(program, weight, wanted):
    assert after_first(program, X, weight) == wanted


def test_a_grouped_fc_reads_only_its_own_group():
    graph = kernel(PLANE, "group(0,2)", "fc(C)")
    x = np.arange(4.0)[None, :, None, None] * np.ones((1, 4, 3, 3))
    weight = np.array([[1, 0], [0, 1], [1, 1], [2, 1]], dtype=float)
    assert interpret(graph, PLANE, x, {2: (weight,)}).output[0, :, 0, 0].tolist() == [0, 1, 5, 7]


def test_a_broadcast_repeats_its_left_operand_along_the_outer_factor():
    graph = SPACES[PLANE].replay(["fc(x)", "push(0)", "add(under->top)", "output(1/2)"]).graph
    assert graph is not None
    weight = np.array([[1, 0, 0, 0], [0, 10, 0, 0]], dtype=float)  # 4 channels to 2
    output = interpret(graph, PLANE, np.ones((1, 4, 3, 3)), {1: (weight,)}).output
    assert output[0, :, 0, 0].tolist() == [2, 11, 2, 11]


def test_a_matrix_product_is_scaled_by_the_root_of_what_it_contracts():
    graph = kernel(LINE, "push(0)", "bmm(under.0,top.0)", "fold(1.H,max)", "push(0)", "add(under->top)")
    product = interpret(graph, LINE, np.array([X]), {}).values[1]
    np.testing.assert_allclose(product[0], np.array(X).T @ np.array(X) / 2**0.5)


def test_arrays_of_other_shapes_are_refused():
    graph = kernel(LINE, "fc(C)")
    with pytest.raises(GraphError, match=r"needs a batch of \(2, 3\)"):
        interpret(graph, LINE, np.zeros((1, 3, 3)), {1: (np.zeros((2, 2)),)})
    for weights in ({}, {1: (np.zeros((2, 3)),)}, {2: (np.zeros((2, 2)),)}):
        with pytest.raises(GraphError, match=r"needs \{1: \(\(2, 2\),\)\}"):
            interpret(graph, LINE, np.zeros((1, 2, 3)), weights)


WEIGHTED = {
    (PLANE, "fc(C)"): ((4, 4), (4, 4, 1, 1)),
    (PLANE, "conv(3x1,d1,C)"): ((4, 4, 3, 1), (4, 4, 3, 1)),
    (PLANE, "conv(3x3,d2,depthwise)"): ((4, 1, 3, 3), (4, 1, 3, 3)),
    (PLANE, "scale(0.C)"): ((4,), (4, 1, 1)),
    (PLANE, "scale(1)"): ((3, 3), (3, 3)),
    (LINE, "fc(C)"): ((2, 2), (2, 2, 1)),
    (LINE, "conv(3x1,d1,C)"): ((2, 2, 3, 1), (2, 2, 3)),
    (LINE, "scale(all)"): ((2, 3), (2, 3)),
}


@pytest.mark.parametrize(("site", "action"), WEIGHTED)
def test_weights_of_a_module_have_the_declared_shapes(site, action):
    declared, in_module = WEIGHTED[site, action]
    graph = kernel(site, "relu", action)
    module = build_module(graph, site)
    assert [tuple(parameter.shape) for parameter in module.parameters()] == [in_module]
    assert weight_shapes(graph, site) == {2: (declared,)}
    (read,) = read_weights(module, graph, site)[2]
    assert read.shape == declared
    write_weights(module, graph, site, {2: (2 * read,)})
    assert torch.equal(next(module.parameters()).flatten(), torch.from_numpy(2 * read).flatten())


def test_a_module_of_another_kernel_is_refused():
    one, other = kernel(PLANE, "fc(C)"), kernel(PLANE, "conv(3x3,d1,C)")
    module = build_module(one, PLANE)
    with pytest.raises(GraphError, match=r"fc1.weight.*\(4, 4, 1, 1\).*\(4, 4, 3, 3\)"):
        read_weights(module, other, PLANE)
    with pytest.raises(GraphError, match="no parameter for node 3"):
        read_weights(module, kernel(PLANE, "fc(C)", "relu", "fc(C)"), PLANE)
    with pytest.raises(GraphError, match=r"given for the nodes \[5\]"):
        write_weights(module, one, PLANE, {5: (np.zeros(1),)})
