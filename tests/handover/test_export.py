import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import canvas_rl
from canvas_rl import zoo
from canvas_rl.codegen import build_module
from canvas_rl.errors import CanvasError, ConfigError, ExportError, MissingDependencyError
from canvas_rl.export import main
from canvas_rl.handover import ExportConfig, export_kernel, export_module, exporting, verify
from canvas_rl.handover.capture import Positional, noise
from canvas_rl.handover.usage import usage
from canvas_rl.placeholder import get_placeholders
from canvas_rl.symbolic.site import Site

SITE = Site(8, 6, 6)
BLOCKED = "import sys\nfor name in ('canvas_rl', 'envs', 'agents'):\n    sys.modules[name] = None\n"


class Two(nn.Module):
    """A network with two inputs, a number that is none, and an output of another library's kind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, image, mask, scale=1.0):
        hidden = self.norm(self.conv(self.stem(image))) * mask
        return {"logits": hidden.mean((2, 3)) * scale, "nothing": None, "hidden": [hidden]}


def pack():
    return zoo.pack("bottleneck", [SITE])


def outside(program, folder):
    """Run a program where canvas_rl can't be imported; what it prints."""
    done = subprocess.run([sys.executable, "-P", "-c", BLOCKED + program], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def unchecked(monkeypatch):
    """Exports without the process that runs them, where a test is about what was written."""
    monkeypatch.setattr(exporting, "verify", lambda path, positional, config: verify.Check(0.0, 1e-4))


def left_over(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("format", "name"), [("python", "kernel"), ("onnx", "k.onnx"), ("torch-export", "k.pt2"), ("aoti", "k.pt2")]
)
def test_the_printed_program_runs_the_file_without_canvas_rl(tmp_path, capsys, format, name):
    path = tmp_path / name
    assert main(["conv1x1", "--format", format, "--output", str(path), "--site", "4,3,3", "--seed", "1"]) == 0
    printed = capsys.readouterr().out
    begun = f"Wrote {path}: {format}, run without canvas_rl at batch sizes 1, 2, 5: "
    assert printed.startswith((f"{begun}off by ", f"{begun}exactly the same outputs\n"))
    assert "\nSite: " not in printed  # it was chosen
    program = usage(format, path, (1, 4, 3, 3))
    assert printed.endswith(program)
    assert outside(program, tmp_path) in ("torch.Size([1, 4, 3, 3])", "(1, 4, 3, 3)")
    assert not left_over(tmp_path)


def test_a_python_export_has_the_weights_and_can_be_read_back(unchecked, tmp_path):
    module = build_module(pack().graph, SITE)
    export_kernel(pack(), SITE, tmp_path / "kernel", weights=module.state_dict())
    assert canvas_rl.load_kernel(tmp_path / "kernel") == pack()
    saved = load_file(tmp_path / "kernel" / "weights.safetensors")
    assert saved.keys() == module.state_dict().keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in module.state_dict().items())


def test_an_export_of_before_is_replaced_and_it_is_said(unchecked, tmp_path, capsys):
    for name, format in (("kernel", "python"), ("k.pt2", "torch-export")):
        path = str(tmp_path / name)
        assert not export_kernel(pack(), SITE, path, ExportConfig(format)).replaced
        assert main(["conv1x1", "--format", format, "--output", path, "--site", "4,3,3"]) == 0
        assert capsys.readouterr().out.startswith(f"Replaced {path}: ")
    assert canvas_rl.load_kernel(tmp_path / "kernel") == zoo.pack("conv1x1", [(4, 3, 3)])


