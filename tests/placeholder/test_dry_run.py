import random

import numpy as np
import pytest
import torch
from torch import nn

from canvas_rl.errors import PlaceholderError
from canvas_rl.placeholder import Placeholder, auto_place, get_placeholders


class Restless(nn.Module):
    """Draws from every global generator, counts its calls in a buffer, and minds who calls eval()."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4, momentum=0.5)
        self.kernel = Placeholder()
        self.fails = False
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(2))

    def eval(self) -> "Restless":
        raise AssertionError("eval() may do more than set the mode")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.replaced = torch.ones(2)
        self.bn.running_mean.add_(1)
        noise = torch.rand(()) + random.random() + float(np.random.rand())  # noqa: NPY002
        if self.fails:
            raise ValueError("no")
        return self.kernel(self.bn(self.conv(x))) + noise


def snapshot(model: nn.Module) -> dict[str, object]:
    return {
        "modes": [module.training for module in model.modules()],
        "state": {key: value.clone() for key, value in model.state_dict().items()},
        "grads": [None if p.grad is None else p.grad.clone() for p in model.bn.parameters()],
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.append(*np.random.get_state()[1:3]),  # noqa: NPY002
    }


def assert_unchanged(before: dict[str, object], model: nn.Module, keys: list[str]) -> None:
    after = snapshot(model)
    assert after["modes"] == before["modes"]
    assert after["python"] == before["python"]
    assert np.array_equal(after["numpy"], before["numpy"])
    assert torch.equal(after["torch"], before["torch"])
    assert all(torch.equal(after["state"][key], before["state"][key]) for key in keys)
    assert all(torch.equal(a, b) for a, b in zip(after["grads"], before["grads"], strict=True))


@pytest.fixture
def model() -> Restless:
    model = Restless()
    model(torch.randn(2, 4, 8, 8)).sum().backward()
    model.conv.training = False
    return model


@pytest.mark.parametrize("fails", [False, True])
def test_recording_sizes_leaves_no_trace(model, fails):
    model.fails = fails
    before, buffer = snapshot(model), model.replaced
    if fails:
        with pytest.raises(PlaceholderError, match="ValueError: no"):
            get_placeholders(model, torch.ones(1, 4, 8, 8))
    else:
        get_placeholders(model, torch.ones(1, 4, 8, 8))
    assert_unchanged(before, model, list(before["state"]))
    assert model.replaced is buffer


def test_automatic_placement_leaves_no_trace_but_the_placeholder(model):
    before, conv = snapshot(model), model.conv
    report = auto_place(model, torch.zeros(1, 4, 8, 8))
    assert [placement.names for placement in report.taken] == [("conv",)]
    assert isinstance(model.conv, Placeholder)
    assert model.conv.training == conv.training
    model.conv = conv
    assert_unchanged(before, model, list(before["state"]))


def test_no_hooks_stay_behind(model):
    conv = model.conv
    auto_place(model, torch.zeros(1, 4, 8, 8))
    assert not conv._forward_hooks


@pytest.mark.cuda
def test_the_device_generator_is_restored():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Dropout(0.5), Placeholder()).cuda()
    before = torch.cuda.get_rng_state()
    get_placeholders(model, torch.zeros(1, 4, 8, 8, device="cuda"))
    assert torch.equal(torch.cuda.get_rng_state(), before)
