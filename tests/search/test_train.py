import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import canvas_rl
from canvas_rl.errors import FormatError
from canvas_rl.evaluation.evaluator import KernelEvaluator
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.export import main as export
from canvas_rl.show import main as show
from canvas_rl.study import rescore
from canvas_rl.train import main

SPACE = (
    "--allowed-filter fc,conv,fold,relu,badd,shift --kernel-sizes 3 --dilated-sizes 1 --shift-sizes 1 "
    "--num-primitive-range 2 4 --num-max-width-range 2 2"
).split()
QUICK = ["--model", "resnet8", "--workers", "1", *SPACE]


def train(*arguments):
    return main([*arguments, *QUICK])


def refused(capsys, code):
    """The sentence of a refusal."""
    assert code == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: ")
    assert "Traceback" not in message
    assert "\n" not in message
    return message


def event_tags(folder):
    accumulator = EventAccumulator(str(folder / "tensorboard"), size_guidance={"tensors": 0, "images": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    return accumulator, {*tags["scalars"], *tags["images"], *tags["tensors"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data):
    """A run of PPO: two rounds of three kernels, ended in the second, and then resumed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = ["--evaluations", "4", "--agent-options", "kernels_per_update=3", "--skip-slower", "0.5"]
    assert main(["--run-dir", str(folder), *options, *QUICK, *data]) == 0
    first = json.loads((folder / "state.json").read_text())
    assert len(first["asked"]) == 4
    limits = ["--evaluations", "7", "--time-limit", "500"]
    assert main(["--run-dir", str(folder), "--resume", *limits]) == 0
    return folder, first


def test_a_resumed_run_keeps_its_new_limits(finished):
    run = json.loads((finished[0] / "config.json").read_text())["run"]
    assert (run["evaluations"], run["time_limit"]) == (7, 500.0)


def test_a_run_folder_has_all_it_should(finished):
    folder, _ = finished
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "state.json", "search.sqlite", "checkpoints", "tensorboard", "best"} <= names
    best = {path.name for path in (folder / "best").iterdir()}
    assert best == {"kernel.json", "kernel.py", "kernel.dot", "weights.safetensors", "metrics.json"}
    assert not [path for path in folder.rglob(".*") if path.name.startswith(".")]


def test_a_resumed_run_ends_with_the_evaluations_asked_for_none_twice(finished):
    folder, first = finished
    state = json.loads((folder / "state.json").read_text())
    assert len(state["asked"]) == len(set(state["asked"])) == 7
    assert state["asked"][:4] == first["asked"]
    assert Counter(state["statuses"]).total() == 7
    store = MeasurementStore(folder / "search.sqlite")
    with store._engine.connect() as connection:
        from sqlalchemy import text

        assert connection.execute(text("select count(*) from measurements")).scalar() == 7


def test_resuming_a_run_with_nothing_left_changes_nothing_and_says_so(finished, capsys, monkeypatch):
    folder, _ = finished

    def contents():
        files = [path for path in folder.rglob("*") if path.is_file() and "sqlite-" not in path.name]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = contents()
    monkeypatch.setattr(KernelEvaluator, "__init__", None)  # nothing is measured
    for arguments, message in (
        ([], "All 7 evaluations are done, and nothing was changed"),
        (
            ["--evaluations", "5"],
            "The run has 7 evaluations already, more than the 5 asked for, and nothing",
        ),
    ):
        assert main(["--resume", "--run-dir", str(folder), *arguments]) == 0
        output = capsys.readouterr().out
        assert message in output
        assert "whole network (ms)" in output
        (row,) = (line for line in output.splitlines() if "whole network" in line)
        network = json.loads((folder / "best" / "metrics.json").read_text())["network"]
        assert f"({network['speedup']:.2f}x)" in row
        assert contents() == before


@pytest.mark.parametrize("damage", [{"networks": []}, {"statuses": 3}, {"from_store": None}, {"archive": [3]}])
def test_a_finished_run_whose_state_is_damaged_is_refused(finished, tmp_path, capsys, damage):
    copy = shutil.copytree(finished[0], tmp_path / "copy")
    state = json.loads((copy / "state.json").read_text())
    (copy / "state.json").write_text(json.dumps({**state, **damage}))
    assert "is damaged" in refused(capsys, main(["--resume", "--run-dir", str(copy)]))


def test_a_run_on_a_relative_data_file_is_resumed_from_elsewhere(tmp_path, data, monkeypatch, capsys):
    here, elsewhere, folder = tmp_path / "here", tmp_path / "elsewhere", tmp_path / "run"
    for place in (here, elsewhere):
        place.mkdir()
    shutil.copy(data[1], here / "mine.npz")
    monkeypatch.chdir(here)
    options = ["--agent", "random", "--agent-options", "kernels_per_round=1", "--dataset", "mine.npz"]
    assert train("--run-dir", str(folder), "--evaluations", "1", *options) == 0
    monkeypatch.chdir(elsewhere)
    resume = ["--resume", "--run-dir", str(folder)]
    assert main([*resume, "--evaluations", "2"]) == 0
    assert rescore(folder)[0] == json.loads((folder / "best" / "metrics.json").read_text())["accuracy"]
    shutil.move(here / "mine.npz", elsewhere / "moved.npz")
    capsys.readouterr()
    missing = refused(capsys, main([*resume, "--evaluations", "3"]))
    assert f"{str(here / 'mine.npz')!r} does not exist" in missing
    assert main([*resume, "--evaluations", "3", "--dataset", "moved.npz"]) == 0
    monkeypatch.chdir(here)
    assert main([*resume, "--evaluations", "4"]) == 0
    capsys.readouterr()
    saved = dict(np.load(data[1]))
    np.savez(elsewhere / "moved.npz", **{**saved, "train_labels": 1 - saved["train_labels"]})
    assert "with the same torch and data" in refused(capsys, main([*resume, "--evaluations", "5"]))


def test_resuming_a_run_whose_end_was_not_written_writes_it(finished, tmp_path, monkeypatch):
    copy = shutil.copytree(finished[0], tmp_path / "copy")
    shutil.rmtree(copy / "best")
    assert main(["--resume", "--run-dir", str(copy)]) == 0
    assert (copy / "best" / "weights.safetensors").exists()
    accumulator, _ = event_tags(copy)
    assert [event.step for event in accumulator.Scalars("final/evaluations")] == [4, 7]


def test_a_fresh_process_reproduces_the_quality(finished):
    folder, _ = finished
    saved = json.loads((folder / "best" / "metrics.json").read_text())
    code = f"from canvas_rl.study import rescore; print(*rescore({str(folder / 'best')!r}))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    accuracy, test_accuracy = map(float, output.split())
    assert accuracy == saved["accuracy"] == saved["measurement"]["accuracy"]
    assert test_accuracy == saved["test_accuracy"] == saved["measurement"]["test_accuracy"]
    assert rescore(folder) == (accuracy, test_accuracy)


def test_the_best_kernel_loads_and_is_the_archives_best(finished):
    folder, _ = finished
    pack = canvas_rl.load_kernel(folder)
    state = json.loads((folder / "state.json").read_text())
    rewards = [entry["reward"] for entry in state["archive"]]
    metrics = json.loads((folder / "best" / "metrics.json").read_text())
    assert metrics["reward"] == max(rewards)
    assert metrics["reference_reward"] == 1.0
    assert pack.graph.to_json() == state["archive"][0]["kernel"]
    assert canvas_rl.KernelPack.load(folder / "best" / "kernel.py").graph == pack.graph


def test_a_run_can_be_shown_and_its_network_exported(finished, tmp_path, capsys):
    folder, _ = finished
    places = json.loads((folder / "best" / "metrics.json").read_text())["places"]
    assert places == [[[16, 32, 32], 3, 1], [[32, 16, 16], 3, 1], [[64, 8, 8], 3, 1]]
    assert show([str(folder)]) == 0
    table = capsys.readouterr().out
    assert [site for site in ("16@32x32", "32@16x16", "64@8x8", "its run") if site not in table] == []
    path = tmp_path / "network.pt2"
    assert export([str(folder), "--format", "torch-export", "--output", str(path), "--network"]) == 0
    images = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load(path).module()(images), canvas_rl.load_network(folder)(images))


def test_the_saved_source_runs_without_canvas_rl(finished, tmp_path):
    folder, _ = finished
    name = canvas_rl.load_kernel(folder).name
    code = (
        "import sys, torch, runpy\n"
        f"module = runpy.run_path({str(folder / 'best' / 'kernel.py')!r})[{name!r}](16, 8, 8)\n"
        "assert module(torch.randn(2, 16, 8, 8)).shape == (2, 16, 8, 8)\n"
        "assert not [name for name in sys.modules if name.startswith('canvas_rl')]\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_tensorboard_shows_what_it_should(finished):
    folder, _ = finished
    accumulator, tags = event_tags(folder)
    expected = {"kernel/reward", "kernel/speedup", "kernel/quality", "kernel/flops", "kernel/parameters"}
    expected |= {
        "search/store_hits",
        "search/failures",
        "search/skipped",
        "best/picture",
        "best/code/text_summary",
        "best/kernels/text_summary",
        "best/speedup",
        "pareto/front",
        "final/evaluations",
        "final/network_speedup",
    }
    expected |= {"train/value_loss", "train/policy_gradient_loss", "train/entropy_loss"}
    assert expected <= tags
    assert [event.step for event in accumulator.Scalars("kernel/reward")] == list(range(1, 8))
    for tag in tags & {*accumulator.Tags()["scalars"]}:
        steps = [event.step for event in accumulator.Scalars(tag)]
        assert tag.startswith("train/") or steps == sorted(set(steps)), tag  # also where the run was resumed
    assert "hparams" in accumulator.summary_metadata["_hparams_/session_start_info"].plugin_data.plugin_name
    image = accumulator.Images("best/picture")[-1]
    assert image.width > 200
    assert image.height > 100


def test_a_network_with_damaged_weights_is_refused(finished, tmp_path):
    folder, _ = finished
    copy = tmp_path / "best"
    shutil.copytree(folder / "best", copy)
    assert isinstance(canvas_rl.load_network(copy), torch.nn.Module)
    (copy / "weights.safetensors").write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="damaged"):
        canvas_rl.load_network(copy)
    metrics = json.loads((copy / "metrics.json").read_text())
    (copy / "metrics.json").write_text(json.dumps({**metrics, "format": 99}))
    with pytest.raises(FormatError, match="format 99"):
        canvas_rl.load_network(copy)
    (copy / "weights.safetensors").unlink()
    with pytest.raises(FormatError, match="written when a search ends"):
        canvas_rl.load_network(copy)


def test_a_used_folder_is_refused(finished, capsys):
    assert "--resume" in refused(capsys, train("--run-dir", str(finished[0])))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "5"], "made with seed 0, not 5"),
        (["--kernel-sizes", "3", "5"], "made with --kernel-sizes (3,)"),
        (["--agent", "random"], "made with agent 'ppo', not 'random'"),
        (["--dataset", "motifs"], "made with dataset"),
        (["--skip-slower", "2"], "made with --skip-slower 0.5, not 2.0"),
    ],
)
def test_resuming_another_search_is_refused(finished, capsys, arguments, message):
    folder, _ = finished
    before = (folder / "state.json").read_bytes()
    assert message in refused(capsys, main(["--resume", "--run-dir", str(folder), *arguments]))
    assert (folder / "state.json").read_bytes() == before


def test_resuming_with_a_changed_space_is_refused(finished, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(finished[0], copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "space_fingerprint": "0" * 16}))
    assert "another search space" in refused(capsys, main(["--resume", "--run-dir", str(copy), "--evaluations", "9"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [({"version": 0}, "the checkpoint is of version 0 of the agent"), ({"asked": "x"}, "damaged")],
)
def test_a_refused_checkpoint_leaves_the_run_as_it_was(finished, tmp_path, capsys, content, message):
    copy = shutil.copytree(finished[0], tmp_path / "copy")
    newest = max((copy / "checkpoints").iterdir()) / "agent.json"
    newest.write_text(json.dumps({**json.loads(newest.read_text()), **content}))
    before = {path: path.read_bytes() for path in (copy / "config.json", copy / "state.json")}
    ended = list((copy / "tensorboard").glob("*.end"))
    assert len(ended) == 1
    assert message in refused(capsys, main(["--resume", "--run-dir", str(copy), "--evaluations", "9"]))
    assert {path: path.read_bytes() for path in before} == before
    assert list((copy / "tensorboard").glob("*.end")) == ended
    assert main(["--resume", "--run-dir", str(copy)]) == 0
    assert "All 7 evaluations are done, and nothing was changed" in capsys.readouterr().out


def test_resuming_on_another_device_is_refused(finished, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(finished[0], copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "measured": "another GPU, 0"}))
    assert "measured as 'another GPU, 0'" in refused(
        capsys, main(["--resume", "--run-dir", str(copy), "--evaluations", "9"])
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agent", "pppo"], "Did you mean 'ppo'"),
        (["--agent-options", "learning_rat=1"], "Did you mean 'learning_rate'"),
        (["--model", "resnet81"], "Did you mean 'resnet8'"),
        (["--model", "no_such_module:factory"], "no_such_module"),
        (["--model", "torch.nn:Flatten"], "placeholder"),
        (["--dataset", "digit"], "Did you mean 'digits'"),
        (["--dataset", "missing.npz"], "missing.npz"),
        (["--dataset", "cifar10", "--data-dir", "/nowhere"], "/nowhere"),
        (["--reward", "mnasnett"], "Did you mean 'mnasnet'"),
        (["--storage", "nonsense"], "nonsense"),
        (["--skip-slower", "1"], "pip install scikit-learn"),
        (["--necessary-filter", "bmm", "--forbidden-filter", "bmm"], "bmm"),
        (["--num-weighted-range", "6", "8"], "weighted"),
        (["--flops-budget", "1e-9"], "--flops-budget"),
        (["--resume"], "no run to resume"),
        (["--resume", "--run-dir", "x" * 300], "can't be read (File name too long)"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing_behind(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)  # as if it were not installed
    folder = tmp_path / "run"
    own = [item for item in ("--model", "resnet8") if "--model" not in arguments]
    space = [] if "--necessary-filter" in arguments else SPACE
    code = main(["--run-dir", str(folder), *own, "--workers", "1", *space, *arguments])
    assert message.lower() in refused(capsys, code).lower()
    assert not folder.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_device_is_refused(tmp_path, capsys):
    assert "cuda" in refused(capsys, train("--run-dir", str(tmp_path / "run"), "--device", "cuda"))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "choose another --run-dir" in refused(capsys, train("--run-dir", str(tmp_path / "file" / "run")))
    assert "not an empty folder" in refused(capsys, train("--run-dir", str(tmp_path / "file")))


def test_a_folder_that_is_not_writable_is_refused(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    allowed = os.access  # root, as which tests may run, may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and allowed(path, mode))
    assert "not writable" in refused(capsys, train("--run-dir", str(folder)))
    assert not list(folder.iterdir())


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 99}', '{"format": 1}'])
def test_a_damaged_config_is_refused(tmp_path, capsys, content):
    (tmp_path / "config.json").write_text(content)
    assert "config.json" in refused(capsys, main(["--resume", "--run-dir", str(tmp_path)]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--evaluations", "0"], "--evaluations is 0: expected at least 1"),
        (["--evaluations", "ten"], "--evaluations is 'ten': expected a whole number"),
        (["--kernel-sizes", "4"], "--kernel-sizes has 4: expected odd numbers of at least 3"),
        (["--num-primitive-range", "6", "2"], "--num-primitive-range is (6, 2)"),
        (["--evaluation", "3"], "unknown option '--evaluation'. Did you mean '--evaluations'?"),
        (["--skip-slower", "-1"], "--skip-slower is -1.0: expected a speedup above 0"),
        (["--latency", "fast"], "--latency is 'fast': expected one of eager, compile"),
        (["--agent-options", "batch_size=0"], "agent option batch_size is 0: expected at least 1"),
        (["--agent-options", "batchsize=8"], "expected one of kernels_per_update, learning_rate, batch_size, n_epochs"),
        (["runs/one"], "nothing was expected at 'runs/one'"),
    ],
)
def test_refusals_name_options_as_they_are_typed(capsys, arguments, message):
    assert message in refused(capsys, main(arguments))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_a_table_and_a_run_that_can_be_resumed(tmp_path, data, number):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "canvas_rl.train", "--run-dir", str(folder), "--evaluations", "500"]
    command += ["--agent", "random", "--agent-options", "kernels_per_round=2", *QUICK, *data]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    checkpoints = folder / "checkpoints"
    deadline = time.monotonic() + 120
    while not (checkpoints.is_dir() and list(checkpoints.glob("[0-9]*"))) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(number)
    output, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert "convolution" in output
    assert "Stopped by" in output
    assert (folder / "best" / "weights.safetensors").exists()
    count = len(json.loads((folder / "state.json").read_text())["asked"])
    assert 2 <= count < 500
    if number == signal.SIGINT:
        assert main(["--resume", "--run-dir", str(folder), "--evaluations", str(count + 1)]) == 0
        asked = json.loads((folder / "state.json").read_text())["asked"]
        assert len(asked) == len(set(asked)) == count + 1


def test_search_from_python(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    result = canvas_rl.search(
        agent="random",
        model="resnet8",
        dataset=data[1],
        evaluations=2,
        workers=1,
        progress=False,
        allowed_filter="fc,conv,relu",
        kernel_sizes=(3,),
        dilated_sizes=(1,),
        num_primitive_range=(2, 3),
        agent_options=("kernels_per_round=2",),
    )
    assert result.path.parent == Path("runs")
    assert result.totals["evaluations"] == 2
    assert sum(result.totals["statuses"].values()) == 2
    assert bool(result.rows) == (result.totals["statuses"].get("ok", 0) > 0)
