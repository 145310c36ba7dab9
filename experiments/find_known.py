"""Do agents find an operator that is known to be there? It has to be built from parts.

    python experiments/find_known.py --seeds 5 --processes 2

The targets are the depthwise-separable convolution and large-kernel attention. The space has no convolution, only what
they are built from and a little more: Unfold (of two sizes and dilations), Scale, Fold, FC, ReLU, Sigmoid, sums and
products, at most nine of them and two tensors on the stack. A search ends when it asks for a target (equal canonical
hash; the linear parts may come in any order). What it is told of a kernel is how alike it is to the target, from 0 to
1, the weighted mean of

- the overlap (intersection over union) of dependency patterns: on which inputs the output's channels at one pixel
  depend (by the Jacobian, with fresh weights), and on which where that pixel of the input is 0; weight 2 each;
- how far the pattern reaches up, down, left and right from the pixel; weight 1 each;
- the ranks of the Jacobian as a matrix of outputs by pixels (for each input channel), of input channels by pixels (for
  each output) and of outputs by input channels (for each pixel); weight 1 each;
- symmetries: how even the kernel is, its degree (log2 of the output's growth when the input is doubled), whether it is
  homogeneous of that degree, and whether it tells the pixels of a constant input apart; weight 1 each;
- the rank of the Jacobian as a matrix of rows by columns of the image (for each output and input channel); weight
  0.05;
- FLOPs, parameters and activation elements, where they are more than the target's; weight 0.05 each;
- the number of primitives: the fewer, the better; weight 0.05.

It is the likeness to the target with its linear parts in the order below or in the reverse order, whichever is greater.
Numbers are compared by the smaller over the larger (1 is added to both), symmetries by exp(-|difference|), numbers of
primitives by 1 / (1 + n / n of the target). Random kernels need no such hints: a random search is played without them.
Writes JSON under `experiments/results/`.
"""

import argparse
import itertools
import json
import math
import multiprocessing
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import canvas_rl
from canvas_rl.codegen import build_module
from canvas_rl.command_line import exit_code
from canvas_rl.config import SearchOptions
from canvas_rl.errors import CanvasError
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.ir import KernelGraph, static_cost
from canvas_rl.space import SearchSpace
from canvas_rl.study.stopping import Stopper
from canvas_rl.symbolic.site import Site
from in_memory import Timed, search

RESULTS = Path(__file__).parent / "results"
SITES = (Site(4, 48, 48), Site(8, 48, 48))
OPTIONS = SearchOptions(
    allowed_filter="unfoldhw,scale,fold,fc,relu,sigmoid,badd,bmul",
    num_primitive_range=(2, 9),
    num_max_width_range=(2, 2),
    max_weighted_ratio=1.0,
)
_WINDOW = "unfold(HW,k{},d{}) scale(0) fold(0.KHKW,avg)"


class Target(NamedTuple):
    """A known operator.

    Attributes:
        parts: linear ones, which may come in any order.
        end: what follows them.
        kernel_sizes: of the space.
        dilated_sizes: of the space.
    """

    parts: tuple[str, ...]
    end: str
    kernel_sizes: tuple[int, ...]
    dilated_sizes: tuple[int, ...]

    @property
    def options(self) -> SearchOptions:
        """Of the space that it is looked for in."""
        return replace(OPTIONS, kernel_sizes=self.kernel_sizes, dilated_sizes=self.dilated_sizes)


TARGETS = {
    "depthwise_separable": Target((_WINDOW.format(3, 1), "fc(C)"), "output(1)", (3, 5), (1, 2)),
    "large_kernel_attention": Target(
        (_WINDOW.format(5, 1), _WINDOW.format(7, 3), "fc(C)"), "push(0) mul(under->top) output(1)", (5, 7), (1, 3)
    ),
}
CENTRE = 24
CAP = 20_000


