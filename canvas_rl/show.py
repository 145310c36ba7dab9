"""The command line: `python -m canvas_rl.show --help`."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tyro
from rich.console import Console
from rich.syntax import Syntax

from canvas_rl.drawing import to_text
from canvas_rl.errors import CanvasError
from canvas_rl.evaluation.environment import device_name
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.measurement import Rejection
from canvas_rl.handover.card import Latencies, cost_table, measure, recorded_latencies
from canvas_rl.handover.resolve import KnownKernel, parse_site, resolve_kernel

_DESCRIPTION = """Look at one kernel: its graph, its source, what it costs, and with --device how fast it is there.

python -m canvas_rl.show runs/my-run --device cpu
python -m canvas_rl.show bottleneck --sites 64,56,56 128,28,28"""

_WIDTH = 80


@dataclass(frozen=True)
class ShowSettings:
    """What to show, and where to measure it."""

    kernel: tyro.conf.Positional[str]
    """a run, its best/, a kernel.json, a saved kernel.py, or a known operator (docs/zoo.md)"""
    sites: tuple[str, ...] = ()
    """where to look at it, as C,H,W (none: those of its run, else those it was made for, else those of a ResNet)"""
    device: str | None = None
    """measure latency there, beside the replaced convolution: cpu or cuda (none: don't measure)"""
    dtype: str = "float32"
    """number type while latency is measured: float32, bfloat16 or float16"""
    batch_size: int = 1
    """batch size while latency is measured"""
    channels_last: bool = False
    """measure latency in channels-last memory layout"""
    latency: str = "eager"
    """how the kernel runs while latency is measured: eager, or compile for torch.compile"""

    def latency_config(self) -> LatencyConfig | None:
        """How to measure, None for not at all.

        Raises:
            ConfigError: a value that can't be used, or a device that is not there.
        """
        if self.device is None:
            return None
        config = LatencyConfig(
            device=self.device,
            dtype=self.dtype,
            batch_size=self.batch_size,
            channels_last=self.channels_last,
            mode=self.latency,
        )
        config.check_device()
        return config


def parse(arguments: Sequence[str] | None = None) -> ShowSettings:
    """Settings from the command line."""
    return tyro.cli(ShowSettings, prog="python -m canvas_rl.show", description=_DESCRIPTION, args=arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for input that can't be used."""
    settings = parse(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    try:
        config = settings.latency_config()
        known = resolve_kernel(settings.kernel, tuple(map(parse_site, settings.sites)))
        _show(known, config, console)
    except CanvasError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _show(known: KnownKernel, config: LatencyConfig | None, console: Console) -> None:
    for line in _heading(known):
        _write(console, line)
    _write(console, f"\n{to_text(known.pack.graph).rstrip()}\n")
    if console.is_terminal:
        console.print(
            Syntax(known.pack.torch_code, "python", theme="ansi_light", background_color="default", word_wrap=True)
        )
    else:
        _write(console, known.pack.torch_code.rstrip())
    console.print()
    columns: dict[str, Latencies] = {}
    recorded = recorded_latencies(known)
    if recorded is not None:
        columns["its run"] = recorded
    notes = []
    if config is not None:
        timings = measure(known, config)
        columns["measured"] = [
            None if isinstance(timing, Rejection) else (timing.latency_s, timing.reference_latency_s)
            for timing in timings
        ]
        notes = list(_notes(known, config, timings))
    console.print(cost_table(known, columns))
    for note in notes:
        _write(console, note)


def _write(console: Console, text: str) -> None:
    """Text as it stands: nothing in it is markup, and a pipe gets its lines whole."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _heading(known: KnownKernel) -> Iterator[str]:
    graph, measurement = known.pack.graph, known.measurement
    weighted = sum(node.primitive.weighted for node in graph.nodes)
    yield f"{known.pack.name}, {known.origin}: {graph.length}, {weighted} with weights"
    if measurement is not None and measurement.quality is not None and measurement.speedup is not None:
        device = measurement.environment.get("device", "an unknown device")
        yield f"In its run: quality {measurement.quality:.3f}, {measurement.speedup:.2f}x (geometric mean) on {device}"
    if known.shortfall is not None:
        yield known.shortfall


def _notes(known: KnownKernel, config: LatencyConfig, timings: Sequence[object]) -> Iterator[str]:
    how = [config.dtype, f"batch {config.batch_size}", config.mode, *["channels-last"] * config.channels_last]
    yield f"Measured on {device_name(config)}: {', '.join(how)}, timed in turn."
    for place, timing in zip(known.places, timings, strict=True):
        if isinstance(timing, Rejection):
            yield f"{place.site} could not be measured ({timing.status}): {timing.message}"


if __name__ == "__main__":
    sys.exit(main())
