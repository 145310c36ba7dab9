"""Latency of a kernel and of what it replaces, measured in turn so that only their ratio's noise is left."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from canvas_rl.config import known_options
from canvas_rl.errors import ConfigError, EvaluationError
from canvas_rl.evaluation.measurement import Rejection, Status
from canvas_rl.evaluation.timing import Call, PairTiming, Timed
from canvas_rl.evaluation.timing_cpu import time_on_cpu
from canvas_rl.evaluation.timing_cuda import time_on_cuda
from canvas_rl.models.outputs import MainTensor

_CHOICES = {
    "device": ("cpu", "cuda"),
    "dtype": ("float32", "bfloat16", "float16"),
    "mode": ("eager", "compile"),
}
_CAP_S = {"cpu": 0.4, "cuda": 0.03}
_VISIT_S = 0.04
_MOST_VISITS = 25
_TOLERANCE = {torch.float32: 1e-2, torch.bfloat16: 1e-1, torch.float16: 1e-1}
_RECOMPILES = 256


@dataclass(frozen=True)
class LatencyConfig:
    """How latency is measured."""

    device: str = "cpu"
    """cpu or cuda"""
    dtype: str = "float32"
    """float32, bfloat16 or float16"""
    batch_size: int = 1
    """samples in a batch"""
    channels_last: bool = False
    """NHWC memory layout (2-D sites only)"""
    mode: str = "eager"
    """eager, or compile for torch.compile"""
    threads: int = 1
    """torch threads on a CPU"""
    time_cap_s: float | None = None
    """time of all rounds at one site, of a kernel and its reference together, building, warm-up, compilation and check
    apart; None: 0.4 seconds on a CPU, 0.03 on CUDA"""
    cold_cache: bool = True
    """CUDA: overwrite the L2 cache before every timed run"""

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is {getattr(self, name)!r}: expected one of {', '.join(known)}")
        for name in ("batch_size", "threads"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} is {value}: expected a whole number of at least 1")
        if self.time_cap_s is not None and not 0 < self.time_cap_s <= 60:
            raise ConfigError(f"time_cap_s is {self.time_cap_s}: expected seconds above 0, at most 60")

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch has it."""
        dtype = getattr(torch, self.dtype)
        if not isinstance(dtype, torch.dtype):
            raise ConfigError(f"dtype is {self.dtype!r}: torch has no such dtype")
        return dtype

    @property
    def cap_s(self) -> float:
        """Seconds at one site."""
        return _CAP_S[self.device] if self.time_cap_s is None else self.time_cap_s

    @property
    def visits(self) -> int:
        """Into how many visits a search divides the time at a site, several kernels being timed in turn.

        On a CPU, other work on the machine slows a kernel down for seconds or minutes, and its reference less: visits
        spread over a longer time find more quiet moments. On CUDA nothing else runs; and what is compiled would have to
        be compiled at each visit.
        """
        if self.device != "cpu" or self.mode == "compile":
            return 1
        return max(1, min(_MOST_VISITS, round(self.cap_s / _VISIT_S)))

    @property
    def one_visit(self) -> "LatencyConfig":
        """This config with the time of one visit."""
        return replace(self, time_cap_s=self.cap_s / self.visits)

    def check_device(self) -> None:
        """Refuse a device that this machine lacks.

        Raises:
            ConfigError: CUDA is asked for and torch sees none.
        """
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("device is 'cuda': torch sees no CUDA device on this machine; use device cpu")

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "LatencyConfig":
        """A config saved by `to_json`.

        Raises:
            ConfigError: an unknown or unusable option.
        """
        return cls(**known_options(cls, data, "latency"))


def prepare(module: nn.Module, config: LatencyConfig) -> Timed:
    """A copy of a module, on its device and compiled as configured; `measure_pair` takes such references many times."""
    prepared = _prepare_module(module, config)
    return Timed(_compiled(prepared, config), prepared)


def measure_pair(
    candidate: nn.Module, reference: nn.Module | Timed, shape: tuple[int, ...], config: LatencyConfig, seed: int = 0
) -> PairTiming:
    """Latency of two modules on inputs of `shape` (one sample), timed in turn in this process.

    Args:
        candidate: the kernel; it is copied, never changed.
        reference: what it replaces: a module, which is copied, or a prepared one, which need not be compiled again.
        shape: of one sample.
        config: how to measure.
        seed: of the input.

    Raises:
        Rejection: a module can't be compiled, or the candidate's output is not finite or is wrong after timing.
    """
    example = _random((config.batch_size, *shape), config.device, seed)
    return _measure(candidate, reference, _prepare_input(example, config), config)


