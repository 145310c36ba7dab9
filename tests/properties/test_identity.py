"""What a kernel is: its JSON form and its hash, over random kernels.

How to run each property 10,000 times by hand stands in `conftest.py`.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from zlib import crc32

import numpy as np
import pytest
from drawing import EXAMPLES, Drawn, draw_sites, for_all, kernels

from canvas_rl.config import SearchOptions
from canvas_rl.errors import EmptySpaceError
from canvas_rl.ir import KernelGraph, Node, verify
from canvas_rl.ir.interpret import interpret, random_weights
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.binding import Binding
from canvas_rl.symbolic.site import Site
from canvas_rl.symbolic.size import Size


def test_the_json_round_trip_is_the_identity(tally: Counter[str]) -> None:
    @for_all(tally, kernels)
    def check(drawn: Drawn) -> None:
        graph, text = drawn.graph, json.dumps(drawn.graph.to_json())
        again = KernelGraph.from_json(json.loads(text))
        assert json.dumps(again.to_json()) == text
        assert (again.nodes, again.sites, again.program) == (graph.nodes, graph.sites, graph.program)
        assert (again.spatial_fixed, again.hash) == (graph.spatial_fixed, graph.hash)


def relabelled(graph: KernelGraph, rng: np.random.Generator) -> tuple[KernelGraph, list[int]]:
    """The kernel with its nodes in another order and operands exchanged where that does not matter.

    The list has the old index of each node.
    """
    order: list[int] = []
    while len(order) < len(graph.nodes):
        ready = [i for i, node in enumerate(graph.nodes) if i not in order and set(node.inputs) <= set(order)]
        order.append(int(rng.choice(ready)))
    places, nodes = {old: new for new, old in enumerate(order)}, []
    for old in order:
        primitive, operands, shape = graph.nodes[old]
        exchange = primitive.commutative and len(set(graph.input_shapes(old))) == 1 and rng.random() < 0.5
        nodes.append(Node(primitive, tuple(places[i] for i in operands)[:: -1 if exchange else 1], shape))
    return KernelGraph(tuple(nodes), graph.spatial_fixed, graph.sites, graph.program), order


def test_relabelled_kernels_compute_the_same_and_have_one_hash(tally: Counter[str]) -> None:
    @for_all(tally, kernels)
    def check(drawn: Drawn) -> None:
        rng = np.random.default_rng(drawn.seed)
        other, order = relabelled(drawn.graph, rng)
        tally["changed"] += other.nodes != drawn.graph.nodes
        verify(other)
        assert other.hash == drawn.graph.hash
        x, weights = rng.normal(size=(2, *drawn.site.shape)), random_weights(drawn.graph, drawn.site, rng)
        moved = {new: weights[old] for new, old in enumerate(order) if old in weights}
        np.testing.assert_array_equal(
            interpret(other, drawn.site, x, moved).output, interpret(drawn.graph, drawn.site, x, weights).output
        )

    assert tally["changed"] >= 0.1 * tally["examples"]


def learned(
    node: Node, shapes: tuple[tuple[int, ...], ...], operands: tuple[Array, ...], met: Counter[str]
) -> tuple[Array, ...]:
    """Weights that follow from what a primitive is and what it reads: equal for equal constructions.

    Primitives that are equal and read the same are told apart by their order.
    """
    seen = sum(float((operand * np.cos(np.arange(operand.size)).reshape(operand.shape)).sum()) for operand in operands)
    key = f"{node.primitive} {seen:.6g}"
    met[key] += 1
    rng = np.random.default_rng([crc32(key.encode()), met[key]])
    return tuple(rng.normal(size=shape) for shape in shapes)


def fingerprint(graph: KernelGraph, site: Site) -> tuple[Array, float]:
    """The output for a fixed input and weights that do not depend on how the graph is written down.

    And the largest magnitude on the way to it, which rounding errors are relative to.
    """
    binding, met = Binding((site,), spatial_fixed=True), Counter[str]()

    def integer(size: Size) -> int:
        return (binding.integers(size) or (0,))[0]

    values = [np.random.default_rng(0).normal(size=(1, *site.shape))]
    with np.errstate(all="ignore"):
        for index, node in enumerate(graph.nodes[1:], start=1):
            shapes, operands = graph.input_shapes(index), tuple(values[i] for i in node.inputs)
            tensors = tuple(tuple(map(integer, weight.sizes)) for weight in node.primitive.weights(shapes))
            weights = learned(node, tensors, operands, met) if tensors else ()
            values.append(node.primitive.reference(operands, weights, Calculation(shapes, node.shape, integer)))
    return values[-1], max(float(np.abs(value[np.isfinite(value)]).max(initial=0)) for value in values)


def same(one: KernelGraph, other: KernelGraph, rng: np.random.Generator) -> bool:
    """Whether two graphs compute the same, with some order of the primitives that only their order tells apart."""
    site = one.sites[0]
    wanted, largest = fingerprint(one, site)
    for _ in range(40):
        found, _ = fingerprint(other, site)
        if np.allclose(found, wanted, rtol=1e-6, atol=1e-13 * largest, equal_nan=True):
            return True
        other = relabelled(other, rng)[0]
    return False


def short_space(sites: list[Site], families: Iterable[str], length: int) -> SearchSpace:
    """A space of kernels so short that constructions repeat.

    Raises:
        EmptySpaceError: there is none.
    """
    options = SearchOptions(
        allowed_filter=",".join(families),
        num_primitive_range=(1, length),
        num_max_width_range=(2, 2),
        num_weighted_range=(0, 3),
        max_weighted_ratio=1.0,
        kernel_sizes=(3,),
        dilated_sizes=(1,),
        shift_sizes=(1,),
        activation_limit=1 << 20,
    )
    return SearchSpace(sites, options)


@lru_cache(maxsize=64)
def drawn_short_space(number: int) -> SearchSpace:
    rng = np.random.default_rng([number, 8])
    families = (
        "fc",
        "conv",
        "mix",
        "scale",
        "unfold",
        "fold",
        "group",
        "shift",
        "softmax",
        "bmm",
        "relu",
        "neg",
        "sin",
    )
    joins = ("badd", "bsub", "bmul", "bmax")
    while True:
        chosen = (*rng.choice(families, 3, replace=False), *rng.choice(joins, 2, replace=False))
        try:
            return short_space(draw_sites(rng), chosen, 6)
        except EmptySpaceError:
            continue


def every_kernel(space: SearchSpace) -> Iterator[KernelGraph]:
    """All that the mask allows."""
    waiting = [space.start()]
    while waiting:
        state = waiting.pop()
        for action in np.flatnonzero(space.mask(state)):
            after = space.step(state, int(action))
            if after.graph is None:
                waiting.append(after)
            else:
                yield after.graph


def check_buckets(graphs: Iterable[KernelGraph], tally: Counter[str]) -> None:
    """Kernels with one hash must compute the same."""
    rng, kept = np.random.default_rng(0), dict[str, list[KernelGraph]]()
    for graph in graphs:
        tally["examples"] += 1
        written = kept.setdefault(graph.hash, [])
        if all(graph.nodes != other.nodes for other in written):
            written.append(graph)
            if len(written) > 1:
                tally["other constructions"] += 1
                assert same(written[0], graph, rng), (written[0].program, graph.program)
    tally["hashes"] += len(kept)


def test_kernels_with_one_hash_compute_the_same(tally: Counter[str]) -> None:
    rng = np.random.default_rng(EXAMPLES)
    check_buckets((drawn_short_space(sample % 20).sample(rng) for sample in range(10 * EXAMPLES)), tally)
    assert tally["other constructions"] > 0


@pytest.mark.parametrize(
    ("families", "length"),
    [("fc,relu,badd", 4), ("scale,neg,bsub", 3), ("bmm,shift", 3), ("group,fc,bmul", 4), ("unfoldh,fold,bmax", 3)],
)
def test_of_all_kernels_of_a_small_space_those_with_one_hash_compute_the_same(families, length, tally: Counter[str]):
    check_buckets(every_kernel(short_space([Site(6, 4, 3)], families.split(","), length)), tally)


def test_the_comparison_tells_kernels_apart() -> None:
    options = SearchOptions(num_primitive_range=(1, 8), max_weighted_ratio=1.0)
    space, rng = SearchSpace([Site(8, 4, 4)], options), np.random.default_rng(0)

    def kernel(*program: str) -> KernelGraph:
        graph = space.replay((*program, "output(1)")).graph
        assert graph is not None
        return graph

    shared = kernel("fc(C)", "relu", "push(1)", "add(under->top)")
    twice = kernel("fc(C)", "relu", "push(0)", "fc(C)", "add(under->top)")
    exchanged = kernel("fc(C)", "push(0)", "fc(C)", "relu", "add(under->top)")
    subtracted = kernel("fc(C)", "relu", "push(0)", "fc(C)", "sub(under->top)")
    assert same(twice, exchanged, rng)
    assert not same(shared, twice, rng)
    assert not same(twice, subtracted, rng)
