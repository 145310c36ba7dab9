"""Compiled latencies of many kernels, where the time of an evaluation goes, and how well a cost model predicts them.

    python experiments/cost_model.py collect --device cuda --workers 6 --kernels 224 --seconds 300
    python experiments/cost_model.py collect --device cuda --workers 6 --train --seed 3 --kernels 28 --output FILE
    python experiments/cost_model.py report

`collect` evaluates unselected draws of the default search space at ResNet-18's sites with `KernelEvaluator`:
torch.compile, float32, batch 1, and with `--train` the search's proxy too. It stops after `--kernels` or `--seconds`.
Writes JSON under `experiments/results/`.

`report` takes all files `compiled_latencies*.json` there and predicts each kernel by a `CostModel` of the nine tenths
that it is not in (three shufflings): the rank correlation (Spearman) of the geometric mean over the sites, and where
the truly fastest five stand when kernels are ordered by prediction.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from canvas_rl.evaluation.cost_model import CostModel
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
FASTEST = 5


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


def load() -> tuple[list[KernelGraph], np.ndarray[Any, Any]]:
    """The timed kernels, and their seconds at each site, [kernels, sites]."""
    rows = [
        row
        for path in sorted(RESULTS.glob("compiled_latencies*.json"))
        for row in json.loads(path.read_text(encoding="utf-8"))["kernels"]
        if row["status"] == "ok"
    ]
    return [KernelGraph.from_json(row["graph"]) for row in rows], np.array([row["latency_s"] for row in rows])


def report(_: argparse.Namespace) -> None:
    from scipy.stats import spearmanr
    from sklearn.model_selection import KFold

    kernels, seconds = load()
    truth = np.log(seconds).mean(axis=1)
    fastest = np.argsort(truth)[:FASTEST]
    print(f"{len(kernels)} kernels")
    for seed in range(3):
        predicted = np.zeros_like(truth)
        for known, held_out in KFold(10, shuffle=True, random_state=seed).split(truth):
            model = CostModel([kernels[index] for index in known], seconds[known], DEFAULT_SITES, seed)
            predicted[held_out] = np.log(model.predict([kernels[index] for index in held_out])).mean(axis=1)
        places = np.argsort(np.argsort(predicted))[fastest] + 1
        error = float(np.median(np.abs(np.exp(predicted - truth) - 1)))
        print(
            f"seed {seed}: Spearman {spearmanr(truth, predicted).statistic:.3f}, median error {error:.0%}, "
            f"the fastest {FASTEST} at places {sorted(places.tolist())}"
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("collect", "report"))
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
    {"collect": collect, "report": report}[options.action](options)
