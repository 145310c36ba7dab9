"""Monte-Carlo tree search over program prefixes: UCT with progressive widening and RAVE."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agents.ask_tell import AskTellAgent
from agents.options import require_above, require_positive, require_share
from agents.program_tree import Node, ProgramTree, Scale
from canvas_rl.errors import ConfigError, IllegalActionError
from canvas_rl.ir import KernelGraph
from canvas_rl.session import Judged, Session
from canvas_rl.space import State

_DESCENTS = 12
"""ways down the tree that are tried for one kernel, before a random one is taken"""
_ROLLOUTS = 3
"""programs that are tried from one leaf"""
_DRAWS = 16
"""draws in search of new actions, before the whole mask is computed"""
_CACHED_STATES = 20_000
"""states that are kept with their nodes; others are computed again"""


@dataclass(frozen=True)
class MCTSConfig:
    """Options of the tree search. Values are compared by their rank among all rewards, from 0 to 1."""

    kernels_per_round: int = 16
    """kernels chosen between two evaluations, told apart by a virtual loss"""
    exploration: float = 0.3
    """weight of UCT's exploration term"""
    greed: float = 1.0
    """share of the best reward below a node in its value; the rest is the mean's"""
    widening: float = 1.5
    """a node of n kernels has at most widening * n**widening_exponent children that are not exhausted"""
    widening_exponent: float = 0.5
    """see widening"""
    rave_kernels: float = 50.0
    """kernels after which a node's own value counts as much as RAVE's estimate; 0: no RAVE in the choice of a child"""
    rave_least: int = 20
    """kernels that a node needs for its RAVE estimates to be used; others use their nearest ancestor's"""
    guided: float = 0.8
    """share of the rollouts in which RAVE chooses between drawn actions; the others are random"""
    candidates: int = 8
    """actions drawn for RAVE to choose from"""
    even_lengths: float = 0.25
    """share of the rollouts whose length is drawn evenly; the others end where they happen to"""

    def __post_init__(self) -> None:
        require_positive(self, "kernels_per_round", "candidates", "rave_least", "widening")
        require_share(self, "greed", "guided", "even_lengths")
        require_above(self, 0, "widening_exponent")
        for name in ("exploration", "rave_kernels"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected a number of at least 0")


@dataclass(frozen=True)
class _Place:
    """Where a simulation stands: a node with all those above it, and the program up to it."""

    path: tuple[Node, ...]
    state: State
    informed: Node
    """The nearest node that has seen enough kernels for RAVE."""

    @property
    def node(self) -> Node:
        return self.path[-1]


class MCTSAgent(AskTellAgent):
    """Searches the tree of program prefixes.

    A simulation goes down from the empty program. At a node of n kernels with fewer than `widening *
    n**widening_exponent` children it adds a child (progressive widening: Couëtoux et al. 2011) and finishes the
    program from there; elsewhere it goes on to the child with the highest

        (1 - b) Q + b Q_rave + exploration * sqrt(ln(N + 1) / n),   b = sqrt(k / (3 n + k))

    where N and n are the kernels below the node and the child (UCT: Kocsis & Szepesvári 2006), k is `rave_kernels`
    and Q_rave is the value of all kernels that take the child's action here or later (RAVE with its hand-selected
    schedule: Gelly & Silver 2011). It is looked up in the nearest node with at least `rave_least` kernels (GRAVE:
    Cazenave 2015). A value is the mean reward mixed with the best one, since a search wants the best kernel and not
    a good average (by default the best alone), and counts by its rank among all rewards.

    New children and the rest of a program are drawn family first by the core; RAVE chooses between some draws. A
    kernel whose reward is not known yet counts as one that earned nothing (virtual loss), so that a round spreads. A
    program is in the tree with all its prefixes, so that alternatives to every step of a good one are tried. Finished
    programs and prefixes without another kernel are exhausted and never chosen again.

    Programs are built within `space.widest()`. A BMM is required if `force_bmm_possibility` is 1; below that it is
    merely possible, for a tree can't hold prefixes of two sets of legal actions.

    What is saved is the log of finished programs and closed prefixes in order; the tree follows from it.
    """

    config_type = MCTSConfig

    def begin(self, session: Session) -> None:
        """An empty tree."""
        self._limits = self.space.widest()
        self._index = {name: index for index, name in enumerate(self.space.actions)}
        self._tree, self._scale = ProgramTree(), Scale()
        self._programs: list[str] = []
        self._rewards: list[float | None] = []
        self._waiting: dict[str, int] = {}
        self._states: dict[Node, State] = {}
        self._pending: list[Node] = []

    def ask(self, rng: np.random.Generator) -> list[KernelGraph]:
        """Simulate until the round has its kernels."""
        asked = self.fill(rng, self.config.kernels_per_round)
        for node in self._pending:
            node.pending = 0
        self._pending.clear()
        return asked

    def tell(self, judged: Sequence[Judged]) -> None:
        """Back up the rewards; a repeat's says nothing of the kernel."""
        for graph, outcome in judged:
            program = " ".join(graph.program)
            entry = self._waiting.pop(program, None)
            if entry is None:
                entry = self._note(program)
            if not outcome.repeated:
                self._back_up(entry, outcome.reward)
        self._waiting.clear()

    def state(self) -> dict[str, Any]:
        """The log: programs, a blank between actions, and what they earned (None: a repeat or a closed prefix)."""
        return {"programs": list(self._programs), "rewards": list(self._rewards)}

    def restore(self, state: dict[str, Any]) -> None:
        """Grow the tree again from the log."""
        for program, reward in zip(state["programs"], state["rewards"], strict=True):
            if not isinstance(program, str):
                raise TypeError(f"{program!r} is no program")
            entry = self._note(program)
            if reward is not None:
                self._back_up(entry, float(reward))

    def _note(self, program: str) -> int:
        """Close a program in the tree; its place in the log."""
        self._tree.close(self._tree.insert(self._actions(program)))
        self._programs.append(program)
        self._rewards.append(None)
        return len(self._programs) - 1

    def _back_up(self, entry: int, reward: float) -> None:
        self._rewards[entry] = reward
        self._tree.learn(self._actions(self._programs[entry]), reward)
        self._scale.add(reward)

    def _text(self, actions: Sequence[int]) -> str:
        return " ".join(self.space.actions[action] for action in actions)

    def _actions(self, program: str) -> list[int]:
        return [self._index[name] for name in program.split()]

    def propose(self, rng: np.random.Generator, asked: Sequence[KernelGraph]) -> KernelGraph:
        """A kernel to evaluate: a new one, if tree or chance find one."""
        for _ in range(_DESCENTS):
            leaf = self._descend(rng)
            if leaf is None:
                continue
            self._hold(leaf.path)
            for _ in range(1 if leaf.state.done else _ROLLOUTS):
                graph = self.space.kernel(self._finish(leaf, rng))
                if self.is_new(graph, asked):
                    return self._await(graph, len(leaf.path))
                self._note(" ".join(graph.program))
        return self._await(self.sample(rng, asked), 0)

    def _await(self, graph: KernelGraph, held: int) -> KernelGraph:
        program = " ".join(graph.program)
        self._waiting[program] = self._note(program)
        self._hold(self._tree.insert(self._actions(program))[held:])
        return graph

    def _hold(self, nodes: Sequence[Node]) -> None:
        """Put the virtual loss of one simulation on nodes."""
        for node in nodes:
            node.pending += 1
        self._pending += nodes

    def _descend(self, rng: np.random.Generator) -> _Place | None:
        """Down to a new leaf; None where all turned out to be exhausted."""
        place = _Place((self._tree.root,), self.space.start(self._limits), self._tree.root)
        while not place.node.exhausted:
            if self._may_widen(place.node):
                action = self._new_action(place, rng)
                if action is not None:
                    leaf = self._tree.insert((*place.state.actions, action))
                    return _Place(tuple(leaf), self.space.step(place.state, action), place.informed)
                self._note(" ".join(place.state.program))
            else:
                place = self._enter(place, self._best_action(place))
        return None

    def _may_widen(self, node: Node) -> bool:
        most = self.config.widening * node.weight**self.config.widening_exponent
        return not node.complete and node.live < max(most, 1)

    def _new_action(self, place: _Place, rng: np.random.Generator) -> int | None:
        """A legal action that is no child yet, the most promising of some; None if there is none."""
        found: list[int] = []
        for _ in range(_DRAWS):
            action = self.space.random_action(place.state, rng)
            if action not in place.node.children:
                found.append(action)
            if len(found) == self.config.candidates:
                break
        if not found:
            legal = np.flatnonzero(self.space.mask(place.state)).tolist()
            left = [action for action in legal if action not in place.node.children]
            found = rng.permutation(left)[: self.config.candidates].tolist()
        return max(found, key=place.informed.guess, default=None)

    def _best_action(self, place: _Place) -> int:
        live = [(action, child) for action, child in place.node.children.items() if not child.exhausted]
        spread = self.config.exploration**2 * math.log(place.node.weight + 1)
        return max(
            live, key=lambda item: self._score(item[0], item[1], place.informed) + math.sqrt(spread / item[1].weight)
        )[0]

    def _score(self, action: int, child: Node, informed: Node) -> float:
        """What a child's kernels and its action's are worth."""
        own = self._scale(child.value(self.config.greed)) * child.count / child.weight
        later, steps = informed.later.get(action), self.config.rave_kernels
        if later is None or not steps:
            return own
        share = math.sqrt(steps / (3 * child.weight + steps))
        return (1 - share) * own + share * self._scale(later.value(self.config.greed))

    def _enter(self, place: _Place, action: int) -> _Place:
        """The place one action further.

        The action may be illegal within the tree's limits if its program was not found in the tree. Then all below the
        child is closed, and the place is the same.
        """
        child = place.node.children[action]
        path = (*place.path, child)
        if child not in self._states:
            if len(self._states) >= _CACHED_STATES:
                self._states.clear()
            try:
                self._states[child] = self.space.step(place.state, action)
            except IllegalActionError:
                for rest in child.open_programs():
                    self._note(self._text((*place.state.actions, action, *rest)))
                return place
        return _Place(path, self._states[child], child if child.count >= self.config.rave_least else place.informed)

    def _finish(self, leaf: _Place, rng: np.random.Generator) -> State:
        """A finished program that begins with the leaf's."""
        state = leaf.state
        if rng.random() < self.config.even_lengths:
            state = self._of_drawn_length(state, rng)
        if rng.random() >= self.config.guided and not state.done:
            return self.space.play(rng, state=state)
        while not state.done:
            drawn = [self.space.random_action(state, rng) for _ in range(self.config.candidates)]
            state = self.space.step(state, max(drawn, key=leaf.informed.guess))
        return state

    def _of_drawn_length(self, state: State, rng: np.random.Generator) -> State:
        """The same program, to end after a number of primitives drawn evenly; as it was, if that can't be."""
        known = self.space.lengths(self._limits.width, self._limits.require_bmm)
        lengths = [length for length in known if length > state.primitives]
        if state.done or not lengths:
            return state
        length = lengths[int(rng.integers(len(lengths)))]
        try:
            return self.space.replay(state.program, replace(self._limits, min_primitives=length, max_primitives=length))
        except IllegalActionError:
            return state
