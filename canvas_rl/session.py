"""What an agent and a search know of each other: outcomes, snapshots and the session between them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from canvas_rl.errors import FormatError

if TYPE_CHECKING:
    from canvas_rl.evaluation.measurement import Evaluator, Measurement
    from canvas_rl.ir import KernelGraph
    from canvas_rl.rewards import Reward
    from canvas_rl.space import SearchSpace


@dataclass(frozen=True)
class Outcome:
    """What a kernel earned.

    Args:
        reward: the number an agent learns from.
        measurement: what was measured; None for a kernel that this run has asked for before.
        repeated: whether the run had asked for the kernel before. Repeats earn the lowest reward and don't count.
    """

    reward: float
    measurement: "Measurement | None" = None
    repeated: bool = False


class Judged(NamedTuple):
    """A kernel and what it earned."""

    graph: "KernelGraph"
    outcome: Outcome


Judge = Callable[[Sequence["KernelGraph"]], Sequence[Outcome]]
"""Turns finished kernels into outcomes, in order."""


def plain_judge(evaluator: "Evaluator", reward: "Reward") -> Judge:
    """A judge that counts nothing and forgets everything: evaluator, then reward."""

    def judge(graphs: Sequence["KernelGraph"]) -> list[Outcome]:
        measurements = evaluator.evaluate(graphs)
        return [Outcome(reward(measurement, evaluator.reference), measurement) for measurement in measurements]

    return judge


class SearchOver(Exception):
    """The session wants no more kernels: the evaluations or the time are used up, or somebody asked to stop."""


@dataclass(frozen=True)
class Snapshot:
    """An agent's state between two rounds, enough to go on exactly where it stopped.

    Args:
        state: JSON-ready values: counters and generator states.
        tensors: state dicts of tensors by name, each written to a file of its own.
        version: of the agent's way to save; it counts up whenever that changes. 0 for agents that don't count.
    """

    state: dict[str, Any]
    tensors: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0

    def check_version(self, version: int) -> None:
        """Refuse a snapshot that an older or newer version of the agent took.

        Raises:
            FormatError: it is of another version.
        """
        if self.version != version:
            raise FormatError(
                f"the checkpoint is of version {self.version} of the agent, this canvas_rl reads version {version}: "
                "resume with the canvas_rl that wrote it, or start a new run, with --storage for its measurements"
            )


class Session(Protocol):
    """What an agent may ask of the search that runs it."""

    @property
    def space(self) -> "SearchSpace":
        """The search space to build kernels in."""

    @property
    def seed(self) -> int:
        """Seed of the run; all randomness of an agent follows from it."""

    @property
    def restored(self) -> Snapshot | None:
        """The snapshot to go on from, None for a fresh run."""

    @property
    def warm_start(self) -> tuple[Judged, ...]:
        """Known operators, judged before the agent begins; it may learn from them.

        Empty where `restored` is not None: what the agent learned is in its snapshot.
        """

    def judge(self, graphs: Sequence["KernelGraph"]) -> list[Outcome]:
        """Evaluate kernels; repeats earn the lowest reward.

        Raises:
            SearchOver: when there is nothing left to do; the agent lets it pass.
        """

    def log(self, name: str, value: float) -> None:
        """Record a scalar at the present number of evaluations."""

    def checkpoint(self, snapshot: Snapshot) -> None:
        """Save the agent's state; called between two rounds."""


class Agent(Protocol):
    """A way to search. Its class names the frozen dataclass of its options as `config_type`.

    A class with a `version` gives it to its snapshots, and takes up none of another version.
    """

    config_type: type[Any]

    def __init__(self, config: Any) -> None: ...

    def run(self, session: Session) -> None:
        """Search until the session raises `SearchOver`."""
