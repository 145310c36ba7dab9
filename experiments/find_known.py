"""Do agents find an operator that is known to be there? Convolutions are forbidden; it has to be built from parts.

    python experiments/find_known.py --seeds 5 --processes 2

The targets are the depthwise-separable convolution and large-kernel attention, built from Unfold, Scale and Fold.
A search ends when it asks for the target itself (equal canonical hash). What it is told of a kernel is how alike it is
to the target, from 0 to 1: the mean of

- the overlap (intersection over union) of the dependency patterns: which input elements the output's channels at one
  pixel depend on (by the Jacobian, fresh weights), twice;
- how close are that pattern's height and width; the ranks of that Jacobian, as a matrix of outputs by pixels (for each input channel) and of outputs by
  channels (for each pixel); FLOPs, parameters and activation elements; and the number of primitives: each is the
  smaller of both numbers over the larger (1 is added to both);
- how close is the degree, log2 of the output's growth when the input is doubled: exp(-|difference|).

Random kernels need no such hints: a random search is played without them. Writes JSON under `experiments/results/`.
"""

import argparse
import json
import math
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import canvas_rl
from canvas_rl.codegen import build_module
from canvas_rl.config import SearchOptions
from canvas_rl.errors import CanvasError
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.ir import KernelGraph, static_cost
from canvas_rl.registration import load_agent
from canvas_rl.session import SearchOver
from canvas_rl.space import SearchSpace
from canvas_rl.study.keeping import Nowhere
from canvas_rl.study.session import Parts, SearchSession
from canvas_rl.study.settings import agent_config
from canvas_rl.study.stopping import Stopper
from canvas_rl.symbolic.site import Site

RESULTS = Path(__file__).parent / "results"
SITES = (Site(4, 32, 32), Site(8, 32, 32))
OPTIONS = SearchOptions(forbidden_filter="conv,group,mix,shift,bmm,softmax", num_primitive_range=(2, 9), max_weighted_ratio=1.0)
_WINDOW = "unfold(HW,k{},d{}) scale(0) fold(0.KHKW,avg)"
TARGETS = {
    "depthwise_separable": f"{_WINDOW.format(3, 1)} fc(C) output(1)",
    "large_kernel_attention": (
        f"{_WINDOW.format(5, 1)} {_WINDOW.format(7, 3)} fc(C) push(0) mul(under->top) output(1)"
    ),
}
CENTRE = 16
CAP = {"random": 20_000}
DEFAULT_CAP = 10_000


class Traits(NamedTuple):
    """What is compared of a kernel."""

    pattern: Tensor
    counts: tuple[float, ...]
    degree: float


def traits(graph: KernelGraph) -> Traits:
    """The traits of a kernel at the first site, with weights and an input that are always the same."""
    site = SITES[0]
    torch.manual_seed(0)
    module = build_module(graph, site)
    inputs = torch.randn(1, *site.shape, requires_grad=True)
    output = module(inputs)
    (found,) = torch.autograd.grad(
        output[0, :, CENTRE, CENTRE], inputs, torch.eye(site.c), allow_unused=True, is_grads_batched=True
    )
    jacobian = torch.zeros(site.c, *site.shape) if found is None else found[:, 0]
    with torch.no_grad():
        growth = module(2 * inputs).abs().mean() / output.abs().mean().clamp(min=1e-12)
    cost = static_cost(graph, site)
    ranks = _rank(jacobian.transpose(0, 1).flatten(2)), _rank(jacobian.permute(2, 3, 0, 1).flatten(0, 1))
    pattern = jacobian.abs() > 1e-7 * jacobian.abs().max()
    extents = _extent(pattern.any(dim=3).any(dim=(0, 1))), _extent(pattern.any(dim=2).any(dim=(0, 1)))
    counts = (*extents, *ranks, cost.flops, cost.params, cost.activation, graph.primitive_count)
    return Traits(pattern, counts, math.log2(max(float(growth), 1e-6)))


def _extent(used: Tensor) -> int:
    """From the first to the last that is used."""
    places = used.nonzero()
    return int(places[-1] - places[0]) + 1 if len(places) else 0


def _rank(matrices: Tensor) -> float:
    """The mean rank of those matrices [n, a, b] that are not zero; 0 if all are."""
    values = torch.linalg.eigvalsh(matrices.double() @ matrices.double().transpose(1, 2))
    used = values[:, -1] > 1e-20
    ranks = (values > 1e-8 * values[:, -1:]).sum(dim=1)[used]
    return float(ranks.double().mean()) if len(ranks) else 0.0


def likeness(one: Traits, other: Traits) -> float:
    """How alike two kernels are, from 0 to 1."""
    union = int((one.pattern | other.pattern).sum())
    overlap = int((one.pattern & other.pattern).sum()) / max(union, 1)
    near = [min(a + 1, b + 1) / max(a + 1, b + 1) for a, b in zip(one.counts, other.counts, strict=True)]
    return (2 * overlap + sum(near) + math.exp(-abs(one.degree - other.degree))) / (3 + len(near))


