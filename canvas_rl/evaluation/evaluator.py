"""The real evaluator: static cost, gates, proxy training and latency, in isolated workers, with a memory."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import nn

from canvas_rl.errors import CanvasError, ConfigError, EvaluationError
from canvas_rl.evaluation import jobs
from canvas_rl.evaluation.environment import describe_environment, device_name
from canvas_rl.evaluation.gates import GATE_BATCH
from canvas_rl.evaluation.measurement import Kernel, Measurement, SiteFigures, Status, geometric_speedup
from canvas_rl.evaluation.pool import Job, Outcome, WorkerPool
from canvas_rl.evaluation.proxy import build_backbone
from canvas_rl.evaluation.screening import Screen
from canvas_rl.evaluation.settings import EvaluationConfig, evaluation_fingerprint
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.evaluation.subject import LOADER, Place, kernel_spec, load_subject, reference_spec
from canvas_rl.evaluation.timing import PairTiming, fastest_of_visits
from canvas_rl.evaluation.timing_cpu import time_is_up
from canvas_rl.evaluation.worker import WorkerSettings
from canvas_rl.symbolic.site import ReferenceConv, Site, check_sites

Callback = Callable[[Measurement], None]

REFERENCE = "reference"
KERNELS_PER_WORKER = 4
IN_TURN = 8
"""So many kernels are timed in turn, a visit each: a fixed number, so that workers make no difference."""
_FAILURES_BELIEVED = 3


@dataclass
class Statistics:
    """What an evaluator has done so far."""

    asked: int = 0
    """kernels given to `evaluate`"""
    repeats: int = 0
    """of these, seen before by this evaluator"""
    from_store: set[str] = field(default_factory=set)
    """hashes of the others that were found in the store"""
    evaluated: int = 0
    """of the others, measured here"""
    skipped: int = 0
    """of the others, predicted to be too slow and not measured"""
    by_status: Counter[Status] = field(default_factory=Counter)
    """statuses of the distinct kernels, store hits included"""
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """worker seconds spent on gates, train, compile and time, references included; those of workers side by side add"""

    @property
    def store_hits(self) -> int:
        """Kernels found in the store."""
        return len(self.from_store)


@dataclass(frozen=True)
class FinalResult:
    """A kernel's trained proxy network and its accuracies."""

    network: nn.Module
    accuracy: float
    test_accuracy: float
    quality: float


@dataclass
class _Candidate:
    """A kernel on its way through the evaluation."""

    name: str
    graph: dict[str, Any]
    spec: dict[str, Any]
    figures: tuple[SiteFigures, ...] = ()
    accuracies: dict[str, Any] = field(default_factory=dict)
    visits: list[dict[str, Any]] = field(default_factory=list)
    """what each timing of it told"""
    outcome: Outcome = field(default_factory=lambda: Outcome(Status.OK))
    environment: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    compile_s: float = 0.0
    """of these, spent on compiling ahead, which has a limit of its own"""


