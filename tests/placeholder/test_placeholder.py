import copy
from functools import partial

import pytest
import torch
from torch import nn

from canvas_rl.errors import PlaceholderError
from canvas_rl.placeholder import Conv2D, Identity, Placeholder, get_placeholders, sites_of
from canvas_rl.symbolic.site import ReferenceConv, Site


class Example(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 1)
        self.kernel_1 = Placeholder()
        self.bn = nn.BatchNorm2d(8)
        self.kernel_2 = Placeholder()
        self.pool = nn.AvgPool2d(2)
        self.kernel_3 = Placeholder()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.kernel_3(self.pool(self.kernel_2(torch.relu(self.bn(self.kernel_1(self.proj(x)))))))


def test_a_fresh_placeholder_gives_back_its_input():
    x = torch.randn(2, 4, 5, 6)
    assert torch.equal(Placeholder()(x), x)


@pytest.mark.parametrize("shape", [(7,), (7, 5), (7, 5, 3)])
def test_it_records_the_sizes_it_sees_first(shape):
    placeholder = Placeholder()
    placeholder(torch.zeros(2, *shape))
    assert placeholder.initialized
    assert placeholder.spatial_dims == len(shape) - 1
    assert placeholder.site.shape == shape
    assert (placeholder.c, placeholder.h, placeholder.w) == (*shape, 1, 1)[:3]


@pytest.mark.parametrize("shape", [(3,), (1, 2, 3, 4, 5)])
def test_it_refuses_inputs_of_other_numbers_of_dims(shape):
    with pytest.raises(PlaceholderError, match=r"expected \[N, C\]"):
        Placeholder()(torch.zeros(shape))


def test_channels_and_dims_are_fixed_batch_and_image_size_are_not():
    placeholder = Placeholder()
    placeholder(torch.zeros(1, 4, 8, 8))
    placeholder(torch.zeros(3, 4, 5, 7))
    assert placeholder.site == Site(4, 8, 8)
    for other in (torch.zeros(1, 5, 8, 8), torch.zeros(1, 4, 8)):
        with pytest.raises(PlaceholderError, match="is for 4@8x8 and got an input of shape"):
            placeholder(other)


def test_clear_forgets_the_sizes():
    placeholder = Placeholder()
    placeholder(torch.zeros(1, 4, 8))
    placeholder.clear()
    with pytest.raises(PlaceholderError, match="has not seen an input"):
        _ = placeholder.site
    placeholder(torch.zeros(1, 5))
    assert placeholder.site == Site(5)


def test_get_placeholders_numbers_them_and_records_their_sizes():
    model = Example()
    assert [p.initialized for p in get_placeholders(model)] == [False] * 3
    found = get_placeholders(model, torch.zeros(1, 3, 16, 16), check_shapes=True)
    assert found == [model.kernel_1, model.kernel_2, model.kernel_3]
    assert [p.id for p in found] == [0, 1, 2]
    assert [p.site for p in found] == [Site(8, 16, 16), Site(8, 16, 16), Site(8, 8, 8)]
    assert model.canvas_cached_placeholders == found


def test_none_keeps_the_recorded_sizes_and_a_new_example_replaces_them():
    model = Example()
    get_placeholders(model, torch.zeros(1, 3, 16, 16))
    assert get_placeholders(model, check_shapes=True)[0].site == Site(8, 16, 16)
    assert get_placeholders(model, torch.zeros(1, 3, 8, 8))[0].site == Site(8, 8, 8)


def test_a_filled_placeholder_records_other_sizes_without_running_its_kernel():
    model = nn.Sequential(Placeholder())
    get_placeholders(model, torch.zeros(1, 4, 8, 8))
    broken = nn.Conv2d(1, 1, 1)
    model[0].canvas_placeholder_kernel = broken
    assert get_placeholders(model, torch.zeros(1, 6, 4, 4))[0].site == Site(6, 4, 4)
    assert model[0].get_kernel() is broken


def test_a_model_without_placeholders_has_none():
    assert get_placeholders(nn.ReLU(), torch.zeros(1), check_shapes=True) == []
    with pytest.raises(PlaceholderError, match="the model has no placeholder"):
        sites_of(nn.ReLU())


