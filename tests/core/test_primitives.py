"""Every template of every family: shape, code, weights, FLOPs and JSON agree."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from canvas_rl.codegen import build_module, generate_source, module_class, to_dot
from canvas_rl.config import SearchOptions
from canvas_rl.errors import ConfigError, FormatError, GraphError
from canvas_rl.ir import KernelGraph, static_cost, verify
from canvas_rl.primitives import FAMILIES, FamilyContext, primitive_from_json, register, registered
from canvas_rl.space import SearchSpace
from canvas_rl.space.filters import primitive_names
from canvas_rl.symbolic.site import Site

OPTIONS = SearchOptions(
    num_primitive_range=(1, 5),
    max_weighted_ratio=1.0,
    num_weighted_range=(0, 5),
    kernel_sizes=(3,),
    dilated_sizes=(1, 2),
    shift_sizes=(1,),
)
SITES = {2: Site(16, 6, 5), 1: Site(16, 6), 0: Site(16)}
SPACES = {dims: SearchSpace([site], OPTIONS) for dims, site in SITES.items()}


def kernels_with(dims: int, action: str, count: int = 2) -> list[KernelGraph]:
    """Random kernels of up to 5 primitives that use an action, found by playing it as soon as it is legal."""
    space, found = SPACES[dims], []
    index = space.actions.index(action)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        state, used = space.start(), False
        while state.graph is None:
            now = not used and space.is_legal(state, index)
            used = used or now
            state = space.step(state, index if now else space.random_action(state, rng))
        if used:
            found.append(state.graph)
        if len(found) == count:
            break
    return found


TEMPLATES = [
    (dims, template.name)
    for dims in SITES
    for family in FAMILIES
    for template in family.templates(FamilyContext(OPTIONS, dims, (2, 4, 8)))
]
# A 1-D or 0-D tensor gets some dims only through BMM or several steps, which 60 short programs need not find.
COMMON = [
    (dims, name)
    for dims, name in TEMPLATES
    if dims == 2 and ("0.C" in name or "1.H" in name or "(" not in name or name.startswith(("fc", "conv", "unfold")))
]


@pytest.mark.parametrize(("dims", "action"), COMMON)
def test_kernels_run_and_cost_what_the_graph_says(dims, action):
    kernels = kernels_with(dims, action)
    assert kernels, f"{action} was never legal"
    for graph in kernels:
        check_kernel(graph, SITES[dims])


@pytest.mark.parametrize("dims", SITES)
def test_random_kernels_of_every_kind_run_and_cost_what_the_graph_says(dims):
    space, rng = SPACES[dims], np.random.default_rng(dims)
    for _ in range(40):
        check_kernel(space.sample(rng), SITES[dims])


def check_kernel(graph: KernelGraph, site: Site) -> None:
    verify(graph)
    torch.manual_seed(0)
    module = build_module(graph, site)
    x = torch.randn(3, *site.shape, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        y = module(x)
    assert y.shape == x.shape
    y.sum().backward()
    cost = static_cost(graph, site)
    assert cost.params == sum(parameter.numel() for parameter in module.parameters())
    products = sum(
        size.fraction({0: site.c, 1: site.h or 1, 2: site.w or 1})[0]
        // size.fraction({0: site.c, 1: site.h or 1, 2: site.w or 1})[1]
        for i, node in enumerate(graph.nodes)
        if node.primitive.family in ("FC", "Convolution", "BMM", "Mix")
        for size in node.primitive.flops(graph.input_shapes(i), node.shape)[:1]
    )
    if "Mix" not in graph.families:  # einsum may choose another, cheaper or dearer form
        assert counter.get_total_flops() == 3 * products
    assert products <= cost.flops


def test_a_kernel_does_not_depend_on_the_batch():
    space, rng = SPACES[2], np.random.default_rng(5)
    for _ in range(20):
        module = build_module(space.sample(rng), SITES[2]).double()
        x = torch.randn(3, *SITES[2].shape, dtype=torch.float64)
        assert torch.allclose(module(x)[1:2], module(x[1:2]), atol=1e-9)


def test_without_spatial_invariance_a_kernel_runs_at_any_resolution():
    options = SearchOptions(num_primitive_range=(2, 8), ensure_spatial_invariance=False)
    space, rng = SearchSpace([Site(16, 14, 7), Site(32, 7, 7)], options), np.random.default_rng(0)
    for _ in range(40):
        graph = space.sample(rng)
        module = build_module(graph, Site(16, 14, 7))
        assert module(torch.randn(2, 16, 11, 13)).shape == (2, 16, 11, 13)


def test_modules_work_under_autocast_deepcopy_and_compile():
    import copy

    space, rng = SPACES[2], np.random.default_rng(3)
    for _ in range(10):
        module = copy.deepcopy(build_module(space.sample(rng), SITES[2]))
        x = torch.randn(2, *SITES[2].shape)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert module(x).shape == x.shape
        compiled = torch.compile(module, backend="eager", fullgraph=True)
        assert torch.allclose(compiled(x), module(x), equal_nan=True)
        torch._dynamo.reset()
        network = torch.nn.Sequential(torch.nn.Identity(), module)
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        assert torch.allclose(compiled(x), module(x), equal_nan=True)


def test_source_is_standalone_and_every_primitive_has_a_comment():
    graph = SPACES[2].sample(np.random.default_rng(1))
    source = generate_source(graph)
    namespace: dict[str, object] = {}
    exec(source, namespace)
    imports = [line for line in source.splitlines() if line.startswith(("import", "from"))]
    functional = ["from torch.nn import functional as F"] if "F." in source else []
    assert imports == ["import torch", "from torch import nn", *functional]
    assert source.count("# t") == graph.primitive_count
    assert module_class(graph).__name__ == graph.name
    assert max(len(line) for line in source.splitlines()) < 160


def test_a_module_refuses_sizes_it_can_not_have():
    space = SearchSpace([Site(64, 8, 8)], OPTIONS)
    graph = space.replay(["group(0,8)", "conv(3x3,d1,C)", "output(1)"]).graph
    assert graph is not None
    with pytest.raises(ValueError, match="divisible by 8"):
        module_class(graph)(12, 8, 8)
    with pytest.raises(GraphError, match="does not fit 12@8x8"):
        build_module(graph, Site(12, 8, 8))
    with pytest.raises(GraphError, match="spatial dims"):
        build_module(graph, Site(64, 8))


def test_graphviz_text_names_every_primitive():
    graph = SPACES[2].sample(np.random.default_rng(2))
    assert to_dot(graph).count("label=") >= graph.primitive_count + 2


def test_primitives_survive_json():
    rng = np.random.default_rng(0)
    for space in SPACES.values():
        for _ in range(30):
            for node in space.sample(rng).nodes:
                assert primitive_from_json(node.primitive.to_json()) == node.primitive


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"type": "Nothing"},
        {"type": "FC"},
        {"type": "FC", "out": 3},
        {"type": "Mix", "dims": ["0.Q"], "new": [None]},
        {"type": "Elementwise", "function": "rm"},
    ],
)
def test_damaged_primitives_are_refused(data):
    with pytest.raises((FormatError, GraphError)):
        primitive_from_json(data)


@pytest.mark.parametrize("change", [{}, {"names": ("Other",)}, {"types": (), "names": ("ReLU",)}])
def test_a_name_that_is_taken_is_not_registered(change):
    (fold,) = (family for family in FAMILIES if family.names == ("Fold",))
    count = len(FAMILIES)
    with pytest.raises(ConfigError, match=r"there is a primitive '(Fold|ReLU)' already"):
        register(replace(fold, **change))
    assert len(FAMILIES) == count
    assert registered() == ()


def test_what_was_registered_is_known():
    (fold,) = (family for family in FAMILIES if family.names == ("Fold",))
    register(replace(fold, types=(), names=("Other", "Another")))
    try:
        assert registered() == ("Other", "Another")
        assert {"Other", "Another"} <= set(primitive_names())
        with pytest.raises(ConfigError, match=r"has the family 'Fold': expected one of .*, Other, Another"):
            SearchSpace([SITES[2]], OPTIONS)
    finally:
        FAMILIES.pop()


def test_filters_know_every_template_by_its_family():
    families = {
        template.family
        for dims in SITES
        for family in FAMILIES
        for template in family.templates(FamilyContext(OPTIONS, dims, (2, 4, 8)))
    }
    assert families | {"Input", "Output"} == set(primitive_names())
    assert len(primitive_names()) == len(set(primitive_names()))