class KernelEvaluator:
    """Judges kernels on this machine: the Evaluator of real searches.

    Kernels are taken in chunks. All of a chunk pass static cost, gates and proxy training, and are compiled if they are
    to be, side by side in several workers; then those that are left are timed one at a time, so that nothing else runs
    meanwhile: on a CPU in several visits each, eight kernels in turn.

    With `config.skip_slower`, kernels that a `Screen` of the store predicts to be slower are not run at all. They end
    as `skipped`, which is remembered within this evaluator alone: the store does not hear of it.

    Args:
        sites: where latency is measured and cost counted: the placeholders of the user's model. Equal sites are
            measured once, and count as often as they are given in the mean speedup.
        references: the convolution replaced at each site; None for 3x3 ones.
        config: how to measure.
        store: shared memory of measurements; None to remember only within this evaluator. What it knows is not
            measured again, except that kernels which crashed, ran out of time or of memory are given two more tries,
            one by each later evaluator.
        loader: `module:function` that makes a Subject of a kernel's JSON, in the workers too.
        kernels_per_worker: how many kernels for each worker are in a chunk. More keep the workers busier, and more is
            lost by an interruption: what was trained but not yet timed, and the visits of kernels being timed in turn.

    Raises:
        ConfigError: the device is not there, `kernels_per_worker` is below 1, or kernels are to be skipped and there is
            no store.
        DatasetError: the proxy's data set is missing or malformed.
        MissingDependencyError: kernels are to be skipped and scikit-learn is not installed.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        references: Sequence[ReferenceConv] | None = None,
        config: EvaluationConfig | None = None,
        store: MeasurementStore | None = None,
        loader: str = LOADER,
        kernels_per_worker: int = KERNELS_PER_WORKER,
    ) -> None:
        check_sites(tuple(sites))
        self.sites = tuple(sites)
        self.config = config or EvaluationConfig()
        self.config.latency.check_device()
        references = tuple(references) if references is not None else (ReferenceConv(),) * len(self.sites)
        if len(references) != len(self.sites):
            raise ConfigError(f"{len(references)} references were given for {len(self.sites)} sites")
        if kernels_per_worker < 1:
            raise ConfigError(f"kernels_per_worker is {kernels_per_worker}: expected at least 1")
        self.places = tuple(map(Place, self.sites, references))
        self.fingerprint = evaluation_fingerprint(self.places, self.config)
        self.device = device_name(self.config.latency)
        self.statistics = Statistics()
        self._reference_spec = reference_spec(self.places)
        self._store = store
        self._loader = loader
        self._chunk = kernels_per_worker * self.config.process_count
        self._screen = self._make_screen()
        self._seen: dict[str, Measurement] = {}
        self._pool = WorkerPool(self.config.process_count, _worker_settings(self.config))

    def __enter__(self) -> "KernelEvaluator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers and give back the store's connections."""
        self._pool.close()
        if self._store:
            self._store.close()

    @cached_property
    def reference(self) -> Measurement:
        """The replaced convolution, measured the same way, in this run, when first asked for.

        Raises:
            EvaluationError: it fails, so nothing can be compared with it.
        """
        candidate = _Candidate(REFERENCE, {}, self._reference_spec)
        (measurement,) = self._measure([candidate], None)
        if not measurement.ok:
            raise EvaluationError(
                f"the replaced convolution can't be measured ({measurement.status}): {measurement.message}"
            )
        sites = tuple(replace(figures, reference_latency_s=figures.latency_s) for figures in measurement.sites)
        return replace(measurement, sites=sites, speedup=1.0)

    def evaluate(self, graphs: Sequence[Kernel], on_result: Callback | None = None) -> list[Measurement]:
        """Measure kernels that are not known yet.

        Args:
            graphs: the kernels; repeats are allowed and cost nothing.
            on_result: called with each new measurement, store hits included, as soon as it is there.

        Returns:
            measurements in the order of `graphs`.

        Raises:
            EvaluationError: no worker can be started.
            StoreError: the store can't be read or written.
        """
        fresh = {graph.hash: graph for graph in graphs if graph.hash not in self._seen}
        self.statistics.asked += len(graphs)
        self.statistics.repeats += len(graphs) - len(fresh)
        stored = self._look_up(list(fresh))
        for measurement in stored.values():
            self.statistics.from_store.add(measurement.kernel)
            self._finish(measurement, on_result)
        unknown = [
            _Candidate(name, data := graph.to_json(), kernel_spec(data, self._loader))
            for name, graph in fresh.items()
            if name not in stored
        ]
        unknown = self._screened(unknown, [graph.hash for graph in graphs], on_result)
        for chunk in _chunks(unknown, self._chunk):
            self._measure(chunk, on_result)
        return [self._seen[graph.hash] for graph in graphs]

    def train(self, graph: Kernel | None) -> FinalResult:
        """Train the proxy network of a kernel again (None: of the replaced convolution).

        The training is a function of kernel, config and seed: the result is the network behind the measurement.

        Raises:
            EvaluationError: the training failed, or no proxy is configured.
        """
        spec = self._reference_spec if graph is None else kernel_spec(graph.to_json(), self._loader)
        (outcome,) = self._pool.run([self._job(jobs.TRAIN, spec, self.config.time_limit_s)])
        if self.config.proxy is None or outcome.status is not Status.OK:
            raise EvaluationError(f"the proxy network can't be trained ({outcome.status}): {outcome.message}")
        network = build_backbone(self.config.proxy, load_subject(spec).build)
        network.load_state_dict({name: torch.from_numpy(array) for name, array in outcome.value["weights"].items()})
        value = outcome.value
        return FinalResult(network.eval(), value["accuracy"], value["test_accuracy"], value["quality"])

    def _make_screen(self) -> Screen | None:
        slowest = self.config.skip_slower
        if slowest is None:
            return None
        if self._store is None:
            raise ConfigError(f"skip_slower is {slowest:g} and there is no store: its model learns from a store")
        return Screen(self._store, self.fingerprint, self.device, self.places, slowest)

    def _screened(self, candidates: list[_Candidate], asked: list[str], on_result: Callback | None) -> list[_Candidate]:
        """Conclude what is predicted to be too slow; the rest is to be measured.

        All of a call are screened together, so that the number of workers makes no difference.
        """
        if self._screen is None:
            return candidates
        reasons = self._screen.too_slow({item.name: item.graph for item in candidates}, asked)
        rest = []
        for candidate in candidates:
            if candidate.name in reasons:
                self._count(candidate)
                if candidate.outcome.status is Status.OK:
                    candidate.outcome = Outcome(Status.SKIPPED, reasons[candidate.name])
                    self._conclude(candidate, on_result)
                    continue
            rest.append(candidate)
        return rest

    def _look_up(self, kernels: list[str]) -> dict[str, Measurement]:
        """What the store knows; a failure that may be due to circumstances is measured again until it is believed."""
        if self._store is None:
            return {}
        return self._store.get_many(kernels, self.fingerprint, self.device, _FAILURES_BELIEVED)

    def _measure(self, candidates: list[_Candidate], on_result: Callback | None) -> list[Measurement]:
        for candidate in candidates:
            self._count(candidate)
        self._run(jobs.CHECK, _alive(candidates), self.config.worker_count, self._take_accuracies)
        if self.config.compiler_count:
            self._run(jobs.COMPILE, _alive(candidates), self.config.compiler_count, self._take_compiled)
        measurements = {
            item.name: self._conclude(item, on_result) for item in candidates if item.outcome.status is not Status.OK
        }

        def take_visit(item: _Candidate) -> None:
            self.statistics.seconds["time"] += item.outcome.seconds
            item.visits.append(item.outcome.value)
            if item.outcome.status is not Status.OK or self._timed_enough(item):
                _take_timings(item, self.places)
                measurements[item.name] = self._conclude(item, on_result)

        for group in _chunks(_alive(candidates), IN_TURN):
            for _ in range(self.config.latency.visits):
                self._run(jobs.TIME, [item for item in group if item.name not in measurements], 1, take_visit)
        return [measurements[item.name] for item in candidates]

    def _timed_enough(self, candidate: _Candidate) -> bool:
        """Whether all visits are made, the time of all together is up, or none is left within the time limit."""
        latency = self.config.latency
        timings = _timings(candidate)
        rounds = min(timing.rounds for timing in timings.values())
        seconds = math.fsum(timing.seconds for timing in timings.values())
        return (
            len(candidate.visits) == latency.visits
            or time_is_up(rounds, seconds, latency.cap_s * len(timings))
            or self._seconds_left(candidate) < candidate.outcome.seconds
        )

    def _take_accuracies(self, candidate: _Candidate) -> None:
        value = candidate.outcome.value
        candidate.accuracies, train_s = value.get("accuracies", {}), value.get("train_s", 0.0)
        self.statistics.seconds["train"] += train_s
        self.statistics.seconds["gates"] += candidate.outcome.seconds - train_s

    def _take_compiled(self, candidate: _Candidate) -> None:
        outcome = candidate.outcome
        candidate.compile_s = outcome.seconds
        self.statistics.seconds["compile"] += outcome.seconds
        if outcome.status is Status.TIMED_OUT:
            message = f"compiling it ran past the compile limit of {self.config.compile_limit_s:g} s"
            candidate.outcome = replace(outcome, status=Status.COMPILE_TIMED_OUT, message=message)

    def _count(self, candidate: _Candidate) -> None:
        """Static cost, here in the parent: arithmetic on the graph, no kernel runs."""
        start = time.perf_counter()
        try:
            subject = load_subject(candidate.spec)
            candidate.figures = tuple(
                SiteFigures(place.site, **asdict(subject.at(place).cost(place.site))) for place in self.places
            )
        except CanvasError as error:
            candidate.outcome = Outcome(Status.BUILD_FAILED, str(error))
        for figures in candidate.figures:
            size = 4 * GATE_BATCH * figures.activation
            if size > self.config.memory_limit:
                message = (
                    f"at site {figures.site} its activations take {size} bytes, the limit is {self.config.memory_limit}"
                )
                candidate.outcome = Outcome(Status.TOO_LARGE, message)
        candidate.seconds = time.perf_counter() - start

    def _run(
        self, function: str, candidates: list[_Candidate], parallel: int | None, take: Callable[[_Candidate], None]
    ) -> None:
        def on_outcome(index: int, outcome: Outcome) -> None:
            candidate = candidates[index]
            candidate.outcome = outcome
            candidate.seconds += outcome.seconds
            take(candidate)

        work = [self._job(function, item.spec, self._limit(function, item)) for item in candidates]
        self._pool.run(work, parallel, on_outcome)

    def _limit(self, function: str, candidate: _Candidate) -> float:
        """Wall-clock seconds that a job of a candidate may take."""
        if function == jobs.COMPILE:
            return self.config.compile_limit_s
        return max(1.0, self._seconds_left(candidate))

    def _seconds_left(self, candidate: _Candidate) -> float:
        return self.config.time_limit_s - candidate.seconds + candidate.compile_s

    def _job(self, function: str, spec: dict[str, Any], limit_s: float) -> Job:
        config = self.config
        payload = {
            "subject": spec,
            "places": [place.to_json() for place in self.places],
            "latency": config.latency.to_json(),
            "proxy": None if config.proxy is None else config.proxy.to_json(),
            "seed": config.seed,
        }
        return Job(function, payload, limit_s)

    def _conclude(self, candidate: _Candidate, on_result: Callback | None) -> Measurement:
        measurement = Measurement(
            kernel=candidate.name,
            status=candidate.outcome.status,
            message=candidate.outcome.message,
            sites=candidate.figures,
            speedup=geometric_speedup(candidate.figures),
            environment=candidate.environment or describe_environment(self.config.latency),
            seed=self.config.seed,
            wall_time_s=candidate.seconds,
            **candidate.accuracies,
        )
        if candidate.name != REFERENCE:
            self._keep(measurement, candidate.graph)
            self._finish(measurement, on_result)
        return measurement

    def _keep(self, measurement: Measurement, graph: dict[str, Any]) -> None:
        """Store what was measured; a prediction is none, and other searches may want the kernel measured."""
        if measurement.status is Status.SKIPPED:
            self.statistics.skipped += 1
            return
        self.statistics.evaluated += 1
        if self._store:
            self._store.put(measurement, graph, self.fingerprint, self.device)

    def _finish(self, measurement: Measurement, on_result: Callback | None) -> None:
        self._seen[measurement.kernel] = measurement
        self.statistics.by_status[measurement.status] += 1
        if on_result:
            on_result(measurement)


