"""Monte-Carlo tree search over program prefixes: UCT with progressive widening and RAVE."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agents.ask_tell import AskTellAgent
from agents.options import require_above, require_positive, require_share
from agents.program_tree import Node, ProgramTree, Ranks
from canvas_rl.errors import IllegalActionError
from canvas_rl.ir import KernelGraph
from canvas_rl.session import Judged, Session
from canvas_rl.space import State

_DRAWS = 16
_ROLLOUTS = 3
_DESCENTS = 12
_CACHED_STATES = 20_000


@dataclass(frozen=True)
class MCTSConfig:
    kernels_per_round: int = 16
    exploration: float = 0.3
    greed: float = 0.5
    widening: float = 1.5
    widening_exponent: float = 0.5
    rave: float = 50.0
    candidates: int = 4
    guided: float = 0.5
    ref: int = 20
    shrink: float = 3.0
    scale: str = "rank"
    lengths: float = 0.5

    def __post_init__(self) -> None:
        require_positive(self, "kernels_per_round", "candidates")


class MCTSAgent(AskTellAgent):
    config_type = MCTSConfig

    def begin(self, session: Session) -> None:
        widest, forced = self.space.widest(), self.space.options.force_bmm_possibility
        self._limits = [limits for limits, used in ((widest, forced < 1), (replace(widest, require_bmm=True), forced > 0)) if used]
        self._trees = [ProgramTree() for _ in self._limits]
        self._index = {name: index for index, name in enumerate(self.space.actions)}
        self._ranks = Ranks()
        self._log: list[tuple[str, float | None]] = []
        self._states: dict[Node, State] = {}
        self._pending: list[Node] = []
        self.stat = {"dup": 0, "fallback": 0, "exactfail": 0}

    def ask(self, rng: np.random.Generator) -> list[KernelGraph]:
        asked: list[KernelGraph] = []
        while len(asked) < self.config.kernels_per_round:
            asked.append(self._search(rng, asked))
        for node in self._pending:
            node.pending = 0
        self._pending.clear()
        return asked

    def _search(self, rng, asked):
        for _ in range(_DESCENTS):
            which = int(rng.random() < self.space.options.force_bmm_possibility) if len(self._trees) > 1 else 0
            tree = self._trees[which]
            if tree.root.exhausted:
                continue
            leaf = self._descend(tree, self._limits[which], rng)
            if leaf is None:
                continue
            path, state, grave = leaf
            for node in path:
                node.pending += 1
            self._pending += path
            for _ in range(1 if state.done else _ROLLOUTS):
                end = self._rollout(state, grave, rng)
                graph = self.space.kernel(end)
                new = self.is_new(graph, asked)
                full = tree.insert(end.actions)
                tree.close(full)
                if new:
                    for node in full[len(path):]:
                        node.pending += 1
                    self._pending += full[len(path):]
                    return graph
                self.stat["dup"] += 1
                self._log.append((" ".join(graph.program), None))
        self.stat["fallback"] += 1
        return self.sample(rng, asked)

    def _descend(self, tree, limits, rng):
        path, program = [tree.root], []
        state = self.space.start(limits)
        grave = tree.root
        while not path[-1].exhausted:
            node = path[-1]
            if node.count >= self.config.ref:
                grave = node
            n = node.count + node.pending
            if not node.complete and (not node.live or node.live < math.ceil(self.config.widening * max(n, 1) ** self.config.widening_exponent)):
                action = self._new_action(node, state, grave, rng)
                if action is not None:
                    state = self.space.step(state, action)
                    return tree.insert((*program, action)), state, grave
                self._close(tree, path, program)
                continue
            action, child = self._best_child(node, grave)
            after = self._state(child, state, action)
            path.append(child); program.append(action)
            if after is None:
                self._close(tree, path, program)
                path.pop(); program.pop()
                continue
            state = after
        return None

    def _close(self, tree, path, program):
        tree.close(path)
        self._log.append((" ".join(self.space.actions[a] for a in program), None))

    def _state(self, child, parent, action):
        if child not in self._states:
            try:
                if len(self._states) >= _CACHED_STATES:
                    self._states.clear()
                self._states[child] = self.space.step(parent, action)
            except IllegalActionError:
                return None
        return self._states[child]

    def _guess(self, grave, action):
        t = grave.later.get(action)
        prior = grave.value(0.0) if grave.count else 0.0
        if t is None:
            return prior
        return (t.total + self.config.shrink * prior) / (t.count + self.config.shrink) 

    def _new_action(self, node, state, grave, rng):
        new = []
        for _ in range(_DRAWS):
            action = self.space.random_action(state, rng)
            if action not in node.children:
                new.append(action)
                if len(new) >= self.config.candidates: break
        if not new:
            legal = [int(a) for a in np.flatnonzero(self.space.mask(state)) if int(a) not in node.children]
            if not legal:
                return None
            new = [legal[i] for i in rng.permutation(len(legal))[:self.config.candidates]]
        return max(new, key=lambda a: self._guess(grave, a))

    def _best_child(self, node, grave):
        c = self.config
        log = math.log(node.count + node.pending + 1)
        best = None
        for action, child in node.children.items():
            if child.exhausted: continue
            n = child.count + child.pending
            q = self._scale(child.value(c.greed)) * child.count / n if child.count else 0.0
            t = grave.later.get(action)
            if t is not None and c.rave:
                beta = math.sqrt(c.rave / (3 * n + c.rave))
                q = (1 - beta) * q + beta * self._scale(t.value(c.greed))
            score = q + c.exploration * math.sqrt(log / max(n, 1))
            if best is None or score > best[0]:
                best = score, action, child
        return best[1], best[2]

    def _scale(self, v):
        s = self._ranks._sorted
        if self.config.scale == "rank" or len(s) < 2:
            return self._ranks.scale(v)
        if self.config.scale == "tail":
            return -math.log(1 - self._ranks.scale(v) + 1 / len(s)) / math.log(len(s))
        lo, hi = (s[0] if self.config.scale == "minmax" else s[len(s) // 2]), s[-1]
        return max(0.0, (v - lo) / (hi - lo)) if hi > lo else 0.5

    def _rollout(self, state, grave, rng):
        if state.done: return state
        c = self.config
        if rng.random() < c.lengths:
            lim = state.limits
            lens = [n for n in self.space.lengths(lim.width, lim.require_bmm) if n > state.primitives]
            if lens:
                n = lens[int(rng.integers(len(lens)))]
                try:
                    state = self.space.replay(state.program, replace(lim, min_primitives=n, max_primitives=n))
                except IllegalActionError:
                    self.stat["exactfail"] += 1
        if rng.random() >= c.guided:
            return self.space.play(rng, state=state)
        while not state.done:
            cand = [self.space.random_action(state, rng) for _ in range(c.candidates)]
            state = self.space.step(state, max(cand, key=lambda a: self._guess(grave, a)))
        return state

    def tell(self, judged: Sequence[Judged]) -> None:
        for graph, outcome in judged:
            self._take(" ".join(graph.program), None if outcome.repeated else outcome.reward)

    def _take(self, program: str, reward: float | None) -> None:
        self._log.append((program, reward))
        self._replay(program, reward)

    def _replay(self, program, reward):
        actions = [self._index[n] for n in program.split()]
        for tree in self._trees:
            tree.close(tree.insert(actions))
            if reward is not None:
                tree.learn(actions, reward)
        if reward is not None: self._ranks.add(reward)

    def state(self) -> dict[str, Any]:
        return {"log": list(self._log)}

    def restore(self, state: dict[str, Any]) -> None:
        for program, reward in state["log"]:
            self._take(program, reward)
