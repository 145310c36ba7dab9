"""The progress of a search and its result in a terminal, a file and a notebook."""

import io
import re
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from canvas_rl import progress
from canvas_rl.evaluation.measurement import Measurement, SiteFigures, Status
from canvas_rl.study import Row, SearchResult
from canvas_rl.study.progress import SearchProgress
from canvas_rl.study.result import NetworkLatency
from canvas_rl.symbolic.site import Site


def shown(entry=None, skipped=0, total=20, steps=(9,), **console):
    """What progress writes on a console."""
    screen = Console(file=io.StringIO(), **console)
    with SearchProgress(total, console=screen) as bar:
        for done in steps:
            bar.update(done, 3.0, 60.0, entry, skipped)
    return screen.file.getvalue()


def test_the_bar_tells_how_many_were_skipped_if_any_were():
    assert "skipped" not in shown(width=120, force_terminal=True)
    assert "· 7 skipped" in shown(skipped=7, width=120, force_terminal=True)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_bar_fits_into_a_terminal(entries, width):
    text = shown(entries[0], skipped=1234, total=20_000, width=width, force_terminal=True)
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text))
    assert max(map(len, lines)) <= width
    last = next(line for line in reversed(lines) if line.strip())
    assert "9/20000" in last
    assert "…" not in last
    assert ("best 2.00x at quality 0.500" in last) == (width > 60)
    assert ("· reward 0.750" in last) == (width > 60)
    assert ("1234 skipped" in last) == (width > 80)


def test_a_file_gets_a_plain_line_for_every_tenth(entries):
    text = shown(entries[0], total=50, steps=range(51), width=40)
    lines = text.splitlines()
    assert text.isprintable() or set(text) - set(filter(str.isprintable, text)) == {"\n"}
    assert [line.split()[1] for line in lines] == [f"{done}/50" for done in range(5, 51, 5)]
    assert lines[-1] == "evaluation 50/50 · left 0:00 · best 2.00x at quality 0.500 · reward 0.750 · 16.67/s"


def test_a_file_gets_a_line_after_a_minute_too(monkeypatch):
    now = iter(range(0, 1000, 25))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    lines = shown(total=1000, steps=range(1, 7), width=80).splitlines()
    assert [line.split()[1] for line in lines] == ["3/1000", "6/1000"]


def test_a_resumed_search_repeats_no_tenth():
    screen = Console(file=io.StringIO(), width=80)
    with SearchProgress(20, done=11, console=screen) as bar:
        bar.update(11, 0.1, None, None)
        bar.update(12, 3.0, None, None)
    assert screen.file.getvalue().splitlines() == ["evaluation 12/20 · left 0:24 · best none yet · 0.33/s"]


def test_a_notebook_gets_one_output_that_is_replaced(entries, monkeypatch):
    drawn = []
    handle = types.SimpleNamespace(update=lambda bundle, raw: drawn.append(bundle))
    fake = types.ModuleType("IPython.display")
    fake.display = lambda bundle, raw, display_id: drawn.append(bundle) or handle
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    assert shown(entries[0], force_jupyter=True) == ""
    assert drawn[0]["text/plain"].startswith("0/20")
    assert drawn[-1]["text/plain"] == "9/20 · left 0:03 · best 2.00x at quality 0.500 · reward 0.750 · 3.00/s"
    assert '<progress value="9" max="20"' in drawn[-1]["text/html"]


def test_hidden_progress_draws_nothing(capsys):
    with SearchProgress(20, hidden=True) as bar:
        bar.update(9, 3.0, 60.0, None)
    assert capsys.readouterr() == ("", "")


def table_lines(result, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(result.table(width))
    return console.file.getvalue().splitlines()


@pytest.fixture
def result(entries):
    site = SiteFigures(Site(512, 7, 7), 10**9, 10**6, 10**6, 1.234e-3, 2.345e-3)
    reference = Measurement("reference", Status.OK, sites=(replace(site, reference_latency_s=1.234e-3),), speedup=1.0)
    network = NetworkLatency(0.0123, 0.0456)
    rows = [Row(replace(entry, measurement=replace(entry.measurement, sites=(site,))), network) for entry in entries]
    totals = {"evaluations": 12, "statuses": {"ok": 12}, "store_hits": 0, "repeats": 1}
    return SearchResult(Path("runs/one"), tuple(rows[:3]), replace(reference, quality=0.9), "all is done", totals, 0.5)


def test_a_result_and_its_parts_are_short(result, entries):
    best = entries[0].graph.hash[:8]
    assert repr(result) == (
        f"SearchResult('runs/one', 12 evaluations, best {best}: 2.00x at quality 0.500, reward 0.750)"
    )
    assert repr(replace(result, rows=())) == "SearchResult('runs/one', 12 evaluations, no kernel)"
    assert repr(result.best) == f"Entry({best}: 2.00x at quality 0.500, reward 0.750)"
    assert repr(result.rows[0]) == f"Row({best}: 2.00x at quality 0.500, reward 0.750)"


@pytest.mark.parametrize(
    ("width", "tables", "latency"), [(120, 1, "1.23 (1.90x)"), (80, 1, "1.90x"), (62, 3, "1.23 (")]
)
def test_a_table_shows_every_kernel_however_narrow_it_is(result, width, tables, latency):
    lines = table_lines(result, width)
    assert [row.entry.graph.hash[:8] in "".join(lines) for row in result.rows] == [True] * 3
    assert len(lines) == tables * len(table_lines(result, 200)), "a row was wrapped"
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    row = next(line for line in lines if "512@7x7" in line)
    assert row.split("│")[2:4] == [f" {'1.23':>11} ", row.split("│")[3]]
    assert latency in row.split("│")[3]
    network = next(line for line in lines if "whole network" in line)
    assert "3.71x" in network


def test_the_convolution_has_its_reward(result):
    (row,) = (line for line in table_lines(result, 120) if "reward" in line)
    assert [cell.strip() for cell in row.split("│")[1:4]] == ["reward", "0.500", "0.750"]


def test_a_result_says_that_no_kernel_beats_the_convolution(result, entries):
    best = entries[0].graph.hash[:8]
    assert result.shortfall is None
    assert result.summary() == ("All is done. Kernels: 12 (12 ok), of these 0 from the store; 1 repeats on top.")
    worse = replace(result, reference_reward=1.0)
    assert worse.summary().splitlines()[1] == (
        "No kernel beats the replaced convolution (reward 1.000, 1.00x, quality 0.900): "
        f"the best, {best}, has reward 0.750, 2.00x, quality 0.500. "
        "Try more evaluations, another agent, or another search space or budget."
    )
    slow = replace(entries[0], measurement=replace(entries[0].measurement, speedup=0.8))
    slower = replace(result, rows=(Row(slow),))
    assert "and not faster. Try more evaluations" in slower.summary().splitlines()[1]
    assert replace(result, rows=()).shortfall.startswith("No kernel was measured without failure. Try")
