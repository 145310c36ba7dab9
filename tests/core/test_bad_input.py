"""Graphs and files that break a rule are refused with the rule, the primitive and the sizes; nothing else comes out."""

import copy
import json
import random
from dataclasses import replace

import numpy as np
import pytest

from canvas_rl.codegen import generate_source
from canvas_rl.config import SearchOptions
from canvas_rl.errors import CanvasError, GraphError, shown
from canvas_rl.ir import KernelGraph, Node, verify
from canvas_rl.ir.canonical import canonical_hash
from canvas_rl.primitives import Primitive, primitive_from_json
from canvas_rl.primitives.arithmetic import Arithmetic
from canvas_rl.primitives.bmm import BMM
from canvas_rl.primitives.conv import Convolution
from canvas_rl.primitives.elementwise import Elementwise
from canvas_rl.primitives.fc import FC
from canvas_rl.primitives.fold import Fold
from canvas_rl.primitives.group import Group
from canvas_rl.primitives.io import Input, Output
from canvas_rl.primitives.mix import Mix
from canvas_rl.primitives.scale import Scale
from canvas_rl.primitives.shift import Shift
from canvas_rl.primitives.softmax import Softmax
from canvas_rl.primitives.unfold import Unfold
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.constraints import variable
from canvas_rl.symbolic.shape import Dim, Shape, input_shape
from canvas_rl.symbolic.site import Site
from canvas_rl.symbolic.size import CHANNELS, HEIGHT, ONE, constant

SITES = (Site(16, 8, 8), Site(32, 4, 4))
PIXELS, DIM_C, DIM_G, DIM_H, DIM_KH = input_shape(2), Dim(0, "C"), Dim(0, "G"), Dim(1, "H"), Dim(0, "KH")


def chain(*primitives: Primitive, last: Primitive | None = None) -> KernelGraph:
    """A kernel of primitives one after another; a binary one reads the one before it and the input."""
    nodes = [Node(Input(2), (), PIXELS)]
    for primitive in (*primitives, last or Output(2, False)):
        operands = (len(nodes) - 1, 0)[: primitive.arity]
        try:
            shape = primitive.infer(tuple(nodes[i].shape for i in operands)).shape
        except (GraphError, TypeError):
            shape = PIXELS
        nodes.append(Node(primitive, operands, shape))
    return KernelGraph(tuple(nodes), spatial_fixed=True, sites=SITES)


