"""Samples kernels and counts the sick ones: constant, without gradient, not finite, pointless, duplicate.

    python experiments/kernel_health.py --kernels 10000

Kernels of 3 to 12 primitives are drawn at the site 64@16x16 with the default options. Each is run in float32 with fresh
weights on a random normal batch: *constant* is an output with a standard deviation below 1e-6, *dead weight* a weight
without a gradient other than zero, *ignores input* an output that is the same for all samples of the batch.

It is run again in float64 with weights that depend only on their shapes and places. There, *idle* is a primitive whose
output equals an earlier tensor of the same shape, and two kernels *behave alike* if their outputs are equal (or equal
but for a factor), whatever their hashes. For every sick kernel the structure to blame is written: the primitives
around the tensor where the trouble begins. Counts and examples go to `experiments/results/`.
"""

import argparse
import hashlib
import json
import platform
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import canvas_rl
from canvas_rl.codegen import build_module
from canvas_rl.command_line import exit_code
from canvas_rl.config import SearchOptions
from canvas_rl.ir import KernelGraph
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.binding import symbol_values
from canvas_rl.symbolic.site import Site
from canvas_rl.symbolic.size import Size

RESULTS = Path(__file__).parent / "results"
SITE = Site(64, 16, 16)
BATCH = 2
CONSTANT = 1e-6
SAME = 1e-9
KINDS = ("constant", "dead weight", "not finite", "ignores input", "idle")


@dataclass
class Report:
    """What was found so far.

    Attributes:
        counts: kernels of each kind.
        structures: for each kind, how often a structure was to blame.
        examples: for each kind, a few programs.
        hashes: how often each hash came.
        behaviours: for each behaviour the programs that have it, by hash; and the same but for a factor.
    """

    counts: Counter[str] = field(default_factory=Counter)
    structures: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    hashes: Counter[str] = field(default_factory=Counter)
    behaviours: tuple[dict[str, dict[str, str]], ...] = field(
        default_factory=lambda: (defaultdict(dict), defaultdict(dict))
    )

    def add(self, kind: str, graph: KernelGraph, structure: str) -> None:
        """Count a sick kernel."""
        self.counts[kind] += 1
        self.structures[kind][structure] += 1
        if len(self.examples[kind]) < 40:
            self.examples[kind].append(f"{structure}: {' '.join(graph.program)}")


def trace(module: nn.Module, x: Tensor, name: str) -> tuple[Tensor, dict[int, Tensor]]:
    """The output of a generated module and all its tensors by number, the input as 0."""
    seen: dict[int, Tensor] = {0: x}

    def watch(frame: FrameType, event: str, argument: object) -> None:
        if event == "return" and frame.f_code.co_filename == f"<{name}>" and frame.f_code.co_name == "forward":
            for key, value in frame.f_locals.items():
                if key[0] == "t" and key[1:].isdigit():
                    seen[int(key[1:])] = value

    sys.setprofile(watch)
    try:
        output = module(x)
    finally:
        sys.setprofile(None)
    return output, seen


def chain(graph: KernelGraph, index: int, length: int = 3) -> str:
    """The last primitives before and at a node, such as `Neg > ReLU > Fold avg`; operands of two in brackets."""
    node = graph.nodes[index]
    name = label(graph, index)
    if length == 1 or not node.inputs:
        return name
    if len(node.inputs) == 2:
        return f"({', '.join(chain(graph, operand, length - 1) for operand in node.inputs)}) > {name}"
    return f"{chain(graph, node.inputs[0], length - 1)} > {name}"


def label(graph: KernelGraph, index: int) -> str:
    """A primitive with the dims that it is about."""
    data = graph.nodes[index].primitive.to_json()
    words = [str(data[key]) for key in ("kind", "softmax", "lhs", "rhs", "step") if key in data]
    dims = data.get("dims") or ([data["dim"]] if "dim" in data else [])
    return " ".join([graph.nodes[index].primitive.family, *words, *(dim.partition(".")[2] for dim in dims)])


def spread(tensor: Tensor) -> float:
    """Standard deviation of all elements, 0 for a single one."""
    return float(tensor.std()) if tensor.numel() > 1 else 0.0


