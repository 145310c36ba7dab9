import sys

import pytest
import torch
from torch import nn

from canvas_rl.errors import ConfigError, UnknownNameError
from canvas_rl.models import MODELS, load_model
from canvas_rl.placeholder import auto_place, get_placeholders, sites_of


@pytest.mark.parametrize("name", MODELS.names())
def test_every_built_in_network_runs_and_has_sites(name):
    model, example = load_model(name)
    placeholders = get_placeholders(model, example, check_shapes=True)
    if not placeholders:
        auto_place(model, example)
    sites, references = sites_of(model)
    assert len(sites) == len(references) >= 2
    with torch.no_grad():
        assert torch.isfinite(model.eval()(example)).all()


@pytest.mark.parametrize(("name", "dims"), [("resnet18", 2), ("resnet8", 2), ("resnet1d", 1), ("mlp", 0)])
def test_spatial_dims(name, dims):
    model, example = load_model(name)
    auto_place(model, example)
    assert {site.spatial_dims for site in sites_of(model)[0]} == {dims}


@pytest.mark.parametrize(
    ("name", "parameters", "tensors", "placed"), [("resnet18", 11_689_512, 122, 13), ("resnet34", 21_797_672, 218, 29)]
)
def test_imagenet_networks_have_torchvisions_layout(name, parameters, tensors, placed):
    model, example = load_model(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    state = model.state_dict()
    assert len(state) == tensors
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert {"conv1.weight", "bn1.running_var", "layer4.1.bn2.bias", "fc.bias"} <= set(state)
    assert len(auto_place(model, example).taken) == placed
    assert [str(site) for site in sites_of(model)[0]] == ["64@56x56", "128@28x28", "256@14x14", "512@7x7"]


def test_networks_are_fresh_each_time():
    assert load_model("mlp")[0] is not load_model("mlp")[0]


@pytest.fixture
def factories(tmp_path, monkeypatch):
    (tmp_path / "my_factories.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def with_example():\n    return nn.Linear(3, 3), torch.zeros(1, 3)\n"
        "def with_arguments():\n    return nn.Bilinear(3, 3, 1), {'input1': 1, 'input2': 2}\n"
        "def alone():\n    return nn.Conv2d(3, 3, 3)\n"
        "def failing():\n    raise RuntimeError('no weights here\\nreally')\n"
        "def needs_classes(classes):\n    return nn.Linear(3, classes)\n"
        "def no_network():\n    return 'resnet'\n"
        "def bad_example():\n    return nn.Linear(3, 3), 'a picture'\n"
        "SIZE = 3\n"
    )
    (tmp_path / "broken_factories.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("my_factories", "broken_factories"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("factories")
def test_a_factory_of_ones_own():
    model, example = load_model("my_factories:with_example")
    assert isinstance(model, nn.Linear)
    assert example.shape == (1, 3)
    assert load_model("my_factories:with_arguments")[1] == {"input1": 1, "input2": 2}
    assert load_model("my_factories:alone")[1].shape == (1, 3, 224, 224)


def test_a_factory_as_an_object():
    assert load_model(lambda: (nn.Linear(3, 3), torch.zeros(1, 3)))[1].shape == (1, 3)


@pytest.mark.usefixtures("factories")
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("my_factories:alon", "has no 'alon': expected the name of a factory. Did you mean 'alone'?"),
        ("my_factories:", "has no ''"),
        ("my_factories:SIZE", "is a int: expected a factory that takes no arguments"),
        ("my_factories:failing", "its factory raised RuntimeError: no weights here"),
        ("my_factories:needs_classes", "missing 1 required positional argument: 'classes'"),
        ("my_factories:no_network", "gave a str: expected a torch.nn.Module"),
        ("my_factories:bad_example", "gave a str as its example input"),
        ("no_such_module:factory", "'no_such_module' can't be imported: ModuleNotFoundError"),
        ("broken_factories:factory", "can't be imported: ZeroDivisionError"),
        (":factory", "can't be imported"),
        (3, "model 3 is a int"),
    ],
)
def test_a_bad_factory_gives_one_clear_sentence(model, message):
    with pytest.raises(ConfigError) as caught:
        load_model(model)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_gets_a_hint():
    with pytest.raises(UnknownNameError) as caught:
        load_model("resnet81")
    assert "unknown model 'resnet81'" in str(caught.value)
    assert "Did you mean 'resnet8'?" in str(caught.value)
    assert "module:factory" in str(caught.value)