def test_what_was_not_asked_for_is_said(unchecked, tmp_path, capsys):
    assert main(["conv1x1", "--format", "python", "--output", str(tmp_path / "kernel"), "--seed", "7"]) == 0
    printed = capsys.readouterr().out
    assert "\nSite: 64@56x56, the first of 4; for another: --site 128@28x28 or 256@14x14 or 512@7x7\n" in printed
    assert "\nWeights: fresh ones, of seed 7; for trained ones: --weights FILE.safetensors\n" in printed
    assert "(64, 56, 56)" in (tmp_path / "kernel" / "kernel.py").read_text()
    weights = str(tmp_path / "kernel" / "weights.safetensors")
    again = ["--output", str(tmp_path / "again"), "--site", "64@56x56", "--weights", weights]
    assert main(["conv1x1", "--format", "python", *again]) == 0
    printed = capsys.readouterr().out
    assert "Site:" not in printed
    assert "Weights:" not in printed


def test_a_difference_is_told_in_words_where_there_is_none():
    shown = [str(exporting.Exported(Path("k"), ExportConfig("python"), found, 1e-4)) for found in (0.0, 2.5e-7)]
    assert shown[0].endswith("batch sizes 1, 2, 5: exactly the same outputs")
    assert shown[1].endswith("batch sizes 1, 2, 5: off by 2.5e-07 of the largest output (allowed: 1e-04)")


