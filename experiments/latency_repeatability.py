"""How well latencies repeat: the same kernels measured twice, each time in a fresh process.

    python experiments/latency_repeatability.py --device cuda --triton
    python experiments/latency_repeatability.py --device cpu

Kernels are unselected draws of the sampler with 3 to 12 primitives that pass the gates, at the four sites of a
ResNet, timed as a search times them: on a CPU eight kernels in turn, in several visits each (all of them; a search
stops when the time of a kernel is up). For each of them the two processes' ratios of the reference's latency to the
kernel's (geometric mean over the sites) and total latencies are compared. `--triton` (CUDA) also compares warm
latencies at each site with the median of triton.testing.do_bench_cudagraph, and each of the two with itself. Writes
JSON under `experiments/results/`.
"""

import argparse
import json
import math
import multiprocessing
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from canvas_rl.codegen import build_module
from canvas_rl.command_line import exit_code
from canvas_rl.config import SearchOptions
from canvas_rl.evaluation.environment import describe_environment
from canvas_rl.evaluation.evaluator import IN_TURN
from canvas_rl.evaluation.gates import check_gates
from canvas_rl.evaluation.latency import LatencyConfig, measure_pair, prepare
from canvas_rl.evaluation.measurement import Rejection
from canvas_rl.evaluation.subject import reference_module
from canvas_rl.evaluation.timing import PairTiming, Timed, fastest_of_visits
from canvas_rl.ir import KernelGraph
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import ReferenceConv, Site

RESULTS = Path(__file__).parent / "results"
OPTIONS = SearchOptions(num_primitive_range=(3, 12), flops_budget=1.0, params_budget=1.0, memory_budget=20.0)


def measure(config: LatencyConfig, kernels: int, seed: int, triton: bool) -> list[dict[str, Any]]:
    """Measure the first so many kernels of a seed that pass the gates; of each, the figures at every site."""
    torch.set_num_threads(config.threads)
    references = [_reference(site, config) for site in DEFAULT_SITES]  # made once in a process, as an evaluation does
    graphs = _draw(kernels, seed, config.device)
    found: list[dict[str, Any]] = []
    for first in range(0, kernels, IN_TURN):
        found += _measure_in_turn(graphs[first : first + IN_TURN], references, config)
    if triton:
        warm = replace(config, cold_cache=False)
        for graph, kernel in zip(graphs, found, strict=True):
            for index, figures in enumerate(kernel["sites"]):
                figures.update(_beside_triton(graph, index, references[index], warm))
    return found


def _draw(kernels: int, seed: int, device: str) -> list[KernelGraph]:
    space, rng = SearchSpace(DEFAULT_SITES, OPTIONS), np.random.default_rng(seed)
    graphs: list[KernelGraph] = []
    while len(graphs) < kernels:
        graph = space.sample(rng)
        try:
            check_gates(lambda site, graph=graph: build_module(graph, site), DEFAULT_SITES, device)
        except Rejection:
            continue
        graphs.append(graph)
    return graphs


def _measure_in_turn(graphs: list[KernelGraph], references: list[Timed], config: LatencyConfig) -> list[dict[str, Any]]:
    timings: list[list[list[PairTiming]]] = [[[] for _ in DEFAULT_SITES] for _ in graphs]
    seconds = [[0.0] * len(DEFAULT_SITES) for _ in graphs]
    for _ in range(config.visits):
        for number, graph in enumerate(graphs):
            for index in range(len(DEFAULT_SITES)):
                started = time.perf_counter()
                timings[number][index].append(_measure_site(graph, index, references[index], config.one_visit))
                seconds[number][index] += time.perf_counter() - started
    return [
        {
            "kernel": graph.hash,
            "seconds": sum(of_sites),
            "sites": [
                asdict(fastest_of_visits(visits)) | {"seconds": spent}
                for visits, spent in zip(at_sites, of_sites, strict=True)
            ],
        }
        for graph, at_sites, of_sites in zip(graphs, timings, seconds, strict=True)
    ]


def _reference(site: Site, config: LatencyConfig) -> Timed:
    with torch.device(config.device):
        return prepare(reference_module(site, ReferenceConv()), config)


