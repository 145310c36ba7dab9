"""Plays random kernels by the thousand: does every one come out legal, and does its module run?

    python experiments/check_kernels.py --episodes 20000
    python experiments/check_kernels.py --episodes 0 --run-modules 1000

The episodes are spread over option sets and site sets (2-D, 1-D, 0-D). Each is played by a random player that obeys the
mask; its kernel must pass the verifier and survive its JSON form. A dead end, an error or a refused kernel counts as
a failure. `--run-modules` draws so many kernels from `empty_sample()` and from `sample()` of a 2-D, a 1-D and a 0-D
network, runs each forward and backward, then draws them again with the same seed: they must be the same.
Writes the counts with seed and versions under `experiments/results/`.
"""

import argparse
import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import canvas_rl
from canvas_rl import KernelPack, Placeholder
from canvas_rl.codegen import build_module
from canvas_rl.command_line import exit_code
from canvas_rl.config import SearchOptions
from canvas_rl.errors import CanvasError, EmptySpaceError, InternalError
from canvas_rl.ir import KernelGraph, verify
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

RESULTS = Path(__file__).parent / "results"
MASKED_EVERY = 8

SITES = {
    "2-D resnet": (Site(64, 56, 56), Site(128, 28, 28), Site(256, 14, 14), Site(512, 7, 7)),
    "2-D odd": (Site(12, 5, 9),),
    "1-D": (Site(8, 12), Site(16, 6)),
    "0-D": (Site(32), Site(64)),
}
OPTIONS = {
    "defaults": SearchOptions(),
    "short": SearchOptions(num_primitive_range=(1, 4)),
    "any resolution": SearchOptions(num_primitive_range=(3, 12), ensure_spatial_invariance=False),
    "budgets": SearchOptions(
        num_primitive_range=(2, 8), flops_budget=0.6, params_budget=0.7, memory_budget=12.0, num_weighted_range=(1, 3)
    ),
    "forced bmm": SearchOptions(num_primitive_range=(3, 9), force_bmm_possibility=0.5),
    "receptive": SearchOptions(num_primitive_range=(2, 9), min_receptive_size=9),
    "necessary": SearchOptions(
        num_primitive_range=(5, 10), necessary_filter="unfold,bmm,fc", num_weighted_range=(2, 4)
    ),
    "weighted": SearchOptions(num_primitive_range=(6, 9), num_weighted_range=(3, 3), max_weighted_ratio=0.5),
    "no arithmetic": SearchOptions(num_primitive_range=(2, 6), allowed_filter="fc,conv,relu,shift"),
    "narrow": SearchOptions(num_primitive_range=(2, 6), num_max_width_range=(1, 1)),
}


def spaces() -> Iterator[tuple[str, str, SearchSpace]]:
    """Every pair of sites and options for which a kernel exists."""
    for sites in SITES:
        for options in OPTIONS:
            try:
                yield sites, options, SearchSpace(SITES[sites], OPTIONS[options])
            except EmptySpaceError as error:
                print(f"left out: {sites}, {options}: {error}")


def play(space: SearchSpace, rng: np.random.Generator, episode: int) -> KernelGraph:
    """One masked random episode; every eighth draws evenly from whole masks, the others a family first."""
    state = space.start(space.draw_limits(rng, exact_length=episode % 2 == 0))
    while state.graph is None:
        if episode % MASKED_EVERY:
            action = space.random_action(state, rng)
        else:
            action = int(rng.choice(np.flatnonzero(space.mask(state))))
        state = space.step(state, action)
    return state.graph


def inspect(graph: KernelGraph) -> None:
    """Raise a CanvasError for an illegal kernel."""
    verify(graph)
    if KernelGraph.from_json(json.loads(json.dumps(graph.to_json()))) != graph:
        raise InternalError(f"{graph.name} is another kernel after a round trip through JSON")


def attempt(counts: Counter[str], examples: list[str], name: str, work: Callable[[], None]) -> None:
    """Run a check and count how it ended; a few failures are kept word by word."""
    try:
        work()
        counts["ok"] += 1
    except Exception as error:
        dead_end = isinstance(error, InternalError) and "dead end" in str(error)
        kind = "dead ends" if dead_end else "refused" if isinstance(error, CanvasError) else "errors"
        counts[kind] += 1
        if len(examples) < 20:
            examples.append(f"{name}: {type(error).__name__}: {error}")


def check_episodes(episodes: int, seed: int, examples: list[str]) -> list[dict[str, Any]]:
    """Play the episodes, spread evenly over the search spaces."""
    pairs = list(spaces())
    rows = []
    for number, (sites, options, space) in enumerate(pairs):
        rng, counts, hashes = np.random.default_rng([seed, number]), Counter[str](), set[str]()
        share = episodes // len(pairs) + (number < episodes % len(pairs))
        start = time.process_time()

        def one(episode: int, space: SearchSpace = space, rng: Any = rng, hashes: set[str] = hashes) -> None:
            graph = play(space, rng, episode)
            inspect(graph)
            hashes.add(graph.hash)

        for episode in range(share):
            attempt(counts, examples, f"{sites}, {options}, episode {episode}", lambda e=episode: one(e))
        seconds = time.process_time() - start
        rows.append(row(f"{sites}, {options}", share, counts, len(hashes), seconds))
    return rows


