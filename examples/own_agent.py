"""An agent of your own: it climbs a hill, changing the best kernel so far.

    python examples/own_agent.py

`AGENTS` in `canvas_rl/registration.py` is where a line registers one for `python -m canvas_rl.train --agent NAME`. Here
it plays a search in memory, on the analytic estimate, which takes a moment.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.ask_tell import AskTellAgent
from agents.programs import Genetics
from agents.random_search import RandomAgent, RandomConfig
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.ir import KernelGraph
from canvas_rl.rewards import make_reward
from canvas_rl.session import Agent, Judged, SearchOver, Session
from canvas_rl.space import SearchSpace
from canvas_rl.study.keeping import Nowhere
from canvas_rl.study.session import Parts, SearchSession
from canvas_rl.study.settings import default_space
from canvas_rl.study.stopping import Stopper
from canvas_rl.symbolic.site import Site


@dataclass(frozen=True)
class ClimberConfig:
    """Options of the agent."""

    batch: int = 8
    """kernels proposed at a time"""


class Climber(AskTellAgent):
    """Proposes changes of the best kernel so far."""

    config_type = ClimberConfig

    def begin(self, session: Session) -> None:
        """Know the language of programs, and no kernel yet."""
        self.genetics = Genetics(session.space)
        self.best: tuple[float, list[str]] | None = None

    def ask(self, rng: np.random.Generator) -> list[KernelGraph]:
        """A batch of changed kernels; all that is random comes from the generator given."""
        if self.best is None:
            return [self.sample(rng, ())]
        genome = self.genetics.genome(self.best[1])
        children = [self.genetics.mutate(genome, rng) for _ in range(self.config.batch)]
        return [self.space.kernel(self.genetics.grow(child, rng)) for child in children]

    def tell(self, judged: Sequence[Judged]) -> None:
        """Keep what earned more than the best so far."""
        for graph, outcome in judged:
            if self.best is None or outcome.reward > self.best[0]:
                self.best = (outcome.reward, list(graph.program))

    def state(self) -> dict[str, Any]:
        """What a resumed search goes on from."""
        return {"best": self.best}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from it."""
        self.best = None if state["best"] is None else (state["best"][0], state["best"][1])


def search(agent: Agent, evaluations: int, seed: int) -> float:
    """The best reward that an agent finds with so many evaluations."""
    space = SearchSpace((Site(64, 56, 56), Site(128, 28, 28)), default_space())
    nowhere = Nowhere()
    parts = Parts(space, AnalyticEvaluator(space.sites), make_reward(), nowhere, nowhere, Stopper())
    session = SearchSession(parts, evaluations, seed)
    try:
        agent.run(session)
    except SearchOver:
        pass
    assert session.archive.best is not None, "every kernel has an estimate"
    return session.archive.best.reward


def main() -> None:
    """The agent beside random search."""
    parser = argparse.ArgumentParser(description="Search with an agent of one's own.")
    parser.add_argument("--quick", action="store_true", help="fewer evaluations")
    evaluations = 60 if parser.parse_args().quick else 300
    for seed in range(1 if evaluations == 60 else 3):
        climbed = search(Climber(ClimberConfig()), evaluations, seed)
        drawn = search(RandomAgent(RandomConfig()), evaluations, seed)
        print(f"seed {seed}, {evaluations} evaluations: climber {climbed:.3f}, random {drawn:.3f}")


if __name__ == "__main__":
    main()
