"""Which agent finds better kernels with fewer evaluations? Repeatable on any machine, without a GPU.

    python experiments/compare_agents.py --evaluations 2000 --seeds 5 --processes 2
    python experiments/compare_agents.py --objective tabulated --seeds 5 --processes 2

Every agent searches with every seed, under the default reward, with one of two objectives.

`analytic`: the default space of `python -m canvas_rl.train` at the sites of ResNet-18. Deterministic and cheap:
`AnalyticEvaluator` (latency of a roofline, quality from the graph's structure; its docstring has the formulas). It
stands in for measured latency and trained quality: what it ranks first need not be the best kernel.

`tabulated`: the space of the benchmark table (docs/benchmark.md), in which every kernel was really trained and timed.
The best kernel is known, so regrets and the evaluations until it was found are reported too.

Writes one JSON a run under `experiments/results/compare_agents/` or `compare_agents_tabulated/`, and from all runs
there the table `summary.json`, `summary.md` and, with matplotlib, `curves.png`: the best reward so far (tabulated: the
regret), mean and 95% confidence interval over the seeds (Student's t), and the hypervolume of each run's Pareto front.
Runs that are there already are not repeated.
"""

import argparse
import json
import math
import multiprocessing
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import canvas_rl
from canvas_rl.command_line import exit_code
from canvas_rl.errors import ConfigError
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.evaluation.tabulated import TabulatedEvaluator
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.rewards import make_reward
from canvas_rl.space import SearchSpace
from canvas_rl.study.front import hypervolume, objectives_of
from canvas_rl.study.settings import default_space
from in_memory import Timed, search
from known_optimum import against_optimum, optimum, optimum_table, regret

RESULTS = Path(__file__).parent / "results"
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
MARKS = (100, 200, 400, 800, 1600)


@dataclass(frozen=True)
class Objective:
    """What is searched for.

    Attributes:
        folder: where results are kept, in `RESULTS`.
        evaluations: how many kernels a search may evaluate, unless it is said.
        early: evaluations within which an agent shall reach the baseline's best.
    """

    folder: str
    evaluations: int
    early: int


OBJECTIVES = {
    "analytic": Objective("compare_agents", 2000, 400),
    "tabulated": Objective("compare_agents_tabulated", 500, 100),
}


@dataclass(frozen=True)
class Run:
    """One search: a contender, a seed, how many kernels it may evaluate, what for, and where its result is kept."""

    contender: str
    seed: int
    evaluations: int
    objective: str
    folder: Path
    table: Path | None = None

    @property
    def path(self) -> Path:
        """The file of its result."""
        return self.folder / f"{self.contender}-{self.evaluations}-{self.seed}.json"

    @property
    def marks(self) -> list[int]:
        """Numbers of evaluations at which it is looked at."""
        return marks_until(self.evaluations)


def marks_until(evaluations: int) -> list[int]:
    return [*(mark for mark in MARKS if mark < evaluations), evaluations]


