"""Loading the trained proxy network of a run. Nothing is unpickled and no file is executed."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from canvas_rl.codegen import build_module
from canvas_rl.errors import ConfigError, FormatError
from canvas_rl.evaluation.proxy import ProxyConfig, build_backbone, score_network
from canvas_rl.files import read_json
from canvas_rl.ir import KernelGraph
from canvas_rl.study.final import METRICS_FORMAT


def best_folder(path: str | Path) -> Path:
    """The `best/` of a run, given the run's folder or `best/` itself."""
    folder = Path(path)
    return folder / "best" if (folder / "best").is_dir() else folder


def load_network(path: str | Path) -> nn.Module:
    """The proxy network that was trained with the best kernel of a run, in evaluation mode.

    Args:
        path: a run's folder, or its `best/`.

    Raises:
        FormatError: a file is missing, damaged or of another version.
    """
    folder = best_folder(path)
    graph = KernelGraph.from_json(read_json(folder / "kernel.json"))
    network = build_backbone(_proxy(folder), lambda site: build_module(graph, site))
    weights = folder / "weights.safetensors"
    try:
        network.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FormatError(f"{str(weights)!r} can't be used ({reason}): it is damaged or of another run") from error
    return network.eval()


def rescore(path: str | Path) -> tuple[float, float]:
    """Validation and test accuracy of a run's saved network, computed anew; `metrics.json` has those of the run.

    Raises:
        FormatError: as `load_network`.
        DatasetError: the data set is not there.
    """
    return score_network(load_network(path), _proxy(best_folder(path)))


def _proxy(folder: Path) -> ProxyConfig:
    metrics = read_json(folder / "metrics.json")
    found = metrics.get("format") if isinstance(metrics, dict) else None
    if found != METRICS_FORMAT:
        raise FormatError(f"{str(folder / 'metrics.json')!r} has format {found}: this version reads {METRICS_FORMAT}")
    try:
        return ProxyConfig.from_json(metrics["proxy"])
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise FormatError(f"{str(folder / 'metrics.json')!r} is damaged ({error!r})") from error
