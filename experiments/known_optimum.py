"""What only a table of all kernels can tell of a search: how far it is from the best there is."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from canvas_rl.evaluation.tabulated import TabulatedEvaluator
from canvas_rl.rewards import Reward
from canvas_rl.study.front import hypervolume, objectives_of

TOP_SHARE = 0.001
DIGITS = 6
TARGETS = {
    "best": "the best",
    "top": f"one of the best {TOP_SHARE:.1%}",
}
"""What a search may reach, and how the table calls it."""


def optimum(evaluator: TabulatedEvaluator, reward: Reward) -> dict[str, Any]:
    """The greatest reward in a table, the rewards that count as reaching it, and the hypervolume of all kernels."""
    rows, reference = list(evaluator.measurements.values()), evaluator.reference
    rewards = sorted((round(reward(row, reference), DIGITS) for row in rows), reverse=True)
    return {
        "table": evaluator.fingerprint,
        "kernels": len(rows),
        "best": rewards[0],
        "top": rewards[math.ceil(TOP_SHARE * len(rewards)) - 1],
        "hypervolume": hypervolume(filter(None, (objectives_of(row, reference) for row in rows))),
    }


def regret(run: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The share of the best reward that is missed after each evaluation, [evaluations]."""
    best: float = run["optimum"]["best"]
    return 1 - np.maximum.accumulate(np.array(run["rewards"], dtype=float)) / best


def against_optimum(
    runs: Sequence[dict[str, Any]],
    marks: Sequence[int],
    first_reaching: Callable[[dict[str, Any], float], float],
) -> dict[str, Any]:
    """For one agent's runs: regrets at some numbers of evaluations, and evaluations until each target (None: never)."""
    found = {name: [first_reaching(run, run["optimum"][name]) for run in runs] for name in TARGETS}
    return {
        "regret": {str(mark): [round(float(regret(run)[mark - 1]), 4) for run in runs] for mark in marks},
        "evaluations_to": {
            name: [None if math.isinf(value) else value for value in values] for name, values in found.items()
        },
    }


def optimum_table(summary: dict[str, Any], early: int) -> str:
    """The part of a summary that is about the optimum, in Markdown."""
    last = summary["evaluations"]
    heads = ("agent", f"regret @{early}", f"@{last}", *(f"evaluations to {text}" for text in TARGETS.values()))
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for name, row in summary["agents"].items():
        regrets = [_percent(row["regret"][str(mark)]) if str(mark) in row["regret"] else "-" for mark in (early, last)]
        reached = [_reached(row["evaluations_to"][target]) for target in TARGETS]
        lines.append(f"| {name} | {' | '.join((*regrets, *reached))} |")
    return "\n".join(lines) + "\n"


def _percent(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1%} ({min(values):.1%}-{max(values):.1%})"


def _reached(values: Sequence[float | None]) -> str:
    """The median, where more than half of the runs got there, and how many did."""
    middle = statistics.median(math.inf if value is None else value for value in values)
    count = sum(value is not None for value in values)
    return f"{'-' if math.isinf(middle) else f'{middle:g}'} ({count} of {len(values)})"
