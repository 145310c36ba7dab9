"""Kernels as users hold them: sampling, packs, loading."""

from canvas_rl.kernels.batch import sample_many
from canvas_rl.kernels.pack import KernelPack, load_kernel
from canvas_rl.kernels.sampling import empty_sample, sample, seed

__all__ = ["KernelPack", "empty_sample", "load_kernel", "sample", "sample_many", "seed"]
