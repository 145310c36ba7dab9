"""A genetic algorithm on DEAP: crossover and mutation of programs, NSGA-II over speed and quality or a single reward.

NSGA-II is that of Deb et al. 2002, as DEAP has it. Of DEAP only what draws no random numbers is used: its variation
operators and tournaments take them from Python's global generator.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from deap import base, tools

from agents.breeding import BreedingAgent
from agents.options import require_not_negative, require_positive, require_share
from canvas_rl.errors import ConfigError
from canvas_rl.ir import KernelGraph
from canvas_rl.session import Judged, Outcome, Session
from canvas_rl.space import State

_SLOWEST = 1e-3  # a failed kernel counts as this fast
_BEST = 0.5  # of the neighbours, the share whose parent is the best


@dataclass(frozen=True)
class GeneticConfig:
    """Options of the genetic algorithm."""

    objectives: str = "reward"
    """reward: selection by the search's reward; pareto: NSGA-II over speed and quality"""
    population: int = 64
    """parents that survive a generation"""
    kernels_per_generation: int = 16
    """children judged together"""
    crossover: float = 0.2
    """share of children with two parents"""
    climbing: float = 0.6
    """share of children that differ from a parent in one gene or branch; the parent is the population's best half of
    the time, else (with objectives=pareto always) drawn as for the others, which are mutants"""
    edits: float = 1.5
    """edits of a mutated child, on average"""
    tournament: int = 4
    """kernels drawn from the population, the best of which is a parent"""
    patience: int = 200
    """children without a better reward after which all differ in one gene or branch from the best; once no new one of
    these is found, a new population is begun, which kernels of the old ones join for nothing when they are bred again
    (0: never). Not with objectives=pareto"""

    def __post_init__(self) -> None:
        require_positive(self, "population", "kernels_per_generation", "tournament", "edits")
        require_not_negative(self, "patience")
        require_share(self, "crossover", "climbing")
        if self.crossover + self.climbing > 1:
            raise ConfigError(
                f"crossover is {self.crossover} and climbing {self.climbing}: expected shares that add up to at most 1"
            )
        if self.objectives not in ("reward", "pareto"):
            raise ConfigError(f"objectives is {self.objectives!r}: expected 'reward' or 'pareto'")


class _ByReward(base.Fitness):  # type: ignore[misc]  # DEAP has no types
    weights = (1.0,)


class _BySpeedAndQuality(base.Fitness):  # type: ignore[misc]
    weights = (1.0, 1.0)


class Individual:
    """A program with DEAP's fitness.

    Args:
        program: names of actions.
        values: the reward, or log speedup and quality.
        crowding: distance to its neighbours on its front; None at the front's ends.
    """

    def __init__(self, program: Sequence[str], values: Sequence[float], crowding: float | None = 0.0) -> None:
        kind = _ByReward if len(values) == 1 else _BySpeedAndQuality
        self.program = tuple(program)
        self.fitness = kind(tuple(values))
        self.fitness.crowding_dist = math.inf if crowding is None else crowding

    @property
    def crowding(self) -> float:
        """Crowding distance (Deb et al. 2002), set by the selection."""
        return float(self.fitness.crowding_dist)

    def to_json(self) -> list[Any]:
        """The constructor's arguments."""
        return [list(self.program), list(self.fitness.values), None if math.isinf(self.crowding) else self.crowding]


