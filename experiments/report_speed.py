"""How fast a report of many evaluations is written, and how fast a browser shows it.

    python experiments/report_speed.py --evaluations 10000

Makes a run of sampled kernels with made-up figures (the analytic evaluator's, one in twenty failed), writes its report,
and opens the file in Chromium, which must be installed, five times: first contentful paint, the time until the charts
are drawn, and until a click on a kernel shows its graph. Medians are printed. Writes
`experiments/results/report_speed.json`.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import plotly
import torch
from playwright.sync_api import Browser, sync_playwright

from canvas_rl.command_line import exit_code
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.ir import KernelGraph
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.report import read_run, report_page
from canvas_rl.space import SearchSpace
from canvas_rl.study import SearchSettings
from canvas_rl.study.folder import RunFolder

RESULTS = Path(__file__).parent / "results"
DEVICE, FINGERPRINT = "a made-up device", "made-up-figures"
FAILED_OF = 20
OPENED = 5


def make_run(folder: Path, evaluations: int, settings: SearchSettings) -> None:
    """A run folder as a search would leave it, with figures of the analytic evaluator."""
    space = SearchSpace(DEFAULT_SITES, settings.space)
    kernels = sampled(space, evaluations)
    evaluator = AnalyticEvaluator(space.sites)
    run = RunFolder.create(folder)
    run.save_settings(settings, space.fingerprint, f"{DEVICE}, {FINGERPRINT}")
    store = MeasurementStore(folder / "search.sqlite")
    statuses: Counter[str] = Counter()
    for number, (graph, measurement) in enumerate(zip(kernels, evaluator.evaluate(kernels), strict=True)):
        shown = failed(measurement) if number % FAILED_OF == 1 else measurement
        statuses[str(shown.status)] += 1
        store.put(shown, graph.to_json(), FINGERPRINT, DEVICE)
    store.close()
    state = {"asked": [graph.hash for graph in kernels], "statuses": dict(statuses), "archive": [], "front": []}
    run.save_state({**state, "repeats": 0, "reference": evaluator.reference.to_json()})


def sampled(space: SearchSpace, count: int) -> list[KernelGraph]:
    """Different kernels."""
    rng = np.random.default_rng(0)
    found: dict[str, KernelGraph] = {}
    while len(found) < count:
        graph = space.sample(rng)
        found[graph.hash] = graph
    return list(found.values())


def failed(measurement: Measurement) -> Measurement:
    """The same kernel, had it failed."""
    return replace(measurement, status=Status.NOT_FINITE, message="the output has a NaN", speedup=None, quality=None)


def open_page(browser: Browser, path: Path) -> dict[str, float]:
    """Seconds that a browser takes, without what it has cached."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_selector("html[data-charts=drawn]", timeout=60_000)
    charts = page.evaluate("performance.now()")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    last = page.evaluate("document.querySelectorAll('#kernel-table [data-kernel]').length") - 1
    clicked = page.evaluate(
        """async (last) => {
            const begun = performance.now();
            document.querySelectorAll('#kernel-table [data-kernel]')[last].click();
            while (!document.querySelector('dialog[open] .drawing svg')) await new Promise(requestAnimationFrame);
            return performance.now() - begun;
        }""",
        last,
    )
    context.close()
    if problems:
        raise SystemExit(f"the page has errors: {problems}")
    return {"first_paint_s": paint / 1e3, "charts_drawn_s": charts / 1e3, "kernel_opened_s": clicked / 1e3}


def browse(path: Path) -> dict[str, float]:
    """Medians of opening the page several times."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = [open_page(browser, path) for _ in range(OPENED)]
        version = browser.version
        browser.close()
    return {**{name: round(median(item[name] for item in opened), 3) for name in opened[0]}, "chromium": version}


def measure(folder: Path, evaluations: int, longest: int) -> dict[str, Any]:
    settings = SearchSettings.of(agent="random", evaluations=evaluations, num_primitive_range=(2, longest))
    make_run(folder / "run", evaluations, settings)
    started = time.perf_counter()
    run = read_run(folder / "run")
    read = time.perf_counter() - started
    page = report_page([run])
    written = time.perf_counter() - started
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    figures = {"read_s": round(read, 2), "read_and_written_s": round(written, 2)}
    return {
        "evaluations": evaluations,
        "primitives": f"2 to {longest}",
        **figures,
        "file_mb": round(path.stat().st_size / 1e6, 2),
        **browse(path),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=10_000)
    parser.add_argument("--longest", type=int, nargs="*", default=[8, 25], help="most primitives of a kernel")
    parser.add_argument("--output", type=Path, default=RESULTS / "report_speed.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for longest in asked.longest:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), asked.evaluations, longest))
        print(rows[-1])
    versions = {"python": platform.python_version(), "torch": torch.__version__, "plotly": plotly.__version__}
    content = {"command": "python experiments/report_speed.py", **versions, "cores": os.cpu_count(), "rows": rows}
    asked.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(exit_code(main))