def compile_ahead(candidate: nn.Module, shape: tuple[int, ...], config: LatencyConfig) -> None:
    """Compile a module for inputs of `shape` (one sample) and run it, so that the compiler's cache on disk has it.

    `measure_pair` with this config then compiles in a fraction of the time, in any process of this user.
    """
    example = _prepare_input(_random((config.batch_size, *shape), config.device, seed=0), config)
    prepared = prepare(candidate, config)
    with _inference(config):
        prepared.call(example)


def network_latency(
    network: nn.Module, original: nn.Module, example: torch.Tensor, config: LatencyConfig
) -> PairTiming:
    """Latency of a whole network with kernels in place beside that of the original, measured like a site.

    Args:
        network: the model with kernels; it is copied, never changed. Of an output that is no tensor, `main_tensor` is
            what counts.
        original: the model as it was; likewise.
        example: an input whose first dimension is the batch; it is repeated or cut to the config's batch size.
        config: how to measure.

    Raises:
        EvaluationError: the network can't be timed, or its output is not finite or is wrong after timing.
        ConfigError: its output has no tensor.
    """
    repeats = -(-config.batch_size // example.shape[0])
    batch = example.detach().repeat(repeats, *[1] * (example.dim() - 1))[: config.batch_size]
    try:
        return _measure(MainTensor(network), MainTensor(original), _prepare_input(batch, config), config)
    except Rejection as rejection:
        raise EvaluationError(
            f"the whole network can't be timed ({rejection.status}): {rejection.message}"
        ) from rejection


def _measure(
    candidate: nn.Module, reference: nn.Module | Timed, example: torch.Tensor, config: LatencyConfig
) -> PairTiming:
    own = prepare(candidate, config)
    other = reference if isinstance(reference, Timed) else prepare(reference, config)
    with _inference(config):
        pristine = copy.deepcopy(own.module)
        if not bool(torch.isfinite(pristine(example)).all()):
            raise Rejection(Status.NOT_FINITE, f"the output in {config.dtype} is not finite")
        if config.device == "cuda":
            timing, timed = time_on_cuda((own, other), example, config.cap_s, config.cold_cache)
        else:
            timing, timed = time_on_cpu((own.call, other.call), example, config.cap_s), own.call
        _check_output(timed, pristine, example, config)
    return timing


def _random(shape: tuple[int, ...], device: str | torch.device, seed: int) -> torch.Tensor:
    """Normal numbers, drawn on the device: a large batch takes a CPU longer to draw than the kernel to be timed."""
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(shape, generator=generator, device=device)


def _prepare_input(tensor: torch.Tensor, config: LatencyConfig) -> torch.Tensor:
    tensor = tensor.to(config.device, config.torch_dtype)
    if config.channels_last and tensor.dim() == 4:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def _prepare_module(module: nn.Module, config: LatencyConfig) -> nn.Module:
    module = copy.deepcopy(module).to(device=config.device, dtype=config.torch_dtype).eval()
    if config.channels_last:
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):  # other weights have no channels, and need not have four dims
                layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    return module


def _compiled(module: nn.Module, config: LatencyConfig) -> Call:
    if config.mode == "eager":
        return module
    compiled: Call = torch.compile(module, dynamic=False)
    return compiled


@contextmanager
def _inference(config: LatencyConfig) -> Iterator[None]:
    """No gradients, the config's threads, and room in torch.compile's cache for every site."""
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        with torch.no_grad():
            if config.mode == "compile":
                from torch._dynamo import config as dynamo_config

                with dynamo_config.patch(recompile_limit=_RECOMPILES, accumulated_recompile_limit=_RECOMPILES):
                    yield
            else:
                yield
    finally:
        torch.set_num_threads(threads)


def _check_output(timed: Call, pristine: nn.Module, example: torch.Tensor, config: LatencyConfig) -> None:
    """Overwrite the timed input in place: whoever remembers an output by its input's identity is found out."""
    example.copy_(_random(tuple(example.shape), example.device, seed=int(example.numel())))
    expected = pristine(example.clone()).float()
    if not bool(torch.isfinite(expected).all()):
        raise Rejection(Status.NOT_FINITE, f"the output for fresh inputs in {config.dtype} is not finite")
    difference = (timed(example).float() - expected).norm()
    tolerance = _TOLERANCE[config.torch_dtype] * expected.norm()
    if not bool(difference <= tolerance):
        raise Rejection(
            Status.OUTPUT_CHANGED,
            f"after timing the output is off by {float(difference):.3g} (tolerance {float(tolerance):.3g})",
        )
