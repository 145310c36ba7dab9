"""A kernel as users hold it, with the interface of Canvas's `KernelPack`."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from canvas_rl.codegen import generate_source, module_class, to_dot
from canvas_rl.errors import FormatError
from canvas_rl.files import exists, read_json, write_text
from canvas_rl.ir import KernelGraph

_MARK = "# canvas_rl kernel: "


class KernelPack:
    """A kernel: its graph, its module class and its texts. Equal where the kernels compute the same.

    Args:
        graph: the kernel graph.
    """

    def __init__(self, graph: KernelGraph) -> None:
        self.graph = graph

    @property
    def name(self) -> str:
        """A short name, made from the canonical hash."""
        return self.graph.name

    @cached_property
    def module(self) -> type[nn.Module]:
        """The module class; its constructor takes c, h, w as the spatial dims need."""
        return module_class(self.graph)

    @cached_property
    def torch_code(self) -> str:
        """Standalone PyTorch source."""
        return generate_source(self.graph)

    @cached_property
    def graphviz_code(self) -> str:
        """The graph in Graphviz's dot language."""
        return to_dot(self.graph)

    @cached_property
    def comment(self) -> str:
        """The graph's JSON as one comment line, by which `load` reads a source file back."""
        return _MARK + json.dumps(self.graph.to_json())

    @property
    def detail(self) -> str:
        """One line about its structure."""
        listed = ", ".join(node.primitive.describe() for node in self.graph.nodes[1:-1])
        return f"{self.name}: {self.graph.length}: {listed}"

    def save_torch_code(self, path: str | Path) -> None:
        """Write the source, with the graph's JSON in a comment at its end, so that `load` can read it back.

        Raises:
            RunError: the file can't be written.
        """
        write_text(Path(path), f"{self.torch_code}\n\n{self.comment}\n")

    def save_graphviz_code(self, path: str | Path) -> None:
        """Write the Graphviz text.

        Raises:
            RunError: the file can't be written.
        """
        write_text(Path(path), self.graphviz_code)

    @classmethod
    def load(cls, path: str | Path) -> "KernelPack":
        """Load a kernel; no file is ever executed, the module is made anew from the verified graph.

        Args:
            path: a `kernel.json`, a .py written by `save_torch_code`, a folder with one of them (`kernel.json` first),
                or a run's folder (its `best/`).

        Raises:
            FormatError: nothing to load is there, or it is damaged or of another version.
            GraphError: the kernel breaks a rule of the kernel language.
        """
        return cls(KernelGraph.from_json(_read(_find(Path(path)))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KernelPack) and self.graph == other.graph

    def __hash__(self) -> int:
        return hash(self.graph.hash)

    def __repr__(self) -> str:
        return f"KernelPack({self.name}, {self.graph.length})"


def load_kernel(path: str | Path) -> KernelPack:
    """The kernel of a run, of its `best/` or of a `kernel.json`; see `KernelPack.load`."""
    return KernelPack.load(path)


def _find(path: Path) -> Path:
    if not exists(path):
        raise FormatError(
            f"{str(path)!r} does not exist: expected a run, its best/, a kernel.json or a saved kernel.py"
        )
    if path.is_file():
        return path
    for candidate in (path / "kernel.json", path / "best" / "kernel.json"):
        if candidate.is_file():
            return candidate
    sources = sorted(file for file in path.glob("*.py") if _MARK in _text(file))
    if len(sources) == 1:
        return sources[0]
    found = "several saved kernels" if sources else "neither a kernel.json nor a saved kernel"
    raise FormatError(f"{str(path)!r} has {found}: name the file, or a run's folder with a best/ in it")


def _read(path: Path) -> Any:
    if path.suffix != ".py":
        return read_json(path)
    lines = [line for line in _text(path).splitlines() if line.startswith(_MARK)]
    if len(lines) != 1:
        raise FormatError(f"{str(path)!r} holds no kernel: expected one comment line beginning with {_MARK!r}")
    try:
        return json.loads(lines[0].removeprefix(_MARK))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the kernel in {str(path)!r} is damaged ({error}): save it again") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{str(path)!r} can't be read ({error}): expected a text file") from error
