"""Which agent finds better kernels with fewer evaluations? Repeatable on any machine, without a GPU.

    python experiments/compare_agents.py --evaluations 2000 --seeds 5 --processes 2

Every agent searches the default space of `python -m canvas_rl.train` at the sites of ResNet-18 with every seed. The
objective is deterministic and cheap: `AnalyticEvaluator` (latency of a roofline, quality from the graph's structure;
its docstring has the formulas) under the default reward. It stands in for measured latency and trained quality: what
it ranks first need not be the best kernel.

Writes one JSON a run under `experiments/results/compare_agents/`, and from all runs there the table `summary.json`,
`summary.md` and, with matplotlib, `curves.png`: the best reward so far, mean and 95% confidence interval over the seeds
(Student's t), and the hypervolume of each run's Pareto front. Runs that are there already are not repeated.
"""

import argparse
import json
import math
import multiprocessing
import platform
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import canvas_rl
from canvas_rl.errors import ConfigError
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.rewards import make_reward
from canvas_rl.space import SearchSpace
from canvas_rl.study.front import hypervolume, objectives_of
from canvas_rl.study.settings import default_space
from in_memory import Timed, search

RESULTS = Path(__file__).parent / "results" / "compare_agents"
CONTENDERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "random": ("random", ()),
    "ppo": ("ppo", ()),
    "genetic": ("genetic", ()),
    "genetic-pareto": ("genetic", ("objectives=pareto",)),
    "evolution": ("evolution", ()),
    "mcts": ("mcts", ()),
}
"""For each row of the table the agent and its options."""
BASELINE = "random"
MARKS = (100, 200, 400, 800, 1600, 2000)
EARLY = 400
"""Evaluations within which an agent shall reach the baseline's best."""


@dataclass(frozen=True)
class Run:
    """One search: a contender, a seed and how many kernels it may evaluate."""

    contender: str
    seed: int
    evaluations: int

    @property
    def path(self) -> Path:
        """Where its result is kept."""
        return RESULTS / f"{self.contender}-{self.evaluations}-{self.seed}.json"


def play(run: Run) -> dict[str, Any]:
    """Search, and return what there is to know of it, JSON-ready."""
    torch.set_num_threads(1)
    name, options = CONTENDERS[run.contender]
    space = SearchSpace(DEFAULT_SITES, default_space())
    evaluator, reward = Timed(AnalyticEvaluator(space.sites)), make_reward()
    session, seconds = search(name, options, space, evaluator, reward, run.evaluations, run.seed)
    best = session.archive.best
    points = [objectives_of(measurement, evaluator.reference) for measurement in evaluator.measurements]
    return {
        "contender": run.contender,
        "agent": name,
        "options": list(options),
        "seed": run.seed,
        "evaluations": session.count,
        "repeats": session.repeats,
        "rewards": [round(reward(measurement, evaluator.reference), 6) for measurement in evaluator.measurements],
        "hypervolume": {str(mark): hypervolume(filter(None, points[:mark])) for mark in MARKS if mark <= len(points)},
        "front": session.front.points,
        "best": {"reward": best.reward, "program": list(best.graph.program), "hash": best.graph.hash} if best else None,
        "own_ms_per_kernel": round(1000 * seconds / session.count, 2),
        "machine": {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine()},
        "canvas_rl": canvas_rl.__version__,
    }


