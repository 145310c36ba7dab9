"""Proxy training: it learns, repeats itself, leaves the caller's random state alone and ends bad kernels early."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from canvas_rl.errors import ConfigError, UnknownNameError
from canvas_rl.evaluation.data import Dataset, load_dataset, make_dataset
from canvas_rl.evaluation.proxy import (
    BACKBONES,
    ProxyConfig,
    build_backbone,
    proxy_fingerprint,
    proxy_sites,
    rescale,
    score_network,
    train_proxy,
)
from canvas_rl.symbolic.site import Site

SMALL = ProxyConfig(epochs=2, blocks=(1,), channels=(8,), milestones=(), train_samples=256)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def conv3x3(site: Site) -> nn.Module:
    kinds = {0: nn.Linear, 1: nn.Conv1d, 2: nn.Conv2d}
    if site.spatial_dims == 0:
        return nn.Linear(site.c, site.c, bias=False)
    layer: nn.Module = kinds[site.spatial_dims](site.c, site.c, 3, padding=1, bias=False)
    return layer


def conv1x1(site: Site) -> nn.Module:
    return nn.Conv2d(site.c, site.c, 1, bias=False)


class Poison(nn.Module):
    """Not a number from the first step on, if it is training."""

    def forward(self, x: Tensor) -> Tensor:
        return x * float("nan") if self.training else x


def small_dataset(shape: tuple[int, int, int]) -> Dataset:
    rng = np.random.default_rng(0)
    part = rng.standard_normal((8, *shape)), np.arange(8) % 2
    return make_dataset("small", part, part, part)


def test_quality_tells_space_from_no_space() -> None:
    config = replace(ProxyConfig(), milestones=())
    spatial, pointwise = train_proxy(conv3x3, config), train_proxy(conv1x1, config)
    assert spatial.accuracy > 0.95
    assert spatial.test_accuracy > 0.95
    assert pointwise.accuracy < 0.4
    assert spatial.quality == pytest.approx((spatial.accuracy - spatial.chance) / (1 - spatial.chance))


def test_the_curve_tells_how_training_went() -> None:
    curve = train_proxy(conv3x3, replace(ProxyConfig(), milestones=())).curve
    assert len(curve) == ProxyConfig().epochs
    assert curve[0] < 0.5 < 0.9 < curve[-1] <= 1


def test_same_seed_same_result() -> None:
    first, second, other = (train_proxy(conv3x3, replace(SMALL, seed=seed)) for seed in (0, 0, 1))
    assert first == second
    for key, weight in first.network.state_dict().items():
        assert torch.equal(weight, second.network.state_dict()[key])
    assert not torch.equal(first.network.state_dict()["head.weight"], other.network.state_dict()["head.weight"])


def test_the_callers_random_state_is_untouched() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train_proxy(conv3x3, SMALL)
    assert torch.equal(torch.rand(2), expected)


def test_the_callers_random_state_does_not_matter() -> None:
    torch.manual_seed(3)
    first = train_proxy(conv3x3, SMALL)
    assert train_proxy(conv3x3, SMALL) == first


def test_weights_in_a_rebuilt_backbone_score_the_same() -> None:
    result = train_proxy(conv3x3, SMALL)
    rebuilt = build_backbone(SMALL, conv3x3)
    rebuilt.load_state_dict(result.network.state_dict())
    assert score_network(rebuilt, SMALL) == (result.accuracy, result.test_accuracy)
    assert not rebuilt.training


def test_hopeless_kernels_stop_at_a_milestone() -> None:
    config = replace(ProxyConfig(), milestones=((1, 0.0), (2, 0.9)))
    result = train_proxy(conv1x1, config)
    assert (result.epochs_run, result.stopped_early, result.diverged) == (2, True, False)


def test_default_milestones_spare_good_kernels() -> None:
    assert train_proxy(conv3x3).epochs_run == ProxyConfig().epochs
    assert train_proxy(conv1x1).stopped_early


def test_divergence_is_told() -> None:
    result = train_proxy(lambda site: Poison(), SMALL)
    assert (result.diverged, result.quality, result.epochs_run, result.stopped_early) == (True, 0.0, 1, False)


def test_scores_that_are_no_numbers_are_wrong() -> None:
    class Blind(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), 10), float("nan"))

    assert score_network(Blind(), SMALL) == (0.0, 0.0)


def test_a_failing_kernel_raises_and_restores_the_random_state() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    with pytest.raises(RuntimeError):
        train_proxy(lambda site: nn.Conv2d(site.c + 1, site.c, 1), SMALL)
    assert torch.equal(torch.rand(1), expected)


def test_threads_are_left_as_they_were() -> None:
    torch.set_num_threads(2)
    train_proxy(conv3x3, replace(SMALL, epochs=1))
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("dims", [0, 1, 2])
@pytest.mark.parametrize("backbone", BACKBONES.names())
def test_backbones_for_every_number_of_spatial_dims(backbone: str, dims: int) -> None:
    config = replace(ProxyConfig(), spatial_dims=dims, backbone=backbone, blocks=(2,), channels=(16,), milestones=())
    assert {site.spatial_dims for site in proxy_sites(config)} == {dims}
    assert train_proxy(conv3x3, config).quality > 0.3


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 7, 5), (2, 1, 9)])
def test_kernels_are_made_for_the_sites_they_see(shape: tuple[int, int, int]) -> None:
    class Checked(nn.Module):
        def __init__(self, site: Site) -> None:
            super().__init__()
            self.site = site

        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[1:] == self.site.shape
            return x

    config = ProxyConfig(channels=(4, 8, 8), blocks=(1, 2, 1))
    dataset, made = small_dataset(shape), []

    def make_kernel(site: Site) -> nn.Module:
        made.append(site)
        return Checked(site)

    network = build_backbone(config, make_kernel, dataset)
    assert network(torch.zeros(2, *shape)).shape == (2, 2)
    assert len(made) == 4
    assert tuple(dict.fromkeys(made)) == proxy_sites(config, dataset)


def test_equal_sites_are_listed_once() -> None:
    assert proxy_sites(ProxyConfig()) == (Site(32, 12, 12),)
    assert proxy_sites(ProxyConfig.for_dataset("motifs")) == (Site(16, 32, 32), Site(32, 16, 16), Site(32, 8, 8))


def test_few_images_still_make_a_batch() -> None:
    result = train_proxy(conv3x3, replace(SMALL, train_samples=None), dataset=small_dataset((1, 4, 4)))
    assert result.epochs_run == 2


@pytest.mark.parametrize("dataset", ["shifted_digits", "digits", "motifs", "shapes", "cifar10", "mine.npz"])
def test_config_survives_json(dataset: str) -> None:
    config = ProxyConfig.for_dataset(dataset, seed=4)
    assert ProxyConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert (config.dataset, config.seed) == (dataset, 4)


def test_defaults_are_those_of_the_shifted_digits() -> None:
    assert ProxyConfig.for_dataset("shifted_digits") == ProxyConfig()


def test_fingerprint_follows_options_and_data_but_not_the_folder() -> None:
    dataset = load_dataset("digits")
    base = proxy_fingerprint(SMALL, dataset)
    assert proxy_fingerprint(replace(SMALL, data_dir="/elsewhere"), dataset) == base
    assert proxy_fingerprint(replace(SMALL, epochs=3), dataset) != base
    assert proxy_fingerprint(SMALL, small_dataset((1, 8, 8))) != base


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"weight_decay": -1.0}, "weight_decay is -1"),
        ({"spatial_dims": 3}, "spatial_dims is 3"),
        ({"channels": ()}, "channels is"),
        ({"channels": (8, 8)}, "differ in length"),
        ({"blocks": (0,)}, "blocks is"),
        ({"train_samples": 3}, "train_samples is 3"),
        ({"milestones": ((1, 2.0),)}, "milestone"),
        ({"colour": 1}, "unknown proxy option 'colour'"),
    ],
)
def test_unusable_options(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ProxyConfig.from_json({**SMALL.to_json(), **change})


def test_unknown_backbone_is_corrected() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'residual'"):
        proxy_sites(ProxyConfig(backbone="residuel"))


@pytest.mark.parametrize(("accuracy", "quality"), [(0.05, 0.0), (0.1, 0.0), (0.55, 0.5), (1.0, 1.0)])
def test_rescale(accuracy: float, quality: float) -> None:
    assert rescale(accuracy, 0.1) == pytest.approx(quality)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mixed", [False, True])
def test_training_on_cuda(mixed: bool) -> None:
    torch.cuda.manual_seed(3)
    expected = torch.rand(1, device="cuda")
    torch.cuda.manual_seed(3)
    result = train_proxy(conv3x3, replace(ProxyConfig(), mixed_precision=mixed), "cuda")
    assert result.accuracy > 0.95
    assert torch.equal(torch.rand(1, device="cuda"), expected)
