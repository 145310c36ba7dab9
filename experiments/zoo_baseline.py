"""What the known operators cost beside the convolution they would replace: FLOPs, parameters and latency.

    python experiments/zoo_baseline.py
    python experiments/zoo_baseline.py --device cuda --dtype bfloat16 --channels-last --batch-size 32
    python experiments/zoo_baseline.py --sites 64x100 128x50 --names bottleneck involution

Latency of an operator and of the dense 3x3 convolution are measured in turn at every site; printed is the speedup, the
convolution's latency over the operator's. Writes the table with versions and settings under `experiments/results/`; on
a CPU the ratios alone, since the machine may be shared.
"""

import argparse
import json
import math
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from canvas_rl import zoo
from canvas_rl.codegen import build_module
from canvas_rl.command_line import exit_code
from canvas_rl.evaluation.latency import LatencyConfig, measure_pair
from canvas_rl.evaluation.measurement import Rejection
from canvas_rl.evaluation.subject import reference_module
from canvas_rl.ir import KernelGraph, static_cost
from canvas_rl.symbolic.site import ReferenceConv, Site

RESULTS = Path(__file__).parent / "results"
RESNET18 = ["64x56x56", "128x28x28", "256x14x14", "512x7x7"]
REFERENCE = ReferenceConv()


def measure(graph: KernelGraph, site: Site, config: LatencyConfig) -> dict[str, Any]:
    """Latency of a kernel and of the convolution at one site; the note says where that was not possible."""
    torch.manual_seed(0)
    try:
        timing = measure_pair(build_module(graph, site), reference_module(site, REFERENCE), site.shape, config)
    except Rejection as rejection:
        return {"speedup": None, "note": f"{rejection.status}: {rejection.message}"}
    found = {"speedup": round(timing.speedup, 4), "noise": round(timing.noise, 4), "note": timing.note}
    if config.device == "cuda":
        found |= {"latency_us": 1e6 * timing.latency_s, "reference_us": 1e6 * timing.reference_latency_s}
    return found


def row(name: str, sites: list[Site], config: LatencyConfig) -> dict[str, Any]:
    """Everything about one operator."""
    graph = zoo.load(name, sites)
    costs = [static_cost(graph, site) for site in sites]
    timings = {str(site): measure(graph, site, config) for site in sites}
    speedups = [timing["speedup"] for timing in timings.values()]
    return {
        "operator": name,
        "kernel": graph.hash,
        "flops_ratio": sum(cost.flops for cost in costs) / sum(REFERENCE.flops(site) for site in sites),
        "params_ratio": sum(cost.params for cost in costs) / sum(REFERENCE.params(site) for site in sites),
        "sites": timings,
        "speedup": None if None in speedups else math.prod(speedups) ** (1 / len(speedups)),
    }


def show(found: dict[str, Any]) -> None:
    def text(value: float | None) -> str:
        return f"{'-':>10s}" if value is None else f"{value:9.2f}x"

    speedups = "".join(text(timing["speedup"]) for timing in found["sites"].values())
    ratios = f"{found['flops_ratio']:10.4f} {found['params_ratio']:10.4f}"
    print(f"{found['operator']:24s} {ratios} {speedups} {text(found['speedup'])}", flush=True)


def environment(device: str) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", nargs="+", default=RESNET18, help="sizes such as 64x56x56")
    parser.add_argument("--names", nargs="+", default=None, help="operators (default: all that the sites allow)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--latency", default="eager", choices=("eager", "compile"))
    parser.add_argument("--time-cap", type=float, default=1.0, help="seconds an operator is timed at a site")
    parser.add_argument("--output", type=Path, default=None, help="JSON file (default: under experiments/results)")
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    sites = [Site(*map(int, text.split("x"))) for text in options.sites]
    config = LatencyConfig(
        device=options.device,
        dtype=options.dtype,
        batch_size=options.batch_size,
        channels_last=options.channels_last,
        mode=options.latency,
        time_cap_s=options.time_cap,
    )
    config.check_device()
    graphs = options.names or zoo.names(sites[0].spatial_dims)
    header = "".join(f"{site!s:>10s}" for site in sites)
    print(f"{'operator':24s} {'FLOPs':>10s} {'parameters':>10s} {header} {'geo. mean':>10s}")
    rows = []
    for name in graphs:
        rows.append(row(name, sites, config))
        show(rows[-1])
    output = options.output or RESULTS / f"zoo_baseline_{options.device}.json"
    record = {"command": " ".join(["python", *sys.argv]), "environment": environment(options.device)}
    record |= {"latency": config.to_json(), "reference": "dense 3x3 convolution", "rows": rows}
    output.write_text(json.dumps(record, indent=2) + "\n")
    print(f"written to {output}")


if __name__ == "__main__":
    sys.exit(exit_code(main))