class GeneticAgent(BreedingAgent):
    """(mu + lambda): children compete with their parents; equal kernels never meet, as each is asked for once."""

    config_type = GeneticConfig

    def begin(self, session: Session) -> None:
        """An empty population."""
        super().begin(session)
        self._population: list[Individual] = []
        self._stale = 0  # children since the population's best reward
        self._earned: dict[str, tuple[float, ...]] = {}
        self._aside: set[str] = set()  # kernels earned before the population was begun that have not joined it
        self._toolbox = base.Toolbox()
        self._toolbox.register("mate", self._genetics.cross)
        self._toolbox.register("mutate", self._genetics.mutate, edits=self.config.edits, branches=True)
        pareto = self.config.objectives == "pareto"
        self._toolbox.register("select", tools.selNSGA2 if pareto else tools.selBest)

    def ask(self, rng: np.random.Generator) -> list[KernelGraph]:
        """Random kernels until the population is full, then children."""
        return self.fill(rng, self.config.kernels_per_generation)

    def tell(self, judged: Sequence[Judged]) -> None:
        """Children join the population; the best survive."""
        new = [(graph, self._values(outcome)) for graph, outcome in judged if not outcome.repeated]
        if self._patience:
            self._earned |= {graph.hash: values for graph, values in new}
        self._join([Individual(graph.program, values) for graph, values in new])

    def _join(self, new: list[Individual]) -> None:
        self._stale = self._stale + len(new) if self.full and not self._improves(new) else 0
        size = min(self.config.population, len(self._population) + len(new))
        self._population = list(self._toolbox.select(self._population + new, size))

    def _improves(self, children: Sequence[Individual]) -> bool:
        """Whether one of them is better than the population's best."""
        best = self._best().fitness.values
        return any(child.fitness.values > best for child in children)

    @property
    def _patience(self) -> int:
        return self.config.patience if self.config.objectives == "reward" else 0

    @property
    def _stuck(self) -> bool:
        return bool(0 < self._patience <= self._stale)

    def exhausted(self) -> None:
        """No new neighbour of the best is found: begin anew."""
        if self._stuck:
            self._population, self._stale, self._aside = [], 0, set(self._earned)

    def recall(self, graph: KernelGraph) -> bool:
        """A kernel from before the population was begun joins it, with what it earned then."""
        if graph.hash not in self._aside:
            return False
        self._aside.remove(graph.hash)
        self._join([Individual(graph.program, self._earned[graph.hash])])
        return True

    def _best(self) -> Individual:
        return max(self._population, key=lambda one: one.fitness.values)

    def state(self) -> dict[str, Any]:
        """The population, in order, and what may join it; how crowded a kernel is depends on others, not all alive."""
        return {
            "population": [one.to_json() for one in self._population],
            "stale": self._stale,
            "earned": {name: list(values) for name, values in self._earned.items()},
            "aside": sorted(self._aside),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the population and what may join it."""
        self._population = [Individual(*saved) for saved in state["population"]]
        self._earned = {str(name): tuple(map(float, values)) for name, values in state["earned"].items()}
        self._aside = set(state["aside"])
        self._stale = int(state["stale"])

    def _values(self, outcome: Outcome) -> tuple[float, ...]:
        if self.config.objectives == "reward":
            return (outcome.reward,)
        measured = outcome.measurement
        if measured is None or not measured.ok or measured.speedup is None or measured.quality is None:
            return (math.log(_SLOWEST), 0.0)
        return (math.log(max(measured.speedup, _SLOWEST)), measured.quality)

    @property
    def full(self) -> bool:
        """Whether the population is complete."""
        return bool(len(self._population) == self.config.population)

    def breed(self, rng: np.random.Generator) -> State | None:
        """A child of two parents, a neighbour of one, or a mutant."""
        if self._stuck:
            return self._neighbour(self._best(), rng)
        parent, drawn = self._parent(rng), rng.random()
        if drawn < self.config.crossover:
            return self._genetics.grow(self._toolbox.mate(parent.program, self._parent(rng).program, rng), rng)
        if drawn < self.config.crossover + self.config.climbing:
            best = self.config.objectives == "reward" and rng.random() < _BEST
            return self._neighbour(self._best() if best else parent, rng)
        return self._genetics.grow(self._toolbox.mutate(self._genetics.genome(parent.program), rng), rng)

    def _neighbour(self, parent: Individual, rng: np.random.Generator) -> State | None:
        genetics = self._genetics
        return genetics.grow_whole(genetics.neighbour(genetics.genome(parent.program), rng), rng)

    def _parent(self, rng: np.random.Generator) -> Individual:
        """The best of a few: by reward, or by front and then crowding distance."""
        first, *others = rng.integers(len(self._population), size=self.config.tournament).tolist()
        best: Individual = self._population[first]
        for index in others:
            if _better(self._population[index], best):
                best = self._population[index]
        return best


def _better(one: Individual, other: Individual) -> bool:
    if one.fitness.dominates(other.fitness) or other.fitness.dominates(one.fitness):
        return bool(one.fitness.dominates(other.fitness))
    return one.crowding > other.crowding
