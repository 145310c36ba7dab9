"""Compiled latencies of many kernels, where the time of an evaluation goes, and how well a cost model predicts them.

    python experiments/cost_model.py collect --device cuda --workers 6 --kernels 224 --seconds 300
    python experiments/cost_model.py collect --device cuda --workers 6 --train --seed 3 --kernels 28 --output FILE
    python experiments/cost_model.py report
    python experiments/cost_model.py skip

`collect` evaluates unselected draws of the default search space at ResNet-18's sites with `KernelEvaluator`:
torch.compile, float32, batch 1, and with `--train` the search's proxy too. It stops after `--kernels` or `--seconds`.
Writes JSON under `experiments/results/`.

`report` takes all files `compiled_latencies*.json` there and predicts each kernel by a `CostModel` of the nine tenths
that it is not in (three shufflings): the rank correlation (Spearman) of the geometric mean over the sites, and where
the truly fastest five stand when kernels are ordered by prediction.

`skip` plays searches over the same files: the kernels come in batches of eight, in the order recorded and in shuffled
ones, and a search with `skip_slower` skips what its screen says, which learns from the kernels timed before. It counts
the skipped ones, the truly fastest five among them, and those that are truly faster than `skip_slower`. Writes
`cost_model_skip.json`.

Kernels recorded before the canonical hash was changed can't be read any more: both say how many they leave out.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from canvas_rl.command_line import exit_code
from canvas_rl.errors import FormatError
from canvas_rl.evaluation.cost_model import CostModel
from canvas_rl.evaluation.environment import describe_environment
from canvas_rl.evaluation.evaluator import KernelEvaluator
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.measurement import Measurement, SiteFigures, Status, geometric_speedup
from canvas_rl.evaluation.proxy import ProxyConfig
from canvas_rl.evaluation.screening import Screen
from canvas_rl.evaluation.settings import EvaluationConfig
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.evaluation.subject import Place
from canvas_rl.ir import KernelGraph
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.space import SearchSpace
from canvas_rl.study.settings import default_space
from canvas_rl.symbolic.site import ReferenceConv

RESULTS = Path(__file__).parent / "results"
ROUND = 56
FASTEST = 5
BATCH = 8


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


def load() -> tuple[list[KernelGraph], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The timed kernels, their seconds at each site, [kernels, sites], and those of the convolutions beside them."""
    rows = [
        row
        for path in sorted(RESULTS.glob("compiled_latencies*.json"))
        for row in json.loads(path.read_text(encoding="utf-8"))["kernels"]
        if row["status"] == "ok"
    ]
    read = [(graph, row) for row in rows if (graph := _read(row["graph"])) is not None]
    print(f"{len(read)} kernels; {len(rows) - len(read)} of an earlier canonical hash left out")
    latencies, references = (np.array([row[name] for _, row in read]) for name in ("latency_s", "reference_s"))
    return [graph for graph, _ in read], latencies, references


def _read(graph: dict[str, Any]) -> KernelGraph | None:
    try:
        return KernelGraph.from_json(graph)
    except FormatError:
        return None


def skip(given: argparse.Namespace) -> None:
    kernels, latencies, references = load()
    measured = [_measurement(kernel, *seconds) for kernel, *seconds in zip(kernels, latencies, references, strict=True)]
    runs: list[dict[str, Any]] = []
    for slowest in given.slowest:
        for order in range(given.orders):
            rng = np.random.default_rng(order)
            chosen = rng.permutation(len(kernels)) if order else np.arange(len(kernels))
            runs.append(_play([(kernels[index], measured[index]) for index in chosen], slowest))
            print(f"order {order}: {runs[-1]}", flush=True)
    result = {"kernels": len(kernels), "batch": BATCH, "fastest": FASTEST, "runs": runs}
    (RESULTS / "cost_model_skip.json").write_text(json.dumps(result) + "\n", encoding="utf-8")


def _play(candidates: list[tuple[KernelGraph, Measurement]], slowest: float) -> dict[str, Any]:
    """A search that asks for the kernels in this order and skips what is predicted to be slower."""
    skipped: list[float] = []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        store = MeasurementStore(Path(folder) / "store.sqlite")
        screen = Screen(store, "", "", [Place(site, ReferenceConv()) for site in DEFAULT_SITES], slowest)
        for start in range(0, len(candidates), BATCH):
            batch = candidates[start : start + BATCH]
            reasons = screen.too_slow({kernel.hash: kernel.to_json() for kernel, _ in batch}, [])
            skipped += [float(result.speedup or 0) for kernel, result in batch if kernel.hash in reasons]
            for kernel, result in batch:
                if kernel.hash not in reasons:
                    store.put(result, kernel.to_json(), "", "")
        store.close()
    speedups = sorted((float(result.speedup or 0) for _, result in candidates), reverse=True)
    return {
        "skip_slower": slowest,
        "truly_slower": sum(speedup < slowest for speedup in speedups),
        "skipped": len(skipped),
        "skipped_truly_faster": sum(speedup >= slowest for speedup in skipped),
        "fastest_skipped": max(skipped, default=None),
        "of_the_fastest_skipped": sum(speedup >= speedups[FASTEST - 1] for speedup in skipped),
        "seconds": round(time.perf_counter() - started, 1),
    }


def _measurement(kernel: KernelGraph, latencies: Any, references: Any) -> Measurement:
    sites = tuple(
        SiteFigures(site, 0, 0, 0, float(own), float(other))
        for site, own, other in zip(DEFAULT_SITES, latencies, references, strict=True)
    )
    return Measurement(kernel.hash, Status.OK, sites=sites, speedup=geometric_speedup(sites))


def report(_: argparse.Namespace) -> None:
    from scipy.stats import spearmanr
    from sklearn.model_selection import KFold

    kernels, seconds, _ = load()
    truth = np.log(seconds).mean(axis=1)
    fastest = np.argsort(truth)[:FASTEST]
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
    parser.add_argument("action", choices=("collect", "report", "skip"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--mode", choices=("eager", "compile"), default="compile")
    parser.add_argument("--train", action="store_true", help="train the search's proxy too")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--kernels", type=int, default=240)
    parser.add_argument("--seconds", type=float, default=500.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--orders", type=int, default=5, help="skip: searches for each least speedup")
    parser.add_argument("--slowest", type=float, nargs="+", default=[1.0, 2.0, 3.0], help="skip: least speedups")
    parser.add_argument("--output", type=Path, default=RESULTS / "compiled_latencies.json")
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    sys.exit(exit_code(lambda: {"collect": collect, "report": report, "skip": skip}[options.action](options)))