@dataclass(frozen=True)
class Likeness:
    """The reward: likeness to the target, which the evaluator stored as the quality."""

    range = (0.0, 1.0)
    deterministic = True

    def __call__(self, measurement: Measurement, reference: Measurement) -> float:
        """From 0 to 1; 0 for a kernel that failed."""
        return measurement.quality or 0.0

    def to_json(self) -> dict[str, Any]:
        """The name; nothing can be chosen."""
        return {"name": "likeness"}


class TargetEvaluator:
    """Compares kernels with a target; ends the search once the target itself comes."""

    fingerprint = "likeness to a known operator"

    def __init__(self, target: KernelGraph, stopper: Stopper, hints: bool) -> None:
        self._target, self._stopper = target, stopper
        self._traits = traits(target) if hints else None
        self.reference = Measurement("reference", Status.OK, quality=1.0, speedup=1.0)
        self.count, self.found_after, self.seconds = 0, 0, 0.0

    def evaluate(
        self, graphs: Sequence[Any], on_result: Callable[[Measurement], None] | None = None
    ) -> list[Measurement]:
        """Measurements in the order of `graphs`."""
        started = time.perf_counter()
        results = [self._measure(graph) for graph in graphs]
        self.seconds += time.perf_counter() - started
        if on_result is not None:
            for result in results:
                on_result(result)
        return results

    def close(self) -> None:
        """Nothing was started."""

    def _measure(self, graph: KernelGraph) -> Measurement:
        self.count += 1
        if graph.hash == self._target.hash and not self.found_after:
            self.found_after = self.count
            self._stopper.reason = "the target was found"
        quality = 0.0 if self._traits is None else self._likeness(graph, self._traits)
        return Measurement(graph.hash, Status.OK, quality=quality, speedup=1.0)

    @staticmethod
    def _likeness(graph: KernelGraph, target: Traits) -> float:
        try:
            found = likeness(traits(graph), target)
        except (CanvasError, RuntimeError):  # eigenvalues of what is not finite
            return 0.0
        return found if math.isfinite(found) else 0.0


@dataclass(frozen=True)
class Run:
    """One search."""

    agent: str
    options: tuple[str, ...]
    target: str
    seed: int
    cap: int


def play(run: Run) -> dict[str, Any]:
    """Search until the target is found or the evaluations are used up."""
    torch.set_num_threads(1)
    space, stopper, nowhere = SearchSpace(SITES, OPTIONS), Stopper(), Nowhere()
    target = space.kernel(space.replay(TARGETS[run.target].split()))
    evaluator = TargetEvaluator(target, stopper, hints=run.agent != "random")
    session = SearchSession(Parts(space, evaluator, Likeness(), nowhere, nowhere, stopper), run.cap, run.seed)
    agent_type = load_agent(run.agent)
    started = time.perf_counter()
    try:
        agent_type(agent_config(agent_type.config_type, run.options)).run(session)
    except SearchOver:
        seconds = time.perf_counter() - started
    best = session.archive.best
    return {
        **asdict(run),
        "found_after": evaluator.found_after or None,
        "evaluations": evaluator.count,
        "best_likeness": best and round(best.reward, 4),
        "best_program": best and list(best.graph.program),
        "seconds": round(seconds),
        "evaluation_seconds": round(evaluator.seconds),
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """Evaluations until the target was found, in Markdown."""
    lines = ["| target | agent | found in | evaluations, median (range) |", "| --- | --- | ---: | ---: |"]
    for target in TARGETS:
        for agent in dict.fromkeys(result["agent"] for result in results):
            own = [result for result in results if (result["agent"], result["target"]) == (agent, target)]
            after = sorted(result["found_after"] or math.inf for result in own)
            if not own:
                continue
            found, median = sum(map(math.isfinite, after)), statistics.median(after)
            texts = [
                str(int(value)) if math.isfinite(value) else f"> {own[0]['cap']}"
                for value in (median, after[0], after[-1])
            ]
            lines.append(f"| {target} | {agent} | {found} of {len(own)} | {texts[0]} ({texts[1]} - {texts[2]}) |")
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", nargs="+", default=["random", "ppo", "genetic"], metavar="AGENT")
    parser.add_argument(
        "--agent-options", nargs="*", default=[], metavar="NAME=VALUE", help="for all agents but random"
    )
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ... of each agent")
    parser.add_argument("--cap", type=int, help=f"evaluations of a search (default: {CAP}, others {DEFAULT_CAP})")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS / "find_known.json")
    return parser.parse_args()


def main() -> None:
    given = parse()
    runs = [
        Run(
            agent,
            () if agent == "random" else tuple(given.agent_options),
            target,
            seed,
            given.cap or CAP.get(agent, DEFAULT_CAP),
        )
        for seed in range(given.seeds)
        for target in given.targets
        for agent in given.agents
    ]
    results = []
    with ProcessPoolExecutor(given.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(play, run) for run in runs]):
            results.append(done.result())
            print(json.dumps(results[-1]), flush=True)
    results.sort(key=lambda result: (result["target"], result["agent"], result["seed"]))
    machine = {"python": platform.python_version(), "torch": torch.__version__, "canvas_rl": canvas_rl.__version__}
    report = {"options": OPTIONS.to_json(), "targets": TARGETS, "machine": machine, "runs": results}
    given.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
