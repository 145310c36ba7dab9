"""Which kernels need not be measured: those that are too slow, as a model of the kernels timed so far has it."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from canvas_rl.errors import CanvasError
from canvas_rl.evaluation.cost_model import FEWEST_KERNELS, CostModel, check_libraries
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.evaluation.store_queries import Record
from canvas_rl.evaluation.subject import Place
from canvas_rl.ir import KernelGraph
from canvas_rl.symbolic.site import Site

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]

FOLDS = 5
FEWEST_TIMED = math.ceil(FEWEST_KERNELS * FOLDS / (FOLDS - 1))
"""Timed kernels with which screening begins: a model that leaves a fifth of them out still has FEWEST_KERNELS."""
_COVERED = 0.9
_GROWTH = 1.25


class SpeedupModel:
    """Predicts speedups with a cost model, and knows how far its predictions fall short.

    Latencies are taken relative to those of the replaced convolutions beside them, so that a drift of the clock does
    not show. `margin` is what nine in ten true speedups stay below, as a multiple of the prediction, at least 1: each
    kernel is predicted by a model of the four fifths that it is not in.

    Args:
        kernels: timed kernels, at least FEWEST_TIMED.
        latencies: of each kernel its seconds at each site, [kernels, sites].
        references: seconds of the replaced convolutions, timed beside them, [kernels, sites].
        sites: where they were timed; one that comes more than once counts as often in the mean.

    Raises:
        ConfigError: too few kernels.
        MissingDependencyError: scikit-learn is not installed.
    """

    def __init__(
        self, kernels: Sequence[KernelGraph], latencies: Array, references: Array, sites: Sequence[Site]
    ) -> None:
        ratios = latencies / references
        self._usual = np.median(references, axis=0)
        self.margin = self._measure_margin(kernels, ratios, sites)
        self._model = CostModel(kernels, ratios * self._usual, sites)

    def predict(self, kernels: Sequence[KernelGraph]) -> Array:
        """The speedup of each kernel, geometric mean over the sites, [kernels]."""
        return self._speedups(self._model, kernels)

    def _measure_margin(self, kernels: Sequence[KernelGraph], ratios: Array, sites: Sequence[Site]) -> float:
        shortfalls = np.zeros(len(kernels))
        for fold in range(FOLDS):
            held_out = np.arange(len(kernels)) % FOLDS == fold
            known = [kernel for kernel, out in zip(kernels, held_out, strict=True) if not out]
            others = [kernel for kernel, out in zip(kernels, held_out, strict=True) if out]
            model = CostModel(known, ratios[~held_out] * self._usual, sites)
            truth = -np.log(ratios[held_out]).mean(axis=1)
            shortfalls[held_out] = truth - np.log(self._speedups(model, others))
        return math.exp(max(0.0, float(np.quantile(shortfalls, _COVERED, method="higher"))))

    def _speedups(self, model: CostModel, kernels: Sequence[KernelGraph]) -> Array:
        return np.asarray(np.exp(np.log(self._usual / model.predict(kernels)).mean(axis=1)))


class Screen:
    """Tells which kernels are predicted to be too slow, before anything of them is run.

    The model is fitted on the kernels that the store has as timed with this fingerprint on this device: on the first
    63, 79, 99, ... in the order of storing, a quarter more each time; those asked about don't count. A verdict
    therefore follows from what was stored before, and not from when a process began or how much of a batch was
    measured before it was interrupted. Kernels that this version of canvas_rl can't read are left out.

    Args:
        store: where timed kernels are.
        fingerprint: of the evaluation.
        device: the device's name.
        places: of the evaluation.
        slowest: the least speedup of interest.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """

    def __init__(
        self, store: MeasurementStore, fingerprint: str, device: str, places: Sequence[Place], slowest: float
    ) -> None:
        check_libraries()
        self._store = store
        self._key = fingerprint, device
        self._sites = tuple(place.site for place in places)
        self._slowest = slowest
        self._models: dict[tuple[int, ...], SpeedupModel | None] = {}

    def too_slow(self, kernels: Mapping[str, dict[str, Any]], asked: Iterable[str]) -> dict[str, str]:
        """Why kernels need not be measured, by hash; those that should be are not in it.

        Args:
            kernels: JSON of kernel graphs by hash.
            asked: hashes of all kernels that are asked for together with them, which don't count.

        Raises:
            StoreError: the store can't be read, or an entry is damaged.
        """
        if not kernels:
            return {}
        model = self._fitted(set(asked) | set(kernels))
        known = {name: graph for name, data in kernels.items() if (graph := _read(data)) is not None}
        if model is None or not known:
            return {}
        predicted = dict(zip(known, model.predict(list(known.values())).tolist(), strict=True))
        return {
            name: (
                f"predicted to be too slow: {speedup:.3g} times the convolution's speed, at most "
                f"{speedup * model.margin:.3g}, skip_slower is {self._slowest:g}"
            )
            for name, speedup in predicted.items()
            if speedup * model.margin < self._slowest
        }

    def _fitted(self, left_out: set[str]) -> SpeedupModel | None:
        """The model of the kernels timed so far; None while they are too few."""
        timed = self._store.timed(*self._key)
        size = fitted_on(sum(kernel not in left_out for kernel in timed))
        rows = tuple(islice(timed.values(), size))
        if rows not in self._models:
            self._models = dict([*self._models.items()][-1:])  # a batch with stored kernels may need the one before
            self._models[rows] = self._fit(self._store.rows(rows)) if rows else None
        return self._models[rows]

    def _fit(self, found: Sequence[Record]) -> SpeedupModel | None:
        readable = [(graph, item.measurement) for item in found if (graph := _read(item.graph)) is not None]
        if len(readable) < FEWEST_TIMED:
            return None
        figures = np.array(
            [[(site.latency_s, site.reference_latency_s) for site in measured.sites] for _, measured in readable],
            dtype=np.float64,
        )
        model = SpeedupModel([graph for graph, _ in readable], figures[..., 0], figures[..., 1], self._sites)
        logger.info(
            "cost model of %d timed kernels: %.0f%% of true speedups are below %.2f times the predicted ones",
            len(readable),
            100 * _COVERED,
            model.margin,
        )
        return model


def fitted_on(timed: int) -> int:
    """On how many of so many timed kernels, the first ones, a model is fitted; 0 while they are too few."""
    size = 0
    following = FEWEST_TIMED
    while following <= timed:
        size, following = following, math.ceil(following * _GROWTH)
    return size


def _read(data: dict[str, Any]) -> KernelGraph | None:
    try:
        return KernelGraph.from_json(data)
    except CanvasError:  # stored by a version with other rules
        return None