GROUPED, FLAT = Group(0, constant(4)), Fold((DIM_C,), "avg")
BROKEN = {
    "FC needs an image": ((BMM(1, 1, False), FC(CHANNELS)), r"node 2 \(FC of \[C, C\]\): FC needs a channel group"),
    "FC share": (
        (GROUPED, FC(constant(6)), FC(CHANNELS)),
        r"does not fit 16@8x8: 3/2 of node 2 \(FC\) must be an integer of at least 1",
    ),
    "unsolved": ((FC(variable(0)), FC(CHANNELS)), r"node 1 \(FC\) has the unsolved size x0"),
    "conv after unfold": (
        (Unfold("H", 3, 1), Convolution(CHANNELS, 3, 3, 1, False)),
        r"node 2 \(Convolution of \[C, KH=3, H, W\]\).*no KH",
    ),
    "conv even": (
        (Convolution(CHANNELS, 4, 1, 1, False),),
        r"node 1 \(Convolution of \[C, H, W\]\).*window of 4: expected an odd",
    ),
    "conv 1x1": ((Convolution(CHANNELS, 1, 1, 1, False),), r"node 1 \(Convolution of \[C, H, W\]\).*window above 1x1"),
    "conv without H": (
        (Fold((DIM_H,), "avg"), Convolution(CHANNELS, 3, 1, 1, False)),
        r"node 2 \(Convolution of \[C, W\]\).*3x1 window needs H",
    ),
    "depthwise groups": (
        (GROUPED, Convolution(CHANNELS, 3, 3, 1, True)),
        r"node 2 \(Convolution of \[G=4, C=C/4, H, W\]\).*no G dim",
    ),
    "depthwise out": ((Convolution(ONE, 3, 3, 1, True),), r"node 1 \(Convolution of \[C, H, W\]\).*keeps the channels"),
    "mix absent": ((Mix((DIM_KH,), (None,)),), r"node 1 \(Mix of \[C, H, W\]\): Mix is about 0.KH"),
    "mix sizes": ((Mix((DIM_C,), ()),), r"node 1 \(Mix of \[C, H, W\]\).*one new size"),
    "mix nothing left": (
        (FLAT, Mix((DIM_H, Dim(1, "W")), (None, None))),
        r"node 2 \(Mix of \[H, W\]\).*drop every dim",
    ),
    "scale order": (
        (GROUPED, Scale((DIM_C, DIM_G))),
        r"node 2 \(Scale of \[G=4, C=C/4, H, W\]\).*order of the axes.*0.C.*0.G",
    ),
    "scale nothing": ((Scale(()),), r"node 1 \(Scale of \[C, H, W\]\).*different dims"),
    "unfold twice": (
        (Unfold("H", 3, 1), Unfold("H", 3, 1)),
        r"node 2 \(UnfoldH of \[C, KH=3, H, W\]\).*KH dim already",
    ),
    "unfold even": ((Unfold("H", 4, 1),), r"node 1 \(UnfoldH of \[C, H, W\]\).*k=4, dilation=1"),
    "fold pair": ((Fold((DIM_C, DIM_H), "avg"),), r"node 1 \(Fold of \[C, H, W\]\).*one dim or a pair, not C, H"),
    "fold kind": ((Fold((DIM_C,), "sum"),), r"node 1: Fold is by 'sum'"),
    "group twice": ((GROUPED, GROUPED), r"node 2 \(Group of \[G=4, C=C/4, H, W\]\).*G dim already"),
    "group does not divide": ((Group(0, constant(3)), FC(CHANNELS)), r"16@8x8: C/3 of node 1 \(Group\)"),
    "group of one": ((Group(0, ONE), FC(CHANNELS)), r"16@8x8: 1 of node 1 \(Group\).*at least 2"),
    "shift by nothing": ((Shift((DIM_H,), 0),), r"node 1 \(Shift of \[C, H, W\]\).*step of 0"),
    "shift too far": ((Shift((DIM_H,), -3),), r"32@4x4: H of node 1 \(Shift\).*at least 6"),
    "softmax of one": ((Mix((DIM_C,), (ONE,)), Softmax(DIM_C), FC(CHANNELS)), r"1 of node 2 \(Softmax\).*at least 2"),
    "broadcast prefix": ((FLAT, Arithmetic("add", 1, 1)), r"node 2 \(BAdd of \[H, W\] and \[C, H, W\]\).*differ"),
    "broadcast too many": ((FLAT, Arithmetic("add", 2, 2)), r"node 2 \(BAdd of .*2 \+ 2 dims"),
    "broadcast quotient": ((FC(constant(12)), Arithmetic("add", 0, 2)), r"16@8x8: C/12 of node 2 \(BAdd\)"),
    "bmm sizes": ((BMM(0, 1, False),), r"node 1 \(BMM of \[C, H, W\] and \[C, H, W\]\): BMM contracts C with H\*W"),
    "bmm empty": ((FLAT, BMM(0, 0, False)), r"node 2 \(BMM of \[H, W\] and \[C, H, W\]\).*no dim"),
    "output size": ((FLAT,), r"node 2 \(Output of \[H, W\]\): Output needs C\*H\*W elements, not the H\*W"),
    "second output": (
        (Elementwise("relu"), Output(2, False), FC(CHANNELS)),
        r"node 2 is a second Output, of shape \[C, H, W\]",
    ),
    "unknown function": ((Elementwise("relus"),), r"node 1: unknown element-wise function 'relus'"),
    "wrong type": ((FC(None),), r"node 1: None is no size"),  # type: ignore[arg-type]
    "unhashable": ((Scale([DIM_C]),), r"node 1: Scale\(.* has damaged fields"),  # type: ignore[arg-type]
    "no primitive": ((), r"at least one primitive between them, not \['Input', 'Output'\]"),
    "other input": ((Elementwise("relu"),), r"node 2 \(Output of \[C, H, W\]\): Output needs C\*H"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_named_with_the_primitive_and_the_sizes(case):
    primitives, words = BROKEN[case]
    with pytest.raises(GraphError, match=words):
        verify(chain(*primitives, last=Output(1, False) if case == "other input" else None))


def test_a_node_that_is_used_nowhere_is_refused():
    graph = chain(Elementwise("relu"), Elementwise("neg"))
    nodes = (*graph.nodes[:2], graph.nodes[2]._replace(inputs=(0,)), graph.nodes[3])
    with pytest.raises(GraphError, match=r"node 1 \(ReLU to \[C, H, W\]\) does not reach the output"):
        verify(replace(graph, nodes=nodes))


def test_a_shape_that_does_not_follow_from_its_rule_is_refused():
    graph = chain(Elementwise("relu"))
    nodes = (graph.nodes[0], graph.nodes[1]._replace(shape=input_shape(1)), graph.nodes[2])
    with pytest.raises(GraphError, match=r"node 1 \(ReLU\) has the shape \[C, H\]: its rule gives \[C, H, W\]"):
        verify(replace(graph, nodes=nodes))


def test_weights_of_image_sizes_are_refused_where_the_kernel_must_run_at_any_resolution():
    graph = chain(Scale((DIM_H,)))
    verify(graph)
    with pytest.raises(GraphError, match=r"node 1 \(Scale\) has a weight of size H, but must run at any resolution"):
        verify(replace(graph, spatial_fixed=False))


@pytest.mark.parametrize("inputs", [(), (0, 0), (1,), (-1,), (5,), (True,), (0.0,), ("0",), (None,)])
def test_operands_that_are_no_earlier_nodes_are_refused(inputs):
    graph = chain(Elementwise("relu"))
    nodes = (graph.nodes[0], graph.nodes[1]._replace(inputs=inputs), graph.nodes[2])
    with pytest.raises(GraphError, match=r"node 1 \(ReLU\) reads .*: expected 1 earlier nodes"):
        replace(graph, nodes=nodes)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "Shift", "dims": ["1.H"], "step": 1.0},
        {"type": "Shift", "dims": ["1.H"], "step": "1"},
        {"type": "Shift", "dims": ["1.H"], "step": True},
        {"type": "Shift", "dims": ["1.H"], "step": float("nan")},
        {"type": "Shift", "dims": ["1.H"], "step": float("inf")},
        {"type": "Shift", "dims": "1", "step": 1},
        {"type": "FC", "out": "C\n"},
        {"type": "FC", "out": "٣"},
        {"type": "FC", "out": "2*C/2"},
        {"type": "BMM", "lhs": 0, "rhs": 0, "softmax": "false"},
        {"type": "BMM", "lhs": False, "rhs": 0, "softmax": False},
        {"type": "FC"},
        {"type": ["FC"]},
        {},
        None,
    ],
)
def test_primitives_are_read_only_as_they_are_written(fields):
    with pytest.raises(CanvasError):
        primitive_from_json(fields)


