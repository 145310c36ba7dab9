import copy

import pytest
import torch
from torch import nn

from canvas_rl.errors import PlaceholderError
from canvas_rl.placeholder import Conv2D, Placeholder, auto_place, get_placeholders, replace, sites_of
from canvas_rl.symbolic.site import ReferenceConv, Site


def conv(c: int = 4, k: int = 3, **options: object) -> nn.Conv2d:
    return nn.Conv2d(c, c, k, padding=k // 2, **options)


IMAGE = torch.zeros(1, 4, 8, 8)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = conv(), conv(), conv()
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.first(x)))


class ReadsWeight(nn.Module):
    """Runs one convolution itself, calls one by a list of its own, reads the weight of one that it also calls."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.functional, self.listed, self.read = conv(), conv(), conv(), conv()
        self.layers = [self.listed]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.conv2d(x, self.functional.weight, padding=1)
        x = self.layers[0](self.plain(x))
        return self.read(x) * self.read.weight.mean()


class Unbatched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other = conv(), conv()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.other(self.conv(x[0])[None])


def test_a_convolution_that_fits_becomes_a_placeholder():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), conv(), nn.BatchNorm2d(4), nn.ReLU(), conv(k=5, groups=2))
    report = auto_place(model, torch.zeros(1, 3, 8, 8))
    assert [type(layer) for layer in model] == [nn.Conv2d, Placeholder, nn.BatchNorm2d, nn.ReLU, Placeholder]
    assert sites_of(model) == ((Site(4, 8, 8), Site(4, 8, 8)), (ReferenceConv(3, 1), ReferenceConv(5, 2)))
    assert [placement.names for placement in report.taken] == [("1",), ("4",)]
    assert [placement.site for placement in report.placements] == [None, Site(4, 8, 8), Site(4, 8, 8)]
    assert [placeholder.id for placeholder in get_placeholders(model)] == [0, 1]


def test_the_report_reads_well():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), conv())
    lines = str(auto_place(model, torch.zeros(1, 3, 8, 8))).splitlines()
    assert lines[0] == "1 of 2 convolutions became placeholders"
    assert lines[1].startswith("  left   0  Conv2d(3, 4, kernel_size=(3, 3)")
    assert lines[1].endswith("it makes 4 channels of 3")
    assert lines[2].startswith("  taken  1  Conv2d(4, 4, ")
    assert lines[2].endswith("input and output are 4@8x8")


@pytest.mark.parametrize(
    ("misfit", "reason"),
    [
        (conv(stride=2), "its stride is 2"),
        (conv(k=1), "its window 1x1 is below min_kernel_size=2"),
        (nn.Conv2d(4, 8, 3, padding=1), "it makes 8 channels of 4"),
        (nn.Conv2d(4, 4, 3), r"it makes \[4, 6, 6\] of \[4, 8, 8\]"),
        (nn.Conv2d(4, 4, (1, 7), padding=(0, 3)), "its window 1x7 is not square"),
        (nn.ConvTranspose2d(4, 4, 3, padding=1), "it is transposed"),
    ],
)
def test_misfits_stay_and_the_report_says_why(misfit, reason):
    model = nn.Sequential(conv(), misfit)
    report = auto_place(model, IMAGE)
    assert model[1] is misfit
    assert len(report.left) == 1
    with pytest.raises(PlaceholderError, match=f"none of its 1 convolutions can be replaced \\('0': {reason}"):
        auto_place(nn.Sequential(misfit), IMAGE)


def test_three_spatial_dims_stay():
    with pytest.raises(PlaceholderError, match="it has 3 spatial dims and kernels have at most 2"):
        auto_place(nn.Sequential(nn.Conv3d(2, 2, 3, padding=1)), torch.zeros(1, 2, 4, 4, 4))


def test_pointwise_convolutions_are_taken_on_request():
    model = nn.Sequential(conv(k=1))
    auto_place(model, IMAGE, min_kernel_size=1)
    assert model[0].reference == ReferenceConv(1)


@pytest.mark.parametrize("options", [{"dilation": 2}, {"groups": 4}, {"padding_mode": "circular"}, {"bias": False}])
def test_dilated_depthwise_and_oddly_padded_ones_are_taken(options):
    model = nn.Sequential(nn.Conv2d(4, 4, 3, padding="same", **options))
    auto_place(model, IMAGE)
    assert model[0].reference == ReferenceConv(3, options.get("groups", 1))


def test_subclasses_parametrised_and_lazy_ones_are_taken():
    class Standardised(nn.Conv2d):
        pass

    model = nn.Sequential(
        Standardised(4, 4, 3, padding=1),
        nn.utils.parametrizations.weight_norm(conv()),
        nn.LazyConv2d(4, 3, padding=1),
    )
    assert len(auto_place(model, IMAGE).taken) == 3


def test_a_shared_convolution_becomes_one_shared_placeholder():
    shared, block = conv(), nn.Sequential(conv())
    model = nn.ModuleDict({"a": shared, "b": shared, "c": block, "d": block})
    model.forward = lambda x: model["d"](model["c"](model["b"](model["a"](x))))
    report = auto_place(model, IMAGE)
    assert [placement.names for placement in report.taken] == [("a", "b"), ("c.0", "d.0")]
    assert model["a"] is model["b"]
    assert isinstance(model["a"], Placeholder)
    assert isinstance(block[0], Placeholder)
    assert "a = b" in str(report)


def test_a_convolution_used_with_several_sizes_stays():
    shared = conv()
    model = nn.Sequential(conv(), shared, nn.AvgPool2d(2), shared)
    report = auto_place(model, IMAGE)
    assert [placement.reason for placement in report.left] == ["it is called with several sizes ([4, 4, 4], [4, 8, 8])"]


def test_tied_weights_stay():
    report = auto_place(Tied(), IMAGE)
    assert [placement.names for placement in report.taken] == [("third",)]
    assert {placement.reason for placement in report.left} == {"its weight belongs to another module too"}


def test_what_the_network_uses_otherwise_than_by_calling_it_stays():
    model = ReadsWeight()
    expected = model.listed, model.read, model.functional
    report = auto_place(model, IMAGE)
    assert [placement.names for placement in report.taken] == [("plain",)]
    reasons = {placement.names[0]: placement.reason for placement in report.left}
    assert reasons["functional"] == "it never ran as a module with the example input"
    assert reasons["listed"] == "the model calls it by a reference that is not an attribute of a module"
    assert reasons["read"].startswith("the model needs it to be a convolution ('Placeholder' object has no attribute")
    assert (model.listed, model.read, model.functional) == expected
    assert sites_of(model)[0] == (Site(4, 8, 8),)
    model(IMAGE)


def test_inputs_without_a_batch_stay():
    report = auto_place(Unbatched(), IMAGE)
    assert [placement.names for placement in report.taken] == [("other",)]
    assert report.left[0].reason == "its input of shape (4, 8, 8) has no batch dimension"


def test_the_model_itself_cannot_be_swapped():
    with pytest.raises(PlaceholderError, match="it is the whole model"):
        auto_place(conv(), IMAGE)


def test_a_model_with_nothing_to_place_is_refused():
    with pytest.raises(PlaceholderError, match="no placeholder and no convolution module"):
        auto_place(nn.Linear(4, 4), torch.zeros(1, 4))


def test_placeholders_already_there_stay_and_the_kernels_in_them_are_not_touched():
    model = nn.Sequential(Placeholder(), conv())
    before = model[0]
    report = auto_place(model, IMAGE)
    assert len(report.placements) == 1
    assert model[0] is before
    replace(model, lambda c, h, w: nn.Sequential(conv(c)))
    kernels = [placeholder.get_kernel() for placeholder in get_placeholders(model)]
    assert auto_place(model, IMAGE).placements == ()
    assert [placeholder.get_kernel() for placeholder in get_placeholders(model)] == kernels


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image, self.signal = conv(), nn.Conv1d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.signal(self.image(x).flatten(2))


def test_convolutions_of_different_numbers_of_spatial_dims_need_a_choice():
    model = Mixed()
    with pytest.raises(PlaceholderError, match="different numbers of spatial dims"):
        auto_place(model, IMAGE)
    assert not get_placeholders(model)
    report = auto_place(model, IMAGE, spatial_dims=1)
    assert report.left[0].reason == "it has 2 spatial dims and only 1 were asked for"
    assert sites_of(model)[0] == (Site(4, 64),)


def test_an_example_that_cannot_run_leaves_the_model_alone():
    model = nn.Sequential(conv())
    with pytest.raises(PlaceholderError, match="the model fails with the example input of shape"):
        auto_place(model, torch.zeros(1, 5, 8, 8))
    assert isinstance(model[0], nn.Conv2d)


def test_when_all_that_is_taken_must_go_back_the_model_is_as_before():
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x).to(self.conv.weight.dtype)

    model = Reader()
    with pytest.raises(PlaceholderError, match="needs it to be a convolution"):
        auto_place(model, IMAGE)
    assert isinstance(model.conv, nn.Conv2d)
    assert not model.canvas_cached_placeholders


def test_models_of_several_arguments():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv()

        def forward(self, x: torch.Tensor, *, scale: float) -> torch.Tensor:
            return self.conv(input=x) if scale == 0 else self.conv(x) * scale

    assert len(auto_place(Two(), {"x": IMAGE, "scale": 2.0}).taken) == 1
    with pytest.raises(PlaceholderError, match="unexpected keyword argument 'input'"):
        auto_place(Two(), {"x": IMAGE, "scale": 0})


def test_a_placed_and_filled_network_trains():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), conv(), nn.BatchNorm2d(4), conv())
    original = copy.deepcopy(model)
    auto_place(model, torch.zeros(1, 3, 8, 8))
    replace(model, Conv2D)
    model(torch.randn(2, 3, 8, 8)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in original.parameters())
