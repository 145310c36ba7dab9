"""The command line: `python -m canvas_rl.export --help`."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load_file

from canvas_rl.command_line import POSITIONAL, exit_code, option_names, read_options
from canvas_rl.errors import ConfigError
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.files import is_folder
from canvas_rl.handover import (
    ExportConfig,
    Exported,
    KnownKernel,
    export_kernel,
    export_module,
    parse_site,
    resolve_kernel,
)
from canvas_rl.handover.usage import usage
from canvas_rl.study.loading import load_network, network_input_shape

_DESCRIPTION = """Write a kernel with its weights to a file for other programs, checked by running that file.

python -m canvas_rl.export runs/my-run --format python --output my_kernel --site 64,56,56
python -m canvas_rl.export runs/my-run --format onnx --output network.onnx --network

A kernel inside of your own network is exported with the network: canvas_rl.export_module (docs/show-and-export.md)."""


@dataclass(frozen=True)
class ExportSettings:
    """What to export, and how."""

    kernel: str = field(metadata=POSITIONAL)
    """a run, its best/, a kernel.json, a saved kernel.py, or a known operator (docs/zoo.md)"""
    format: str
    """python: source and weights in a folder; onnx; torch-export: for torch.export.load; aoti: compiled by torch for
    this device"""
    output: Path
    """where to: a folder for python, else a file whose name ends with .onnx, or with .pt2; an export that is there
    already is replaced"""
    site: str | None = None
    """sizes of the kernel's input, as C,H,W or as tables have it: 64@56x56 (none: the first of those that its run, or
    its file, names; the output says which)"""
    weights: Path | None = None
    """safetensors file with the weights of the kernel at the site (none: fresh ones)"""
    network: bool = False
    """instead of the kernel: the small network that was trained with it in its run"""
    batch_size: int | None = None
    """the only batch size that the file will take (none: any)"""
    device: str = "cpu"
    """what aoti and torch-export files are for: cpu or cuda"""
    dtype: str = "float32"
    """number type of weights and inputs: float32, bfloat16 or float16"""
    seed: int = 0
    """of fresh weights, and of the inputs that the file is checked with"""

    def __post_init__(self) -> None:
        if self.network and (self.site or self.weights):
            raise ConfigError(
                "the network has its own sizes and weights: leave out --site and --weights with --network"
            )
        if self.network and self.format == "python":
            raise ConfigError("the format python is the source of one kernel: choose another for --network")


def parse(arguments: Sequence[str] | None = None) -> ExportSettings:
    """Settings from the command line.

    Raises:
        ConfigError: they can't be understood, or don't go together.
    """
    return ExportSettings(**read_options([ExportSettings], "python -m canvas_rl.export", _DESCRIPTION, arguments))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for input that can't be used."""
    return exit_code(lambda: _run(parse(arguments)), option_names(ExportSettings))


def _run(settings: ExportSettings) -> None:
    exported, shape, notes = _export(settings)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"{'Replaced' if exported.replaced else 'Wrote'} {exported}")
    for note in notes:
        console.print(note)
    console.print("\nTo use it, without canvas_rl:\n")
    console.print(usage(settings.format, exported.path, shape, settings.dtype, settings.device), end="")


def _export(settings: ExportSettings) -> tuple[Exported, tuple[int, ...], list[str]]:
    """What was written, the shape of an input, and what else there is to say."""
    place = LatencyConfig(device=settings.device, dtype=settings.dtype)
    place.check_device()
    config = ExportConfig(settings.format, settings.batch_size, seed=settings.seed)
    batch = settings.batch_size or 1
    if settings.network:
        if not is_folder(Path(settings.kernel)):
            raise ConfigError(f"{settings.kernel!r} is no run: --network needs one, or its best/")
        network = load_network(settings.kernel).to(place.device, place.torch_dtype)
        shape = (batch, *network_input_shape(settings.kernel))
        example = torch.zeros(shape, device=place.device, dtype=place.torch_dtype)
        return export_module(network, example, settings.output, config), shape, []
    sites = (parse_site(settings.site),) if settings.site else ()
    known = resolve_kernel(settings.kernel, sites)
    site = known.places[0].site
    weights = None if settings.weights is None else _read_weights(settings.weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        exported = export_kernel(known.pack, site, settings.output, config, weights, place.device, place.torch_dtype)
    return exported, (batch, *site.shape), list(_notes(settings, known))


def _notes(settings: ExportSettings, known: KnownKernel) -> Iterator[str]:
    """What was taken where nothing was asked for."""
    first, *others = (str(place.site) for place in known.places)
    if settings.site is None:
        rest = f", the first of {len(known.places)}; for another: --site {' or '.join(others)}" if others else ""
        yield f"Site: {first}{rest}"
    if settings.weights is None and any(node.primitive.weighted for node in known.pack.graph.nodes):
        yield f"Weights: fresh ones, of seed {settings.seed}; for trained ones: --weights FILE.safetensors"


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"the weights {str(path)!r} can't be read ({error}): expected a safetensors file") from error


if __name__ == "__main__":
    sys.exit(main())
