"""A search that writes no run folder: what the experiments on agents share."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from canvas_rl.evaluation.measurement import Evaluator, Measurement
from canvas_rl.registration import load_agent
from canvas_rl.rewards import Reward
from canvas_rl.session import SearchOver
from canvas_rl.space import SearchSpace
from canvas_rl.study.keeping import Nowhere
from canvas_rl.study.session import Parts, SearchSession
from canvas_rl.study.settings import agent_config
from canvas_rl.study.stopping import Stopper


class Timed:
    """An evaluator that remembers every measurement and how long all of them took.

    Args:
        evaluator: what measures.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self.fingerprint = evaluator.fingerprint
        self.reference = evaluator.reference
        self.measurements: list[Measurement] = []
        self.seconds = 0.0

    def evaluate(
        self, graphs: Sequence[Any], on_result: Callable[[Measurement], None] | None = None
    ) -> list[Measurement]:
        """Measurements in the order of `graphs`."""
        started = time.perf_counter()
        found = self._evaluator.evaluate(graphs)
        self.seconds += time.perf_counter() - started
        self.measurements += found
        if on_result is not None:
            for measurement in found:
                on_result(measurement)
        return found

    def close(self) -> None:
        """Nothing was started."""


def search(
    agent: str,
    options: tuple[str, ...],
    space: SearchSpace,
    evaluator: Timed,
    reward: Reward,
    evaluations: int,
    seed: int,
    stopper: Stopper | None = None,
) -> tuple[SearchSession, float]:
    """Search to the end: the session, and the agent's own time in seconds, without that of the evaluator.

    Args:
        agent: a registered name.
        options: `name=value` of its options.
        space: where kernels come from.
        evaluator: judges them.
        reward: what the agent sees of that.
        evaluations: how many kernels it may ask for.
        seed: of the search.
        stopper: may end the search early.
    """
    agent_type, nowhere = load_agent(agent), Nowhere()
    parts = Parts(space, evaluator, reward, nowhere, nowhere, stopper or Stopper())
    session = SearchSession(parts, evaluations, seed)
    started = time.perf_counter()
    try:
        agent_type(agent_config(agent_type.config_type, options)).run(session)
    except SearchOver:
        pass
    return session, time.perf_counter() - started - evaluator.seconds