def check_run(graph: KernelGraph, report: Report, seed: int) -> bool:
    """Run with fresh weights, forward and backward; whether nothing was wrong."""
    torch.manual_seed(seed)
    module, x = build_module(graph, SITE), torch.randn(BATCH, *SITE.shape)
    output, tensors = trace(module, x, graph.name)
    for tensor in tensors.values():
        if tensor.requires_grad:
            tensor.retain_grad()
    if output.requires_grad:
        torch.autograd.backward((output * torch.randn_like(output).sign()).sum())
    found = _judge_output(graph, output.detach(), {i: t.detach() for i, t in tensors.items()}, report)
    dead = [name for name, weight in module.named_parameters() if weight.grad is None or not bool(weight.grad.any())]
    if dead:
        report.add("dead weight", graph, _killer(graph, tensors, dead[0]))
    return not found and not dead


def _judge_output(graph: KernelGraph, output: Tensor, tensors: dict[int, Tensor], report: Report) -> bool:
    if not bool(torch.isfinite(output).all()):
        first = next(i for i in sorted(tensors) if not bool(torch.isfinite(tensors[i]).all()))
        report.add("not finite", graph, chain(graph, first))
        return True
    if spread(output) < CONSTANT:
        first = next((i for i in sorted(tensors) if spread(tensors[i]) < CONSTANT), len(graph.nodes) - 1)
        report.add("constant", graph, chain(graph, first))
        return True
    if spread(output - output[:1]) < CONSTANT:
        alike = (i for i in sorted(tensors) if spread(tensors[i] - tensors[i][:1]) < CONSTANT)
        report.add("ignores input", graph, chain(graph, next(alike, len(graph.nodes) - 1)))
        return True
    return False


def _killer(graph: KernelGraph, tensors: dict[int, Tensor], weight: str) -> str:
    """The structure behind which no gradient comes back to a weight."""
    index = int("".join(filter(str.isdigit, weight.partition(".")[0])))
    users: dict[int, list[int]] = defaultdict(list)
    for user, node in enumerate(graph.nodes):
        for operand in node.inputs:
            users[operand].append(user)
    while True:
        gradient = tensors[index].grad
        after = [user for user in users[index] if user in tensors]
        if (gradient is not None and bool(gradient.any())) or not after:
            return chain(graph, index)
        dead = [user for user in after if tensors[user].grad is None or not bool(tensors[user].grad.any())]  # type: ignore[union-attr]
        if not dead:
            return chain(graph, after[0])
        index = dead[0]


def integer(size: Size) -> int:
    """A size at the site."""
    num, den = size.fraction(symbol_values(SITE))
    return num // den


def places(graph: KernelGraph) -> list[int]:
    """Weighted nodes in the order of a walk from the output."""
    order: list[int] = []
    waiting = [len(graph.nodes) - 1]
    seen = set[int]()
    while waiting:
        index = waiting.pop()
        if index in seen:
            continue
        seen.add(index)
        if graph.nodes[index].primitive.weighted:
            order.append(index)
        waiting.extend(reversed(graph.nodes[index].inputs))
    return order


def set_weights(module: nn.Module, graph: KernelGraph) -> None:
    """Weights that depend only on their shapes and how many of that shape came before them."""
    parameters = {int("".join(filter(str.isdigit, n.partition(".")[0]))): p for n, p in module.named_parameters()}
    counts = Counter[tuple[int, ...]]()
    for index in places(graph):
        parameter = parameters[index]
        shape = tuple(size for size in parameter.shape if size > 1)
        counts[shape] += 1
        seed = int.from_bytes(hashlib.sha256(str((shape, counts[shape])).encode()).digest()[:4], "big")
        fan_in = integer(graph.nodes[index].primitive.weights(graph.input_shapes(index))[0].fan_in)
        values = np.random.default_rng(seed).standard_normal(parameter.shape) * fan_in**-0.5
        parameter.data = torch.from_numpy(values)