class Traits(NamedTuple):
    """What is compared of a kernel."""

    patterns: tuple[Tensor, Tensor]
    """which inputs the output's channels at one pixel depend on; the same where that pixel of the input is 0"""
    reaches: tuple[float, ...]
    """how far the first pattern reaches to both sides, in rows and in columns"""
    ranks: tuple[float, ...]
    """of the Jacobian as outputs by pixels, as channels by pixels and as outputs by channels"""
    symmetries: tuple[float, ...]
    """from 0 to 1: how even the kernel is, whether it is homogeneous and tells pixels of a constant input apart; its
    degree"""
    separability: tuple[float, ...]
    """rank of the Jacobian as rows by columns"""
    costs: tuple[float, ...]
    """FLOPs, parameters, activation elements"""
    primitives: int


def traits(graph: KernelGraph) -> Traits:
    """The traits of a kernel at the first site, with weights and an input that are always the same."""
    site = SITES[0]
    torch.manual_seed(0)
    module = build_module(graph, site)
    inputs = torch.randn(1, *site.shape)
    hollow = inputs.clone()
    hollow[:, :, CENTRE, CENTRE] = 0
    output, jacobian = _jacobian(module, inputs)
    patterns = _pattern(jacobian), _pattern(_jacobian(module, hollow)[1])
    with torch.no_grad():
        twice, minus = module(2 * inputs), module(-inputs)
        plain = module(inputs[:, :, :1, :1].expand_as(inputs))
    scale = output.abs().mean().clamp(min=1e-12)
    parity = float(torch.nn.functional.cosine_similarity(output.flatten(), minus.flatten(), dim=0))
    one, other = plain[0, :, CENTRE, CENTRE], plain[0, :, CENTRE - 1, CENTRE - 2]
    changes = float((one - other).norm() > 1e-5 * (one.norm() + other.norm()))
    degree = math.log2(max(float(twice.abs().mean() / scale), 1e-6))
    homogeneous = float((twice - 2**degree * output).norm() < 1e-4 * twice.norm())
    cost = static_cost(graph, site)
    return Traits(
        patterns,
        reaches=tuple(reach for dim in (3, 2) for reach in _reaches(patterns[0].any(dim=dim).any(dim=(0, 1)))),
        ranks=(
            _rank(jacobian.transpose(0, 1).flatten(2)),
            _rank(jacobian.flatten(2)),
            _rank(jacobian.permute(2, 3, 0, 1).flatten(0, 1)),
        ),
        symmetries=((1 + parity) / 2, homogeneous, changes, degree),
        separability=(_rank(jacobian.flatten(0, 1)),),
        costs=(cost.flops, cost.params, cost.activation),
        primitives=graph.primitive_count,
    )