def row(name: str, kernels: int, counts: Counter[str], distinct: int, seconds: float) -> dict[str, Any]:
    """One line of the table, printed and kept."""
    result = {"name": name, "kernels": kernels, "distinct": distinct, "cpu_s": round(seconds, 2)}
    result |= {kind: counts[kind] for kind in ("ok", "dead ends", "refused", "errors", "not finite", "differ")}
    print("  ".join(f"{value:>10}" if key != "name" else f"{value:32s}" for key, value in result.items()), flush=True)
    return result


class Network(nn.Module):
    """Two placeholders with a layer that changes the channels between them."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.first, self.between, self.second = Placeholder(), between, Placeholder()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The second placeholder's output."""
        out: torch.Tensor = self.second(self.between(self.first(x)))
        return out


def samplers() -> dict[str, Callable[[], KernelPack]]:
    """Where kernels are drawn from: without a network, and for networks with 2, 1 and 0 spatial dims."""
    networks = {
        "2-D": (Network(nn.Conv2d(16, 32, 1, stride=2)), torch.zeros(1, 16, 16, 16)),
        "1-D": (Network(nn.Conv1d(16, 32, 1, stride=2)), torch.zeros(1, 16, 24)),
        "0-D": (Network(nn.Linear(32, 64)), torch.zeros(1, 32)),
    }
    named: dict[str, Callable[[], KernelPack]] = {"empty_sample": canvas_rl.empty_sample}
    for name, (network, example) in networks.items():
        named[f"sample {name}"] = lambda network=network, example=example: canvas_rl.sample(network, example)
    return named


def run(pack: KernelPack, index: int) -> bool:
    """Run a kernel forward and backward at one of its sites; whether all numbers were finite.

    Raises:
        InternalError: the output has another shape than the input, or a weight gets no gradient.
    """
    site = pack.graph.sites[index % len(pack.graph.sites)]
    torch.manual_seed(index)
    module, x = build_module(pack.graph, site), torch.randn(2, *site.shape, requires_grad=True)
    y = module(x)
    if y.shape != x.shape:
        raise InternalError(f"{pack.name} turns {tuple(x.shape)} into {tuple(y.shape)}")
    y.sum().backward()
    gradients = [weight.grad for weight in module.parameters()]
    if any(gradient is None for gradient in gradients):
        raise InternalError(f"a weight of {pack.name} gets no gradient")
    return bool(torch.isfinite(y).all()) and all(bool(torch.isfinite(g).all()) for g in gradients if g is not None)


def check_modules(kernels: int, seed: int, examples: list[str]) -> list[dict[str, Any]]:
    """Draw, inspect and run kernels of every sampler, then draw them again with the same seed."""
    rows = []
    for name, draw in samplers().items():
        counts, hashes = Counter[str](), list[str]()
        start = time.process_time()

        def one(index: int, draw: Any = draw, hashes: list[str] = hashes, counts: Counter[str] = counts) -> None:
            pack = draw()
            hashes.append(pack.graph.hash)
            inspect(pack.graph)
            counts["not finite"] += not run(pack, index)

        canvas_rl.seed(seed)
        for index in range(kernels):
            attempt(counts, examples, f"{name}, kernel {index}", lambda i=index: one(i))
        canvas_rl.seed(seed)
        counts["differ"] = sum(draw().graph.hash != before for before in hashes)
        rows.append(row(name, kernels, counts, len(set(hashes)), time.process_time() - start))
    return rows


def environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "canvas_rl": canvas_rl.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=2000, help="masked random episodes in all")
    parser.add_argument(
        "--run-modules", type=int, default=0, help="kernels of each sampler to run forward and backward"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "check_kernels.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    examples: list[str] = []
    columns = ["kernels", "distinct", "cpu_s", "ok", "dead ends", "refused", "errors", "not finite", "differ"]
    print(f"{'':32s}  " + "  ".join(f"{column:>10}" for column in columns))
    rows = check_episodes(options.episodes, options.seed, examples) if options.episodes else []
    rows += check_modules(options.run_modules, options.seed, examples) if options.run_modules else []
    totals = {key: sum(line[key] for line in rows) for key in columns}
    row("all", totals["kernels"], Counter(totals), totals["distinct"], totals["cpu_s"])
    for example in examples:
        print(example)
    failed = sum(totals[kind] for kind in ("dead ends", "refused", "errors", "differ"))
    record = {
        "command": " ".join(["python", *sys.argv]),
        "seed": options.seed,
        "environment": environment(),
        "totals": totals,
        "failures": examples,
        "rows": rows,
    }
    options.output.write_text(json.dumps(record, indent=2) + "\n")
    print(f"{failed} failures; written to {options.output}")
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(exit_code(main))
