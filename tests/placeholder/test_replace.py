from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn

from canvas_rl.errors import PlaceholderError
from canvas_rl.placeholder import Conv2D, Identity, Placeholder, auto_place, get_placeholders, init_weights, replace


class Recorder(nn.Module):
    """A kernel that remembers the sizes it was made for."""

    def __init__(self, **sizes: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.weight = nn.Parameter(torch.full((sizes["c"],), 3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 3


@dataclass
class Pack:
    module: Callable[..., nn.Module]


def network(*shape: int) -> nn.Module:
    model = nn.Sequential(Placeholder(), nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.ReLU(), Placeholder())
    get_placeholders(model, torch.zeros(1, *shape))
    return model


@pytest.mark.parametrize(
    ("shape", "sizes"), [((4,), {"c": 4}), ((4, 5), {"c": 4, "h": 5}), ((4, 5, 6), {"c": 4, "h": 5, "w": 6})]
)
def test_kernels_get_the_sizes_that_the_spatial_dims_need(shape, sizes):
    model = network(*shape)
    assert replace(model, Recorder) is model
    kernels = [placeholder.get_kernel() for placeholder in get_placeholders(model)]
    assert [kernel.sizes for kernel in kernels] == [sizes, sizes]
    assert kernels[0] is not kernels[1]
    assert model[0](torch.ones(1, *shape)).max() == 3


@pytest.mark.parametrize("module", [Conv2D, Pack(Conv2D), partial(Conv2D), lambda c, h, w: Conv2D(c, h, w)])
def test_classes_packs_and_factories_are_taken(module):
    model = replace(network(4, 8, 8), module)
    assert all(isinstance(placeholder.get_kernel(), Conv2D) for placeholder in get_placeholders(model))
    assert model(torch.zeros(2, 4, 8, 8)).shape == (2, 4, 8, 8)


def test_a_kernel_class_with_an_attribute_named_module_is_still_the_class():
    class Wrapper(Identity):
        module = None

    assert isinstance(replace(network(4), Wrapper)[0].get_kernel(), Wrapper)


def test_kernels_follow_the_networks_type_and_mode():
    model = network(4, 8, 8).double().eval()
    replace(model, Conv2D)
    kernel = model[0].get_kernel()
    assert kernel.conv_impl.weight.dtype == torch.float64
    assert not kernel.training
    replace(model.float().train(), Conv2D)
    assert model[0].get_kernel().conv_impl.weight.dtype == torch.float32
    assert model[0].get_kernel().training


def test_the_old_kernels_do_not_decide_the_device_and_type():
    model = replace(network(4, 8, 8), Conv2D)
    model[1].double()
    assert replace(model, Conv2D)[0].get_kernel().conv_impl.weight.dtype == torch.float64


def test_device_moves_the_kernels_only():
    model = replace(network(4, 8, 8), Conv2D, "meta")
    assert model[0].get_kernel().conv_impl.weight.device.type == "meta"
    assert model[1].weight.device.type == "cpu"


@pytest.mark.cuda
def test_kernels_follow_the_network_to_the_device():
    model = replace(network(4, 8, 8).cuda(), Conv2D)
    assert model(torch.zeros(2, 4, 8, 8, device="cuda")).is_cuda


def test_the_kernels_own_start_is_kept_unless_a_function_is_given():
    model = replace(network(4), Recorder)
    assert torch.equal(model[0].get_kernel().weight, torch.full((4,), 3.0))
    replace(model, Recorder, init_weights_func=lambda m: nn.init.zeros_(m.weight))
    assert torch.equal(model[2].get_kernel().weight, torch.zeros(4))


@pytest.mark.parametrize(
    ("module", "std"), [(nn.Linear(200, 200), 0.02), (nn.Conv2d(64, 64, 3), 0.1), (nn.Conv1d(64, 64, 9), 0.1)]
)
def test_init_weights_of_layers(module, std):
    init_weights(module)
    assert module.weight.std().item() == pytest.approx(std, rel=0.15)
    assert not module.bias.any()


def test_init_weights_of_norms_and_of_others():
    norm, batch_norm = nn.LayerNorm(4), nn.BatchNorm1d(4)
    for module in (norm, batch_norm):
        nn.init.constant_(module.weight, 5.0)
    for module in (norm, batch_norm, nn.LayerNorm(4, elementwise_affine=False), nn.Linear(2, 2, bias=False)):
        init_weights(module)
    assert norm.weight.tolist() == [1] * 4
    assert batch_norm.weight.tolist() == [5] * 4


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Conv2D(4, 8, 8), "a Conv2D instance was given: expected its class"),
        ("conv", "'conv' is no kernel class"),
        (Pack(None), "is no kernel class"),
        (lambda c, h, w: 3, "made a int at 4@8x8"),
    ],
)
def test_what_is_no_kernel_class_is_refused_and_nothing_is_replaced(module, message):
    model = network(4, 8, 8)
    with pytest.raises(PlaceholderError, match=message):
        replace(model, module)
    assert isinstance(model[0].get_kernel(), Identity)


