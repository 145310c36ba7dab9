"""Masked random episodes over many option sets and random sites: do all end in legal kernels?

    python experiments/million_episodes.py --episodes 1000000 --processes 16

Each of `--sets` option sets is drawn at random (filters, ranges, necessary families, receptive field, forced BMM,
budgets, image sizes that may change, sites of 2, 1 or 0 dims); one that no kernel can meet is refused when its space is
made, counted and drawn again. Its episodes are played by the random player; every kernel is checked for the options
that can be read off it, and one of `--verify-every` by the verifier and its JSON form too. Counts dead ends, errors and
broken options, the memory of the processes and the number of tables. Writes JSON under `experiments/results/`.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import canvas_rl
from canvas_rl.command_line import exit_code
from canvas_rl.config import SearchOptions
from canvas_rl.errors import CanvasError, EmptySpaceError
from canvas_rl.ir import KernelGraph, static_cost, verify
from canvas_rl.space import SearchSpace, State
from canvas_rl.symbolic.site import ReferenceConv, Site

RESULTS = Path(__file__).parent / "results"
CHANNELS, IMAGE = (6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256), (1, 4, 5, 6, 7, 8, 9, 12, 14, 16, 28, 31, 56)
FILTERS = (
    "", "", "", "", "fc,conv,relu,shift,badd", "fold,badd,scale,fc", "bmm,softmax,fc,relu", "unfold,fold,bmul,fc,gelu",
    "group,fc,conv,badd,relu,fold", "mix,fold,sigmoid,bmul",
)  # fmt: skip
NECESSARY = ("", "", "", "", "fc", "bmm", "unfold,fc", "softmax,fold", "shift", "group,conv")


class Task(NamedTuple):
    """Episodes of one option set."""

    number: int
    sites: tuple[Site, ...]
    options: SearchOptions
    first: int
    episodes: int
    verify_every: int


def random_sites(rng: np.random.Generator) -> tuple[Site, ...]:
    dims = int(rng.choice([2, 2, 2, 1, 0]))
    count = int(rng.integers(1, 5))
    return tuple(Site(int(rng.choice(CHANNELS)), *(int(rng.choice(IMAGE)) for _ in range(dims))) for _ in range(count))


def random_options(rng: np.random.Generator) -> SearchOptions:
    low = int(rng.integers(1, 9))
    weighted = int(rng.choice([0, 1, 1, 1, 2, 3]))
    width = int(rng.integers(1, 4))

    def maybe(share: float, value: float | None) -> float | None:
        return value if rng.random() < share else None

    return SearchOptions(
        allowed_filter=str(rng.choice(FILTERS)),
        necessary_filter=str(rng.choice(NECESSARY)),
        kernel_sizes=tuple(sorted(rng.choice([3, 5, 7, 9], int(rng.integers(1, 4)), replace=False).tolist())),
        dilated_sizes=tuple(sorted(rng.choice([1, 2, 3], int(rng.integers(1, 4)), replace=False).tolist())),
        shift_sizes=tuple(sorted(rng.choice([1, 2, 3], int(rng.integers(1, 4)), replace=False).tolist())),
        num_primitive_range=(low, low + int(rng.integers(0, 14))),
        num_max_width_range=(width, width + int(rng.integers(0, 6))),
        num_weighted_range=(weighted, weighted + int(rng.integers(0, 8))),
        max_weighted_ratio=float(rng.choice([0.4, 0.6, 0.8, 1.0])),
        force_bmm_possibility=float(rng.choice([0, 0, 0, 0.3, 1.0])),
        min_receptive_size=int(rng.choice([1, 1, 1, 4, 9])),
        ensure_spatial_invariance=bool(rng.random() < 0.7),
        flops_budget=maybe(0.3, float(rng.choice([0.2, 0.5, 1.0]))),
        params_budget=maybe(0.3, float(rng.choice([0.3, 0.6, 1.0]))),
        memory_budget=maybe(0.3, float(rng.choice([10.0, 20.0, 40.0]))),
    )


def check(graph: KernelGraph, state: State, options: SearchOptions, thorough: bool) -> None:
    """Raise a ValueError or one of the package's errors if a kernel is not what was asked for."""
    limits = state.limits
    weighted = sum(node.primitive.weighted for node in graph.nodes)
    kept = (
        limits.min_primitives <= graph.primitive_count <= limits.max_primitives
        and options.num_weighted_range[0] <= weighted <= options.num_weighted_range[1]
        and weighted <= options.max_weighted_ratio * graph.primitive_count + 1e-9
        and (not limits.require_bmm or "BMM" in graph.families)
        and all(
            any(family.lower().startswith(entry) for family in graph.families)
            for entry in filter(None, options.necessary_filter.split(","))
        )
    )
    if not kept:
        raise ValueError(f"options are broken by {graph.program}")
    if not thorough:
        return
    verify(graph)
    if KernelGraph.from_json(json.loads(json.dumps(graph.to_json()))) != graph:
        raise ValueError(f"JSON changes {graph.program}")
    for site in graph.sites:
        cost, conv = static_cost(graph, site), ReferenceConv()
        if (
            cost.flops > (options.flops_budget or 1e18) * conv.flops(site)
            or cost.params > (options.params_budget or 1e18) * conv.params(site)
            or cost.activation > (options.memory_budget or 1e18) * conv.activation(site)
        ):
            raise ValueError(f"a budget is exceeded at {site} by {graph.program}")


