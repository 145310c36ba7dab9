"""A cost model: what a kernel's latency will be, learned from kernels that were timed on the same device."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from canvas_rl.errors import ConfigError, MissingDependencyError
from canvas_rl.ir import KernelGraph, static_cost
from canvas_rl.symbolic.binding import symbol_values
from canvas_rl.symbolic.site import Site
from canvas_rl.symbolic.size import Size

Array = npt.NDArray[np.float64]

FEWEST_KERNELS = 50
_TREES = {"n_estimators": 500, "learning_rate": 0.05, "max_depth": 4, "subsample": 0.7, "max_features": 0.3}
_BYTES = 4


class CostModel:
    """Latency at a site: a roofline whose rates are fitted to the device, corrected by gradient-boosted trees.

    The roofline is `launches * a + bytes * b + FLOPs * c`, with `a, b, c >= 0` by least squares on relative errors. The
    trees learn the logarithm of what is left from the site, the roofline, and for each kind of primitive how
    often it occurs, the elements it reads and writes and its FLOPs.

    Args:
        kernels: timed kernels.
        latencies: of each kernel its seconds at each site, [kernels, sites].
        sites: where they were timed.
        seed: of the trees.

    Raises:
        ConfigError: fewer than 50 kernels.
        MissingDependencyError: scikit-learn is not installed.
    """

    def __init__(
        self,
        kernels: Sequence[KernelGraph],
        latencies: Sequence[Sequence[float]] | Array,
        sites: Sequence[Site],
        seed: int = 0,
    ) -> None:
        if len(kernels) < FEWEST_KERNELS:
            raise ConfigError(f"{len(kernels)} kernels are too few for a cost model: expected {FEWEST_KERNELS} or more")
        regressor, nnls = _libraries()
        self._sites = tuple(sites)
        self._kinds = sorted({_kind(node.primitive) for kernel in kernels for node in kernel.nodes[1:-1]})
        seconds = np.array(latencies, dtype=np.float64).reshape(-1)
        costs, features = self._describe(kernels)
        self._rates = nnls(costs / seconds[:, None], np.ones(len(seconds)))[0]
        roofline = self._roofline(costs)
        self._trees = regressor(**_TREES, random_state=seed)
        self._trees.fit(np.column_stack([features, roofline]), np.log(seconds) - roofline)

    def predict(self, kernels: Sequence[KernelGraph]) -> Array:
        """Seconds of each kernel at each site, [kernels, sites]."""
        if not kernels:
            return np.zeros((0, len(self._sites)))
        costs, features = self._describe(kernels)
        roofline = self._roofline(costs)
        logs = roofline + self._trees.predict(np.column_stack([features, roofline]))
        return np.asarray(np.exp(logs)).reshape(len(kernels), len(self._sites))

    def _roofline(self, costs: Array) -> Array:
        """The logarithm of the seconds, [rows]."""
        return np.asarray(np.log(np.maximum(costs @ self._rates, 1e-9)))

    def _describe(self, kernels: Sequence[KernelGraph]) -> tuple[Array, Array]:
        """Launches, bytes and FLOPs, and the features of the trees, [kernels * sites, ...]."""
        rows = [_Row(kernel, site) for kernel in kernels for site in self._sites]
        return np.array([row.costs for row in rows]), np.array([row.features(self._kinds) for row in rows])


class _Row:
    """What is known of a kernel at a site."""

    def __init__(self, kernel: KernelGraph, site: Site) -> None:
        self._site, self._values = site, symbol_values(site)
        self._total = static_cost(kernel, site)
        self._widest, self._traffic = 0.0, 0.0
        self._of_kind: dict[str, Array] = {}
        for index, node in enumerate(kernel.nodes[1:-1], start=1):
            shapes = kernel.input_shapes(index)
            moved = self._sum([node.shape.numel(), *(shape.numel() for shape in shapes)])
            self._widest = max(self._widest, self._sum([node.shape.numel()]))
            self._traffic += moved
            own = np.array([1.0, moved, self._sum(node.primitive.flops(shapes, node.shape))])
            kind = _kind(node.primitive)
            self._of_kind[kind] = self._of_kind.get(kind, np.zeros(3)) + own
        self.costs = (
            float(sum(own[0] for own in self._of_kind.values())),
            _BYTES * (self._traffic + self._total.params),
            float(self._total.flops),
        )

    def features(self, kinds: Sequence[str]) -> list[float]:
        """Numbers for the trees, in an order that the kinds give."""
        total = [self._total.flops, self._total.params, self._total.activation, self._widest]
        row = [*self._site.shape, *map(math.log1p, total), self.costs[0]]
        for kind in kinds:
            count, moved, flops = self._of_kind.get(kind, np.zeros(3))
            row += [count, math.log1p(moved), math.log1p(flops)]
        return row

    def _sum(self, sizes: Iterable[Size]) -> float:
        fractions = (size.fraction(self._values) for size in sizes)
        return math.fsum(numerator / denominator for numerator, denominator in fractions)


def _kind(primitive: object) -> str:
    return type(primitive).__name__


def check_libraries() -> None:
    """Refuse to go on where no model could be fitted.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    _libraries()


def _libraries() -> tuple[Any, Any]:
    try:
        from scipy.optimize import nnls
        from sklearn.ensemble import GradientBoostingRegressor
    except ImportError as error:
        raise MissingDependencyError(
            "a cost model (skip_slower) needs scikit-learn, which is not installed: pip install scikit-learn"
        ) from error
    return GradientBoostingRegressor, nnls
