"""The data of a report page: what its scripts draw charts and tables from. Numbers of kernels stand in columns."""

from collections.abc import Callable, Sequence
from typing import Any

from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.report.course import Course
from canvas_rl.report.details import kernels_of, short
from canvas_rl.report.packing import BLOCK
from canvas_rl.report.reading import Origin, Run, Trial

ORIGINS = tuple(Origin)


def page_model(runs: Sequence[Run], courses: Sequence[Course]) -> dict[str, Any]:
    """Everything but the details of kernels, JSON-ready.

    `kernels` lists the hashes; the details of number i are item i % `block` of packed block i // `block`. Each run has
    `columns`, lists with one value for each evaluation: `kernel`, `status`, `origin` and `families` are indices into
    the lists of that name; `seconds` counts from the run's first measurement, null for those the store had before.
    """
    kernels = {kernel: index for index, kernel in enumerate(kernels_of(runs))}
    statuses = list(dict.fromkeys(trial.status for run in runs for trial in run.trials))
    families = sorted({family for run in runs for trial in run.trials for family in _families(trial)})
    tables = {"kernels": kernels, "statuses": _indices(statuses), "families": _indices(families)}
    return {
        "block": BLOCK,
        "kernels": list(kernels),
        "statuses": statuses,
        "families": families,
        "origins": [str(origin) for origin in ORIGINS],
        "runs": [_run(run, course, tables) for run, course in zip(runs, courses, strict=True)],
    }


def _indices(names: Sequence[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}


def _run(run: Run, course: Course, tables: dict[str, dict[str, int]]) -> dict[str, Any]:
    reference = None
    if run.reference is not None:
        reference = {**_figures(run.reference), "reward": short(run.reference_reward)}
    return {
        "name": run.name,
        "agent": run.settings.run.agent,
        "reference": reference,
        "volumes": run.reference is not None or not run.settings.run.pareto_parameters,
        "columns": _columns(run.trials, course, tables),
    }


def _columns(trials: Sequence[Trial], course: Course, tables: dict[str, dict[str, int]]) -> dict[str, list[Any]]:
    begun = min((trial.made_here for trial in trials if trial.made_here), default=None)
    figures = [_figures(trial.measurement) for trial in trials]

    def column(value: Callable[[Trial], Any]) -> list[Any]:
        return [value(trial) for trial in trials]

    return {
        "kernel": column(lambda trial: tables["kernels"][trial.kernel]),
        "status": column(lambda trial: tables["statuses"][trial.status]),
        "origin": column(lambda trial: ORIGINS.index(trial.origin)),
        "families": column(lambda trial: [tables["families"][name] for name in _families(trial)]),
        "reward": column(lambda trial: short(trial.reward) if trial.ok else None),
        "seconds": column(
            lambda trial: round((trial.made_here - begun).total_seconds(), 1) if trial.made_here and begun else None
        ),
        "best": list(course.best),
        "hypervolume": [short(volume) for volume in course.hypervolume],
        **{name: [item[name] for item in figures] for name in _figures(None)},
    }


def _figures(measurement: Measurement | None) -> dict[str, float | None]:
    """Speedup and qualities; latency in seconds, FLOPs and parameters summed over the sites."""
    sites = measurement.sites if measurement else ()
    latencies = [part.latency_s for part in sites if part.latency_s is not None]
    return {
        "speedup": short(measurement.speedup) if measurement else None,
        "quality": short(measurement.quality) if measurement else None,
        "accuracy": short(measurement.accuracy) if measurement else None,
        "test_accuracy": short(measurement.test_accuracy) if measurement else None,
        "latency": short(sum(latencies)) if sites and len(latencies) == len(sites) else None,
        "flops": sum(part.flops for part in sites) if sites else None,
        "params": sum(part.params for part in sites) if sites else None,
    }


def _families(trial: Trial) -> list[str]:
    """What the kernel's primitives do, in order, from its JSON: functions by their names, others by their family."""
    nodes = trial.graph.get("nodes", []) if trial.graph else []
    return [str(node.get("function") or node.get("type")) for node in nodes[1:-1]]
