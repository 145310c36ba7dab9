"""Every example runs: those about training and other libraries' networks as programs, the others as modules."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def main(monkeypatch, capsys):
    """Runs an example here, as a module: its exit code, and what it printed."""

    def run(name, *arguments, blocked=()):
        monkeypatch.syspath_prepend(EXAMPLES)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        for package in blocked:
            monkeypatch.setitem(sys.modules, package, None)
        code = importlib.import_module(name.removesuffix(".py")).main()
        return code or 0, capsys.readouterr()

    return run


def printed(name, *arguments):
    """What an example prints in a process of its own."""
    done = subprocess.run([sys.executable, str(EXAMPLES / name), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested():
    tested = set(re.findall(r'"(\w+\.py)"', Path(__file__).read_text()))
    assert tested == {path.name for path in EXAMPLES.glob("*.py")}


def test_fine_tuning():
    output = printed("fine_tune.py", "--quick")
    before, replaced, after = (float(share) for share in re.findall(r"([\d.]+)% (?:before|replaced|fine)", output))
    assert replaced < after
    assert before > 70
    weights = [int(count) for count in re.findall(r"(\d{4,})", output.splitlines()[-1])]
    assert weights[1] < weights[0] / 5


def test_networks_of_transformers():
    pytest.importorskip("transformers")
    output = printed("huggingface.py", "--quick")
    assert "small_resnet: 3 of 15 convolutions became placeholders" in output
    assert "small_convnext: 2 of 4 convolutions became placeholders" in output
    assert "its stride is 2" in output
    assert output.count("scores [2, 10]; every weight has a gradient: True") == 2


def test_without_transformers_there_is_a_sentence(main):
    code, shown = main("huggingface.py", "--quick", blocked=["transformers"])
    assert code == 2
    assert shown.err == "error: these networks need transformers: pip install transformers\n"


def test_networks_of_libraries_that_are_missing_are_left_out(main):
    code, shown = main("timm_torchvision.py", blocked=["timm", "torchvision", "torchvision.models"])
    assert code == 0
    lines = [line.partition(": ") for line in shown.out.splitlines()]
    assert {name: text for name, _, text in lines} == {
        f"{package}_{kind}": f"left out, this network needs {package}: pip install {package}"
        for package in ("torchvision", "timm")
        for kind in ("resnet", "convnext")
    }


def test_a_data_set_of_ones_own(main):
    lines = main("own_data.py", "--quick")[1].out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["conv1x1", "depthwise_separable"]


def test_a_reward_of_ones_own(main):
    rewards = [float(line.split()[0]) for line in main("own_reward.py")[1].out.splitlines()]
    assert len(rewards) == 5
    assert all(0 <= reward <= 1 for reward in rewards)
    assert max(rewards) > 0


def test_a_primitive_of_ones_own():
    output = printed("own_primitive.py")  # in a process of its own: what it registers stays
    assert re.search(r"reverse [CHW]", output)
    assert re.search(r"\.flip\(\d\)", output)
    assert output.rstrip().endswith("its output has the shape (1, 64, 56, 56)")


def test_the_primitive_is_that_of_the_page():
    page = (EXAMPLES.parent / "docs" / "howto" / "primitive.md").read_text()
    (definition,) = re.findall(r"^@dataclass.*?^FAMILY = .*?$", page, re.DOTALL | re.MULTILINE)
    assert definition in (EXAMPLES / "own_primitive.py").read_text()


def test_an_agent_of_ones_own(main):
    climbed, drawn = re.findall(r"(\d\.\d+)", main("own_agent.py", "--quick")[1].out)
    assert min(float(climbed), float(drawn)) > 0.5
