"""Loading the trained proxy network of a run. Nothing is unpickled and no file is executed."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from canvas_rl.codegen import build_module
from canvas_rl.errors import ConfigError, DatasetError, FormatError
from canvas_rl.evaluation.data import Dataset, DatasetShape, is_file
from canvas_rl.evaluation.proxy import ProxyConfig, build_backbone, sample_shape, score_network
from canvas_rl.files import exists, is_folder, read_json
from canvas_rl.ir import KernelGraph
from canvas_rl.study.final import METRICS_FORMAT


def best_folder(path: str | Path) -> Path:
    """The `best/` of a run, given the run's folder or `best/` itself."""
    folder = Path(path)
    return folder / "best" if is_folder(folder / "best") else folder


def load_network(path: str | Path) -> nn.Module:
    """The proxy network that was trained with the best kernel of a run, in evaluation mode.

    Args:
        path: a run's folder, or its `best/`.

    Raises:
        FormatError: a file is missing, damaged or of another version.
    """
    folder = best_folder(path)
    graph = KernelGraph.from_json(read_json(folder / "kernel.json"))
    weights = folder / "weights.safetensors"
    if not exists(weights):
        raise FormatError(
            f"{str(folder)!r} has a kernel and no trained network: one is written when a search ends, so end the run "
            "with --resume"
        )
    network = build_backbone(_proxy(folder), lambda site: build_module(graph, site), _data_shape(folder))
    try:
        network.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FormatError(f"{str(weights)!r} can't be used ({reason}): it is damaged or of another run") from error
    return network.eval()


def network_input_shape(path: str | Path) -> tuple[int, ...]:
    """The shape of one input of the network that `load_network` gives, without the batch.

    Raises:
        FormatError: as `load_network`.
    """
    folder = best_folder(path)
    return sample_shape(_data_shape(folder).image_shape, _proxy(folder).spatial_dims)


def rescore(path: str | Path, dataset: Dataset | None = None) -> tuple[float, float]:
    """Validation and test accuracy of a run's saved network, computed anew; `metrics.json` has those of the run.

    Args:
        path: a run's folder, or its `best/`.
        dataset: the data set it was trained on; None loads it. One made by a function has to be given.

    Raises:
        FormatError: as `load_network`.
        DatasetError: the data set is not there, or is made by a function, which loading never calls.
    """
    proxy = _proxy(best_folder(path))
    if dataset is None and ":" in proxy.dataset and not is_file(proxy.dataset):
        raise DatasetError(
            f"the network was trained on {proxy.dataset!r}, a function that is not called because a file names it: "
            "pass dataset=load_dataset(...) if you trust it"
        )
    return score_network(load_network(path), proxy, dataset)


def _proxy(folder: Path) -> ProxyConfig:
    try:
        return ProxyConfig.from_json(_metrics(folder)["proxy"])
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise _damaged(folder, error) from error


def _data_shape(folder: Path) -> DatasetShape:
    """The shape of the data as it was saved: loading a network needs no data, and calls nothing that a file names."""
    saved: Any = _metrics(folder).get("data")
    try:
        channels, height, width = (int(size) for size in saved["image_shape"])
        return DatasetShape((channels, height, width), int(saved["classes"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder, error) from error


def _metrics(folder: Path) -> dict[str, Any]:
    metrics = read_json(folder / "metrics.json")
    found = metrics.get("format") if isinstance(metrics, dict) else None
    if found != METRICS_FORMAT:
        raise FormatError(f"{str(folder / 'metrics.json')!r} has format {found}: this version reads {METRICS_FORMAT}")
    checked: dict[str, Any] = metrics
    return checked


def _damaged(folder: Path, error: Exception) -> FormatError:
    return FormatError(f"{str(folder / 'metrics.json')!r} is damaged ({error!r}): restore it from where it was saved")
