"""What a page contains, and how the command line refuses what it can't use."""

import base64
import gzip
import json
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from canvas_rl import zoo
from canvas_rl.codegen import generate_source
from canvas_rl.errors import ConfigError, MissingDependencyError
from canvas_rl.ir import KernelGraph
from canvas_rl.report import gallery_page, read_run, report_page
from canvas_rl.report.__main__ import main
from canvas_rl.report.command import repeat_command
from canvas_rl.report.packing import BLOCK, packed_blocks, packed_json
from canvas_rl.study import SearchSettings
from canvas_rl.train import parse

SCRIPT = re.compile(r'<script type="application/gzip-base64" id="([\w-]+)">([^<]*)</script>')


def unpacked(page: str, name: str):
    found = dict(SCRIPT.findall(page))
    return json.loads(gzip.decompress(base64.b64decode(found[name])))


def text_of(page: str) -> str:
    """What is not packed and no style or script."""
    return re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)


@pytest.fixture(scope="module")
def run(finished):
    return read_run(finished)


@pytest.fixture(scope="module")
def page(run):
    return report_page([run])


def test_the_model_has_every_evaluation(run, page):
    model = unpacked(page, "model")
    columns = model["runs"][0]["columns"]
    assert model["kernels"] == [trial.kernel for trial in run.trials]
    assert {len(column) for column in columns.values()} == {len(run.trials)}
    assert [model["statuses"][index] for index in columns["status"]] == [trial.status for trial in run.trials]
    for index, trial in enumerate(run.trials):
        if trial.ok:
            assert columns["speedup"][index] == pytest.approx(trial.measurement.speedup, rel=1e-4)
            assert columns["flops"][index] == sum(site.flops for site in trial.measurement.sites)
            assert columns["reward"][index] == pytest.approx(trial.reward, rel=1e-4)
        else:
            assert columns["reward"][index] is None
    assert columns["best"][-1] == run.trials.index(run.best)


def test_every_kernel_has_its_details(run, page):
    details = unpacked(page, "block-0")
    for index, trial in enumerate(run.trials):
        rows = details["rows"][index]
        assert rows[details["counts"][index]["0"]]["status"] == trial.status
        if trial.graph is None:
            assert details["svg"][index] is None
            continue
        graph = KernelGraph.from_json(trial.graph)
        assert details["svg"][index].startswith("<svg")
        assert details["source"][index] == generate_source(graph)
        assert details["program"][index] == " ".join(graph.program)
        assert len(rows[0]["sites"]) == 2


def test_the_page_says_what_was_searched_and_how_it_ended(run, page):
    shown = text_of(page)
    for part in ("resnet18", "12 kernels evaluated", "8@4x4, 16@2x2", "2 to 8", repeat_command(run.settings), "2.x"):
        assert part in shown, part
    for status in ("not_finite", "skipped", "predicted to be too slow"):
        assert status in shown
    assert run.best.kernel[:8] in shown


def test_the_page_says_whether_a_kernel_beats_the_convolution(run):
    best = run.best
    faster = replace(best, measurement=replace(best.measurement, speedup=2.0))
    beaten = replace(run, trials=(faster,), reference_reward=best.reward / 2)
    assert f"convolution {beaten.reference_reward:.3f}" in text_of(report_page([beaten]))
    assert "beats the replaced convolution" not in text_of(report_page([beaten]))
    page = report_page([replace(run, reference_reward=best.reward + 1)])
    assert f"No kernel beats the replaced convolution (reward {best.reward + 1:.3f}, 1.00x" in text_of(page)
    assert unpacked(page, "model")["runs"][0]["reference"]["reward"] == pytest.approx(best.reward + 1, rel=1e-4)
    slower = replace(best, measurement=replace(best.measurement, speedup=0.9))
    page = text_of(report_page([replace(beaten, trials=(slower,))]))
    assert "is better than the replaced convolution" in page
    assert "and not faster" in page


def test_texts_are_escaped(finished):
    run = read_run(finished)
    evil = "</script><img src=x onerror=alert(1)>"
    page = report_page([replace(run, name=evil, device=evil)])
    assert evil not in page
    assert "&lt;/script&gt;&lt;img" in page
    assert "a NaN &amp; more &lt;b&gt;" in text_of(page)


def test_the_page_asks_no_other_place_for_anything(page):
    assert not re.search(r'(src|href)="(?!#|data:)', text_of(page))
    assert "default-src 'none'" in page


def test_several_runs_are_compared_and_devices_kept_apart(make_run, run, tmp_path):
    other = read_run(make_run(tmp_path / "other", seed=1, device="B", agent="genetic"))
    page = report_page([run, other])
    shown = text_of(page)
    assert "measured on 2 devices (A, B): their latencies, speedups and rewards can&#39;t be compared" in shown
    assert "Runs and agents" in shown
    assert re.search(r'<td class="left">genetic</td><td>1</td><td>12</td>', shown)
    model = unpacked(page, "model")
    assert [item["name"] for item in model["runs"]] == ["finished", "other"]
    assert len(model["kernels"]) == len({trial.kernel for item in (run, other) for trial in item.trials})