def nested(depth: int) -> object:
    value: object = []
    for _ in range(depth):
        value = [value]
    return value


SPACES = [
    SearchSpace(sites, SearchOptions(num_primitive_range=(1, 6), ensure_spatial_invariance=fixed))
    for sites in (SITES, (Site(12, 6),), (Site(16),))
    for fixed in (True, False)
]
JUNK = [
    None, True, -1, 0, 1, 2, 3, 10**30, 10**5000, 0.5, float("nan"), float("inf"), "", "C", "C/3", "x0", "C^64", "H",
    "C*H/(4*W)", "0.C", "1.H", "0.KH", "\ud800", "\x00", "٣", "C" * 1000, "FC", "Group", "Output", "add", "relu", [],
    {}, [[1]], {"type": "FC"}, nested(5000), ["0.C", "0.C"], [0, 0], [0], [1], b"C", {1: 2},
]  # fmt: skip


def mutated(data: dict[str, object], chooser: random.Random) -> None:
    """Change a random part of a kernel's JSON."""
    nodes = data["nodes"]
    assert isinstance(nodes, list)
    kind = chooser.randrange(6)
    if kind == 0:
        nodes.insert(chooser.randrange(len(nodes) + 1), copy.copy(chooser.choice(nodes)))
    elif kind == 1:
        del nodes[chooser.randrange(len(nodes))]
    elif kind == 2:
        first, second = (chooser.randrange(len(nodes)) for _ in range(2))
        nodes[first], nodes[second] = nodes[second], nodes[first]
    else:
        holder: object = chooser.choice(nodes) if kind < 5 else data
        assert isinstance(holder, dict)
        key: object = chooser.choice(list(holder))
        while isinstance(holder[key], list | dict) and holder[key] and chooser.random() < 0.8:
            holder = holder[key]
            key = chooser.choice(list(holder)) if isinstance(holder, dict) else chooser.randrange(len(holder))
        if isinstance(holder, dict) and chooser.random() < 0.1:
            del holder[key]
        else:
            holder[key] = chooser.choice(JUNK)


