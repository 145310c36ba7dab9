"""Where the time of an evaluation goes, and how busy the device is.

    python experiments/evaluation_time.py --device cuda --latency compile --workers 6 --kernels 64
    python experiments/evaluation_time.py --device cuda --latency eager --workers 6 --kernels 200
    python experiments/evaluation_time.py --device cpu --kernels 64

Kernels are unselected draws of the default search space. Everything is on that a search has on: gates, the default
proxy with its milestones, compilation ahead, timing at the four sites of a ResNet, a store. The reference is measured
before the clock starts. Utilisation is nvidia-smi's: the share of time in which something ran on the GPU, of a sample
every 0.2 seconds. Writes JSON under `experiments/results/`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from canvas_rl.command_line import exit_code
from canvas_rl.evaluation.environment import describe_environment
from canvas_rl.evaluation.evaluator import KernelEvaluator
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.proxy import ProxyConfig
from canvas_rl.evaluation.settings import EvaluationConfig
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.space import SearchSpace
from canvas_rl.study.settings import chosen_workers, default_space

RESULTS = Path(__file__).parent / "results"
_WATCH = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200")


@contextmanager
def watched(device: str) -> Iterator[list[float]]:
    """The GPU's utilisation in percent while the block runs, in the list once it has ended; empty on a CPU."""
    samples: list[float] = []
    if device != "cuda":
        yield samples
        return
    with subprocess.Popen(_WATCH, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield samples
        finally:
            process.terminate()
            samples += [float(line) for line in process.communicate()[0].split()]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--latency", choices=("eager", "compile"), default="eager")
    parser.add_argument("--workers", type=int, default=0, help="default: as a search has")
    parser.add_argument("--kernels", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="default: results/evaluation_time_DEVICE_LATENCY.json")
    return parser.parse_args()


def main() -> None:
    given = parse()
    latency = LatencyConfig(given.device, mode=given.latency)
    config = EvaluationConfig(latency, ProxyConfig(), workers=chosen_workers(given.workers, given.device))
    space, rng = SearchSpace(DEFAULT_SITES, default_space()), np.random.default_rng(given.seed)
    graphs = [space.sample(rng) for _ in range(given.kernels)]
    with tempfile.TemporaryDirectory() as folder:
        store = MeasurementStore(f"sqlite:///{folder}/store.sqlite")
        with KernelEvaluator(DEFAULT_SITES, config=config, store=store) as evaluator:
            print(f"the reference's quality: {evaluator.reference.quality}", flush=True)
            evaluator.statistics.seconds.clear()
            with watched(given.device) as utilisation:
                started = time.perf_counter()
                evaluator.evaluate(graphs)
                seconds = time.perf_counter() - started
            statistics = evaluator.statistics
    report = {
        "environment": describe_environment(latency),
        "workers": config.process_count,
        "seed": given.seed,
        "kernels": statistics.evaluated,
        "statuses": {str(status): count for status, count in statistics.by_status.items()},
        "seconds": round(seconds, 1),
        "seconds_a_kernel": round(seconds / statistics.evaluated, 2),
        "evaluations_an_hour": round(3600 * statistics.evaluated / seconds),
        "worker_seconds_a_kernel": {
            name: round(value / statistics.evaluated, 3) for name, value in statistics.seconds.items()
        },
        "gpu_utilisation_mean": round(float(np.mean(utilisation)) / 100, 3) if utilisation else None,
        "gpu_samples_idle": round(float(np.mean(np.array(utilisation) == 0)), 3) if utilisation else None,
    }
    print(json.dumps(report, indent=1))
    output = given.output or RESULTS / f"evaluation_time_{given.device}_{given.latency}.json"
    output.write_text(json.dumps(report) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(exit_code(main))
