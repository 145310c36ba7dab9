"""Kernel graphs: JSON, verifier, canonical hash."""

import copy
import random

import numpy as np
import pytest

from canvas_rl.config import SearchOptions
from canvas_rl.errors import CanvasError, FormatError, GraphError
from canvas_rl.ir import KernelGraph, Node
from canvas_rl.ir.canonical import canonical_hash
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

SPACE = SearchSpace([Site(16, 8, 8), Site(32, 4, 4)], SearchOptions(num_primitive_range=(1, 8), max_weighted_ratio=1.0))


def kernel(*program: str) -> KernelGraph:
    """The kernel of a program, whether or not all in it makes sense."""
    state = SPACE.start()
    for name in program:
        state = SPACE.move(state, SPACE.actions.index(name))
    return state.graph


def test_json_round_trip_is_the_identity():
    rng = np.random.default_rng(0)
    for _ in range(50):
        graph = SPACE.sample(rng)
        again = KernelGraph.from_json(graph.to_json())
        assert again.to_json() == graph.to_json()
        assert again.nodes == graph.nodes


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"version": 0}, "older"),
        ({"version": 99}, "newer"),
        ({"version": "1"}, "damaged"),
        ({"format": "x"}, "no kernel JSON"),
        ({"hash": "0" * 32}, "damaged"),
        ({"nodes": []}, "damaged"),
        ({"nodes": None}, "damaged"),
        ({"sites": [[0]]}, "below 1"),
        ({"sites": [["a"]]}, "damaged"),
        ({"spatial_fixed": 1}, "damaged"),
        ({"program": [1]}, "damaged"),
    ],
)
def test_files_of_other_versions_and_damaged_files_are_refused(change, word):
    data = {**kernel("fc(C)", "output(1)").to_json(), **change}
    with pytest.raises(CanvasError, match=word):
        KernelGraph.from_json(data)


def test_a_shape_that_does_not_follow_from_its_rule_is_refused():
    data = kernel("fc(C)", "output(1)").to_json()
    data["nodes"][1]["shape"] = "[C=9]"
    with pytest.raises(FormatError, match=r"FC.*\[C=9\]"):
        KernelGraph.from_json(data)


def test_a_kernel_that_does_not_fit_its_sites_is_refused():
    data = kernel("group(0,8)", "fc(C)", "output(1)").to_json()
    data["sites"] = [[12, 8, 8]]
    with pytest.raises(GraphError, match="does not fit 12@8x8"):
        KernelGraph.from_json(data)


def test_mutated_files_raise_only_our_errors():
    chooser, rng = random.Random(0), np.random.default_rng(0)
    bases = [SPACE.sample(rng).to_json() for _ in range(20)]
    junk = [None, -1, 0, 10**30, "", "C", "0.C", "x0", [], {}, True, 0.5, "FC", [[1]]]
    accepted = 0
    for _ in range(2000):
        data = copy.deepcopy(chooser.choice(bases))
        holder, key = data, chooser.choice(list(data))
        while isinstance(holder[key], list | dict) and holder[key] and chooser.random() < 0.9:
            holder = holder[key]
            key = chooser.choice(list(holder)) if isinstance(holder, dict) else chooser.randrange(len(holder))
        holder[key] = chooser.choice(junk)
        try:
            KernelGraph.from_json(data)
            accepted += 1
        except CanvasError:
            pass
    assert accepted < 600  # some changes are harmless (a program's name, a field that is unused)


def test_operand_order_and_repetition_do_not_change_the_hash():
    one = kernel("relu", "push(0)", "fc(C)", "add(under->top)", "output(1)")
    other = kernel("fc(C)", "push(0)", "relu", "add(under->top)", "output(1)")
    assert one.hash == other.hash
    shared = kernel("relu", "push(1)", "fc(C)", "mul(under->top)", "output(1)")
    repeated = kernel("relu", "push(0)", "relu", "fc(C)", "mul(under->top)", "output(1)")
    assert shared.hash == repeated.hash


def test_different_kernels_have_different_hashes():
    programs = [
        ("fc(C)", "output(1)"),
        ("conv(3x3,d1,C)", "output(1)"),
        ("conv(3x3,d2,C)", "output(1)"),
        ("fc(C)", "relu", "output(1)"),
        ("relu", "fc(C)", "output(1)"),
        ("fc(C)", "push(0)", "sub(under->top)", "output(1)"),
        ("fc(C)", "push(0)", "sub(top->under)", "output(1)"),
        ("group(0,4)", "fc(C)", "output(1)"),
        ("group(0,8)", "fc(C)", "output(1)"),
        ("fc(x)", "fc(C)", "output(1)"),
        ("fc(x)", "fc(C)", "output(1/2)"),
        ("fc(C)", "relu", "fc(C)", "push(1)", "add(under->top)", "output(1)"),
        ("fc(C)", "push(0)", "fc(C)", "add(under->top)", "output(1)"),
    ]
    assert len({kernel(*program).hash for program in programs}) == len(programs)


def test_sharing_a_weight_is_not_the_same_as_two_weights():
    shared = kernel("fc(C)", "relu", "push(1)", "add(under->top)", "output(1)")
    twice = kernel("fc(C)", "relu", "push(0)", "fc(C)", "add(under->top)", "output(1)")
    assert shared.hash != twice.hash


def test_the_hash_does_not_depend_on_the_order_of_nodes():
    graph = kernel("relu", "push(0)", "fc(C)", "mul(under->top)", "output(1)")
    nodes = list(graph.nodes)
    nodes[1], nodes[2] = nodes[2], nodes[1]
    nodes[3] = Node(nodes[3].primitive, tuple({1: 2, 2: 1}[operand] for operand in nodes[3].inputs), nodes[3].shape)
    assert canonical_hash(nodes) == graph.hash


def test_the_verifier_names_rule_primitive_and_sizes():
    data = kernel("unfold(H,k3,d1)", "fc(C)", "output(1)").to_json()
    data["nodes"][1]["k"] = 4
    with pytest.raises(GraphError, match="Unfold has k=4"):
        KernelGraph.from_json(data)
