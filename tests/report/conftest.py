"""Runs made in a moment: sampled kernels, figures of the analytic evaluator, a real store and a real run folder."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from canvas_rl import zoo
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.rewards import make_reward
from canvas_rl.session import SearchOver
from canvas_rl.study import SearchSettings
from canvas_rl.study.folder import RunFolder
from canvas_rl.study.keeping import Nowhere
from canvas_rl.study.session import Parts, SearchSession
from canvas_rl.study.stopping import Stopper


class StoredEvaluator(AnalyticEvaluator):
    """Figures by arithmetic, kept in a store; the kernels at some places of the search fail or are skipped."""

    def __init__(self, space, store, device, failing=(), skipping=()):
        super().__init__(space.sites)
        self.store, self.device, self.failing, self.skipping = store, device, failing, skipping
        self.statistics, self.from_store, self.asked = self, set(), 0

    def evaluate(self, graphs, on_result=None):
        found = []
        for graph in graphs:
            found.append(self.one(graph))
            self.asked += 1
            on_result(found[-1])
        return found

    def one(self, graph):
        if self.asked in self.skipping:
            return Measurement(graph.hash, Status.SKIPPED, "predicted to be too slow")
        known = self.store.get(graph.hash, self.fingerprint, self.device)
        if known is not None:
            self.from_store.add(graph.hash)
            return known
        (measurement,) = super().evaluate([graph])
        if self.asked in self.failing:
            measurement = Measurement(
                graph.hash, Status.NOT_FINITE, "the output has a NaN & more <b>", measurement.sites
            )
        measurement = replace(measurement, wall_time_s=1.5, environment={"torch": "2.x", "clock_mhz": "2000"})
        self.store.put(measurement, graph.to_json(), self.fingerprint, self.device)
        return measurement


@pytest.fixture(scope="session")
def make_run(space):
    """Makes a run folder as a search leaves it."""

    def make(path, evaluations=12, seed=0, device="A", failing=(), skipping=(), **settings):
        values = {"agent": "random", "seed": seed, "evaluations": max(1, evaluations), "time_limit": None} | settings
        chosen = SearchSettings.of(**values)
        folder = RunFolder.create(path)
        store = MeasurementStore(folder.store_url(chosen.run.storage))
        evaluator = StoredEvaluator(space, store, device, failing, skipping)
        folder.save_settings(chosen, space.fingerprint, f"{device}, {evaluator.fingerprint}")
        parts = Parts(space, evaluator, make_reward(), folder, Nowhere(), Stopper())
        known = [zoo.build(name, space) for name in chosen.run.warm_start]
        session = SearchSession(parts, evaluations, seed, known)
        rng = np.random.default_rng(seed)
        try:
            session.warm_up()
            while evaluations:
                session.judge([space.sample(rng)])
        except SearchOver:
            pass
        store.close()
        return path

    return make


@pytest.fixture(scope="session")
def finished(make_run, tmp_path_factory):
    """A run of twelve kernels, one of them failed and one skipped. Not to be changed: see `copied`."""
    return make_run(tmp_path_factory.mktemp("runs") / "finished", failing=(3,), skipping=(5,))


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, to damage."""
    return shutil.copytree(finished, tmp_path / "copied")
