"""Runs an exported file where canvas_rl can't be imported: `python loaders.py FORMAT DEVICE FILE INPUTS OUTPUTS`.

INPUTS is a safetensors file whose tensor `3.1` is the second argument of the fourth call; OUTPUTS is written likewise.
This is run as a script in a process of its own, never imported.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

if __name__ == "__main__":
    for name in ("canvas_rl", "envs", "agents"):
        sys.modules[name] = None  # type: ignore[assignment]  # as where they are not installed


def calls(tensors: Mapping[str, Any]) -> Iterator[list[Any]]:
    """The arguments of each call."""
    index = 0
    while f"{index}.0" in tensors:
        yield [tensors[f"{index}.{position}"] for position in range(len(tensors)) if f"{index}.{position}" in tensors]
        index += 1


def run_all(function: Callable[..., Any], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of all calls, named like the inputs."""
    named = {}
    for index, arguments in enumerate(calls(tensors)):
        results = function(*arguments)
        results = results if isinstance(results, tuple | list) else [results]
        named.update({f"{index}.{position}": result for position, result in enumerate(results)})
    return named


def run_onnx(path: str, inputs: str, outputs: str) -> None:
    """By onnxruntime, on the CPU, without torch."""
    import onnxruntime
    from safetensors.numpy import load_file, save_file

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def call(*arguments: Any) -> Any:
        return session.run(None, dict(zip(names, arguments, strict=True)))

    save_file(run_all(call, load_file(inputs)), outputs)


def run_torch(format: str, device: str, path: str, inputs: str, outputs: str) -> None:
    """By torch, on the device that the file is for."""
    import runpy

    import torch
    from safetensors.torch import load_file, save_file

    torch.backends.cudnn.allow_tf32 = False
    loaders: dict[str, Callable[[], Callable[..., Any]]] = {
        "python": lambda: runpy.run_path(f"{path}/kernel.py")["load"]().to(device),
        "torch-export": lambda: torch.export.load(path).module(),
        "aoti": lambda: torch._inductor.aoti_load_package(path),
    }
    with torch.no_grad():
        results = run_all(loaders[format](), load_file(inputs, device=device))
    save_file({name: result.cpu().contiguous() for name, result in results.items()}, outputs)


if __name__ == "__main__":
    chosen, place, *paths = sys.argv[1:]
    if chosen == "onnx":
        run_onnx(*paths)
    else:
        run_torch(chosen, place, *paths)