def best_so_far(run: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The best reward after each evaluation, [evaluations]."""
    return np.maximum.accumulate(np.array(run["rewards"]))


def first_reaching(run: dict[str, Any], target: float) -> float:
    """Evaluations until a reward was reached; infinite if it never was."""
    reached = np.flatnonzero(np.array(run["rewards"]) >= target)
    return float(reached[0] + 1) if len(reached) else math.inf


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The table: for each contender its best rewards, how it compares with the baseline, and its fronts."""
    by_seed = {run["seed"]: run for run in runs if run["contender"] == BASELINE}
    union = hypervolume(tuple(point) for run in runs for point in run["front"])
    rows = {}
    for contender in CONTENDERS:
        own = sorted((run for run in runs if run["contender"] == contender), key=lambda run: run["seed"])
        paired = [(run, by_seed[run["seed"]]) for run in own if run["seed"] in by_seed]
        if not paired:
            continue
        curves = [best_so_far(run) for run in own]
        gaps = [union - hypervolume(tuple(point) for point in run["front"]) for run in own]
        rows[contender] = {
            "seeds": [run["seed"] for run in own],
            "best": {
                str(mark): [round(float(c[mark - 1]), 4) for c in curves] for mark in MARKS if mark <= len(curves[0])
            },
            "better_than_random": sum(bool(best_so_far(run)[-1] > best_so_far(base)[-1]) for run, base in paired),
            "evaluations_to_randoms_best": _median(first_reaching(run, best_so_far(base)[-1]) for run, base in paired),
            "hypervolume": [round(union - gap, 4) for gap in gaps],
            "hypervolume_gap": round(statistics.median(gaps), 4),
            "own_ms_per_kernel": round(statistics.median(run["own_ms_per_kernel"] for run in own), 1),
            "repeats": [run["repeats"] for run in own],
        }
    return {"evaluations": runs[0]["evaluations"], "hypervolume_of_all": round(union, 4), "agents": rows}


def _median(values: Any) -> float | None:
    found = statistics.median(values)
    return None if math.isinf(found) else found


def table(summary: dict[str, Any]) -> str:
    """The summary in Markdown."""
    last = str(summary["evaluations"])
    lines = [
        f"| agent | best reward @{EARLY} | @{last} | better than random | evaluations to random's best @{last} | "
        "gap of the front to that of all runs | own time, ms/kernel |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in summary["agents"].items():
        early, late = (_spread(row["best"][mark]) if mark in row["best"] else "-" for mark in (str(EARLY), last))
        reached = row["evaluations_to_randoms_best"]
        lines.append(
            f"| {name} | {early} | {late} | {row['better_than_random']} of {len(row['seeds'])} | "
            f"{'-' if reached is None else f'{reached:g}'} | {row['hypervolume_gap']:.3f} | "
            f"{row['own_ms_per_kernel']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def draw(runs: Sequence[dict[str, Any]], path: Path) -> bool:
    """Draw best-so-far curves with 95% confidence intervals and hypervolumes; False without matplotlib."""
    try:
        import matplotlib

        matplotlib.use("agg")
        from matplotlib import pyplot
    except ImportError:
        return False
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2))
    union = hypervolume(tuple(point) for run in runs for point in run["front"])
    names = [name for name in CONTENDERS if any(run["contender"] == name for run in runs)]
    for number, name in enumerate(names):
        own = [run for run in runs if run["contender"] == name]
        curves = np.stack([best_so_far(run) for run in own])
        steps, mean = np.arange(1, curves.shape[1] + 1), curves.mean(axis=0)
        margin = student_t(len(own)) * curves.std(axis=0, ddof=1) / math.sqrt(len(own)) if len(own) > 1 else 0 * mean
        left.plot(steps, mean, color=f"C{number}", label=name)
        left.fill_between(steps, mean - margin, mean + margin, color=f"C{number}", alpha=0.15, linewidth=0)
        marks = [int(mark) for mark in own[0]["hypervolume"]]
        gaps = union - np.array([[run["hypervolume"][str(mark)] for mark in marks] for run in own])
        right.plot(marks, np.median(gaps, axis=0), marker="o", color=f"C{number}", label=name)
    most = len(runs[0]["rewards"])
    left.set(xlabel="evaluations", ylabel="best reward so far", xscale="log", xlim=(20, most), ylim=(1.2, None))
    right.set(xlabel="evaluations", xscale="log", ylabel="hypervolume missing to the front of all runs", yscale="log")
    right.set_title("median; lower is better", fontsize=10)
    left.set_title(f"mean and 95% confidence interval of {len({run['seed'] for run in runs})} seeds", fontsize=10)
    left.legend(loc="lower right", fontsize=9)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    return True


def student_t(samples: int) -> float:
    """The 97.5% quantile of Student's t distribution for so many samples, for 2 to 11 of them (and 1.96 beyond)."""
    quantiles = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
    return quantiles[samples - 2] if samples - 2 < len(quantiles) else 1.96


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", nargs="+", default=list(CONTENDERS), choices=CONTENDERS, metavar="AGENT")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ... of each agent")
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    given = parse()
    if min(given.seeds, given.evaluations, given.processes) < 1:
        raise ConfigError("--seeds, --evaluations and --processes are counts: expected at least 1")
    RESULTS.mkdir(parents=True, exist_ok=True)
    asked = [Run(name, seed, given.evaluations) for seed in range(given.seeds) for name in given.agents]
    missing = [run for run in asked if not run.path.exists()]
    print(f"{len(asked)} runs, {len(asked) - len(missing)} of them done before", flush=True)
    with ProcessPoolExecutor(given.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        started = {pool.submit(play, run): run for run in missing}
        for done in as_completed(started):
            run, result = started[done], done.result()
            run.path.write_text(json.dumps(result) + "\n", encoding="utf-8")
            print(f"{run.contender}, seed {run.seed}: best {max(result['rewards']):.4f}", flush=True)
    runs = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob(f"*-{given.evaluations}-*.json"))
    ]
    summary = summarise(runs)
    (RESULTS / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "summary.md").write_text(table(summary), encoding="utf-8")
    print(table(summary))
    drawn = draw(runs, RESULTS / "curves.png")
    print(f"written to {RESULTS}{'' if drawn else ' (no figure: pip install matplotlib)'}")


if __name__ == "__main__":
    main()
