"""The evaluator end to end in real workers, with planted kernels and the replaced convolution."""

from dataclasses import replace
from pathlib import Path

import planted_kernels
import pytest
import torch
from planted_kernels import Planted

from canvas_rl.errors import ConfigError, DatasetError, EvaluationError, PlaceholderError
from canvas_rl.evaluation.evaluator import KernelEvaluator
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.evaluation.proxy import ProxyConfig, score_network
from canvas_rl.evaluation.settings import EvaluationConfig
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.symbolic.site import ReferenceConv, Site

SITES = (Site(16, 12, 12), Site(32, 6, 6), Site(16, 12, 12))
REFERENCES = (ReferenceConv(3), ReferenceConv(3), ReferenceConv(1))
PROXY = ProxyConfig(epochs=1, blocks=(1,), channels=(8,), milestones=(), train_samples=128)
CONFIG = EvaluationConfig(
    latency=LatencyConfig(time_cap_s=0.05), proxy=PROXY, time_limit_s=10.0, memory_limit=2**29, workers=1
)


def make(store: MeasurementStore | None = None, config: EvaluationConfig = CONFIG) -> KernelEvaluator:
    return KernelEvaluator(SITES, REFERENCES, config, store, loader=planted_kernels.LOADER)


@pytest.fixture(scope="module")
def evaluator():
    with make() as evaluator:
        yield evaluator


@pytest.fixture(scope="module")
def good(evaluator: KernelEvaluator) -> Measurement:
    return evaluator.evaluate([Planted("good")])[0]


def test_a_sound_kernel_gets_every_figure(good: Measurement) -> None:
    assert good.status is Status.OK, good.message
    assert [figures.site for figures in good.sites] == list(SITES)
    assert all(figures.latency_s and figures.reference_latency_s for figures in good.sites)
    assert good.speedup is not None
    assert 0.2 < good.speedup < 5
    assert good.quality is not None
    assert 0 <= good.quality <= 1
    assert good.accuracy is not None
    assert good.test_accuracy is not None
    assert {"device", "torch", "python", "clock_mhz", "noise"} <= set(good.environment)
    assert good.sites[0].flops == 1000
    assert Measurement.from_json(good.to_json()) == good


def test_equal_sites_are_measured_apart_where_the_replaced_convolution_differs(good: Measurement) -> None:
    first, _, third = good.sites
    assert first.reference_latency_s != third.reference_latency_s


def test_reference_is_measured_the_same_way_once(evaluator: KernelEvaluator) -> None:
    reference = evaluator.reference
    assert reference is evaluator.reference
    assert reference.ok
    assert reference.speedup == 1.0
    assert [figures.speedup for figures in reference.sites] == [1.0] * 3
    assert reference.quality is not None
    assert reference.sites[0].flops == REFERENCES[0].flops(SITES[0])
    assert reference.sites[2].flops == REFERENCES[2].flops(SITES[2])


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("large", Status.TOO_LARGE),
        ("raising", Status.RUN_FAILED),
        ("leaks_forward", Status.MIXES_SAMPLES),
        ("untrainable", Status.TRAINING_FAILED),
        ("untimeable", Status.LATENCY_FAILED),
        ("cheat", Status.SKIPS_WORK),
        ("identity", Status.TOO_FAST),
        ("segfault", Status.CRASHED),
        ("endless", Status.TIMED_OUT),
    ],
)
def test_failures_are_measurements_with_a_status(evaluator: KernelEvaluator, kind: str, status: Status) -> None:
    failed, good = evaluator.evaluate([Planted(kind), Planted("good")])
    assert failed.status is status, failed.message
    assert failed.message
    assert failed.speedup is None
    assert failed.wall_time_s < CONFIG.time_limit_s + 5
    assert good.ok


