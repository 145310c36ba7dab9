"""Writing a module in each format. Every function writes to the path it is given and does not check the file."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from canvas_rl.errors import ExportError, MissingDependencyError
from canvas_rl.files import exists, write_tensors, write_text
from canvas_rl.handover.capture import Captured, first_line
from canvas_rl.kernels import KernelPack
from canvas_rl.symbolic.site import Site

OWN_FILES = {"kernel.py", "weights.safetensors"}
"""What is in the folder of a python export."""

_FOR_LOAD = "\n\ndef load() -> nn.Module:\n"

_LOAD = '''

def load() -> nn.Module:
    """The kernel for inputs of {shape} in evaluation mode, with the weights beside this file."""
    from pathlib import Path

    from safetensors.torch import load_file

    module = {name}({sizes}).to({dtype})
    module.load_state_dict(load_file(Path(__file__).with_name("weights.safetensors")))
    return module.eval()
'''


def write_python(folder: Path, pack: KernelPack, site: Site, kernel: nn.Module) -> None:
    """Fill a folder with `kernel.py`, standalone source with a function `load`, and `weights.safetensors`."""
    shape = f"[N, {', '.join(map(str, site.shape))}]"
    dtype = next((tensor.dtype for tensor in kernel.parameters()), torch.float32)
    load = _LOAD.format(shape=shape, name=pack.name, sizes=", ".join(map(str, site.shape)), dtype=dtype)
    write_text(folder / "kernel.py", f"{pack.torch_code}{load}\n\n{pack.comment}\n")
    write_tensors(folder / "weights.safetensors", kernel.state_dict())


def is_export(folder: Path) -> bool:
    """Whether a folder was written by `write_python`, and not by a user who has a `kernel.py`, too."""
    source = folder / "kernel.py"
    return exists(source) and _FOR_LOAD in source.read_text(encoding="utf-8", errors="replace")


def check_libraries(format: str) -> None:
    """Refuse a format whose optional packages are missing.

    Raises:
        MissingDependencyError: names them.
    """
    if format != "onnx":
        return
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"the format onnx needs {error.name}, which is not installed: pip install onnx onnxscript onnxruntime"
        ) from error


def write_onnx(path: Path, captured: Captured) -> None:
    """One ONNX file, weights included.

    Raises:
        ExportError: an operation has no counterpart in ONNX, or the file would be above 2 GB.
    """
    with _explained("onnx"), _quiet():
        written = torch.onnx.export(
            captured.program,
            input_names=captured.inputs,
            output_names=captured.outputs,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        assert written is not None, "torch.onnx.export gives a program where it is given no path"
        written.save(path, external_data=False)


def write_torch_export(path: Path, captured: Captured) -> None:
    """What `torch.export.load` reads.

    Raises:
        ExportError: torch can't write it.
    """
    with _explained("torch-export"), _quiet():
        torch.export.save(captured.program, path)


def write_aoti(path: Path, captured: Captured) -> None:
    """Compiled for the device of the module; what `torch._inductor.aoti_load_package` reads.

    Raises:
        ExportError: it can't be compiled, such as where there is no C++ compiler.
    """
    with _explained("aoti"), _quiet(), torch.no_grad():
        torch._inductor.aoti_compile_and_package(captured.program, package_path=os.fspath(path))


WRITERS: dict[str, Callable[[Path, Captured], None]] = {
    "onnx": write_onnx,
    "torch-export": write_torch_export,
    "aoti": write_aoti,
}
"""The formats that hold any module."""


@contextmanager
def _explained(format: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # torch raises many kinds, all of its own making
        raise ExportError(
            f"the module can't be written as {format} ({first_line(error)}): try another format"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's notes to its own developers on standard error."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
