"""What a page shows of one kernel when it is opened."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from canvas_rl.codegen import generate_source
from canvas_rl.drawing import to_svg
from canvas_rl.errors import CanvasError
from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.evaluation.store_queries import Record
from canvas_rl.ir import KernelGraph
from canvas_rl.report.reading import Run, Trial

_FIGURES = ("speedup", "quality", "accuracy", "test_accuracy", "wall_time_s")
_DIGITS = 5
_TITLE = re.compile("<title>.*?</title>")


def drawn(graph: KernelGraph) -> dict[str, Any]:
    """A kernel graph for a page: its drawing, its source, the program that builds it."""
    svg = _TITLE.sub("", to_svg(graph))  # a page makes it from what it knows
    return {"svg": svg, "source": generate_source(graph), "program": " ".join(graph.program)}


def kernels_of(runs: Iterable[Run]) -> list[str]:
    """Hashes of all kernels that the runs have asked for, each once."""
    return list(dict.fromkeys(trial.kernel for run in runs for trial in run.trials))


def kernel_details(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """The details of every kernel, in the order of `kernels_of`."""
    trials: dict[str, list[tuple[int, Trial]]] = {}
    for index, run in enumerate(runs):
        for trial in run.trials:
            trials.setdefault(trial.kernel, []).append((index, trial))
    for kernel in kernels_of(runs):
        yield _details(trials[kernel])


def _details(trials: Sequence[tuple[int, Trial]]) -> dict[str, Any]:
    """One kernel: drawing and source once, measurements once each, and which of them counts for which run."""
    rows: list[dict[str, Any]] = []
    counting = {}
    for index, trial in trials:
        shown = [_row(record.measurement, record) for record in trial.history]
        if trial.measurement is not None:
            record = next((item for item in trial.history if item.measurement is trial.measurement), None)
            shown.append(_row(trial.measurement, record))
        rows += [row for place, row in enumerate(shown) if row not in (*rows, *shown[:place])]  # runs share stores
        if trial.measurement is not None:
            counting[index] = rows.index(shown[-1])
    graph = next((trial.graph for _, trial in trials if trial.graph is not None), None)
    return {**_drawn_safely(graph), "rows": rows, "counts": counting}


def _drawn_safely(graph: dict[str, Any] | None) -> dict[str, Any]:
    """A stored graph may come from another version: the page then says so instead of showing it."""
    if graph is None:
        return {}
    try:
        return drawn(KernelGraph.from_json(graph))
    except CanvasError as error:
        return {"unreadable": str(error)}


def _row(measurement: Measurement, record: Record | None) -> dict[str, Any]:
    """A measurement; figures that are missing are left out."""
    row: dict[str, Any] = {"status": str(measurement.status)}
    if measurement.message:
        row["message"] = measurement.message
    row |= {name: short(value) for name in _FIGURES if (value := getattr(measurement, name)) is not None}
    row["sites"] = [
        [str(part.site), short(part.latency_s), short(part.reference_latency_s), part.flops, part.params]
        for part in measurement.sites
    ]
    if record is not None:
        row |= {"device": record.device, "fingerprint": record.fingerprint[:8]}
        if record.created is not None:
            row["made"] = int(record.created.timestamp())
    return row


def short(value: float | None) -> float | None:
    """A figure with as many digits as a page needs."""
    return None if value is None else float(f"{value:.{_DIGITS}g}")