def test_a_kernel_of_two_runs_is_told_once_with_what_counts_in_each(run):
    page = report_page([run, replace(run, name="again")])
    details = unpacked(page, "block-0")
    assert len(details["rows"]) == 12
    assert len(details["rows"][0]) == 1
    assert details["counts"][0] == {"0": 0, "1": 0}


@pytest.mark.parametrize(
    ("evaluations", "failing", "message"),
    [(0, (), "no kernel has been evaluated yet"), (2, (0, 1), "no kernel has been measured without failure yet")],
)
def test_a_run_without_measured_kernels_still_has_a_page(make_run, tmp_path, evaluations, failing, message):
    page = report_page([read_run(make_run(tmp_path / "run", evaluations=evaluations, failing=failing))])
    assert f"run: {message}" in text_of(page)
    assert "front-chart" not in text_of(page)


def test_a_graph_of_another_version_is_said_to_be_unreadable(run):
    graph = run.trials[0].graph | {"version": 99}
    trials = (replace(run.trials[0], graph=graph), *run.trials[1:])
    details = unpacked(report_page([replace(run, trials=trials)]), "block-0")
    assert details["svg"][0] is None
    assert "version 99" in details["unreadable"][0]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"agent": "genetic", "agent_options": ("objectives=pareto",), "evaluations": 7, "seed": 3},
        {"time_limit": None, "channels_last": True, "kernel_sizes": (3, 5), "ensure_spatial_invariance": False},
        {"num_primitive_range": (5, 25), "flops_budget": None, "dataset": "a file.npz", "skip_slower": 1.5},
    ],
)
def test_the_command_repeats_the_search(values):
    settings = SearchSettings.of(**values)
    words = shlex.split(repeat_command(settings))
    assert words[:3] == ["python", "-m", "canvas_rl.train"]
    assert parse(words[3:]) == settings


def test_the_command_hides_a_password():
    settings = SearchSettings.of(storage="postgresql://me:secret@host/database")
    assert "secret" not in repeat_command(settings)
    assert "me:***@host/database" in repeat_command(settings)


def test_no_password_of_a_store_is_on_the_page(run):
    settings = SearchSettings.of(storage="postgresql://host/database?user=me&password=secret&sslpassword=secret")
    page = text_of(report_page([replace(run, settings=settings)]))
    assert "secret" not in page
    assert page.count("password=***") == 4  # in the command and in the table


def test_packed_data_is_json_that_browsers_read():
    text = packed_json({"a": [float("nan"), float("inf"), 1.5], "b": "<é>"})
    assert json.loads(gzip.decompress(base64.b64decode(text))) == {"a": [None, None, 1.5], "b": "<é>"}
    blocks = list(packed_blocks({"n": n} if n else {"n": n, "rare": 1} for n in range(2 * BLOCK + 1)))
    assert len(blocks) == 3
    first = json.loads(gzip.decompress(base64.b64decode(blocks[0])))
    assert first["n"] == list(range(BLOCK))
    assert first["rare"] == [1] + [None] * (BLOCK - 1)


def test_the_gallery_has_every_operator():
    page = gallery_page()
    shown = text_of(page)
    details = unpacked(page, "block-0")
    for index, name in enumerate(zoo.names()):
        known = zoo.operator(name)
        assert f'data-operator="{name}"' in shown
        variants = details["variants"][index]
        assert [variant["label"] for variant in variants] == [f"{dims}-D" for dims in sorted(known.dims, reverse=True)]
        assert variants[0]["program"] == " ".join(known.program(max(known.dims)))
        assert all(variant["svg"].startswith("<svg") and "nn.Module" in variant["source"] for variant in variants)
    conv = details["variants"][zoo.names().index("conv3x3")][0]["costs"]
    assert all(flops == theirs and params == own for _, flops, theirs, params, own in conv)
    assert shown.count("<svg") == len(zoo.names())


def test_the_command_line_writes_beside_the_run_or_where_it_is_told(copied, tmp_path, capsys):
    assert main([str(copied)]) == 0
    assert capsys.readouterr().out == f"Saved in {copied / 'report.html'}\n"
    assert (copied / "report.html").read_text().startswith("<!doctype html>")
    assert main(["--zoo", "--output", str(tmp_path / "zoo.html")]) == 0
    assert "Known operators" in (tmp_path / "zoo.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected folders of runs, or --zoo"),
        (["{run}", "--zoo"], "expected folders of runs, or --zoo"),
        (["{run}/nowhere"], "is no run"),
        (["x" * 300], "can't be read"),
        (["{run}", "--output", "{run}/nowhere/report.html"], "that exists and is writable with --output"),
        (["{run}", "--output", "{run}"], "(it is a folder)"),
        (["--zoo", "--output", "{run}/nowhere/zoo.html"], "that exists and is writable with --output"),
    ],
)
def test_the_command_line_refuses_in_one_sentence_before_it_draws(finished, capsys, monkeypatch, arguments, message):
    for name in ("report_page", "gallery_page"):
        monkeypatch.setattr(f"canvas_rl.report.__main__.{name}", lambda *_: pytest.fail("drawn"))
    assert main([argument.format(run=finished) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not Path(finished, "report.html").exists()


def test_no_runs_are_refused():
    with pytest.raises(ConfigError, match="at least one"):
        report_page([])


def test_a_missing_plotly_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(MissingDependencyError, match="pip install plotly"):
        report_page([run])
