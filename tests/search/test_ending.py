"""The end of a search and the start of the next: nothing that goes wrong there costs what was found."""

import logging
import random

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import canvas_rl
from canvas_rl import train
from canvas_rl.errors import ConfigError, RunError, UnknownNameError
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.evaluation.timing import PairTiming
from canvas_rl.study import SearchSettings, final
from canvas_rl.study.archive import Entry
from canvas_rl.study.final import measure_network
from canvas_rl.study.folder import RunFolder
from canvas_rl.study.target import Target


class Network(nn.Module):
    """A placeholder around whatever else happens."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(canvas_rl.Placeholder(), *layers)

    def forward(self, x):
        return self.layers(x)


class Fussy(nn.Module):
    def forward(self, x):
        if x.shape[0] != 1:
            raise LookupError("only one at a time")
        return x


def target(*layers):
    example, original, placed = torch.zeros(1, 8, 4, 4), Network(*layers), Network(*layers)
    canvas_rl.get_placeholders(placed, example)
    return Target(original, placed, example, (), ())


@pytest.fixture
def entry(space):
    graph = space.sample(np.random.default_rng(0))
    return Entry(graph, Measurement(graph.hash, Status.OK), 1.0)


def test_a_whole_network_is_timed(entry):
    latency = measure_network(entry, target(nn.BatchNorm2d(8)), LatencyConfig(time_cap_s=0.01))
    assert latency.latency_s > 0
    assert measure_network(entry, target(Fussy()), LatencyConfig(time_cap_s=0.01)) is not None


def test_a_network_that_raises_anything_is_left_out_with_a_warning(entry, caplog):
    assert measure_network(entry, target(nn.BatchNorm2d(8), Fussy()), LatencyConfig(time_cap_s=0.01)) is None
    assert "only one at a time" in caplog.text


def test_the_check_of_a_network_repeats(entry, monkeypatch):
    seen = []

    def note(network, original, example, config):
        seen.append([tensor.clone() for tensor in network.state_dict().values()])
        return PairTiming(1.0, 2.0, 3, 0.0)

    monkeypatch.setattr(final, "network_latency", note)
    place = target(nn.BatchNorm2d(8))
    for seed in (0, 0, 1):
        torch.rand(3)  # whatever was drawn before
        before = torch.get_rng_state()
        measure_network(entry, place, LatencyConfig(), seed)
        assert torch.equal(torch.get_rng_state(), before)
    first, again, other = seen
    assert len(first) > 0
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))


class Infinite(nn.Module):
    def forward(self, x):
        return x / 0


def test_a_network_that_cannot_be_timed_is_named_once(entry, caplog):
    assert measure_network(entry, target(Infinite()), LatencyConfig(time_cap_s=0.01)) is None
    (record,) = caplog.records
    assert record.message.startswith(f"kernel {entry.graph.hash[:8]}: the whole network can't be timed (not_finite): ")
    assert record.message.count("whole network") == 1


def test_python_resumes_with_the_settings_of_the_run(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    folder.save_settings(SearchSettings.of(agent="random", kernel_sizes=(3,)), "0", "cpu, 0")
    with pytest.raises(RunError, match=r"made with kernel_sizes \(3,\), not \(5,\)"):
        canvas_rl.search(resume=True, run_dir=str(folder.path), kernel_sizes=(5,))
    with pytest.raises(RunError, match="no run to resume"):
        canvas_rl.search(resume=True, run_dir=str(tmp_path))


def test_global_generators_stay_the_callers(tmp_path):
    def draw():
        return torch.rand(1).item(), random.random(), np.random.rand()  # noqa: NPY002

    def seed():
        torch.manual_seed(5)
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002

    seed()
    expected = draw()
    seed()
    with pytest.raises(UnknownNameError):  # after the network was made with the run's seed
        canvas_rl.search(model="resnet8", dataset="digit", run_dir=tmp_path / "run")
    assert draw() == expected


def test_the_log_and_the_bar_share_a_console(monkeypatch, capsys):
    seen = {}

    def search(settings, progress):
        seen["bar"] = progress
        raise ConfigError("enough")

    monkeypatch.setattr(train, "search", search)
    monkeypatch.setattr(logging, "basicConfig", lambda **values: seen.update(values))
    assert train.main([]) == 2
    assert capsys.readouterr().err == "error: enough\n"
    assert type(seen["handlers"][0]) is logging.StreamHandler  # in a file, lines stay as they are
    monkeypatch.setattr(train, "_console", lambda stderr=False: Console(stderr=stderr, force_terminal=True))
    assert train.main([]) == 2
    assert seen["handlers"][0].console is seen["bar"]


def test_ended_before_it_began(monkeypatch, capsys):
    def search(settings, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "search", search)
    assert train.main([]) == 130
    assert "had begun" in capsys.readouterr().err