def test_order_repeats_callback_and_statistics(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    one, two = (Planted("good", {"log": log, "n": n}) for n in (1, 2))
    arrived: list[str] = []
    config = replace(CONFIG, proxy=None)
    with make(config=config) as evaluator:
        first = evaluator.evaluate([one, two, one], lambda measurement: arrived.append(measurement.kernel))
        assert [measurement.kernel for measurement in first] == [one.hash, two.hash, one.hash]
        assert arrived == [one.hash, two.hash]
        built = len((tmp_path / "log").read_text().splitlines())
        # For each kernel the gates build one module a different site, the timing one a different place.
        assert built == 2 * (2 + 3)
        assert evaluator.evaluate([two]) == first[1:2]
        assert len((tmp_path / "log").read_text().splitlines()) == built
        statistics = evaluator.statistics
        assert (statistics.asked, statistics.repeats, statistics.evaluated) == (4, 2, 2)
        assert statistics.by_status == {Status.OK: 2}
        assert first[0].quality is None


def test_seconds_are_told_by_stage(evaluator: KernelEvaluator) -> None:
    evaluator.evaluate([Planted("good", {"name": "for its seconds"})])
    seconds = evaluator.statistics.seconds
    assert set(seconds) == {"gates", "train", "time"}
    assert all(value > 0 for value in seconds.values())


def test_kernels_are_compiled_ahead_in_workers_of_their_own(tmp_path: Path) -> None:
    latency = replace(CONFIG.latency, mode="compile")
    config = replace(CONFIG, proxy=None, latency=latency, time_limit_s=120.0, memory_limit=2**32, compile_workers=1)
    sites, log = SITES[1:2], tmp_path / "log"
    with KernelEvaluator(sites, config=config, loader=planted_kernels.LOADER) as evaluator:
        good, failed = evaluator.evaluate([Planted("good", {"log": str(log)}), Planted("untimeable")])
        assert good.ok, good.message
        assert len(log.read_text().splitlines()) == 3, "built for the gates, the compiler and the stopwatch"
        assert failed.status is Status.LATENCY_FAILED
        assert failed.message.startswith(f"compiling at site {sites[0]}")
        assert evaluator.statistics.seconds["compile"] > 0
        assert evaluator.fingerprint == evaluation_fingerprint_of(sites, replace(config, compile_workers=2))


def test_a_kernel_that_takes_too_long_to_compile_has_a_status_of_its_own(tmp_path: Path) -> None:
    latency = replace(CONFIG.latency, mode="compile")
    config = replace(CONFIG, proxy=None, latency=latency, memory_limit=2**32, compile_workers=1, compile_limit_s=3.0)
    store = MeasurementStore(tmp_path / "store.sqlite")
    with KernelEvaluator(SITES[1:2], None, config, store, planted_kernels.LOADER) as evaluator:
        (measured,) = evaluator.evaluate([Planted("hangs_compiling")])
        assert measured.status is Status.COMPILE_TIMED_OUT
        assert measured.message == "compiling it ran past the compile limit of 3 s"
        assert measured.speedup is None
        assert evaluator._look_up([measured.kernel]) == {}, "a later search tries it again"
        assert evaluator.statistics.by_status == {Status.COMPILE_TIMED_OUT: 1}


def evaluation_fingerprint_of(sites: tuple[Site, ...], config: EvaluationConfig) -> str:
    with KernelEvaluator(sites, config=config, loader=planted_kernels.LOADER) as evaluator:
        return evaluator.fingerprint


def test_store_hits_are_not_measured_again(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    kernels = [Planted(kind, {"log": log}) for kind in ("good", "raising")]
    store = MeasurementStore(tmp_path / "store.sqlite")
    config = replace(CONFIG, proxy=None)
    with make(store, config) as evaluator:
        first = evaluator.evaluate(kernels)
    built = (tmp_path / "log").read_text()
    with make(store, config) as evaluator:
        assert evaluator.evaluate(kernels) == first
        assert evaluator.statistics.store_hits == 2
        assert evaluator.statistics.evaluated == 0
        assert (tmp_path / "log").read_text() == built
    other = make(store, replace(config, seed=1))
    assert other.fingerprint != evaluator.fingerprint
    store.close()


def test_failures_of_circumstance_are_measured_again_until_they_are_believed(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "store.sqlite")
    once, thrice = Planted("good"), Planted("good", {"name": "thrice"})
    with make(store, replace(CONFIG, proxy=None)) as evaluator:
        for kernel in (once, thrice, thrice, thrice):
            failure = Measurement(kernel.hash, Status.TIMED_OUT)
            store.put(failure, kernel.to_json(), evaluator.fingerprint, evaluator.device)
        measured, believed = evaluator.evaluate([once, thrice])
        assert (measured.status, believed.status) == (Status.OK, Status.TIMED_OUT)
        assert (evaluator.statistics.store_hits, evaluator.statistics.evaluated) == (1, 1)
        assert [record.measurement.status for record in store.history(once.hash)] == [Status.TIMED_OUT, Status.OK]
        assert store.get(once.hash, evaluator.fingerprint, evaluator.device) == measured


def test_closing_gives_back_the_store(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "store.sqlite")
    with KernelEvaluator((Site(8, 4, 4),), config=EvaluationConfig(proxy=None), store=store):
        assert len(list(tmp_path.iterdir())) > 1  # the write-ahead log of an open connection
    assert [path.name for path in tmp_path.iterdir()] == ["store.sqlite"]


def test_retraining_gives_the_network_behind_the_measurement(evaluator: KernelEvaluator, good: Measurement) -> None:
    final = evaluator.train(Planted("good"))
    assert (final.accuracy, final.test_accuracy) == (good.accuracy, good.test_accuracy)
    assert score_network(final.network, PROXY) == (good.accuracy, good.test_accuracy)
    assert torch.isfinite(final.network(torch.randn(2, 1, 8, 8))).all()
    with pytest.raises(EvaluationError, match="can't be trained"):
        evaluator.train(Planted("untrainable"))


def test_fingerprint_names_what_changes_figures() -> None:
    base = make().fingerprint
    assert make(config=replace(CONFIG, workers=2)).fingerprint == base
    assert make(config=replace(CONFIG, compile_limit_s=1.0)).fingerprint == base, "nothing is compiled"
    compiled = replace(CONFIG, latency=replace(CONFIG.latency, mode="compile"))
    assert make(config=replace(compiled, compile_limit_s=1.0)).fingerprint != make(config=compiled).fingerprint
    for change in (
        {"latency": LatencyConfig(batch_size=2)},
        {"proxy": replace(PROXY, epochs=2)},
        {"time_limit_s": 9.0},
    ):
        assert make(config=replace(CONFIG, **change)).fingerprint != base


def test_bad_settings_are_refused_with_a_sentence() -> None:
    with pytest.raises(PlaceholderError, match="no site"):
        KernelEvaluator(())
    with pytest.raises(ConfigError, match="1 references were given for 2 sites"):
        KernelEvaluator(SITES[:2], REFERENCES[:1], CONFIG)
    with pytest.raises(ConfigError, match="kernels_per_worker is 0: expected at least 1"):
        KernelEvaluator(SITES, REFERENCES, CONFIG, kernels_per_worker=0)
    with pytest.raises(DatasetError):
        make(config=replace(CONFIG, proxy=ProxyConfig(dataset="missing.npz")))
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="torch sees no CUDA device"):
            make(config=replace(CONFIG, latency=LatencyConfig(device="cuda")))
