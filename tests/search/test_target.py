"""From settings to the network, the sites and the search space."""

import pytest
import torch
from torch import nn

from canvas_rl.errors import ConfigError
from canvas_rl.evaluation.proxy import ProxyConfig, proxy_sites
from canvas_rl.evaluation.settings import EvaluationConfig
from canvas_rl.study import SearchSettings
from canvas_rl.study.target import load_target, make_space
from canvas_rl.train import main


class Mixed(nn.Module):
    """Convolutions of two kinds, which no single kernel can replace."""

    def __init__(self):
        super().__init__()
        self.image, self.line = nn.Conv2d(4, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.line(self.image(x).flatten(2))


def mixed():
    return Mixed(), torch.zeros(1, 4, 6, 6)


def two_windows():
    return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 5, padding=2)), torch.zeros(1, 8, 6, 6)


def test_sites_of_different_kinds_are_refused_with_a_sentence(tmp_path, capsys):
    assert main(["--model", f"{__name__}:mixed", "--run-dir", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert "different numbers of spatial dims" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_budgets_are_kept_against_the_cheapest_convolution_of_a_site():
    settings = SearchSettings.of(model=f"{__name__}:two_windows", flops_budget=1.0)
    target = load_target(settings)
    assert len(target.sites) == 2
    space = make_space(settings, target, EvaluationConfig(proxy=None))
    assert len(space.sites) == 1
    start = space.start()
    assert space.is_legal(start, space.actions.index("conv(3x3,d1,C)"))
    assert not space.is_legal(start, space.actions.index("conv(5x5,d1,C)"))


def test_a_primitive_that_workers_would_not_know_is_refused(monkeypatch):
    monkeypatch.setattr("canvas_rl.study.target.registered", lambda: ("ReLU",))
    settings = SearchSettings.of(model="resnet8")
    with pytest.raises(ConfigError, match="the primitive 'ReLU' is registered in this process alone"):
        make_space(settings, load_target(settings), EvaluationConfig(proxy=None))
    settings = SearchSettings.of(model="resnet8", forbidden_filter="relu")
    assert "ReLU" not in make_space(settings, load_target(settings), EvaluationConfig(proxy=None)).families


def test_kernels_are_legal_at_the_sites_of_the_backbone_too():
    settings, proxy = SearchSettings.of(model="resnet8"), ProxyConfig()
    target = load_target(settings)
    space = make_space(settings, target, EvaluationConfig(proxy=proxy))
    assert set(space.sites) == {*target.sites, *proxy_sites(proxy)}
