import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from canvas_rl import zoo
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.measurement import Rejection, Status
from canvas_rl.handover import card
from canvas_rl.ir import static_cost
from canvas_rl.show import main
from canvas_rl.symbolic.site import Site

RUN = str(Path(__file__).resolve().parents[2] / "experiments" / "results" / "ppo_resnet18_cpu")
SITES = ["--sites", "8,4,4", "16,2,2"]


def shown(capsys, *arguments):
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_graph_source_and_costs_are_shown(capsys):
    output = shown(capsys, "bottleneck", *SITES)
    pack = zoo.pack("bottleneck", [(8, 4, 4), (16, 2, 2)])
    assert output.startswith(f"{pack.name}, bottleneck of the zoo: {pack.graph.primitive_count} primitives")
    assert pack.torch_code.rstrip() in output
    assert "with learned weights" in output
    assert "8@4x4" in output
    assert "16@2x2" in output
    cost = static_cost(pack.graph, Site(8, 4, 4))
    lines = output.splitlines()
    first = next(line.split() for line in lines if line.startswith("  8@4x4"))
    assert first[1:4] == ["kernel", f"{cost.flops / 1000:.3g}k", str(cost.params)]
    assert f"{cost.activation * 4 / 1000:.3g} kB" in output
    convolution = next(line.split() for line in lines if line.split()[:2] == ["3x3", "conv"])
    assert convolution[2:4] == ["18.4k", "576"]
    ratio = next(line.split() for line in lines if "times less" in line)
    assert ratio[2] == f"{18432 / cost.flops:.2f}x"
    assert "measured" not in output


def test_a_run_is_shown_with_its_latencies(capsys):
    output = shown(capsys, RUN)
    found = json.loads((Path(RUN) / "metrics.json").read_text())["measurement"]
    quality, speedup = f"quality {found['quality']:.3f}", f"{found['speedup']:.2f}x (geometric mean)"
    assert f"{quality}, {speedup} on AMD EPYC (1 thread)" in output
    assert [line.split()[-1] for line in output.splitlines() if "times less" in line] == [
        f"{site['reference_latency_s'] / site['latency_s']:.2f}x" for site in found["sites"]
    ]


def test_a_run_whose_best_kernel_does_not_beat_the_convolution_says_so(capsys, tmp_path):
    (tmp_path / "kernel.py").write_text((Path(RUN) / "kernel.py").read_text())
    metrics = json.loads((Path(RUN) / "metrics.json").read_text())
    for own, said in ((1.0, False), (metrics["reward"], True)):
        (tmp_path / "metrics.json").write_text(json.dumps({**metrics, "reference_reward": own}))
        assert ("No kernel beats the replaced convolution" in shown(capsys, str(tmp_path))) == said


def test_latency_is_measured_where_a_device_is_given(capsys, monkeypatch):
    monkeypatch.setattr(LatencyConfig, "cap_s", 0.01)
    output = shown(capsys, "conv1x1", *SITES, "--device", "cpu", "--batch-size", "3", "--dtype", "bfloat16")
    assert "bfloat16, batch 3, eager, timed" in output
    rows = [line for line in output.splitlines() if line.rstrip().endswith(" ms")]
    assert len(rows) == 4


def test_a_site_that_cannot_be_measured_is_said(capsys, monkeypatch):
    def refuse(*arguments):
        raise Rejection(Status.NOT_FINITE, "the output in float16 is not finite")

    monkeypatch.setattr(card, "measure_pair", refuse)
    output = shown(capsys, "conv1x1", *SITES, "--device", "cpu")
    assert "8@4x4 could not be measured (not_finite): the output in float16 is not finite" in output


def test_all_but_the_source_fits_80_columns(capsys, monkeypatch):
    monkeypatch.setattr(LatencyConfig, "cap_s", 0.001)
    output = shown(capsys, RUN, "--sites", "64,56,56", "128,28,28", "256,14,14", "512,7,7", "--device", "cpu")
    table = output[output.index("Cost of one sample (memory") :]
    assert "its run" in table
    assert "measured" in table
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 81


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["botleneck"], "Did you mean 'bottleneck'?"),
        (["nowhere/kernel.json"], "'nowhere/kernel.json' is neither a file nor a known operator"),
        (["bottleneck", "--sites", "64x56"], "the site '64x56' can't be read"),
        (["conv1x1", "--sites", "3,3,3", "4"], "different numbers of spatial dims"),
        (["bottleneck", "--device", "gpu"], "device is 'gpu': expected one of cpu, cuda"),
        (["bottleneck", "--device", "cpu", "--dtype", "int8"], "dtype is 'int8'"),
    ],
)
def test_bad_input_is_one_sentence(capsys, arguments, message):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_device_is_refused(capsys):
    assert main(["bottleneck", "--device", "cuda"]) == 2
    assert "torch sees no CUDA device" in capsys.readouterr().err


def test_flags_that_do_not_exist_exit_with_2():
    with pytest.raises(SystemExit) as end:
        main(["bottleneck", "--bogus"])
    assert end.value.code == 2


def test_a_pipe_gets_no_colours_and_whole_lines():
    command = [sys.executable, "-m", "canvas_rl.show", "self_attention", *SITES]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "40"}, check=True)
    assert "\x1b" not in done.stdout
    assert zoo.pack("self_attention", [(8, 4, 4), (16, 2, 2)]).torch_code.rstrip() in done.stdout
