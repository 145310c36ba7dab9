"""Loading a trained network: from JSON and tensors alone, whatever the files name."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import canvas_rl
from canvas_rl.codegen import build_module
from canvas_rl.errors import DatasetError, FormatError
from canvas_rl.evaluation.data import DatasetShape
from canvas_rl.evaluation.proxy import ProxyConfig, build_backbone
from canvas_rl.study import rescore
from canvas_rl.study.final import METRICS_FORMAT

SHAPE = DatasetShape((1, 4, 4), 3)


@pytest.fixture
def best(tmp_path, space):
    """A `best/` whose data set is a function that must not be called."""
    folder = tmp_path / "run" / "best"
    folder.mkdir(parents=True)
    graph = space.sample(np.random.default_rng(0))
    proxy = ProxyConfig(dataset="trap:spring", channels=(8,), blocks=(1,))
    network = build_backbone(proxy, lambda site: build_module(graph, site), SHAPE)
    save_file(network.state_dict(), folder / "weights.safetensors")
    (folder / "kernel.json").write_text(json.dumps(graph.to_json()))
    write_metrics(folder, proxy=proxy.to_json(), data=SHAPE._asdict())
    return folder


def write_metrics(folder, **values):
    (folder / "metrics.json").write_text(json.dumps({"format": METRICS_FORMAT, **values}))


def test_loading_needs_no_data_and_calls_nothing_that_a_file_names(best, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('executed')")
    monkeypatch.syspath_prepend(tmp_path)
    for path in (best, best.parent):
        network = canvas_rl.load_network(path)
        assert network(torch.zeros(2, *SHAPE.image_shape)).shape == (2, SHAPE.classes)
        assert not network.training
        with pytest.raises(DatasetError, match=r"'trap:spring'.*is not called"):
            rescore(path)


@pytest.mark.parametrize("data", [None, {}, {"image_shape": [1, 4], "classes": 3}, {"image_shape": "abc"}])
def test_a_damaged_shape_is_refused(best, data):
    proxy = json.loads((best / "metrics.json").read_text())["proxy"]
    write_metrics(best, proxy=proxy, data=data)
    with pytest.raises(FormatError, match=r"metrics\.json.*damaged"):
        canvas_rl.load_network(best)
