"""From a kernel that was found to a network that uses it: looking at it, exporting it, fine-tuning around it."""

from canvas_rl.handover.config import FORMATS, ExportConfig
from canvas_rl.handover.exporting import Exported, export_kernel, export_module
from canvas_rl.handover.resolve import KnownKernel, parse_site, resolve_kernel
from canvas_rl.handover.tuning import FineTuneConfig, FineTuneReport, fine_tune

__all__ = [
    "FORMATS",
    "ExportConfig",
    "Exported",
    "FineTuneConfig",
    "FineTuneReport",
    "KnownKernel",
    "export_kernel",
    "export_module",
    "fine_tune",
    "parse_site",
    "resolve_kernel",
]