def play(task: Task) -> dict[str, Any]:
    """Play the episodes of a task."""
    started = time.perf_counter()
    space = SearchSpace(task.sites, task.options)
    counts: Counter[str] = Counter()
    problems = []
    for episode in range(task.first, task.first + task.episodes):
        rng = np.random.default_rng([task.number, episode])
        limits = space.draw_limits(rng, exact_length=episode % 2 == 0)
        try:
            state = space.play(rng, limits)
            graph = space.kernel(state)
            check(graph, state, task.options, thorough=episode % task.verify_every == 0)
            counts["verified"] += episode % task.verify_every == 0
        except (CanvasError, ValueError) as error:
            counts[type(error).__name__] += 1
            problems.append(f"set {task.number}, episode {episode}: {error}")
        counts["episodes"] += 1
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "number": task.number,
        "counts": counts,
        "problems": problems[:3],
        "seconds": time.perf_counter() - started,
        "memory_mib": memory,
        "tables": space.tables,
    }


def option_sets(count: int, seed: int) -> tuple[list[tuple[tuple[Site, ...], SearchOptions]], int]:
    """Option sets for which a kernel exists, and how many were refused."""
    rng = np.random.default_rng(seed)
    found: list[tuple[tuple[Site, ...], SearchOptions]] = []
    refused = 0
    while len(found) < count:
        sites, options = random_sites(rng), random_options(rng)
        try:
            space = SearchSpace(sites, options)
            for width in range(options.num_max_width_range[0], options.num_max_width_range[1] + 1):
                for bmm in {options.force_bmm_possibility > 0, options.force_bmm_possibility == 1}:
                    space.lengths(width, bmm)
        except EmptySpaceError:
            refused += 1
            continue
        found.append((sites, options))
    return found, refused


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20_000, help="of all sets together")
    parser.add_argument("--sets", type=int, default=64)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--chunk", type=int, default=1000, help="episodes of a task")
    parser.add_argument("--verify-every", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "million_episodes.json")
    return parser.parse_args()


def main() -> None:
    given = parse()
    started = time.perf_counter()
    sets, refused = option_sets(given.sets, given.seed)
    each = -(-given.episodes // len(sets))
    tasks = [
        Task(number, sites, options, first, min(given.chunk, each - first), given.verify_every)
        for first in range(0, each, given.chunk)
        for number, (sites, options) in enumerate(sets)
    ]
    print(f"{len(sets)} option sets ({refused} refused as impossible), {len(tasks)} tasks", flush=True)
    totals: Counter[str] = Counter()
    slowest: Counter[int] = Counter()
    problems: list[str] = []
    memory = tables = 0
    with ProcessPoolExecutor(given.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done, result in enumerate(pool.map(play, tasks), start=1):
            totals.update(result["counts"])
            slowest[result["number"]] += result["seconds"]
            problems += result["problems"]
            memory, tables = max(memory, result["memory_mib"]), max(tables, result["tables"])
            if done % 64 == 0 or done == len(tasks):
                print(
                    f"{totals['episodes']} episodes, {dict(totals)}, {time.perf_counter() - started:.0f} s", flush=True
                )
    report = {
        "seed": given.seed,
        "option_sets": len(sets),
        "refused_option_sets": refused,
        **totals,
        "dead_ends_and_errors": totals["episodes"]
        and sum(count for name, count in totals.items() if name not in ("episodes", "verified")),
        "problems": problems[:20],
        "seconds": round(time.perf_counter() - started),
        "processes": given.processes,
        "most_memory_mib": memory,
        "most_tables": tables,
        "sets": [
            {"sites": [str(site) for site in sites], "options": changed(options), "seconds": round(slowest[number], 1)}
            for number, (sites, options) in enumerate(sets)
        ],
        "machine": {
            "python": platform.python_version(),
            "canvas_rl": canvas_rl.__version__,
            "machine": platform.machine(),
        },
    }
    given.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print("dead ends and errors:", report["dead_ends_and_errors"], "- written to", given.output)


def changed(options: SearchOptions) -> dict[str, Any]:
    """The options that are not the default's."""
    usual = SearchOptions().to_json()
    return {name: value for name, value in options.to_json().items() if value != usual[name]}


if __name__ == "__main__":
    sys.exit(exit_code(main))
