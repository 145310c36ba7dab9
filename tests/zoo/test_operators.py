"""Every operator of the zoo: legal step by step, and equal to what people write by hand."""

from dataclasses import replace

import pytest
import torch
from handwritten import HANDWRITTEN

from canvas_rl import zoo
from canvas_rl.codegen import build_module
from canvas_rl.config import SearchOptions
from canvas_rl.errors import CanvasError, IllegalActionError, PlaceholderError, UnknownNameError
from canvas_rl.ir import verify
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

SITES = {
    "resnet": DEFAULT_SITES,
    "small": (Site(16, 8, 8), Site(32, 4, 4)),
    "odd": (Site(6, 5, 9), Site(10, 7, 3)),
    "tiny": (Site(2, 2, 2),),
    "line": (Site(64, 50), Site(128, 25)),
    "odd line": (Site(6, 9), Site(10, 7)),
    "point": (Site(8), Site(16)),
}
TOLERANCE = 1e-5


def cases():
    """Names of operators and of sites where they exist; 4 groups need channels that 4 divides."""
    for sites, places in SITES.items():
        for name in zoo.names(places[0].spatial_dims):
            if not (name == "grouped_conv3x3" and any(site.c % 4 for site in places)):
                yield name, sites


def copy_weights(module, handwritten):
    """Random weights for the generated module, the same for the other; none is left out on either side."""
    state = module.state_dict()
    for value in state.values():
        value.add_(0.1 * torch.randn_like(value))
    parameters = dict(handwritten.named_parameters())
    assert set(handwritten.weights.values()) == set(state)
    assert {name.partition("[")[0] for name in handwritten.weights} == set(parameters)
    for own, generated in handwritten.weights.items():
        name, _, index = own.partition("[")
        target = parameters[name][int(index[:-1])] if index else parameters[name]
        assert target.numel() == state[generated].numel()
        target.data.copy_(state[generated].reshape(target.shape))


@pytest.mark.parametrize(("name", "sites"), list(cases()))
def test_equals_a_handwritten_module(name, sites):
    graph = zoo.load(name, SITES[sites])
    verify(graph)
    torch.manual_seed(0)
    with torch.no_grad():
        for site in SITES[sites][-2:]:
            module = build_module(graph, site)
            sizes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
            handwritten = HANDWRITTEN[name](site.c, site.spatial_dims, sizes)
            copy_weights(module, handwritten)
            x = torch.randn(2, *site.shape)
            expected, found = handwritten(x), module(x)
            assert found.shape == expected.shape == x.shape
            assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.mark.parametrize(("name", "sites"), list(cases()))
def test_the_mask_allows_every_step(name, sites):
    entry, dims = zoo.operator(name), SITES[sites][0].spatial_dims
    space = SearchSpace(SITES[sites], entry.options(dims))
    state = space.start()
    for action in entry.program(dims):
        index = space.actions.index(action)
        assert space.mask(state)[index], space.explain(state, index)
        assert space.is_legal(state, index)
        state = space.step(state, index)
    assert state.graph == zoo.load(name, SITES[sites])
    assert state.graph.program == entry.program(dims)
    assert space.replay(entry.program(dims)).graph == state.graph
    assert state.graph.primitive_count == entry.primitive_count(dims)


def test_no_two_operators_are_the_same():
    assert len({zoo.load(name).hash for name in zoo.names(2)}) == len(zoo.names(2)) == len(HANDWRITTEN)


def test_widths_are_those_of_the_description():
    def widths(name):
        graph = zoo.load(name)
        weights = [(site.c, build_module(graph, site).parameters()) for site in DEFAULT_SITES]
        return [[channels // weight.shape[0] for weight in parameters] for channels, parameters in weights]

    assert widths("bottleneck") == [[4, 4, 1]] * 4
    assert widths("squeeze_excitation") == [[8, 1]] * 4
    assert widths("involution") == [[4, 4]] * 4
    assert widths("self_attention") == widths("pooled_self_attention") == [[8, 8, 1]] * 4


def test_legal_in_canvas_default_options_but_for_the_share_of_weights_and_memory():
    options = replace(SearchOptions(), max_weighted_ratio=1.0)
    refused = {}
    for name in zoo.names(2):
        try:
            zoo.load(name, options=options)
        except IllegalActionError as error:
            refused[name] = str(error)
    assert list(refused) == ["self_attention"]
    assert "activation limit" in refused["self_attention"]


def test_unknown_names_get_a_hint():
    with pytest.raises(UnknownNameError, match=r"unknown operator 'involutoin'.*Did you mean 'involution'\?"):
        zoo.load("involutoin")


@pytest.mark.parametrize("name", zoo.names())
@pytest.mark.parametrize("dims", [0, 1, 2])
def test_sites_of_other_kinds_are_refused_with_a_sentence(name, dims):
    if dims in zoo.operator(name).dims:
        assert zoo.program(name, dims)
    else:
        with pytest.raises(PlaceholderError, match=rf"'{name}' does not exist for {dims}-D sites: expected"):
            zoo.load(name, [Site(*(16, 8, 8)[: 1 + dims])])


@pytest.mark.parametrize(
    ("name", "sites", "options", "message"),
    [
        ("grouped_conv3x3", [(6, 8, 8)], None, r"needs group\(0,4\), which the channels of 6@8x8 or"),
        ("shift_conv1x1", [(8, 1, 8)], None, r"shift\(1.HW,\+1\) is illegal here"),
        ("conv1x1", [(1, 8, 8), (8, 8)], None, "different numbers of spatial dims"),
        ("conv1x1", [], None, "no site"),
        ("conv5x5", DEFAULT_SITES, SearchOptions(kernel_sizes=(3,)), r"needs conv\(5x5,d1,C\)"),
        ("conv3x3", DEFAULT_SITES, SearchOptions(flops_budget=0.5), "flops_budget would be exceeded"),
        ("squeeze_excitation", DEFAULT_SITES, SearchOptions(forbidden_filter="fold"), r"needs fold\(1.HW,avg\)"),
    ],
)
def test_impossible_operators_are_refused_with_a_sentence(name, sites, options, message):
    with pytest.raises(CanvasError, match=message) as error:
        zoo.load(name, sites, options)
    assert "\n" not in str(error.value)


def test_a_pack_is_a_kernel_as_users_hold_it():
    pack = zoo.pack("depthwise_separable", sites=[(16, 8, 8)])
    assert pack.module(16, 8, 8)(torch.zeros(1, 16, 8, 8)).shape == (1, 16, 8, 8)
    assert "groups=" in pack.torch_code
    assert zoo.debug_sample() == zoo.pack("large_kernel_attention")
