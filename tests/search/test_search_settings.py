import json
from pathlib import Path

import pytest

from canvas_rl.errors import ConfigError, FormatError
from canvas_rl.registration import AGENTS, load_agent
from canvas_rl.study.settings import SearchSettings, agent_config, chosen_workers
from canvas_rl.train import parse


def test_json_round_trip():
    settings = SearchSettings.of(
        agent="random",
        run_dir=Path("runs/x"),
        kernel_sizes=(3,),
        num_primitive_range=(2, 9),
        agent_options=("a=1",),
        warm_start=("conv1x1",),
    )
    assert SearchSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_settings_saved_before_there_were_warm_starts_and_skipped_kernels_have_none():
    data = SearchSettings().to_json()
    del data["run"]["warm_start"], data["run"]["skip_slower"]
    assert SearchSettings.from_json(data) == SearchSettings()


def test_flat_names_are_distinct():
    settings = SearchSettings()
    groups = (settings.run, settings.target, settings.quality, settings.space)
    assert len(settings.flat()) == sum(len(vars(group)) for group in groups)


def test_paths_may_be_text():
    settings = SearchSettings.of(run_dir="runs/x", data_dir="data")
    assert (settings.run.run_dir, settings.quality.data_dir) == (Path("runs/x"), Path("data").absolute())


def test_data_files_are_named_by_their_full_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    here = Path.cwd()
    for given, kept in ((Path("x.npz"), here / "x.npz"), ("~/x.npz", "/home/me/x.npz"), ("~x.npz", here / "~x.npz")):
        assert SearchSettings.of(dataset=given).quality.dataset == str(kept)
    assert SearchSettings.of(dataset="x.npz", data_dir="data").quality.dataset == "x.npz"
    assert SearchSettings.of(dataset="mine:x").quality.dataset == "mine:x"


def test_unknown_setting_gets_a_hint():
    with pytest.raises(ConfigError, match=r"unknown setting 'evaluation'.*Did you mean 'evaluations'\?"):
        SearchSettings.of(evaluation=3)


@pytest.mark.parametrize(
    "data", [None, [], {"format": 99}, {"format": 1}, {**SearchSettings().to_json(), "run": {"evaluations": "many"}}]
)
def test_damaged_or_foreign_settings_are_refused(data):
    with pytest.raises(FormatError, match=r"config\.json"):
        SearchSettings.from_json(data)


@pytest.mark.parametrize(
    "values",
    [
        {"evaluations": 0},
        {"time_limit": 0.0},
        {"seed": -1},
        {"workers": -1},
        {"skip_slower": 0.0},
        {"skip_slower": float("nan")},
        {"device": "tpu"},
        {"latency": "fast"},
    ],
)
def test_values_out_of_range(values):
    with pytest.raises(ConfigError, match="expected"):
        SearchSettings.of(**values)


def test_workers_are_chosen_from_the_device():
    assert SearchSettings().run.workers == 0
    assert chosen_workers(0, "cuda") == 1
    assert 1 <= chosen_workers(0, "cpu") <= 8
    assert chosen_workers(3, "cuda") == chosen_workers(3, "cpu") == 3


def test_every_flag_of_the_issue_is_there_and_flat():
    arguments = (
        "--agent random --evaluations 7 --time-limit 60 --seed 3 --model resnet8 --dataset motifs --data-dir data "
        "--device cpu --dtype bfloat16 --batch-size 2 --channels-last --latency compile --flops-budget 0.5 "
        "--params-budget 0.4 --memory-budget 3 --num-primitive-range 5 12 --necessary-filter bmm --kernel-sizes 3 5 "
        "--workers 1 --storage sqlite:///x.sqlite --run-dir runs/mine --reward mnasnet --agent-options x=1 y=2 "
        "--warm-start conv1x1 involution --skip-slower 1.2"
    )
    flat = parse(arguments.split()).flat()
    expected = {
        "agent": "random",
        "evaluations": 7,
        "time_limit": 60.0,
        "seed": 3,
        "model": "resnet8",
        "dataset": "motifs",
        "data_dir": Path("data").absolute(),
        "device": "cpu",
        "dtype": "bfloat16",
        "batch_size": 2,
        "channels_last": True,
        "latency": "compile",
        "flops_budget": 0.5,
        "params_budget": 0.4,
        "memory_budget": 3.0,
        "num_primitive_range": (5, 12),
        "necessary_filter": "bmm",
        "kernel_sizes": (3, 5),
        "workers": 1,
        "storage": "sqlite:///x.sqlite",
        "run_dir": Path("runs/mine"),
        "agent_options": ("x=1", "y=2"),
        "warm_start": ("conv1x1", "involution"),
        "skip_slower": 1.2,
    }
    assert expected.items() <= flat.items()


def test_help_is_grouped_and_explains_every_default(capsys):
    with pytest.raises(SystemExit) as end:
        parse(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for group in ("The search, and", "The network", "The training", "What kernels may look like"):
        assert group in text
    for name in SearchSettings().flat():
        assert f"--{name.replace('_', '-')}" in text
    assert text.count("default:") == len(SearchSettings().flat())
    assert "default: )" not in text


@pytest.mark.parametrize("name", AGENTS.names())
def test_agent_options_are_read_by_type(name):
    config_type = load_agent(name).config_type
    assert agent_config(config_type, ()) == config_type()


def test_agent_options_of_all_kinds():
    config_type = load_agent("ppo").config_type
    options = ("kernels_per_update=4", "learning_rate=3e-4", "target_kl=none", "hidden=32,16")
    config = agent_config(config_type, options)
    assert (config.kernels_per_update, config.learning_rate, config.target_kl) == (4, 3e-4, None)
    assert config.hidden == (32, 16)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("learning_rat=1", "Did you mean 'learning_rate'"),
        ("learning_rate", "expected name=value"),
        ("learning_rate=fast", "expected a value such as"),
        ("learning_rate=-1", "expected a number above 0"),
        ("target_kl=high", "expected a value such as"),
    ],
)
def test_bad_agent_options(option, message):
    with pytest.raises(ConfigError, match=message):
        agent_config(load_agent("ppo").config_type, (option,))