def play(run: Run) -> dict[str, Any]:
    """Search, and return what there is to know of it, JSON-ready."""
    torch.set_num_threads(1)
    name, options = CONTENDERS[run.contender]
    reward, known = make_reward(), {}
    if run.objective == "tabulated":
        tabulated = TabulatedEvaluator(run.table)
        space, evaluator = tabulated.space, Timed(tabulated)
        known = {"optimum": optimum(tabulated, reward)}
    else:
        space = SearchSpace(DEFAULT_SITES, default_space())
        evaluator = Timed(AnalyticEvaluator(space.sites))
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
        "hypervolume": {str(mark): hypervolume(filter(None, points[:mark])) for mark in run.marks},
        "front": session.front.points,
        "best": {"reward": best.reward, "program": list(best.graph.program), "hash": best.graph.hash} if best else None,
        "own_ms_per_kernel": round(1000 * seconds / session.count, 2),
        "machine": {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine()},
        "canvas_rl": canvas_rl.__version__,
        **known,
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
    union, marks = best_hypervolume(runs), marks_until(runs[0]["evaluations"])
    rows = {}
    for contender in CONTENDERS:
        own = sorted((run for run in runs if run["contender"] == contender), key=lambda run: run["seed"])
        paired = [(run, by_seed[run["seed"]]) for run in own if run["seed"] in by_seed]
        if not own:
            continue
        curves = [best_so_far(run) for run in own]
        gaps = [union - hypervolume(tuple(point) for point in run["front"]) for run in own]
        rows[contender] = {
            "seeds": [run["seed"] for run in own],
            "best": {str(mark): [round(float(curve[mark - 1]), 6) for curve in curves] for mark in marks},
            "compared": len(paired),
            "better_than_random": sum(bool(best_so_far(run)[-1] > best_so_far(base)[-1]) for run, base in paired),
            "evaluations_to_randoms_best": _median(
                [first_reaching(run, best_so_far(base)[-1]) for run, base in paired]
            ),
            "hypervolume": [round(union - gap, 4) for gap in gaps],
            "hypervolume_gap": round(statistics.median(gaps), 4),
            "own_ms_per_kernel": round(statistics.median(run["own_ms_per_kernel"] for run in own), 1),
            "repeats": [run["repeats"] for run in own],
            **(against_optimum(own, marks, first_reaching) if "optimum" in own[0] else {}),
        }
    known = {"optimum": runs[0]["optimum"]} if "optimum" in runs[0] else {}
    return {"evaluations": runs[0]["evaluations"], "hypervolume_of_all": round(union, 4), "agents": rows, **known}


def best_hypervolume(runs: Sequence[dict[str, Any]]) -> float:
    """That of all kernels where they are known, else of all runs together."""
    if "optimum" in runs[0]:
        return float(runs[0]["optimum"]["hypervolume"])
    return hypervolume(tuple(point) for run in runs for point in run["front"])


def _median(values: Sequence[float]) -> float | None:
    found = statistics.median(values or [math.inf])
    return None if math.isinf(found) else found


