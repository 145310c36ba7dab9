"""The options of an export, and the formats there are."""

from dataclasses import dataclass

import torch

from canvas_rl.errors import ConfigError
from canvas_rl.registry import did_you_mean

FORMATS = {"python": "", "onnx": ".onnx", "torch-export": ".pt2", "aoti": ".pt2"}
"""Names of formats, and how their files' names end; a python export is a folder."""

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}
"""Largest difference between file and module that is believed to be rounding, relative to the largest output."""


@dataclass(frozen=True)
class ExportConfig:
    """How a module is exported and checked."""

    format: str = "torch-export"
    """python, onnx, torch-export or aoti"""
    batch_size: int | None = None
    """the only batch size the file will take (None: any)"""
    tolerance: float | None = None
    """largest difference allowed between file and module, relative to the largest output (None: 1e-4 for float32, 1e-2
    for float16, 3e-2 for bfloat16)"""
    seed: int = 0
    """of the inputs that both are given"""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ConfigError(
                f"unknown format {self.format!r}: expected one of {', '.join(FORMATS)}."
                f"{did_you_mean(self.format, FORMATS)}"
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}: expected at least 1, or none for any")
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise ConfigError(f"tolerance is {self.tolerance}: expected a number between 0 and 1")

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes that are checked."""
        return (1, 2, 5) if self.batch_size is None else (self.batch_size,)
