"""Kernels and whole networks as files for other programs, each checked before it is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from canvas_rl.codegen import build_module
from canvas_rl.errors import ConfigError
from canvas_rl.files import exists, is_folder, replaced_file, replaced_folder
from canvas_rl.handover.capture import Positional, capture
from canvas_rl.handover.config import FORMATS, ExportConfig
from canvas_rl.handover.formats import OWN_FILES, WRITERS, check_libraries, is_export, write_python
from canvas_rl.handover.verify import Check, verify
from canvas_rl.kernels import KernelPack
from canvas_rl.placeholder import ExampleInput
from canvas_rl.symbolic.site import Site

_CPU_ONLY = ("python", "onnx")


@dataclass(frozen=True)
class Exported:
    """A file that was written and does what its module does.

    Attributes:
        path: the file, or the folder of a python export.
        config: how it was exported.
        difference: largest difference between file and module, relative to the largest output.
        tolerance: the difference that would have been allowed.
        replaced: whether an export of before was in its place.
    """

    path: Path
    config: ExportConfig
    difference: float
    tolerance: float
    replaced: bool = False

    def __str__(self) -> str:
        sizes = self.config.batches
        batches = f"batch size {sizes[0]}" if len(sizes) == 1 else f"batch sizes {', '.join(map(str, sizes))}"
        found = f"off by {self.difference:.1e} of the largest output (allowed: {self.tolerance:.0e})"
        return (
            f"{self.path}: {self.config.format}, run without canvas_rl at {batches}: "
            f"{found if self.difference else 'exactly the same outputs'}"
        )


def export_module(
    module: nn.Module, example_input: ExampleInput, path: str | Path, config: ExportConfig | None = None
) -> Exported:
    """Write any module, such as your network after `replace`, to a file that runs without canvas_rl.

    A copy in evaluation mode is exported, on the module's device (onnx: on the CPU). The file takes the example's
    tensors by position and gives the tensors of the module's output; the first dimension of the first tensor is the
    batch. The file is run in a fresh process that can't import canvas_rl, and moved to its place only if it gives the
    module's outputs for numbers drawn anew (whole numbers: the example's, in another order). A file that is there
    already is replaced, which `Exported.replaced` says.

    Args:
        module: the module; it stays as it is.
        example_input: one tensor, a tuple of the module's arguments, or a dict of them by name.
        path: where to; its name ends with .onnx, or with .pt2 for torch-export and aoti.
        config: the format, the batch size and the tolerance.

    Raises:
        ConfigError: a name or an example that can't be used.
        MissingDependencyError: the format needs a package that is not installed.
        ExportError: the format can't hold the module, or the file gives other outputs.
        RunError: the file can't be written.
    """
    config, path = config or ExportConfig(), Path(path)
    if config.format == "python":
        raise ConfigError(
            "the format 'python' is the source of one kernel: use export_kernel, or for a network onnx, torch-export "
            "or aoti"
        )
    _check_path(path, config.format)
    check_libraries(config.format)
    positional = Positional(module, example_input)
    if config.format in _CPU_ONLY:
        positional = Positional(positional.module.cpu(), _on_cpu(example_input))
    _check_types(positional, config.format)
    captured = capture(positional, config.batch_size)
    present = exists(path)
    with replaced_file(path) as beside:
        WRITERS[config.format](beside, captured)
        check = verify(beside, positional, config)
    return _exported(path, config, check, present)


def export_kernel(
    kernel: KernelPack,
    site: Site | Sequence[int],
    path: str | Path,
    config: ExportConfig | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Exported:
    """Write one kernel at one site; `export_module` says how, and what can go wrong.

    Args:
        kernel: the kernel.
        site: its sizes, as a `Site` or (C, H, W).
        path: a file, or for the format python a folder, which will hold `kernel.py` and `weights.safetensors`.
        config: the format, the batch size and the tolerance.
        weights: the state dict of the kernel's module, such as `placeholder.get_kernel().state_dict()` of your trained
            network; None for fresh ones from torch's global generator.
        device: what an aoti or torch-export file is for.
        dtype: the number type of weights and inputs.

    Raises:
        GraphError: the kernel does not fit the site.
        ConfigError: the weights are not of this kernel at this site.
    """
    config, path = config or ExportConfig(format="python"), Path(path)
    place = site if isinstance(site, Site) else Site(*site)
    module = _with_weights(build_module(kernel.graph, place), weights, place).to(device, dtype)
    example = torch.zeros(1, *place.shape, device=device, dtype=dtype)
    if config.format != "python":
        return export_module(module, example, path, config)
    present = _check_folder(path)
    positional = Positional(module.cpu(), example.cpu())
    with replaced_folder(path) as beside:
        write_python(beside, kernel, place, positional.module)
        check = verify(beside, positional, config)
    return _exported(path, config, check, present)


def _exported(path: Path, config: ExportConfig, check: Check, replaced: bool) -> Exported:
    return Exported(path, config, check.difference, check.tolerance, replaced)


def _check_path(path: Path, format: str) -> None:
    if path.suffix != FORMATS[format]:
        raise ConfigError(f"the output is {str(path)!r}: expected a name that ends with {FORMATS[format]} for {format}")
    if is_folder(path):
        raise ConfigError(f"the output {str(path)!r} is a folder: name a file in it")


def _check_folder(path: Path) -> bool:
    """Only an export of before is replaced, never a folder with anything of the user's in it; whether one is there."""
    if exists(path) and not path.is_dir():
        raise ConfigError(f"the output {str(path)!r} is a file: a python export is a folder, so name a new one")
    try:
        present = {entry.name for entry in path.iterdir()} if is_folder(path) else set()
        strange = sorted(present - OWN_FILES if is_export(path) else present)
    except OSError as error:
        raise ConfigError(f"the output {str(path)!r} can't be read ({error.strerror}): name another folder") from error
    if strange:
        raise ConfigError(
            f"the output {str(path)!r} has other files, such as {strange[0]!r}: name a new folder for a python export"
        )
    return bool(present)


def _on_cpu(example: ExampleInput) -> ExampleInput:
    def moved(value: Any) -> Any:
        return value.cpu() if isinstance(value, torch.Tensor) else value

    if isinstance(example, dict):
        return {name: moved(value) for name, value in example.items()}
    return moved(example) if isinstance(example, torch.Tensor) else tuple(map(moved, example))


def _check_types(positional: Positional, format: str) -> None:
    tensors = [*positional.tensors, *positional.module.parameters()]
    if format == "onnx" and any(tensor.dtype == torch.bfloat16 for tensor in tensors):
        raise ConfigError(
            "the module has bfloat16 numbers, which onnxruntime can't be given from numpy: export a float32 copy, or "
            "use torch-export or aoti"
        )


def _with_weights(module: nn.Module, weights: Mapping[str, torch.Tensor] | None, site: Site) -> nn.Module:
    if weights is not None:
        try:
            module.load_state_dict(weights)
        except RuntimeError as error:
            reason = [line.strip() for line in str(error).splitlines()][-1]
            raise ConfigError(f"the weights are not of this kernel at {site} ({reason})") from error
    return module