def table(summary: dict[str, Any], early: int) -> str:
    """The summary in Markdown."""
    last, whole = str(summary["evaluations"]), "kernels" if "optimum" in summary else "runs"
    lines = [
        f"| agent | best reward @{early} | @{last} | better than random | evaluations to random's best @{last} | "
        f"gap of the front to that of all {whole} | own time, ms/kernel |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in summary["agents"].items():
        soon, late = (_spread(row["best"][mark]) if mark in row["best"] else "-" for mark in (str(early), last))
        reached = row["evaluations_to_randoms_best"]
        lines.append(
            f"| {name} | {soon} | {late} | {row['better_than_random']} of {row['compared']} | "
            f"{'-' if reached is None else f'{reached:g}'} | {row['hypervolume_gap']:.3f} | "
            f"{row['own_ms_per_kernel']:.1f} |"
        )
    text = "\n".join(lines) + "\n"
    return f"{text}\n{optimum_table(summary, early)}" if "optimum" in summary else text


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def draw(runs: Sequence[dict[str, Any]], path: Path) -> bool:
    """Draw best-so-far curves or regrets, with 95% confidence intervals, and hypervolumes; False without matplotlib."""
    try:
        import matplotlib

        matplotlib.use("agg")
        from matplotlib import pyplot
    except ImportError:
        return False
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2))
    union, known = best_hypervolume(runs), "optimum" in runs[0]
    curve: Callable[[dict[str, Any]], np.ndarray[Any, Any]] = regret if known else best_so_far
    names = [name for name in CONTENDERS if any(run["contender"] == name for run in runs)]
    for number, name in enumerate(names):
        own = [run for run in runs if run["contender"] == name]
        curves = np.stack([curve(run) for run in own])
        steps, mean = np.arange(1, curves.shape[1] + 1), curves.mean(axis=0)
        margin = student_t(len(own)) * curves.std(axis=0, ddof=1) / math.sqrt(len(own)) if len(own) > 1 else 0 * mean
        left.plot(steps, mean, color=f"C{number}", label=name)
        left.fill_between(steps, mean - margin, mean + margin, color=f"C{number}", alpha=0.15, linewidth=0)
        marks = [int(mark) for mark in own[0]["hypervolume"]]
        gaps = union - np.array([[run["hypervolume"][str(mark)] for mark in marks] for run in own])
        right.plot(marks, np.median(gaps, axis=0), marker="o", color=f"C{number}", label=name)
    most = len(runs[0]["rewards"])
    left.set(xlabel="evaluations", xscale="log", xlim=(20, most))
    left.set(
        **({"ylabel": "regret", "ylim": (0, 0.5)} if known else {"ylabel": "best reward so far", "ylim": (1.2, None)})
    )
    whole = "kernels" if known else "runs"
    right.set(
        xlabel="evaluations", xscale="log", ylabel=f"hypervolume missing to the front of all {whole}", yscale="log"
    )
    right.set_title("median; lower is better", fontsize=10)
    left.set_title(f"mean and 95% confidence interval of {len({run['seed'] for run in runs})} seeds", fontsize=10)
    left.legend(loc="upper right" if known else "lower right", fontsize=9)
    for axes in (left, right):
        least = axes.get_xlim()[0]
        ticks = [mark for mark in (20, 50, 100, 200, 500, 1000, 2000, 5000) if least <= mark <= most]
        axes.set_xticks(ticks, [str(mark) for mark in ticks])
        axes.minorticks_off()
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
    parser.add_argument("--objective", choices=OBJECTIVES, default="analytic")
    parser.add_argument("--evaluations", type=int, help="of each search (default: 2000 analytic, 500 tabulated)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--table", type=Path, help="of the tabulated objective (default: the shipped one)")
    parser.add_argument("--folder", type=Path, help="for results (default: that of the objective)")
    return parser.parse_args()


def main() -> None:
    given = parse()
    objective = OBJECTIVES[given.objective]
    evaluations = objective.evaluations if given.evaluations is None else given.evaluations
    if min(given.seeds, evaluations, given.processes) < 1:
        raise ConfigError("--seeds, --evaluations and --processes are counts: expected at least 1")
    folder = given.folder or RESULTS / objective.folder
    if given.table and not given.folder:
        raise ConfigError("--table without --folder: results of another table than the shipped one need their own")
    if given.objective == "tabulated":
        TabulatedEvaluator(given.table)  # refused before anything is written
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{str(folder)!r} can't be made ({error.strerror}): choose another --folder") from error
    asked = [
        Run(name, seed, evaluations, given.objective, folder, given.table)
        for seed in range(given.seeds)
        for name in given.agents
    ]
    missing = [run for run in asked if not run.path.exists()]
    print(f"{len(asked)} runs, {len(asked) - len(missing)} of them done before", flush=True)
    with ProcessPoolExecutor(given.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        started = {pool.submit(play, run): run for run in missing}
        for done in as_completed(started):
            run, result = started[done], done.result()
            run.path.write_text(json.dumps(result) + "\n", encoding="utf-8")
            print(f"{run.contender}, seed {run.seed}: best {max(result['rewards']):.4f}", flush=True)
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"*-{evaluations}-*.json"))]
    if len({run.get("optimum", {}).get("table") for run in runs}) > 1:
        raise ConfigError(f"the runs in {folder} are of several tables: use a --folder for each --table")
    summary = summarise(runs)
    text = table(summary, objective.early)
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (folder / "summary.md").write_text(text, encoding="utf-8")
    print(text)
    drawn = draw(runs, folder / "curves.png")
    print(f"written to {folder}{'' if drawn else ' (no figure: pip install matplotlib)'}")


if __name__ == "__main__":
    sys.exit(exit_code(main))
