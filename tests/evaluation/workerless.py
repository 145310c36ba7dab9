"""Workers that run nothing: the analytic evaluator answers for them, and what they were asked is remembered."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from canvas_rl.evaluation import jobs
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.evaluation.measurement import Status
from canvas_rl.evaluation.pool import Job, Outcome
from canvas_rl.evaluation.subject import Place
from canvas_rl.evaluation.timing import PairTiming
from canvas_rl.ir import KernelGraph


class WorkerlessPool:
    """A pool whose jobs take no time.

    Attributes:
        asked: function and limit of each job, and the hash of its kernel.
        fail_after: jobs until it raises KeyboardInterrupt; None for never.
    """

    def __init__(self, *_: object) -> None:
        self.asked: list[tuple[str, float, str]] = []
        self.fail_after: int | None = None

    def run(
        self,
        work: Sequence[Job],
        parallel: int | None = None,
        on_outcome: Callable[[int, Outcome], None] | None = None,
    ) -> list[Outcome]:
        outcomes = []
        for index, job in enumerate(work):
            if self.fail_after is not None and len(self.asked) >= self.fail_after:
                raise KeyboardInterrupt
            subject = job.payload["subject"]
            self.asked.append((job.function, job.limit_s, subject.get("graph", {}).get("hash", "reference")))
            outcomes.append(self.answer(job))
            if on_outcome:
                on_outcome(index, outcomes[-1])
        return outcomes

    def answer(self, job: Job) -> Outcome:
        if job.function == jobs.CHECK:
            return Outcome(Status.OK, value={"accuracies": {"quality": 0.5}, "train_s": 0.0})
        return Outcome(Status.OK, value=_timings(job.payload) if job.function == jobs.TIME else {})

    def close(self) -> None:
        pass


def _timings(payload: dict[str, Any]) -> dict[str, Any]:
    places = [Place.from_json(place) for place in payload["places"]]
    analytic = AnalyticEvaluator([place.site for place in places], [place.reference for place in places])
    graph = payload["subject"].get("graph")
    measured = analytic.evaluate([KernelGraph.from_json(graph)])[0] if graph else analytic.reference
    timings = [
        {
            "place": place.to_json(),
            "timing": asdict(PairTiming(figures.latency_s, figures.reference_latency_s, 1, noise=0.0)),
        }
        for place, figures in zip(places, measured.sites, strict=True)
    ]
    return {"timings": timings, "environment": {"device": "none"}}
