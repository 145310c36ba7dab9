"""Kernel architecture search: find a small PyTorch operator that replaces the convolutions of a network.

The interfaces of Canvas (`Placeholder`, `sample`, `replace`, ...) are here, and what is this project's own:
`auto_place`, `load_kernel`, `load_network`, `search`, the Python call behind `python -m canvas_rl.train`,
`fine_tune`, `export_module` and `export_kernel` for what comes after a search, and `TabulatedEvaluator`, the benchmark
of search agents.
"""

from typing import TYPE_CHECKING, Any

from canvas_rl.config import SearchOptions
from canvas_rl.kernels import KernelPack, empty_sample, load_kernel, sample, sample_many, seed
from canvas_rl.placeholder import (
    Conv2D,
    Identity,
    Placeholder,
    auto_place,
    get_placeholders,
    get_state_dict,
    init_weights,
    remove_cache,
    replace,
    restore_from_state_dict,
)
from canvas_rl.registry import load_object
from canvas_rl.zoo import debug_sample

if TYPE_CHECKING:
    from canvas_rl.evaluation.tabulated import TabulatedEvaluator
    from canvas_rl.handover import ExportConfig, FineTuneConfig, export_kernel, export_module, fine_tune
    from canvas_rl.study import load_network, search

__version__ = "0.1.0"

__all__ = [
    "Conv2D",
    "ExportConfig",
    "FineTuneConfig",
    "Identity",
    "KernelPack",
    "Placeholder",
    "SearchOptions",
    "TabulatedEvaluator",
    "__version__",
    "auto_place",
    "debug_sample",
    "empty_sample",
    "export_kernel",
    "export_module",
    "fine_tune",
    "get_placeholders",
    "get_state_dict",
    "init_weights",
    "load_kernel",
    "load_network",
    "remove_cache",
    "replace",
    "restore_from_state_dict",
    "sample",
    "sample_many",
    "search",
    "seed",
]

_LAZY = {
    "ExportConfig": "canvas_rl.handover:ExportConfig",
    "FineTuneConfig": "canvas_rl.handover:FineTuneConfig",
    "TabulatedEvaluator": "canvas_rl.evaluation.tabulated:TabulatedEvaluator",
    "export_kernel": "canvas_rl.handover:export_kernel",
    "export_module": "canvas_rl.handover:export_module",
    "fine_tune": "canvas_rl.handover:fine_tune",
    "load_network": "canvas_rl.study:load_network",
    "search": "canvas_rl.study:search",
}


def __getattr__(name: str) -> Any:
    """Import what a search needs only when it is asked for: it is slow to import, and needs the agents' packages."""
    if name in _LAZY:
        return load_object(_LAZY[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
