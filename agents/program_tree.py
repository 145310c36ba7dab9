"""A tree of program prefixes with what the kernels below each earned; what tree search chooses from."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence

_DOUBT = 3
"""kernels of mean reward that are added to those of an action"""


class Tally:
    """How often something was part of a kernel, and what those kernels earned.

    Attributes:
        count: number of kernels.
        total: sum of their rewards.
        best: the highest of them.
    """

    __slots__ = ("best", "count", "total")

    def __init__(self) -> None:
        self.count, self.total, self.best = 0, 0.0, 0.0

    def add(self, reward: float) -> None:
        """Count a kernel."""
        self.best = max(self.best, reward) if self.count else reward
        self.count += 1
        self.total += reward

    def value(self, greed: float) -> float:
        """The mean reward mixed with the best one, whose share is `greed`; 0 while there is no kernel."""
        return 0.0 if not self.count else (1 - greed) * self.total / self.count + greed * self.best


class Node(Tally):
    """A program prefix.

    Attributes:
        children: the nodes one action further, by action.
        later: for each action, the kernels below that take it at any later place ("all moves as first").
        pending: simulations of this round that went through the node and have no reward yet.
        live: how many children are not exhausted.
        complete: whether every legal action is among the children.
        exhausted: whether every kernel below was asked for.
    """

    __slots__ = ("children", "complete", "exhausted", "later", "live", "pending")

    def __init__(self) -> None:
        super().__init__()
        self.children: dict[int, Node] = {}
        self.later: dict[int, Tally] = {}
        self.pending = self.live = 0
        self.complete = self.exhausted = False

    @property
    def weight(self) -> int:
        """Kernels below it, those without a reward included; at least 1."""
        return max(self.count + self.pending, 1)

    def open_programs(self) -> list[tuple[int, ...]]:
        """The ways to the nodes from here on that are not exhausted, the deepest first."""
        below = [(action, *rest) for action, child in self.children.items() for rest in child.open_programs()]
        return below if self.exhausted else [*below, ()]

    def guess(self, action: int) -> float:
        """What kernels that take an action later may earn: their mean, drawn to that of all where they are few."""
        mean = self.value(0.0)
        later = self.later.get(action)
        return mean if later is None else (later.total + _DOUBT * mean) / (later.count + _DOUBT)


class Scale:
    """Maps rewards to their rank among those seen so far, from 0 to 1: neither range nor outliers matter."""

    def __init__(self) -> None:
        self._sorted: list[float] = []

    def add(self, reward: float) -> None:
        """Note a reward."""
        insort(self._sorted, reward)

    def __call__(self, value: float) -> float:
        """The share of rewards below a value, equal ones counted half; 1/2 while there is none."""
        if not self._sorted:
            return 0.5
        return (bisect_left(self._sorted, value) + bisect_right(self._sorted, value)) / (2 * len(self._sorted))


class ProgramTree:
    """The prefixes of all programs that were asked for.

    Args:
        later_from: a node keeps account of later actions from so many kernels on; most nodes never have more than one.
    """

    def __init__(self, later_from: int = 2) -> None:
        self.root = Node()
        self._later_from = later_from

    def insert(self, program: Iterable[int]) -> list[Node]:
        """The nodes of a program, from the root on; those that are missing are made."""
        path = [self.root]
        for action in program:
            node = path[-1]
            if action not in node.children:
                node.children[action] = Node()
                node.live += 1
            path.append(node.children[action])
        return path

    def close(self, path: Sequence[Node]) -> None:
        """Note that the last node of a path has no more children than it has by now: for ever, if it is a kernel."""
        path[-1].complete = True
        for depth in range(len(path) - 1, -1, -1):
            node = path[depth]
            if node.exhausted or not node.complete or node.live:
                break
            node.exhausted = True
            if depth:
                path[depth - 1].live -= 1

    def learn(self, program: Sequence[int], reward: float) -> None:
        """Add a kernel's reward to the nodes of its program, and to the later actions of each."""
        for depth, node in enumerate(self.insert(program)):
            node.add(reward)
            if node.count >= self._later_from:
                for action in set(program[depth:]):
                    node.later.setdefault(action, Tally()).add(reward)