def _measure_site(graph: KernelGraph, index: int, reference: Timed, config: LatencyConfig) -> PairTiming:
    site = DEFAULT_SITES[index]
    torch.manual_seed(0)
    with torch.device(config.device):
        module = build_module(graph, site)
    return measure_pair(module, reference, site.shape, config)


def _beside_triton(graph: KernelGraph, index: int, reference: Timed, config: LatencyConfig) -> dict[str, float]:
    from triton.testing import do_bench_cudagraph

    site = DEFAULT_SITES[index]
    warm = _measure_site(graph, index, reference, config).latency_s
    module = build_module(graph, site).to("cuda", config.torch_dtype).eval()
    example = torch.randn(config.batch_size, *site.shape, device="cuda", dtype=config.torch_dtype)
    with torch.no_grad():
        triton_ms = do_bench_cudagraph(lambda: module(example), return_mode="median")
    return {"warm_s": warm, "triton_s": triton_ms / 1e3}


def compare(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> dict[str, Any]:
    """Differences between two measurements of the same kernels."""
    ratios, totals = [], []
    for one, other in zip(first, second, strict=True):
        assert one["kernel"] == other["kernel"]
        ratios.append(abs(_speedup(one) / _speedup(other) - 1))
        totals.append(abs(_total(one) / _total(other) - 1))
    seconds = [figures["seconds"] for kernel in second for figures in kernel["sites"]]
    return {
        "kernels": len(ratios),
        "speedup": _agreement(ratios),
        "total_latency": _agreement(totals),
        "seconds_a_site": {name: round(float(np.quantile(seconds, q)), 4) for name, q in _QUANTILES.items()},
        "seconds_a_kernel": round(max(kernel["seconds"] for kernel in first + second), 2),
        "noted": sum(bool(figures["note"]) for kernel in second for figures in kernel["sites"]),
    }


_QUANTILES = {"median": 0.5, "p95": 0.95, "most": 1.0}


def _speedup(kernel: dict[str, Any]) -> float:
    logs = [math.log(figures["reference_latency_s"] / figures["latency_s"]) for figures in kernel["sites"]]
    return math.exp(sum(logs) / len(logs))


def _total(kernel: dict[str, Any]) -> float:
    return math.fsum(figures["latency_s"] for figures in kernel["sites"])


def _agreement(differences: list[float]) -> dict[str, float]:
    """Shares of differences below some bounds, and the greatest."""
    array = np.array(differences)
    shares = {f"within_{bound:.0%}": round(float((array < bound).mean()), 4) for bound in (0.01, 0.03, 0.05)}
    return shares | {"median": round(float(np.median(array)), 5), "most": round(float(array.max()), 5)}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--latency", choices=("eager", "compile"), default="eager")
    parser.add_argument("--time-cap", type=float, help="seconds at a site (default: the evaluation's)")
    parser.add_argument("--kernels", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--triton", action="store_true", help="compare with do_bench_cudagraph, too (CUDA)")
    parser.add_argument("--output", type=Path, help="default: results/latency_repeatability_DEVICE.json")
    return parser.parse_args()


def main() -> None:
    given = parse()
    config = LatencyConfig(given.device, given.dtype, given.batch_size, mode=given.latency, time_cap_s=given.time_cap)
    config.check_device()
    runs = []
    for _ in range(2):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            runs.append(pool.apply(measure, (config, given.kernels, given.seed, given.triton)))
    found = compare(*runs)
    if given.triton:
        first, second = ([figures for kernel in run for figures in kernel["sites"]] for run in runs)
        pairs = list(zip(first, second, strict=True))
        found["warm_beside_triton"] = _agreement([abs(one["warm_s"] / one["triton_s"] - 1) for one in first + second])
        found["warm_twice"] = _agreement([abs(one["warm_s"] / other["warm_s"] - 1) for one, other in pairs])
        found["triton_twice"] = _agreement([abs(one["triton_s"] / other["triton_s"] - 1) for one, other in pairs])
    print(json.dumps(found, indent=1))
    report = {"latency": config.to_json(), "seed": given.seed, **found, "runs": runs}
    report["machine"] = describe_environment(config)
    output = given.output or RESULTS / f"latency_repeatability_{given.device}.json"
    output.write_text(json.dumps(report) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(exit_code(main))
