"""How fast kernels are drawn, and what is drawn.

    python experiments/sampler_benchmark.py --kernels 1000

One thread, the four sites of a ResNet, default options but for what a row names. A kernel counts with its graph, its
canonical hash and its generated source; making the search space and all its tables, cold, is in the time. For each row:
kernels a second, the share of different kernels, lengths, the smallest share of a family (the share of kernels that
have it), the share that ends by broadcasting the raw input, and the share with a constant or non-finite output at init
(of `--run` kernels, batch 2, at the last site). Then steps a second of the environment, played at random, with masks
and observations, without and with budgets and for programs of some lengths, and what `sample_many` gains from workers.
Writes JSON under `experiments/results/`.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

import canvas_rl
from canvas_rl.codegen import build_module, generate_source
from canvas_rl.command_line import exit_code
from canvas_rl.config import SearchOptions
from canvas_rl.ir import KernelGraph
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.primitives.arithmetic import Arithmetic
from canvas_rl.registration import ENVIRONMENT_ID
from canvas_rl.space import SearchSpace

RESULTS = Path(__file__).parent / "results"
ROWS = {
    "5-25 primitives": (SearchOptions(), 1.6, 160),
    "exactly 20": (SearchOptions(num_primitive_range=(20, 20)), 0.37, 60),
    "exactly 10": (SearchOptions(num_primitive_range=(10, 10)), 4.5, 250),
    "3-8 primitives": (SearchOptions(num_primitive_range=(3, 8)), 39, 400),
    "5-25, receptive field of 9 or more": (SearchOptions(min_receptive_size=9), 0.73, 100),
}
LENGTHS = (5, 10, 20, 40)
BUDGETS = SearchOptions(flops_budget=0.5, params_budget=0.5, memory_budget=20.0)


def row(options: SearchOptions, kernels: int, seed: int, run: int) -> dict[str, Any]:
    started = time.perf_counter()
    space, rng = SearchSpace(DEFAULT_SITES, options), np.random.default_rng(seed)
    drawn = []
    for _ in range(kernels):
        graph = space.sample(rng)
        generate_source(graph)
        drawn.append(graph)
    seconds = time.perf_counter() - started
    lengths = Counter(graph.primitive_count for graph in drawn)
    having = Counter(family for graph in drawn for family in set(graph.families))
    families = [family for family in space.families if family not in ("Push", "Output")]
    rarest = min(families, key=lambda family: having[family])
    return {
        "kernels_per_second": round(kernels / seconds, 1),
        "kernels": kernels,
        "unique": round(len({graph.hash for graph in drawn}) / kernels, 4),
        "lengths": {str(length): lengths[length] for length in sorted(lengths)},
        "rarest_family": rarest,
        "rarest_family_share": round(having[rarest] / kernels, 4),
        "families": {family: round(having[family] / kernels, 4) for family in families},
        "ends_by_broadcasting_the_input": round(sum(map(broadcasts_the_input, drawn)) / kernels, 4),
        "degenerate": round(sum(map(degenerate, drawn[:run])) / max(min(run, kernels), 1), 4),
    }


def broadcasts_the_input(graph: KernelGraph) -> bool:
    """Whether the last primitive joins the raw input with something."""
    last = graph.nodes[-2]
    return isinstance(last.primitive, Arithmetic) and 0 in last.inputs


def degenerate(graph: KernelGraph) -> bool:
    torch.manual_seed(0)
    site = DEFAULT_SITES[-1]
    with torch.no_grad():
        output = build_module(graph, site)(torch.randn(2, *site.shape))
    return not bool(output.isfinite().all()) or float(output.std()) < 1e-6


def environment(options: SearchOptions, steps: int, seed: int) -> dict[str, Any]:
    """Steps a second of random play; kernels are finished but not judged."""
    env: Any = gymnasium.make(ENVIRONMENT_ID, sites=DEFAULT_SITES, options=options, defer=True).unwrapped
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    space, episodes, half = env.space, 0, 0.0
    started = time.perf_counter()
    for step in range(steps):
        legal = np.flatnonzero(env.action_masks())
        _, _, terminated, _, _ = env.step(legal[rng.integers(len(legal))])
        if terminated:
            env.reset()
            episodes += 1
        if step == steps // 2:
            half = time.perf_counter()
    ended = time.perf_counter()
    return {
        "steps_per_second": round(steps / (ended - started)),
        "second_half": round((steps - steps // 2) / (ended - half)),
        "steps": steps,
        "episodes": episodes,
        "actions": len(space.actions),
    }


def scaling(kernels: int, seed: int) -> dict[str, float]:
    """Kernels a second of `sample_many` by the number of workers, their start included."""
    found = {}
    for workers in (1, 2):
        started = time.perf_counter()
        for _ in canvas_rl.sample_many(kernels, seed, workers=workers):
            pass
        found[str(workers)] = round(kernels / (time.perf_counter() - started), 1)
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", type=int, default=1000, help="kernels of a row, 0 for no rows")
    parser.add_argument("--run", type=int, default=100, help="kernels of a row whose modules are run")
    parser.add_argument("--steps", type=int, default=5000, help="steps of the environment, 0 for none")
    parser.add_argument("--scale", type=int, default=2000, help="kernels of the trial of workers, 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "sampler_benchmark.json")
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    report: dict[str, Any] = {"seed": options.seed, "rows": {}}
    rows = ROWS if options.kernels else {}
    print(
        f"{'row':36} {'kernels/s':>9} {'Canvas':>7} {'aim':>5} {'unique':>7} {'rarest family':>20} "
        f"{'input':>6} {'degen.':>6}"
    )
    for name, (space_options, canvas, aim) in rows.items():
        found = row(space_options, options.kernels, options.seed, options.run)
        report["rows"][name] = found
        print(
            f"{name:36} {found['kernels_per_second']:9.1f} {canvas:7} {aim:5} {found['unique']:7.1%} "
            f"{found['rarest_family']:>13} {found['rarest_family_share']:6.1%} "
            f"{found['ends_by_broadcasting_the_input']:6.1%} {found['degenerate']:6.1%}"
        )
        print("    lengths:", " ".join(f"{length}:{count}" for length, count in found["lengths"].items()))
    if options.steps:
        report["environment"] = {
            "no budget": environment(SearchOptions(), options.steps, options.seed),
            "all budgets": environment(BUDGETS, options.steps, options.seed),
            **{
                f"exactly {length}": environment(
                    SearchOptions(num_primitive_range=(length, length)), options.steps, options.seed
                )
                for length in LENGTHS
            },
        }
        for name, found in report["environment"].items():
            print(f"environment, {name}: {found['steps_per_second']} steps/s (second half {found['second_half']})")
    if options.scale:
        report["workers"] = scaling(options.scale, options.seed)
        print("sample_many, kernels/s by workers:", report["workers"])
    report["machine"] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "canvas_rl": canvas_rl.__version__,
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
    }
    options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print("written to", options.output)


if __name__ == "__main__":
    sys.exit(exit_code(main))