def mended(data: dict[str, object]) -> None:
    """Make the stored shapes and hash those of the nodes, so that other checks than these have to find the change."""
    nodes: list[Node] = []
    for item in data["nodes"]:
        primitive, inputs = primitive_from_json(item), tuple(item["inputs"])
        shape = primitive.infer(tuple(nodes[i].shape for i in inputs)).shape
        item["shape"] = str(shape)
        nodes.append(Node(primitive, inputs, shape))
    data["hash"] = canonical_hash(nodes)


def test_of_10000_mutated_files_each_is_refused_or_holds_a_kernel():
    chooser, rng = random.Random(0), np.random.default_rng(0)
    bases = [space.sample(rng).to_json() for space in SPACES for _ in range(8)]
    loaded = longest = 0
    for _ in range(10_000):
        data = copy.deepcopy(chooser.choice(bases))
        for _ in range(chooser.randrange(1, 3)):
            try:
                mutated(data, chooser)
            except (AssertionError, IndexError, TypeError, KeyError):
                break  # nothing is left to change
        if chooser.random() < 0.7:
            try:
                mended(data)
            except Exception:
                pass  # not to be mended: the loader has to refuse it as it is
        try:
            graph = KernelGraph.from_json(data)
        except CanvasError as error:
            longest = max(longest, len(str(error)))
            continue
        loaded += 1
        check_loaded(graph)
    assert 200 < loaded < 4000
    assert longest < 1000


def check_loaded(graph: KernelGraph) -> None:
    verify(graph)
    compile(generate_source(graph), "<kernel>", "exec")
    text = json.dumps(graph.to_json())
    assert json.dumps(KernelGraph.from_json(json.loads(text)).to_json()) == text


FIELDS = {
    int: [-1, 0, 1, 2, 3, 4, 10**30],
    bool: [True, False],
    str: ["", "avg", "max", "add", "relu", "HW", "C"],
    type(ONE): [ONE, constant(3), CHANNELS, HEIGHT, variable(0), CHANNELS / constant(3), CHANNELS / HEIGHT, None],
    tuple: [(), (DIM_C,), (DIM_H,), (DIM_C, DIM_H), (Dim(3, "Q"),), (None,), (CHANNELS,), (1,), "C", None],
}


def broken_node(node: Node, nodes: tuple[Node, ...], chooser: random.Random) -> Node:
    """The node with a random part changed."""
    part = chooser.randrange(4)
    if part == 0:
        count = chooser.choice([0, 1, 2, 3])
        return node._replace(inputs=tuple(chooser.randrange(-1, len(nodes) + 1) for _ in range(count)))
    if part == 1:
        return node._replace(shape=chooser.choice(nodes).shape if chooser.random() < 0.7 else Shape(*PIXELS[::-1]))
    if part == 2:
        return node._replace(primitive=chooser.choice(nodes).primitive)
    fields = vars(node.primitive)
    if not fields:
        return node
    name = chooser.choice(list(fields))
    values = FIELDS.get(type(fields[name]), FIELDS[tuple])
    if chooser.random() < 0.1:
        values = FIELDS[chooser.choice(list(FIELDS))]
    return node._replace(primitive=replace(node.primitive, **{name: chooser.choice(values)}))


def test_of_10000_mutated_graphs_each_is_refused_or_is_a_kernel():
    chooser, rng = random.Random(1), np.random.default_rng(1)
    bases = [space.sample(rng) for space in SPACES for _ in range(8)]
    legal = longest = 0
    for _ in range(10_000):
        graph = chooser.choice(bases)
        nodes = list(graph.nodes)
        change = chooser.randrange(4)
        first, second = (chooser.randrange(len(nodes)) for _ in range(2))
        if change == 0:
            nodes[first], nodes[second] = nodes[second], nodes[first]
        elif change == 1:
            del nodes[first]
        else:
            nodes[first] = broken_node(nodes[first], graph.nodes, chooser)
        try:
            made = KernelGraph(tuple(nodes), chooser.random() < 0.5, graph.sites)
            verify(made)
        except GraphError as error:
            longest = max(longest, len(str(error)))
            continue
        legal += 1
        check_loaded(made)
    assert 200 < legal < 6000
    assert longest < 1000


def test_messages_show_any_value_in_short():
    assert shown("C") == "'C'"
    for value in (nested(100_000), 10**5000, "C" * 10**6, list(range(10**6))):
        assert 0 < len(shown(value)) < 400