def _worker_settings(config: EvaluationConfig) -> WorkerSettings:
    latency = config.latency
    # torch.optim imports torch._dynamo, which takes seconds.
    compiler = ("torch._dynamo",) if config.proxy is not None or latency.mode == "compile" else ()
    on_cuda = latency.device == "cuda"
    return WorkerSettings(
        latency.threads, config.memory_limit, not on_cuda, config.device_memory_limit if on_cuda else None, compiler
    )


def _alive(candidates: list[_Candidate]) -> list[_Candidate]:
    return [item for item in candidates if item.outcome.status is Status.OK]


def _timings(candidate: _Candidate) -> dict[Place, PairTiming]:
    """At every different place, of all visits so far together."""
    by_place: defaultdict[Place, list[PairTiming]] = defaultdict(list)
    for visit in candidate.visits:
        for timing in visit["timings"]:
            by_place[Place.from_json(timing["place"])].append(PairTiming(**timing["timing"]))
    return {place: fastest_of_visits(found) for place, found in by_place.items()}


def _take_timings(candidate: _Candidate, places: Sequence[Place]) -> None:
    if candidate.outcome.status is not Status.OK:
        return
    timings = _timings(candidate)
    candidate.figures = tuple(
        replace(figures, latency_s=timings[place].latency_s, reference_latency_s=timings[place].reference_latency_s)
        for figures, place in zip(candidate.figures, places, strict=True)
    )
    notes = sorted({timing.note for timing in timings.values() if timing.note})
    noise = max(timing.noise for timing in timings.values())
    candidate.environment = (
        candidate.visits[0]["environment"] | {"noise": f"{noise:.4f}"} | ({"notes": "; ".join(notes)} if notes else {})
    )


def _chunks(items: list[_Candidate], size: int) -> Iterator[list[_Candidate]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
