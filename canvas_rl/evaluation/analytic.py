"""The cheap evaluator: latency from a roofline, quality from the graph's structure. Nothing is run or trained.

It lets the environment work alone and gives tests a landscape that rewards what real measurements reward. Its
figures are estimates; no claim should rest on them.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from canvas_rl.errors import CanvasError, ConfigError
from canvas_rl.evaluation.measurement import Measurement, SiteFigures, Status, geometric_speedup
from canvas_rl.ir import KernelGraph, StaticCost, static_cost
from canvas_rl.primitives.receptive import Field
from canvas_rl.symbolic.binding import symbol_values
from canvas_rl.symbolic.site import ReferenceConv, Site, check_sites

_SPATIAL, _CHANNEL, _CAPACITY = 0.4, 0.35, 0.25
_BEST = 0.95
_FLOAT_BYTES = 4
_VERSION = 1


@dataclass(frozen=True)
class DeviceProfile:
    """A made-up device for the roofline.

    Args:
        name: shown in measurements.
        flops_per_s: peak arithmetic.
        bytes_per_s: memory bandwidth.
        launch_s: cost of starting one primitive.
    """

    name: str
    flops_per_s: float
    bytes_per_s: float
    launch_s: float


ONE_CORE = DeviceProfile("one CPU core (5e10 FLOP/s, 1e10 B/s, 3 us a primitive)", 5e10, 1e10, 3e-6)


class AnalyticEvaluator:
    """Judges kernels by arithmetic on their graphs; deterministic.

    The latency at a site is the roofline time of the whole kernel, `max(FLOPs / peak, bytes / bandwidth)`, plus a
    launch for each primitive; the input and weights are read once, every intermediate is written and read.

    The quality estimate is 0.95 (0.4 s + 0.35 m + 0.25 p), each part at most 1 and the mean over the sites:
    s is log(1 + pixels of the receptive field) relative to the replaced convolution's;
    m is log(1 + largest fan-in of a learned tensor) relative to the convolution's: how widely channels are mixed;
    p is the eighth root of the share of its parameters.
    The replaced convolution therefore has 0.95.

    Args:
        sites: the placeholders.
        references: the convolution replaced at each site; None for 3x3 ones.
        profile: the device of the roofline.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        references: Sequence[ReferenceConv] | None = None,
        profile: DeviceProfile = ONE_CORE,
    ) -> None:
        check_sites(tuple(sites))
        references = (ReferenceConv(),) * len(sites) if references is None else tuple(references)
        if len(references) != len(sites):
            raise ConfigError(f"{len(references)} references were given for {len(sites)} sites")
        self._places = tuple(zip(sites, references, strict=True))
        self._profile = profile
        self._environment = {"device": profile.name, "method": "analytic"}
        content = [_VERSION, [[site.shape, asdict(reference)] for site, reference in self._places], asdict(profile)]
        self.fingerprint = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
        self.reference = self._measure_reference()

    def evaluate(
        self, graphs: Sequence[KernelGraph], on_result: Callable[[Measurement], None] | None = None
    ) -> list[Measurement]:
        """Estimates in the order of `graphs`; `on_result` is called with each."""
        measurements = [self._measure(graph) for graph in graphs]
        if on_result:
            for measurement in measurements:
                on_result(measurement)
        return measurements

    def close(self) -> None:
        """Nothing to stop."""

    def _measure(self, graph: KernelGraph) -> Measurement:
        measurement = Measurement(graph.hash, Status.OK, environment=self._environment)
        try:
            costs = [static_cost(graph, site) for site, _ in self._places]
            qualities = [
                _quality(graph, site, reference, cost)
                for (site, reference), cost in zip(self._places, costs, strict=True)
            ]
        except CanvasError as error:
            return replace(measurement, status=Status.BUILD_FAILED, message=str(error))
        sites = self._figures(costs, graph.primitive_count)
        quality = sum(qualities) / len(qualities)
        return replace(measurement, sites=sites, speedup=geometric_speedup(sites), quality=quality)

    def _measure_reference(self) -> Measurement:
        costs = [
            StaticCost(reference.flops(site), reference.params(site), reference.activation(site))
            for site, reference in self._places
        ]
        sites = self._figures(costs, primitives=1)
        return Measurement(
            "reference", Status.OK, sites=sites, speedup=1.0, quality=_BEST, environment=self._environment
        )

    def _figures(self, costs: Sequence[StaticCost], primitives: int) -> tuple[SiteFigures, ...]:
        figures = []
        for (site, reference), cost in zip(self._places, costs, strict=True):
            elements = reference.activation(site)
            replaced = StaticCost(reference.flops(site), reference.params(site), elements)
            figures.append(
                SiteFigures(
                    site,
                    **asdict(cost),
                    latency_s=self._latency(cost, elements, primitives),
                    reference_latency_s=self._latency(replaced, elements, 1),
                )
            )
        return tuple(figures)

    def _latency(self, cost: StaticCost, inputs: int, primitives: int) -> float:
        moved = _FLOAT_BYTES * (inputs + 2 * cost.activation + cost.params)
        roofline = max(cost.flops / self._profile.flops_per_s, moved / self._profile.bytes_per_s)
        return roofline + primitives * self._profile.launch_s


def receptive_pixels(graph: KernelGraph, site: Site) -> int:
    """Pixels of the bounding box of what an output element may depend on, within the site's image."""
    fields: list[Field] = [Field()]
    for index, node in enumerate(graph.nodes[1:], start=1):
        operands = tuple(fields[operand] for operand in node.inputs)
        fields.append(node.primitive.receptive(operands, graph.input_shapes(index)))
    return fields[-1].pixels(site.h or 1, site.w or 1)


def _quality(graph: KernelGraph, site: Site, reference: ReferenceConv, cost: StaticCost) -> float:
    taps = reference.kernel_size**site.spatial_dims
    spatial = _log_share(receptive_pixels(graph, site), min(taps, reference.activation(site) // site.c))
    channel = _log_share(_widest_fan_in(graph, site), taps * site.c // reference.groups)
    capacity = math.sqrt(math.sqrt(math.sqrt(min(1.0, cost.params / reference.params(site)))))
    return _BEST * (_SPATIAL * spatial + _CHANNEL * channel + _CAPACITY * capacity)


def _log_share(value: float, reference: float) -> float:
    return min(1.0, math.log1p(value) / math.log1p(reference))


def _widest_fan_in(graph: KernelGraph, site: Site) -> float:
    values = symbol_values(site)
    widest = 0.0
    for index, node in enumerate(graph.nodes):
        for weight in node.primitive.weights(graph.input_shapes(index)):
            numerator, denominator = weight.fan_in.fraction(values)
            widest = max(widest, numerator / denominator)
    return widest