def check_behaviour(graph: KernelGraph, report: Report, x: Tensor, directions: Tensor) -> None:
    """Look for primitives that do nothing, and note what the kernel does."""
    module = build_module(graph, SITE).double()
    set_weights(module, graph)
    with torch.no_grad():
        output, tensors = trace(module, x, graph.name)
    if not bool(torch.isfinite(output).all()):
        return
    idle = _idle(graph, tensors)
    if idle is not None:
        report.add("idle", graph, idle)
    size = float(output.square().mean().sqrt())
    if spread(output) < SAME * size or size == 0:
        return
    values = directions @ output.flatten() / size
    exact = [round(float(value), 6) for value in values]
    program = " ".join(graph.program)
    report.behaviours[0][str([*exact, round(float(np.log(size)), 6)])][graph.hash] = program
    sign = 1 if exact[0] > 0 else -1
    report.behaviours[1][str([round(sign * value, 5) for value in exact])][graph.hash] = program


def _idle(graph: KernelGraph, tensors: dict[int, Tensor]) -> str | None:
    """The first primitive whose output is an earlier tensor, or a multiple of one number."""
    by_shape: dict[Any, list[int]] = defaultdict(list)
    for index in range(len(graph.nodes) - 1):
        tensor, alike = tensors[index], by_shape[graph.nodes[index].shape]
        scale = float(tensor.abs().max())
        for earlier in alike:
            if float((tensor - tensors[earlier]).abs().max()) <= SAME * scale:
                whose = "its operand" if earlier in graph.nodes[index].inputs else chain(graph, earlier, 2)
                return f"{chain(graph, index)} = {whose}"
        if tensor.numel() > 1 and spread(tensor) <= SAME * scale:
            return f"{chain(graph, index)} = constant"
        alike.append(index)
    return None


def summary(report: Report, kernels: int) -> dict[str, Any]:
    """Shares, structures and examples."""
    distinct = len(report.hashes)
    names = ("behaves alike", "behaves alike but for a factor")
    groups = [[list(g.values()) for g in behaviours.values() if len(g) > 1] for behaviours in report.behaviours]
    extra = {name: sum(len(g) - 1 for g in group) for name, group in zip(names, groups, strict=True)}
    return {
        "kernels": kernels,
        "counts": {kind: report.counts[kind] for kind in KINDS},
        "shares": {kind: round(report.counts[kind] / kernels, 5) for kind in KINDS},
        "duplicates": {
            "by hash": kernels - distinct,
            **{f"{name}, of other hash": count for name, count in extra.items()},
            "share by hash": round(1 - distinct / kernels, 5),
            **{f"share {name}, of other hash": round(count / distinct, 5) for name, count in extra.items()},
        },
        "structures": {kind: dict(report.structures[kind].most_common(40)) for kind in KINDS},
        "examples": {kind: report.examples[kind] for kind in KINDS},
        "alike": [group[:4] for group in groups[1][:60]],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", type=int, default=10_000)
    parser.add_argument("--primitives", type=int, nargs=2, default=(3, 12), help="fewest and most")
    parser.add_argument("--runs-only", action="store_true", help="only the runs in float32: nothing idle or alike")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "kernel_health.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    space = SearchSpace([SITE], SearchOptions(num_primitive_range=tuple(options.primitives)))
    rng, report, start = np.random.default_rng(options.seed), Report(), time.process_time()
    generator = torch.Generator().manual_seed(options.seed)
    x = torch.randn(1, *SITE.shape, generator=generator, dtype=torch.float64)
    directions = torch.randn(3, x.numel(), generator=generator, dtype=torch.float64) / x.numel() ** 0.5
    for index in range(options.kernels):
        graph = space.sample(rng)
        report.hashes[graph.hash] += 1
        check_run(graph, report, index)
        if report.hashes[graph.hash] == 1 and not options.runs_only:
            check_behaviour(graph, report, x, directions)
        if index % 500 == 499:
            print(index + 1, dict(report.counts), f"{time.process_time() - start:.0f} s", flush=True)
    result = {
        "command": " ".join(["python", *sys.argv]),
        "seed": options.seed,
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "canvas_rl": canvas_rl.__version__,
            "machine": platform.machine(),
        },
        "cpu_s": round(time.process_time() - start, 1),
        **summary(report, options.kernels),
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    for key in ("counts", "shares", "duplicates"):
        print(key, json.dumps(result[key], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
