"""Compiled latencies of many kernels, where the time of an evaluation goes, and how well a cost model predicts them.

    python experiments/cost_model.py collect --device cuda --kernels 240 --seconds 500
    python experiments/cost_model.py report

`collect` evaluates unselected draws of the default search space at ResNet-18's sites with `KernelEvaluator`:
torch.compile, float32, batch 1, and with `--train` the search's proxy too. It stops after `--kernels` or `--seconds`.
Writes JSON under `experiments/results/`.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from canvas_rl.evaluation.environment import describe_environment
from canvas_rl.evaluation.evaluator import KernelEvaluator
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.evaluation.proxy import ProxyConfig
from canvas_rl.evaluation.settings import EvaluationConfig
from canvas_rl.ir import KernelGraph
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.space import SearchSpace
from canvas_rl.study.settings import default_space

RESULTS = Path(__file__).parent / "results"
ROUND = 56


def collect(given: argparse.Namespace) -> None:
    latency = LatencyConfig(device=given.device, mode=given.mode)
    proxy = ProxyConfig() if given.train else None
    config = EvaluationConfig(latency, proxy, workers=given.workers, time_limit_s=120.0)
    space, rng = SearchSpace(DEFAULT_SITES, default_space()), np.random.default_rng(given.seed)
    rows: list[dict[str, Any]] = []
    with KernelEvaluator(DEFAULT_SITES, config=config) as evaluator:
        print(f"the reference's quality: {evaluator.reference.quality}", flush=True)
        started = time.perf_counter()
        evaluator.statistics.seconds.clear()
        while len(rows) < given.kernels and time.perf_counter() - started < given.seconds:
            graphs = [space.sample(rng) for _ in range(min(ROUND, given.kernels - len(rows)))]
            found = evaluator.evaluate(graphs)
            rows += [_row(graph, result) for graph, result in zip(graphs, found, strict=True)]
            seconds = time.perf_counter() - started
            report = {
                "environment": describe_environment(latency),
                "config": config.to_json(),
                "seed": given.seed,
                "evaluated": len(rows),
                "seconds": round(seconds, 1),
                "seconds_a_kernel": round(seconds / len(rows), 2),
                "worker_seconds": {name: round(value, 1) for name, value in evaluator.statistics.seconds.items()},
                "statuses": {str(status): count for status, count in evaluator.statistics.by_status.items()},
                "kernels": rows,
            }
            given.output.write_text(json.dumps(report) + "\n", encoding="utf-8")
            print({name: value for name, value in report.items() if name not in ("kernels", "config")}, flush=True)


def _row(graph: KernelGraph, result: Measurement) -> dict[str, Any]:
    return {
        "graph": graph.to_json(),
        "status": str(result.status),
        "message": result.message,
        "latency_s": [figures.latency_s for figures in result.sites],
        "reference_s": [figures.reference_latency_s for figures in result.sites],
        "quality": result.quality,
        "noise": result.environment.get("noise"),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("collect",))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--mode", choices=("eager", "compile"), default="compile")
    parser.add_argument("--train", action="store_true", help="train the search's proxy too")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--kernels", type=int, default=240)
    parser.add_argument("--seconds", type=float, default=500.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "compiled_latencies.json")
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    {"collect": collect}[options.action](options)
