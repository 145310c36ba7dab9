"""What a kernel costs at each site beside the convolution that it replaces, as a table for the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.table import Table

from canvas_rl.codegen import build_module
from canvas_rl.evaluation.latency import LatencyConfig, measure_pair
from canvas_rl.evaluation.measurement import Rejection
from canvas_rl.evaluation.subject import Place, ReferenceSubject, reference_module
from canvas_rl.evaluation.timing import PairTiming
from canvas_rl.handover.resolve import KnownKernel
from canvas_rl.ir import StaticCost, static_cost
from canvas_rl.study.result import short_number
from canvas_rl.symbolic.site import ReferenceConv

_TITLE = "Cost of one sample (memory: all outputs, float32)"
_FLOAT32 = 4
_UNITS = (" B", " kB", " MB", " GB", " TB")

Latencies = Sequence[tuple[float, float] | None]
"""Seconds of the kernel and of the convolution at each place; None where one could not be measured."""


def cost_table(known: KnownKernel, latencies: dict[str, Latencies]) -> Table:
    """Costs of one sample at each place, and latencies of one batch.

    Args:
        known: the kernel.
        latencies: columns by their titles.
    """
    table = Table(title=_TITLE, title_justify="left", title_style="", box=SIMPLE)
    for name in ("site", "module"):
        table.add_column(name)
    for name in ("FLOPs", "params", "memory", *latencies):
        table.add_column(name, justify="right")
    for index, place in enumerate(known.places):
        kernel = static_cost(known.pack.graph, place.site)
        convolution = ReferenceSubject([place]).cost(place.site)
        times = [column[index] for column in latencies.values()]
        own = [_milliseconds(pair and pair[0]) for pair in times]
        other = [_milliseconds(pair and pair[1]) for pair in times]
        table.add_row(str(place.site), "kernel", *_costs(kernel), *own)
        table.add_row("", describe_convolution(place), *_costs(convolution), *other)
        ratios = [_ratio(pair[1], pair[0]) if pair else "" for pair in times]
        table.add_row("", "times less", *_times_less(kernel, convolution), *ratios, end_section=True)
    return table


def recorded_latencies(known: KnownKernel) -> Latencies | None:
    """Those that the kernel's run has measured; None where it has none."""
    sites = known.measurement.sites if known.measurement else ()
    pairs = [(figures.latency_s, figures.reference_latency_s) for figures in sites]
    if len(pairs) != len(known.places) or not all(own and other for own, other in pairs):
        return None
    return [(own, other) for own, other in pairs if own and other]


def measure(known: KnownKernel, config: LatencyConfig) -> list[PairTiming | Rejection]:
    """The kernel timed at each place beside its convolution, with fresh weights, or why it can't be timed there.

    Raises:
        ConfigError: the device is not there.
    """
    config.check_device()
    return [_measure(known, place, config) for place in known.places]


def describe_convolution(place: Place) -> str:
    """The replaced convolution in a few words."""
    site, reference = place
    if reference == ReferenceConv() and not site.spatial_dims:
        return "linear"
    window = "x".join([str(reference.kernel_size)] * site.spatial_dims) + " " if site.spatial_dims else ""
    if reference.groups == 1:
        return f"{window}conv"
    return f"{window}depthwise" if reference.groups == site.c else f"{window}conv, {reference.groups} groups"


def _measure(known: KnownKernel, place: Place, config: LatencyConfig) -> PairTiming | Rejection:
    kernel = build_module(known.pack.graph, place.site)
    try:
        return measure_pair(kernel, reference_module(*place), place.site.shape, config)
    except Rejection as rejection:
        return rejection


def _costs(cost: StaticCost) -> tuple[str, str, str]:
    memory = short_number(cost.activation * _FLOAT32, _UNITS)
    return short_number(cost.flops), short_number(cost.params), memory


def _times_less(kernel: StaticCost, convolution: StaticCost) -> tuple[str, str, str]:
    return (
        _ratio(convolution.flops, kernel.flops),
        _ratio(convolution.params, kernel.params),
        _ratio(convolution.activation, kernel.activation),
    )


def _ratio(before: float, after: float) -> str:
    return f"{before / after:.2f}x" if after else "-"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.3g} ms"