def test_a_shared_placeholder_counts_once_and_has_one_size():
    shared = Placeholder()
    model = nn.Sequential(shared, nn.ReLU(), shared)
    assert get_placeholders(model, torch.zeros(1, 4, 8, 8)) == [shared]
    model = nn.Sequential(shared, nn.AvgPool2d(2), shared)
    with pytest.raises(PlaceholderError, match=r"'0' is used with several sizes \(\[4, 8, 8\], \[4, 4, 4\]\)"):
        get_placeholders(model, torch.zeros(1, 4, 8, 8))


def test_check_shapes_names_the_placeholders_that_never_ran():
    model = Example()
    with pytest.raises(PlaceholderError, match="'kernel_1', 'kernel_2', 'kernel_3' are unknown"):
        get_placeholders(model, check_shapes=True)
    model = nn.ModuleDict({"used": Placeholder(), "unused": Placeholder()})
    model.forward = lambda x: model["used"](x)
    with pytest.raises(PlaceholderError, match="placeholders 'unused' are unknown"):
        get_placeholders(model, torch.zeros(1, 3), check_shapes=True)


def test_different_numbers_of_spatial_dims_are_refused():
    model = nn.Sequential(Placeholder(), nn.Flatten(), Placeholder())
    with pytest.raises(PlaceholderError, match="different numbers of spatial dims"):
        get_placeholders(model, torch.zeros(1, 3, 4, 4), check_shapes=True)
    with pytest.raises(PlaceholderError, match="different numbers of spatial dims"):
        sites_of(model)


@pytest.mark.parametrize(
    ("example", "message"),
    [(torch.zeros(1, 5, 8, 8), "of shape (1, 5, 8, 8): RuntimeError"), ("image", "is a str: expected a tensor")],
)
def test_an_example_that_cannot_run_gives_one_clear_sentence(example, message):
    with pytest.raises(PlaceholderError) as caught:
        get_placeholders(Example(), example)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("example", [(torch.zeros(2, 3), 2), {"factor": 2, "x": torch.zeros(2, 3)}])
def test_models_of_several_arguments(example):
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = Placeholder()

        def forward(self, x: torch.Tensor, factor: int) -> torch.Tensor:
            return self.kernel(x) * factor

    assert get_placeholders(Scaled(), example)[0].site == Site(3)


def test_sites_are_listed_once_for_each_size_and_reference():
    model = Example()
    get_placeholders(model, torch.zeros(1, 3, 16, 16))
    assert sites_of(model) == ((Site(8, 16, 16), Site(8, 8, 8)), (ReferenceConv(), ReferenceConv()))
    model.kernel_2.reference = ReferenceConv(5)
    assert sites_of(model)[1] == (ReferenceConv(3), ReferenceConv(5), ReferenceConv(3))


def test_copies_keep_the_sizes_and_are_independent():
    model = Example()
    get_placeholders(model, torch.zeros(1, 3, 16, 16))
    other = copy.deepcopy(model)
    assert sites_of(other) == sites_of(model)
    assert other.canvas_cached_placeholders[0] is other.kernel_1
    get_placeholders(other, torch.zeros(1, 3, 8, 8))
    assert model.kernel_1.site == Site(8, 16, 16)


def test_printing_a_model_shows_the_sizes():
    model = Example()
    assert "sizes unknown" in str(model)
    get_placeholders(model, torch.zeros(1, 3, 16, 16))
    assert "8@16x16" in str(model)


@pytest.mark.parametrize("kernel", [Identity(), Identity(4), Identity(4, 8, 8), partial(Identity, c=4)()])
def test_identity_takes_any_sizes(kernel):
    x = torch.randn(1, 4, 8, 8)
    assert kernel(x) is x


def test_conv2d_is_a_pointwise_convolution_without_bias():
    kernel = Conv2D(4, 8, 8)
    x = torch.randn(2, 4, 8, 8)
    expected = torch.einsum("oc,nchw->nohw", kernel.conv_impl.weight[:, :, 0, 0], x)
    torch.testing.assert_close(kernel(x), expected)
    assert [name for name, _ in kernel.named_parameters()] == ["conv_impl.weight"]