@pytest.mark.parametrize("arguments", [["x" * 300, "--network"], ["conv1x1", "--output", f"{'x' * 300}.onnx"]])
def test_names_that_are_too_long_are_refused_in_a_sentence(unchecked, arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--format", "onnx", "--output", "k.onnx", *arguments]) == 2
    assert capsys.readouterr().err.startswith("error: 'xxx")


def test_fresh_weights_follow_the_seed(unchecked, tmp_path):
    before = torch.get_rng_state()
    saved = []
    for index, seed in enumerate("112"):
        folder = tmp_path / str(index)
        assert main(["conv1x1", "--format", "python", "--output", str(folder), "--site", "4,3,3", "--seed", seed]) == 0
        saved.append(load_file(folder / "weights.safetensors"))
    assert torch.equal(*(next(iter(weights.values())) for weights in saved[:2]))
    assert not torch.equal(*(next(iter(weights.values())) for weights in saved[1:]))
    assert torch.equal(before, torch.get_rng_state())


@pytest.fixture(scope="module")
def replaced():
    """A network after `replace`, and its example."""
    torch.manual_seed(0)
    model = Two().train()
    example = {"image": torch.zeros(1, 3, 6, 6), "mask": torch.ones(1, 1, 6, 6), "scale": 2.0}
    canvas_rl.auto_place(model, example)
    canvas_rl.replace(model, pack())
    return model, example


@pytest.mark.parametrize("name", ["n.onnx", "n.pt2"])
def test_a_whole_network_of_several_arguments_is_exported_as_it_evaluates(unchecked, tmp_path, replaced, name):
    model, example = replaced
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    config = ExportConfig(format="onnx" if name == "n.onnx" else "torch-export")
    export_module(model, example, tmp_path / name, config)
    assert model.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    image, mask = torch.randn(3, 3, 6, 6), torch.rand(3, 1, 6, 6)
    torch.save((image, mask), tmp_path / "inputs")
    if name == "n.pt2":
        program = "import torch\nnet = torch.export.load('n.pt2').module()\nresults = net(*torch.load('inputs'))\n"
    else:
        program = (
            "import torch, onnxruntime\nnet = onnxruntime.InferenceSession('n.onnx')\n"
            "image, mask = torch.load('inputs')\n"
            "results = net.run(['logits', 'hidden_0'], {'image': image.numpy(), 'mask': mask.numpy()})\n"
            "results = [torch.from_numpy(result) for result in results]\n"
        )
    outside(f"{program}torch.save([result.detach() for result in results], 'outputs')", tmp_path)
    logits, hidden = torch.load(tmp_path / "outputs")
    with torch.no_grad():
        expected = Positional(model, example).output(image, mask)
    torch.testing.assert_close(logits, expected["logits"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(hidden, expected["hidden"][0], rtol=1e-4, atol=1e-5)


def test_a_fixed_batch_takes_no_other(unchecked, tmp_path):
    exported = export_kernel(pack(), SITE, tmp_path / "k.pt2", ExportConfig("torch-export", batch_size=3))
    assert "at batch size 3:" in str(exported)
    program = torch.export.load(tmp_path / "k.pt2").module()
    assert program(torch.zeros(3, *SITE.shape)).shape == (3, *SITE.shape)
    with pytest.raises((RuntimeError, AssertionError)):
        program(torch.zeros(2, *SITE.shape))


def test_the_kernels_trained_in_a_network_are_exported_by_their_weights(unchecked, tmp_path, replaced):
    kernel = get_placeholders(replaced[0])[0].get_kernel()
    export_kernel(pack(), SITE, tmp_path / "kernel", weights=kernel.state_dict())
    saved = load_file(tmp_path / "kernel" / "weights.safetensors")
    assert all(torch.equal(saved[name], tensor) for name, tensor in kernel.state_dict().items())


def test_number_types_are_kept(unchecked, tmp_path):
    export_kernel(pack(), SITE, tmp_path / "kernel", dtype=torch.bfloat16)
    saved = load_file(tmp_path / "kernel" / "weights.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}
    source = (tmp_path / "kernel" / "kernel.py").read_text()
    assert "(8, 6, 6).to(torch.bfloat16)" in source


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_tolerance_is_that_of_the_output(monkeypatch, dtype):
    module = nn.Linear(3, 3).to(dtype)
    positional = Positional(module, torch.zeros(1, 3, dtype=dtype))
    scale = 1 + verify.TOLERANCES[dtype]

    def run(path, format, inputs):
        return [positional(*tensors).detach() * (1 if close else scale * 1.1) for tensors in inputs]

    monkeypatch.setattr(verify, "_run", run)
    close = True
    found = verify.verify(Path("k.pt2"), positional, ExportConfig())
    assert found == (0.0, {torch.bfloat16: 3e-2, torch.float64: 1e-9}[dtype])
    close = False
    with pytest.raises(ExportError, match="off by"):
        verify.verify(Path("k.pt2"), positional, ExportConfig())
    assert verify.verify(Path("k.pt2"), positional, ExportConfig(tolerance=0.5)).tolerance == 0.5


def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    def run(path, format, inputs):
        assert path.exists()
        return [torch.full((2, 4), 7.0)]

    monkeypatch.setattr(verify, "_run", run)
    (tmp_path / "k.pt2").write_text("what was there before")
    with pytest.raises(ExportError, match=r"off by .* of the largest, where 1e-04 is rounding; nothing was written"):
        export_module(nn.Linear(4, 4), torch.zeros(2, 4), tmp_path / "k.pt2", ExportConfig(batch_size=2))
    assert (tmp_path / "k.pt2").read_text() == "what was there before"
    assert not left_over(tmp_path)


def test_a_file_that_cannot_be_run_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setitem(exporting.WRITERS, "torch-export", lambda path, captured: path.write_text("nonsense"))
    with pytest.raises(ExportError, match="the torch-export file can't be run"):
        export_module(nn.Linear(4, 4), torch.zeros(2, 4), tmp_path / "k.pt2")
    assert not list(tmp_path.iterdir())


def test_a_file_with_another_number_of_outputs_is_refused(monkeypatch):
    monkeypatch.setattr(verify, "_run", lambda path, format, inputs: [torch.zeros(2, 4)] * 2)
    positional = Positional(nn.ReLU(), torch.zeros(2, 4))
    with pytest.raises(ExportError, match="gives 2 tensors where 1 are expected"):
        verify.verify(Path("k.pt2"), positional, ExportConfig(batch_size=2))


def test_outputs_that_are_not_finite_or_of_another_kind_differ_infinitely():
    one = torch.ones(2, 3)
    assert verify._difference(one, one.half()) == float("inf")
    assert verify._difference(one, torch.ones(2, 4)) == float("inf")
    assert verify._difference(one, torch.full((2, 3), float("nan"))) == float("inf")
    assert verify._difference(torch.tensor([0.0, 4.0]), torch.tensor([1.0, 4.0])) == 0.25


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Infinite(nn.Module):
    def forward(self, x):
        return x / 0


@pytest.mark.parametrize(
    ("module", "example", "config", "message"),
    [
        (Branching(), torch.zeros(2, 3), {}, "torch.export can't capture the module"),
        (Infinite(), torch.zeros(2, 3), {}, "is not finite, so no file can be compared"),
        (nn.Flatten(0), torch.zeros(2, 3), {"format": "python"}, "use export_kernel"),
        (nn.ReLU(), {"input": 3}, {}, "no tensor with a batch dimension"),
        (nn.ReLU(), torch.zeros(()), {}, "no tensor with a batch dimension"),
        (nn.ReLU(), torch.zeros(0, 3), {}, "no tensor with a batch dimension"),
        (nn.ReLU(), torch.zeros(2, 3, dtype=torch.bfloat16), {"format": "onnx"}, "bfloat16"),
        (nn.ReLU(), torch.zeros(2, 3), {"format": "aoti", "path": "k.onnx"}, "ends with .pt2 for aoti"),
        (nn.ReLU(), torch.zeros(2, 3), {"path": "folder.pt2"}, "is a folder: name a file in it"),
        (nn.ReLU(), torch.zeros(2, 3), {"path": "no/such/k.pt2"}, "can't be written"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(tmp_path, module, example, config, message):
    (tmp_path / "folder.pt2").mkdir()
    options = dict(config)
    format = options.pop("format", "torch-export")
    path = tmp_path / options.pop("path", "k.onnx" if format == "onnx" else "k.pt2")
    with pytest.raises(CanvasError, match=message):
        export_module(module, example, path, ExportConfig(format))
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.pt2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "onxx"}, "Did you mean 'onnx'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"tolerance": 1.5}, "tolerance is 1.5"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        ExportConfig(**options)


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match="pip install onnx onnxscript onnxruntime"):
        export_kernel(pack(), SITE, tmp_path / "k.onnx", ExportConfig("onnx"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["botleneck"], "Did you mean 'bottleneck'"),
        (["conv1x1", "--format", "onxx"], "Did you mean 'onnx'"),
        (["conv1x1", "--fromat", "onnx"], "Did you mean '--format'"),
        (["conv1x1", "--network"], "is no run: --network needs one"),
        (["conv1x1", "--network", "--site", "4,3,3"], "leave out --site and --weights"),
        (["conv1x1", "--weights", "nowhere.safetensors"], "'nowhere.safetensors' can't be read"),
        (["conv1x1", "--site", "4,3,3", "--weights", "{weights}"], "the weights are not of this kernel at 4@3x3"),
        (["conv1x1", "--output", "{folder}"], "has other files, such as"),
        (["conv1x1", "--output", "{weights}"], "is a file: a python export is a folder"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "w.safetensors"
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, weights)
    given = [argument.format(weights=weights, folder=tmp_path) for argument in arguments]
    if "--format" not in given:
        given += ["--format", "torch-export" if "--network" in given else "python"]
    if "--output" not in given:
        given += ["--output", "out"]
    assert main(given) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert [entry.name for entry in Path().iterdir()] == ["w.safetensors"]


def test_whole_numbers_are_checked_in_another_order_and_masks_as_they_are():
    ids, mask = torch.arange(40).reshape(4, 10), torch.rand(4, 10) > 0.5
    drawn, kept = noise([ids, mask], seed=0)
    assert not torch.equal(drawn, ids)
    assert torch.equal(drawn.flatten().sort().values, ids.flatten())
    assert torch.equal(kept, mask)


def test_a_folder_with_a_kernel_of_the_users_is_not_replaced(tmp_path):
    pack().save_torch_code(tmp_path / "kernel.py")
    before = (tmp_path / "kernel.py").read_text()
    with pytest.raises(ConfigError, match=r"has other files, such as 'kernel\.py'"):
        export_kernel(pack(), SITE, tmp_path)
    assert (tmp_path / "kernel.py").read_text() == before
