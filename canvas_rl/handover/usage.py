"""Programs that use an exported file without canvas_rl."""

from collections.abc import Sequence
from pathlib import Path

_PYTHON = """import runpy

import torch

kernel = runpy.run_path({file!r})["load"]()
with torch.no_grad():
    output = kernel(torch.zeros({shape}{dtype}))
print(output.shape)
"""

_ONNX = """import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({file!r})
name = session.get_inputs()[0].name
output = session.run(None, {{name: np.zeros({shape}, np.{numpy})}})[0]
print(output.shape)
"""

_TORCH_EXPORT = """import torch

network = torch.export.load({file!r}).module()
with torch.no_grad():
    output = network(torch.zeros({shape}{dtype}{device}))
print(output.shape)
"""

_AOTI = """import torch

network = torch._inductor.aoti_load_package({file!r})
output = network(torch.zeros({shape}{dtype}{device}))
print(output.shape)
"""

_PROGRAMS = {"python": _PYTHON, "onnx": _ONNX, "torch-export": _TORCH_EXPORT, "aoti": _AOTI}


def usage(format: str, path: Path, shape: Sequence[int], dtype: str = "float32", device: str = "cpu") -> str:
    """A short program that runs an exported file once.

    Args:
        format: of the file.
        path: the file, or the folder of a python export.
        shape: of its first input, batch included.
        dtype: of its first input, as torch names it.
        device: that it is for.
    """
    return _PROGRAMS[format].format(
        file=str(path / "kernel.py" if format == "python" else path),
        shape=tuple(shape),
        dtype="" if dtype == "float32" else f", dtype=torch.{dtype}",
        numpy=dtype,
        device="" if device == "cpu" else f", device={device!r}",
    )