def _jacobian(module: torch.nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The output, and the Jacobian of its channels at one pixel by all inputs, [channels, *inputs]."""
    inputs = inputs.detach().requires_grad_()
    output, channels = module(inputs), inputs.shape[1]
    (found,) = torch.autograd.grad(
        output[0, :, CENTRE, CENTRE], inputs, torch.eye(channels), allow_unused=True, is_grads_batched=True
    )
    return output.detach(), torch.zeros(channels, *inputs.shape[1:]) if found is None else found[:, 0]


def _pattern(jacobian: Tensor) -> Tensor:
    return jacobian.abs() > 1e-7 * jacobian.abs().max()


def _reaches(used: Tensor) -> tuple[int, int]:
    """From the centre to the first and to the last that is used."""
    places = used.nonzero()
    return (abs(int(places[0]) - CENTRE), abs(int(places[-1]) - CENTRE)) if len(places) else (0, 0)


def _rank(matrices: Tensor) -> float:
    """The mean rank of those matrices [n, a, b] that are not zero; 0 if all are."""
    values = torch.linalg.eigvalsh(matrices.double() @ matrices.double().transpose(1, 2))
    used = values[:, -1] > 1e-20
    ranks = (values > 1e-8 * values[:, -1:]).sum(dim=1)[used]
    return float(ranks.double().mean()) if len(ranks) else 0.0


def likeness(one: Traits, other: Traits) -> float:
    """How alike a kernel is to another, from 0 to 1; the cheaper it is, the better."""
    overlaps = [
        int((a & b).sum()) / max(int((a | b).sum()), 1) for a, b in zip(one.patterns, other.patterns, strict=True)
    ]
    reaches, ranks, separability = (
        [_ratio(a, b) for a, b in zip(ours, theirs, strict=True)]
        for ours, theirs in (
            (one.reaches, other.reaches),
            (one.ranks, other.ranks),
            (one.separability, other.separability),
        )
    )
    costs = [min(1.0, (b + 1) / (a + 1)) for a, b in zip(one.costs, other.costs, strict=True)]
    brevity = [1 / (1 + one.primitives / other.primitives)]
    symmetries = [math.exp(-abs(a - b)) for a, b in zip(one.symmetries, other.symmetries, strict=True)]
    parts = (
        (2, overlaps),
        (1, reaches),
        (1, ranks),
        (1, symmetries),
        (0.05, separability),
        (0.05, costs),
        (0.05, brevity),
    )
    return sum(weight * sum(part) for weight, part in parts) / sum(weight * len(part) for weight, part in parts)


def _ratio(one: float, other: float) -> float:
    return min(one + 1, other + 1) / max(one + 1, other + 1)


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
    reference = Measurement("reference", Status.OK, quality=1.0, speedup=1.0)

    def __init__(self, targets: Sequence[KernelGraph], stopper: Stopper, hints: bool) -> None:
        self._targets, self._stopper = {target.hash for target in targets}, stopper
        self._traits = [traits(target) for target in (targets[0], targets[-1])] if hints else []
        self.count, self.found_after = 0, 0

    def evaluate(
        self, graphs: Sequence[Any], on_result: Callable[[Measurement], None] | None = None
    ) -> list[Measurement]:
        """Measurements in the order of `graphs`."""
        results = [self._measure(graph) for graph in graphs]
        if on_result is not None:
            for result in results:
                on_result(result)
        return results

    def close(self) -> None:
        """Nothing was started."""

    def _measure(self, graph: KernelGraph) -> Measurement:
        self.count += 1
        if graph.hash in self._targets and not self.found_after:
            self.found_after = self.count
            self._stopper.reason = "the target was found"
        return Measurement(graph.hash, Status.OK, quality=self._likeness(graph), speedup=1.0)

    def _likeness(self, graph: KernelGraph) -> float:
        if not self._traits:
            return 0.0
        try:
            own = traits(graph)
            found = max(likeness(own, target) for target in self._traits)
        except (CanvasError, RuntimeError):  # eigenvalues of what is not finite
            return 0.0
        return found if math.isfinite(found) else 0.0


def targets(space: SearchSpace, name: str) -> list[KernelGraph]:
    """The kernels of a target, one for each order of its linear parts; the last one has the first one's reversed."""
    target = TARGETS[name]
    programs = [" ".join((*order, target.end)).split() for order in itertools.permutations(target.parts)]
    return [space.kernel(space.replay(program)) for program in programs]


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
    space, stopper = SearchSpace(SITES, TARGETS[run.target].options), Stopper()
    judge = TargetEvaluator(targets(space, run.target), stopper, hints=run.agent != "random")
    timed = Timed(judge)
    session, seconds = search(run.agent, run.options, space, timed, Likeness(), run.cap, run.seed, stopper)
    best = session.archive.best
    return {
        **asdict(run),
        "found_after": judge.found_after or None,
        "evaluations": judge.count,
        "best_likeness": best and round(best.reward, 4),
        "best_program": best and list(best.graph.program),
        "own_seconds": round(seconds),
        "evaluation_seconds": round(timed.seconds),
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
    parser.add_argument("--cap", type=int, default=CAP, help=f"evaluations of a search (default: {CAP})")
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
            given.cap,
        )
        for seed in range(given.seeds)
        for target in given.targets
        for agent in given.agents
    ]
    machine = {"python": platform.python_version(), "torch": torch.__version__, "canvas_rl": canvas_rl.__version__}
    spaces = {name: {**target._asdict(), "options": target.options.to_json()} for name, target in TARGETS.items()}
    report = {"sites": [str(site) for site in SITES], "targets": spaces, "machine": machine}
    results = []
    with ProcessPoolExecutor(given.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(play, run) for run in runs]):
            results.append(done.result())
            print(json.dumps(results[-1]), flush=True)
            results.sort(key=lambda result: (result["target"], result["agent"], result["seed"]))
            given.output.write_text(json.dumps({**report, "runs": results}, indent=1) + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    sys.exit(exit_code(main))