def test_a_kernel_that_fails_at_the_second_site_replaces_none():
    def picky(c: int, h: int, w: int) -> nn.Module:
        if h == 4:
            raise ValueError("too small")
        return Conv2D(c, h, w)

    model = nn.Sequential(Placeholder(), nn.AvgPool2d(2), Placeholder())
    get_placeholders(model, torch.zeros(1, 4, 8, 8))
    with pytest.raises(ValueError, match="too small"):
        replace(model, picky)
    assert isinstance(model[0].get_kernel(), Identity)


def test_networks_without_placeholders_or_sizes_are_refused():
    with pytest.raises(PlaceholderError, match="no placeholder to fill"):
        replace(nn.ReLU(), Identity)
    with pytest.raises(PlaceholderError, match="'0' are unknown: pass an example_input"):
        replace(nn.Sequential(Placeholder()), Identity)


def trained() -> nn.Module:
    """A network with weights, statistics, modes and a frozen layer of its own."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Dropout(),
        nn.Conv2d(4, 4, 5, padding=2),
    )
    for _ in range(3):
        model(torch.randn(8, 3, 8, 8) * 3 + 1)
    model[2].eval()
    model[0].weight.requires_grad_(False)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_but_the_replaced_convolutions_stays_as_it_was(dtype):
    model = trained().to(dtype)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept = [model[0], model[2], model[3]]
    auto_place(model, torch.zeros(1, 3, 8, 8, dtype=dtype))
    assert replace(model, Conv2D) is model
    after = model.state_dict()
    same = {name for name in before if not name.startswith(("1.", "4."))}
    assert same == {name for name in after if "canvas_placeholder_kernel" not in name}
    assert all(torch.equal(after[name], before[name]) for name in same)
    assert before["2.num_batches_tracked"] == 3
    assert [model[0], model[2], model[3]] == kept
    assert [layer.training for layer in model] == [True, True, False, True, True]
    assert not model[0].weight.requires_grad
    assert {weight.dtype for weight in model.parameters()} == {dtype}
    assert model(torch.zeros(2, 3, 8, 8, dtype=dtype)).dtype == dtype


def test_a_kernel_has_the_mode_of_the_convolution_it_replaces():
    model = trained()
    model[1].eval()
    auto_place(model, torch.zeros(1, 3, 8, 8))
    replace(model, Conv2D)
    assert [model[index].get_kernel().training for index in (1, 4)] == [False, True]


@pytest.mark.cuda
def test_kernels_arrive_on_the_networks_device_in_its_type():
    model = trained().to("cuda", torch.bfloat16)
    image = torch.zeros(1, 3, 8, 8, device="cuda", dtype=torch.bfloat16)
    auto_place(model, image)
    replace(model, Conv2D)
    assert {(weight.device.type, weight.dtype) for weight in model.parameters()} == {("cuda", torch.bfloat16)}
    assert model(image).is_cuda


@pytest.mark.parametrize("mode", ["eager", "aot_eager"])
def test_a_filled_network_compiles(mode):
    model = replace(network(4, 8, 8), Conv2D).eval()
    compiled = torch.compile(model, backend=mode, fullgraph=True)
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(compiled(x), model(x))
