"""The end of a search: the best kernels measured in the whole network, and the folder `best/`."""

import copy
import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from canvas_rl.codegen import module_class
from canvas_rl.errors import EvaluationError
from canvas_rl.evaluation.data import describe_dataset
from canvas_rl.evaluation.evaluator import FinalResult, KernelEvaluator
from canvas_rl.evaluation.latency import LatencyConfig, network_latency
from canvas_rl.files import write_json, write_tensors
from canvas_rl.ir import KernelGraph
from canvas_rl.kernels import KernelPack
from canvas_rl.placeholder import replace
from canvas_rl.study.archive import Entry
from canvas_rl.study.result import NetworkLatency, Row
from canvas_rl.study.target import Target

logger = logging.getLogger(__name__)

METRICS_FORMAT = 1


def measure_network(entry: Entry, target: Target, config: LatencyConfig) -> NetworkLatency | None:
    """Latency of the user's whole network with a kernel in all its places; None where it can't be measured."""
    if not isinstance(target.example, torch.Tensor):
        logger.warning("the whole network was not timed: its example is no single tensor, whose batch could be set")
        return None
    try:
        network = replace(copy.deepcopy(target.placed), module_class(entry.graph))
        _settle_batch_norms(network, target.example)
        timing = network_latency(network, target.original, target.example, config)
    except EvaluationError as error:
        logger.warning("kernel %s: %s", entry.graph.hash[:8], error)
        return None
    except Exception as error:  # anybody's network may raise anything, and the search's results must not be lost
        logger.warning("kernel %s in the whole network: %s", entry.graph.hash[:8], error)
        return None
    return NetworkLatency(timing.latency_s, timing.reference_latency_s)


def _settle_batch_norms(network: nn.Module, example: torch.Tensor) -> None:
    """Let batch norms see the network's own activations once: untrained kernels may be far from unit variance."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    for layer in norms:
        layer.momentum = 1.0
    training = network.training
    with torch.no_grad():
        network.train()(torch.randn(max(2, len(example)), *example.shape[1:]))
    network.train(training)


def write_kernel(folder: Path, graph: KernelGraph) -> None:
    """Write what is known of a kernel while the search goes on: its graph, source and Graphviz text."""
    pack = KernelPack(graph)
    write_json(folder / "kernel.json", graph.to_json())
    pack.save_torch_code(folder / "kernel.py")
    pack.save_graphviz_code(folder / "kernel.dot")


def write_best(folder: Path, row: Row, final: FinalResult, evaluator: KernelEvaluator, reference_reward: float) -> None:
    """Write a kernel, its trained proxy network and its figures.

    Args:
        folder: an empty folder.
        row: the kernel.
        final: its trained proxy network.
        evaluator: that measured it.
        reference_reward: what the replaced convolution itself would earn.
    """
    write_kernel(folder, row.entry.graph)
    write_tensors(folder / "weights.safetensors", final.network.state_dict())
    write_json(folder / "metrics.json", metrics(row, final, evaluator, reference_reward))


def metrics(row: Row, final: FinalResult, evaluator: KernelEvaluator, reference_reward: float) -> dict[str, Any]:
    """The figures of a kernel, and what it takes to build its proxy network again."""
    proxy = evaluator.config.proxy
    data = None if proxy is None else describe_dataset(proxy.dataset, proxy.data_dir, proxy.data_seed)
    return {
        "format": METRICS_FORMAT,
        "kernel": row.entry.graph.hash,
        "reward": row.entry.reward,
        "reference_reward": reference_reward,
        "quality": final.quality,
        "accuracy": final.accuracy,
        "test_accuracy": final.test_accuracy,
        "network": row.network.to_json() if row.network else None,
        "measurement": row.entry.measurement.to_json(),
        "reference": evaluator.reference.to_json(),
        "places": [place.to_json() for place in evaluator.places],
        "proxy": proxy.to_json() if proxy else None,
        "data": data._asdict() if data else None,
    }
