"""Does proxy training tell kernels apart? Hand-made kernels, several seeds, one table.

    python experiments/proxy_discrimination.py --dataset shifted_digits
    python experiments/proxy_discrimination.py --dataset motifs

Prints validation and test accuracy (mean and standard deviation over the seeds) and the time of a kernel, checks the
order that a search relies on, and writes everything with the versions under `experiments/results/`.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from canvas_rl.command_line import exit_code
from canvas_rl.evaluation.data import load_dataset
from canvas_rl.evaluation.proxy import ProxyConfig, proxy_fingerprint, proxy_sites, train_proxy
from canvas_rl.symbolic.site import Site

RESULTS = Path(__file__).parent / "results"
MARGIN = 0.05


class ShiftPointwise(nn.Module):
    """Nine channel groups, each rolled in another direction (one stays), then a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as `x`."""
        groups = x.tensor_split(9, dim=1)
        rolled = [group.roll((i // 3 - 1, i % 3 - 1), (2, 3)) for i, group in enumerate(groups)]
        return self.mix(torch.cat(rolled, dim=1))


def conv(inputs: int, outputs: int, size: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False)


KERNELS: dict[str, Callable[[int], nn.Module]] = {
    "conv3x3": lambda c: conv(c, c, 3),
    "4 groups": lambda c: conv(c, c, 3, groups=4),
    "depthwise-separable": lambda c: nn.Sequential(conv(c, c, 3, groups=c), conv(c, c, 1)),
    "bottleneck C/4": lambda c: nn.Sequential(conv(c, c // 4, 1), conv(c // 4, c // 4, 3), conv(c // 4, c, 1)),
    "shift + 1x1": ShiftPointwise,
    "depthwise": lambda c: conv(c, c, 3, groups=c),
    "1x1": lambda c: conv(c, c, 1),
}


def measure(name: str, config: ProxyConfig, seeds: int, device: str) -> dict[str, Any]:
    def make_kernel(site: Site) -> nn.Module:
        return KERNELS[name](site.c)

    dataset = load_dataset(config.dataset, config.data_dir, config.data_seed)
    start = time.process_time()
    runs = [train_proxy(make_kernel, replace(config, seed=seed), device, dataset) for seed in range(seeds)]
    return {
        "kernel": name,
        "validation": [run.accuracy for run in runs],
        "test": [run.test_accuracy for run in runs],
        "quality": [run.quality for run in runs],
        "epochs": [run.epochs_run for run in runs],
        "cpu_seconds": (time.process_time() - start) / seeds,
        "seconds": statistics.median(run.seconds for run in runs),
    }


def spread(values: list[float]) -> str:
    return f"{100 * statistics.mean(values):5.1f} ± {100 * statistics.pstdev(values):.1f}"


def show(row: dict[str, Any]) -> None:
    epochs = statistics.mean(row["epochs"])
    print(
        f"{row['kernel']:20s} {spread(row['validation']):>12s} {spread(row['test']):>12s} {epochs:7.1f} "
        f"{row['cpu_seconds']:8.2f} {row['seconds']:8.2f}",
        flush=True,
    )


def check(rows: list[dict[str, Any]], dataset: str) -> dict[str, bool]:
    """The order of kernels that quality must show, on the mean validation and test accuracies."""
    found: dict[str, bool] = {}
    for split in ("validation", "test"):
        mean = {row["kernel"]: statistics.mean(row[split]) for row in rows}
        full, separable, pointwise = (mean[name] for name in ("conv3x3", "depthwise-separable", "1x1"))
        found[f"{split}: conv3x3 > depthwise-separable > 1x1"] = full > separable > pointwise
        found[f"{split}: conv3x3 at least 5 points above 1x1"] = full >= pointwise + MARGIN
        if dataset == "motifs":
            found[f"{split}: conv3x3 at least 5 points above depthwise-separable"] = full >= separable + MARGIN
    return found


def environment(device: str) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="shifted_digits")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--milestones", action="store_true", help="stop hopeless kernels early, as a search does")
    parser.add_argument("--output", type=Path, default=None, help="JSON file (default: under experiments/results)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = ProxyConfig.for_dataset(options.dataset, data_dir=options.data_dir)
    if not options.milestones:
        config = replace(config, milestones=())
    dataset = load_dataset(config.dataset, config.data_dir, config.data_seed)
    print(f"{config.dataset}: sites {', '.join(map(str, proxy_sites(config, dataset)))}, {options.seeds} seeds")
    print(f"{'kernel':20s} {'validation %':>12s} {'test %':>12s} {'epochs':>7s} {'CPU-s':>8s} {'s':>8s}")
    rows = []
    for name in KERNELS:
        rows.append(measure(name, config, options.seeds, options.device))
        show(rows[-1])
    checks = check(rows, config.dataset)
    for claim, holds in checks.items():
        print(f"{'ok    ' if holds else 'FAILED'} {claim}")
    suffix = "_milestones" if options.milestones else ""
    output = options.output or RESULTS / f"proxy_discrimination_{Path(config.dataset).stem}{suffix}.json"
    record = {
        "command": " ".join(["python", *sys.argv]),
        "environment": environment(options.device),
        "config": {**config.to_json(), "seed": list(range(options.seeds))},
        "fingerprint": proxy_fingerprint(config, dataset),
        "chance": dataset.chance,
        "rows": rows,
        "checks": checks,
    }
    output.write_text(json.dumps(record, indent=2) + "\n")
    print(f"written to {output}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(exit_code(main))
