"""Benchmark tables: what is packed comes back, bytes repeat, and a search runs on a table alone."""

import gzip
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import canvas_rl
from canvas_rl.config import SearchOptions
from canvas_rl.errors import EvaluationError, FormatError
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.evaluation.table import BenchmarkTable, make_table, space_json
from canvas_rl.evaluation.tabulated import SHIPPED, TabulatedEvaluator
from canvas_rl.ir import KernelGraph
from canvas_rl.rewards import make_reward
from canvas_rl.space import SearchSpace, enumerate_kernels
from canvas_rl.symbolic.site import ReferenceConv, Site

SITES = (Site(8, 6, 6), Site(16, 3, 3))
PROXY_SITE = Site(4, 2, 2)
PLACES = ((*SITES, PROXY_SITE), (ReferenceConv(), ReferenceConv(), None))
OPTIONS = SearchOptions(
    "fc,shift,relu", "", "fc", shift_sizes=(1,), num_primitive_range=(1, 2), num_max_width_range=(2, 2),
    max_weighted_ratio=1.0,
)  # fmt: skip
SHIPPED_TABLE = Path(str(files("canvas_rl.evaluation") / SHIPPED))


@pytest.fixture(scope="module")
def kernels() -> list[KernelGraph]:
    return list(enumerate_kernels(SearchSpace(PLACES[0], OPTIONS, PLACES[1])))


@pytest.fixture(scope="module")
def measurements(kernels: list[KernelGraph]) -> dict[str, Measurement]:
    """Analytic ones; of the first two kernels one failed after its cost was counted, the other before."""
    found = {measurement.kernel: measurement for measurement in AnalyticEvaluator(SITES).evaluate(kernels)}
    first, second = kernels[0].hash, kernels[1].hash
    counted = tuple(replace(site, latency_s=None, reference_latency_s=None) for site in found[first].sites)
    found[first] = Measurement(first, Status.DEAD_WEIGHT, "no gradient", counted, wall_time_s=1.234)
    found[second] = Measurement(second, Status.BUILD_FAILED, "does not build")
    third = kernels[2].hash
    found[third] = replace(found[third], environment={"noise": "0.0123"}, accuracy=0.5, test_accuracy=0.25)
    return found


@pytest.fixture(scope="module")
def table(kernels: list[KernelGraph], measurements: dict[str, Measurement]) -> BenchmarkTable:
    recipe = {"space": space_json(*PLACES, OPTIONS), "seed": 0}
    return make_table(recipe, AnalyticEvaluator(SITES).reference, kernels, measurements)


def test_what_is_packed_comes_back(table, kernels, measurements, tmp_path):
    table.save(tmp_path / "table.json.gz")
    loaded = BenchmarkTable.load(tmp_path / "table.json.gz")
    assert loaded == table
    assert list(loaded.measurements) == [graph.hash for graph in kernels]
    for kernel, given in measurements.items():
        found = loaded.measurements[kernel]
        assert (found.status, found.message) == (given.status, given.message)
        assert (found.accuracy, found.test_accuracy) == (given.accuracy, given.test_accuracy)
        assert (found.speedup is None) == (given.speedup is None)
        assert found.quality == pytest.approx(given.quality, abs=1e-6)
        assert found.wall_time_s == pytest.approx(given.wall_time_s, abs=0.005)
        for own, other in zip(found.sites, given.sites, strict=True):
            assert own == replace(other, latency_s=own.latency_s, reference_latency_s=own.reference_latency_s)
            assert own.latency_s == pytest.approx(other.latency_s, abs=1e-9)
            assert own.reference_latency_s == pytest.approx(other.reference_latency_s, abs=1e-9)
    noisy = loaded.measurements[kernels[2].hash]
    assert noisy.environment == {**loaded.reference.environment, "noise": "0.0123"}


def test_equal_content_gives_equal_bytes(table, tmp_path):
    for name in ("one", "two"):
        table.save(tmp_path / name)
    BenchmarkTable.load(tmp_path / "one").save(tmp_path / "again")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == (tmp_path / "again").read_bytes()


