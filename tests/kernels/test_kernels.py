"""Kernels as users hold them: a script written for Canvas, saving and loading, seeds."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

import canvas_rl as canvas
from canvas_rl.errors import CanvasError, ConfigError, EmptySpaceError, FormatError, PlaceholderError, SamplingTimeout
from canvas_rl.kernels import KernelPack

SHORT = {"num_primitive_range": (2, 6)}


class Example(nn.Module):
    """Two placeholders of different sizes around a BatchNorm and a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 7, stride=4, padding=3)
        self.first = canvas.Placeholder()
        self.norm = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.down = nn.Conv2d(16, 32, 1, stride=2)
        self.second = canvas.Placeholder()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.down(self.relu(self.norm(self.first(self.stem(x))))))


class Line(nn.Module):
    """One placeholder without spatial dims (or with one)."""

    def __init__(self) -> None:
        super().__init__()
        self.place = canvas.Placeholder()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.place(x)


def test_a_script_written_for_canvas_runs():
    canvas.seed(1)
    model = Example()
    kernel = canvas.sample(model, torch.randn(1, 3, 64, 64))
    assert canvas.replace(model, kernel.module) is model
    y = model(torch.randn(2, 3, 64, 64))
    assert y.shape == (2, 32, 8, 8)
    y.sum().backward()
    assert isinstance(kernel.module, type)
    assert issubclass(kernel.module, nn.Module)
    assert kernel.name in kernel.torch_code
    assert "digraph" in kernel.graphviz_code
    assert str(kernel.graph.primitive_count) in kernel.detail
    canvas.remove_cache()


SEED_EXAMPLE = """
import torch
from torch import nn

import canvas_rl as canvas


class Example(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, stride=2, padding=1)
        self.first = canvas.Placeholder()
        self.norm = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.second = canvas.Placeholder()

    def forward(self, x):
        return self.second(self.relu(self.norm(self.first(self.stem(x)))))


model = Example()
canvas.seed(1)
kernel = canvas.sample(model, torch.randn(1, 3, 224, 224))
canvas.replace(model, kernel.module)
assert model(torch.randn(1, 3, 224, 224)).shape == (1, 64, 112, 112)
print(kernel.torch_code)
print(f"print(tuple({kernel.name}(64, 112, 112)(torch.randn(1, 64, 112, 112)).shape))")
"""


def test_the_seed_example_runs_as_written_and_its_printed_code_on_its_own(tmp_path):
    def run(code):
        command = [sys.executable, "-c", code]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True).stdout

    assert run(run(SEED_EXAMPLE)).strip() == "(1, 64, 112, 112)"


def test_the_printed_code_runs_on_its_own_in_a_new_process(tmp_path):
    canvas.seed(3)
    kernel = canvas.empty_sample(**SHORT)
    code = kernel.torch_code + (
        f"\nmodule = {kernel.name}(64, 8, 8)\nprint(tuple(module(torch.randn(2, 64, 8, 8)).shape))\n"
        "import sys\nassert not any(name.startswith('canvas_rl') for name in sys.modules)\n"
    )
    (tmp_path / "alone.py").write_text(code)
    done = subprocess.run([sys.executable, "alone.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "(2, 64, 8, 8)", done.stderr


@pytest.mark.parametrize("shape", [(2, 8), (2, 8, 12)])
def test_models_without_or_with_one_spatial_dim_are_served(shape):
    canvas.seed(0)
    for _ in range(10):
        model = Line()
        kernel = canvas.sample(model, torch.randn(shape), **SHORT)
        canvas.replace(model, kernel.module)
        model(torch.randn(shape)).sum().backward()
        assert any(weight.grad is not None for weight in model.parameters())


def test_recorded_shapes_are_reused_without_an_example():
    model = Example()
    canvas.get_placeholders(model, torch.randn(1, 3, 64, 64))
    assert len(canvas.sample(model, **SHORT).graph.sites) == 2


def test_the_same_seed_gives_the_same_kernels():
    runs = []
    for _ in range(2):
        canvas.seed(7)
        runs.append([canvas.empty_sample(**SHORT).name for _ in range(5)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 3
    with pytest.raises(ConfigError, match="-1"):
        canvas.seed(-1)


def test_debug_sample_is_large_kernel_attention():
    kernel = canvas.debug_sample()
    torch.manual_seed(0)
    module = kernel.module(c=8, h=9, w=9)
    x = torch.randn(2, 8, 9, 9)
    first, second, mix = (layer for layer in module.children())
    attention = mix(second(first(x)))
    assert torch.allclose(module(x), attention * x, atol=1e-6)
    assert (first.kernel_size, second.kernel_size, second.dilation) == ((5, 5), (7, 7), (3, 3))
    assert first.groups == second.groups == 8


def test_saved_code_and_json_load_to_the_same_kernel_without_being_executed(tmp_path):
    canvas.seed(2)
    kernel = canvas.empty_sample(**SHORT)
    source = tmp_path / "kernel.py"
    kernel.save_torch_code(source)
    kernel.save_graphviz_code(tmp_path / "kernel.dot")
    source.write_text("raise SystemExit('executed')\n" + source.read_text())
    assert KernelPack.load(source) == kernel
    assert KernelPack.load(tmp_path) == kernel
    best = tmp_path / "run" / "best"
    best.mkdir(parents=True)
    (best / "kernel.json").write_text(json.dumps(kernel.graph.to_json()))
    for path in (best / "kernel.json", best, tmp_path / "run", str(best)):
        assert canvas.load_kernel(path) == kernel


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.json", None, "does not exist"),
        ("kernel.json", "{", "can't be read"),
        ("kernel.json", "[]", "no kernel JSON"),
        ("kernel.json", '{"format": "canvas_rl/kernel", "version": 99}', "newer"),
        ("kernel.json", '{"format": "canvas_rl/kernel", "version": 0}', "older"),
        ("kernel.py", "print(1)", "holds no kernel"),
        ("kernel.py", "# canvas_rl kernel: {", "damaged"),
    ],
)
def test_files_that_hold_no_kernel_are_refused_in_one_sentence(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(FormatError, match=words) as caught:
        canvas.load_kernel(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_kernel_is_refused(tmp_path):
    with pytest.raises(FormatError, match=r"neither a kernel\.json nor a saved kernel"):
        KernelPack.load(tmp_path)


def test_unusable_requests_are_refused():
    with pytest.raises(PlaceholderError, match="no placeholder"):
        canvas.sample(nn.Linear(2, 2))
    with pytest.raises(EmptySpaceError, match="forbidden_filter"):
        canvas.empty_sample(necessary_filter="bmm", forbidden_filter="bmm")
    with pytest.raises(ConfigError, match="workers is 0"):
        canvas.empty_sample(workers=0)
    with pytest.raises(SamplingTimeout, match="1e-09"):
        canvas.empty_sample(timeout=1e-9)
    assert issubclass(SamplingTimeout, CanvasError)


def test_unknown_attributes_of_the_package_are_named():
    with pytest.raises(AttributeError, match="no attribute 'smaple'"):
        canvas.smaple  # noqa: B018
