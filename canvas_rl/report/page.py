"""The report on runs as a page."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from canvas_rl.drawing import to_svg
from canvas_rl.errors import CanvasError, ConfigError, MissingDependencyError
from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.ir import KernelGraph
from canvas_rl.report.command import repeat_command
from canvas_rl.report.course import course_of
from canvas_rl.report.details import kernel_details
from canvas_rl.report.facts import agent_facts, budget_facts, environment_facts, target_facts
from canvas_rl.report.model import page_model
from canvas_rl.report.packing import packed, packed_blocks, packed_json
from canvas_rl.report.reading import Run, Trial
from canvas_rl.report.rendering import render
from canvas_rl.report.summary import by_agent, by_status, summarise

Progress = Callable[[Iterable[Any], int], Iterable[Any]]
"""Shows how far an iteration over so many items is."""


def report_page(runs: Sequence[Run], progress: Progress = lambda items, total: items) -> str:
    """One self-contained page of HTML about one or more runs.

    Args:
        runs: what `read_run` gave.
        progress: wraps the slow part, one item a kernel.

    Raises:
        ConfigError: no runs.
        MissingDependencyError: plotly, which draws the charts, is not installed.
    """
    if not runs:
        raise ConfigError("no run was given: expected at least one folder of a run")
    library = packed(_chart_library())
    courses = [course_of(run) for run in runs]
    summaries = [summarise(run, course) for run, course in zip(runs, courses, strict=True)]
    model = page_model(runs, courses)
    details = progress(kernel_details(runs), len(model["kernels"]))
    return render(
        "report.html",
        title=runs[0].name if len(runs) == 1 else f"{len(runs)} runs",
        runs=runs,
        summaries=summaries,
        agents=by_agent(summaries),
        statuses=by_status(runs),
        highlights=[_highlight(run) for run in runs],
        notices=_notices(runs),
        facts=[
            (("Searched", target_facts(run)), ("Budget", budget_facts(run)), ("Agent", agent_facts(run)))
            for run in runs
        ],
        environments=[environment_facts(run) for run in runs],
        commands=[repeat_command(run.settings) for run in runs],
        measured=any(trial.ok for run in runs for trial in run.trials),
        written=datetime.now(UTC),
        model=packed_json(model),
        blocks=packed_blocks(details),
        library=library,
    )


def _chart_library() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingDependencyError(
            "the charts of a report need plotly, which is not installed: pip install plotly"
        ) from error
    text: str = get_plotlyjs()
    return text


def _highlight(run: Run) -> dict[str, Any] | None:
    """The best kernel of a run beside the convolution; None if nothing was measured."""
    best = run.best
    if best is None or best.measurement is None:
        return None
    costs = {name: _ratio(best.measurement, run.reference, name) for name in ("flops", "params")}
    reference, network = run.reference, run.network
    return {
        "run": run,
        "trial": best,
        "measurement": best.measurement,
        "reference": reference,
        "network": network.get("speedup") if network else None,
        "svg": _drawing(best),
        **costs,
    }


def _ratio(measurement: Measurement, reference: Measurement | None, name: str) -> float | None:
    """What a kernel costs, as a share of what the convolution does."""
    own, replaced = (
        sum(getattr(part, name) for part in item.sites) if item else 0 for item in (measurement, reference)
    )
    return own / replaced if measurement.sites and replaced else None


def _drawing(trial: Trial) -> str:
    try:
        return to_svg(KernelGraph.from_json(trial.graph))
    except CanvasError:  # opening the kernel says why
        return ""


def _notices(runs: Sequence[Run]) -> list[str]:
    """What a reader must know before comparing figures."""
    found = []
    devices = list(dict.fromkeys(run.device for run in runs))
    if len(devices) > 1:
        found.append(
            f"These runs were measured on {len(devices)} devices ({', '.join(devices)}): their latencies, speedups and "
            "rewards can't be compared."
        )
    elif len({run.fingerprint for run in runs}) > 1:
        found.append(
            "These runs evaluated kernels in different ways (network, data, number type, versions): their figures "
            "can't be compared."
        )
    for run in runs:
        if not run.trials:
            found.append(f"{run.name}: no kernel has been evaluated yet.")
        elif not any(trial.ok for trial in run.trials):
            found.append(f"{run.name}: no kernel has been measured without failure yet.")
        elif run.reference is None:
            found.append(
                f"{run.name}: the replaced convolution's figures are not known, so that only the best kernels have a "
                "reward; end the run with --resume to have them."
            )
    return found