def test_a_table_has_all_kernels(kernels, measurements):
    known = {kernel: value for kernel, value in measurements.items() if kernel != kernels[-1].hash}
    reference = AnalyticEvaluator(SITES).reference
    with pytest.raises(FormatError, match=rf"1 of {len(kernels)} kernels have no measurement.*has all"):
        make_table({}, reference, kernels, known)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"no gzip", "damaged"),
        (gzip.compress(b"{}", mtime=0)[:-3], "damaged"),
        (gzip.compress(b"[]", mtime=0), "has format None: expected 1"),
        (gzip.compress(b'{"format": 2}', mtime=0), "has format 2: expected 1"),
        (gzip.compress(b'{"format": 1}', mtime=0), "is damaged"),
    ],
)
def test_a_file_that_is_no_table_is_refused(content, message, tmp_path):
    path = tmp_path / "table.json.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        TabulatedEvaluator(path)


def test_a_column_cut_short_is_refused(table, tmp_path):
    data = json.loads(table.content)
    data["columns"]["quality"].pop()
    (tmp_path / "table").write_bytes(gzip.compress(json.dumps(data).encode()))
    with pytest.raises(FormatError, match="column quality has not"):
        BenchmarkTable.load(tmp_path / "table")


def test_evaluates_whatever_its_space_draws(table, kernels):
    evaluator, rng, heard = TabulatedEvaluator(table), np.random.default_rng(0), []
    assert evaluator.space is evaluator.space
    drawn = [evaluator.space.sample(rng) for _ in range(50)]
    found = evaluator.evaluate(drawn, heard.append)
    assert [measurement.kernel for measurement in found] == [graph.hash for graph in drawn]
    assert heard == found
    assert evaluator.reference.speedup == 1.0
    assert all(isinstance(make_reward()(measurement, evaluator.reference), float) for measurement in found)
    evaluator.close()


def test_every_kernel_can_be_built_again(table, kernels):
    evaluator = TabulatedEvaluator(table)
    for graph in kernels:
        again = evaluator.graph(graph.hash)
        assert (again, again.program) == (graph, graph.program)


def test_a_program_that_builds_another_kernel_is_refused(table, kernels):
    programs = dict(table.programs) | {kernels[0].hash: kernels[1].program}
    with pytest.raises(EvaluationError, match="another version"):
        TabulatedEvaluator(replace(table, programs=programs)).graph(kernels[0].hash)


def test_a_kernel_outside_of_the_table_is_an_error(table):
    other = SearchSpace(SITES, replace(OPTIONS, allowed_filter="fc,relu,group", num_primitive_range=(2, 3)))
    foreign = next(graph for graph in enumerate_kernels(other) if graph.hash not in table.programs)
    with pytest.raises(EvaluationError, match=r"is not among the \d+ of the benchmark table: search in"):
        TabulatedEvaluator(table).evaluate([foreign])


def test_the_fingerprint_is_that_of_the_content(table, kernels, tmp_path):
    table.save(tmp_path / "table")
    changed = dict(table.measurements)
    row = changed[kernels[-1].hash]
    changed[row.kernel] = replace(row, quality=0.123)
    same = TabulatedEvaluator(tmp_path / "table").fingerprint
    assert TabulatedEvaluator(table).fingerprint == same
    assert TabulatedEvaluator(replace(table, measurements=changed)).fingerprint != same


def test_is_exported():
    assert canvas_rl.TabulatedEvaluator is TabulatedEvaluator


def test_the_shipped_table_has_every_kernel_of_its_space():
    evaluator = TabulatedEvaluator()
    assert {graph.hash for graph in enumerate_kernels(evaluator.space)} == set(evaluator.measurements)
    assert len(evaluator.measurements) >= 3000
    assert evaluator.reference.quality
    trained = [row for row in evaluator.measurements.values() if row.ok]
    assert all(row.quality is not None and row.speedup is not None for row in trained)
    assert len(trained) > len(evaluator.measurements) / 2
