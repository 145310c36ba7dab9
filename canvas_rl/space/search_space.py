"""The search space: states, legal actions, transitions, sampling."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from canvas_rl.config import SearchOptions
from canvas_rl.errors import EmptySpaceError, GraphError, IllegalActionError, InternalError
from canvas_rl.ir import KernelGraph, Node
from canvas_rl.primitives.io import output_for
from canvas_rl.registry import did_you_mean
from canvas_rl.space.actions import ActionSet
from canvas_rl.space.budget import Budget
from canvas_rl.space.feasible import check_options
from canvas_rl.space.fill import fill
from canvas_rl.space.filters import family_rules
from canvas_rl.space.finish import Finisher
from canvas_rl.space.legality import Legality
from canvas_rl.space.machine import Machine
from canvas_rl.space.state import Limits, State
from canvas_rl.symbolic.binding import Binding
from canvas_rl.symbolic.site import ReferenceConv, Site, check_sites
from canvas_rl.symbolic.size import Size


class SearchSpace:
    """All kernels that are legal at some sites under some options.

    Args:
        sites: the places where a kernel must be legal; all of one kind.
        options: what kernels may look like.
        references: the convolution replaced at each site (default: 3x3, dense); budgets are relative to it. None for a
            site where a kernel must be legal and no budget counts.

    Raises:
        PlaceholderError: no site, or sites with different numbers of spatial dims.
        EmptySpaceError: no kernel can meet the options; the message names those in conflict.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        options: SearchOptions | None = None,
        references: Sequence[ReferenceConv | None] | None = None,
    ) -> None:
        check_sites(tuple(sites))
        self.options = options or SearchOptions()
        self.references = tuple(references or [ReferenceConv()] * len(sites))
        rules = family_rules(self.options)
        binding = Binding(sites, self.options.ensure_spatial_invariance)
        self.sites = binding.sites
        budget = Budget(binding, sites, self.references, self.options)
        self._set = ActionSet(self.sites, self.options)
        self.machine = Machine(self._set, binding, budget, self.options, rules)
        self._finisher = Finisher(self.machine)
        self._latest: Legality | None = None
        self._lengths: dict[tuple[int, bool], tuple[int, ...]] = {}
        check_options(self)

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of the actions, by index."""
        return self._set.names

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the families of actions, Push and Output among them."""
        return self._set.families

    @property
    def family_of(self) -> NDArray[np.int64]:
        """For each action the index of its family."""
        return self._set.family_of

    @property
    def fingerprint(self) -> str:
        """Hex digest of the sites, references and options: equal where actions mean the same."""
        content = [
            [list(site.shape) for site in self.sites],
            [reference and [reference.kernel_size, reference.groups] for reference in self.references],
            self.options.to_json(),
            list(self.actions),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def widest(self) -> Limits:
        """The limits that allow all that the options allow, without a forced BMM."""
        lengths, widths = self.options.num_primitive_range, self.options.num_max_width_range
        return Limits(*lengths, widths[1])

    def draw_limits(self, rng: np.random.Generator, exact_length: bool = False) -> Limits:
        """Limits of one kernel: width and forced BMM drawn; with `exact_length` the length too.

        Lengths are uniform over the part of the asked range in which a kernel exists at that width.
        """
        low, high = self.options.num_max_width_range
        width = int(rng.integers(low, high + 1))
        require_bmm = bool(rng.random() < self.options.force_bmm_possibility)
        limits = Limits(*self.options.num_primitive_range, width, require_bmm)
        if not exact_length:
            return limits
        lengths = self.lengths(width, require_bmm)
        chosen = int(lengths[rng.integers(len(lengths))])
        return replace(limits, min_primitives=chosen, max_primitives=chosen)

    def lengths(self, width: int, require_bmm: bool) -> tuple[int, ...]:
        """The lengths of the asked range for which a kernel is known to exist.

        Raises:
            EmptySpaceError: there is none at this width.
        """
        low, high = self.options.num_primitive_range
        if (width, require_bmm) not in self._lengths:
            known = tuple(n for n in range(low, high + 1) if self.can_start(Limits(n, n, width, require_bmm)))
            self._lengths[width, require_bmm] = known
        known = self._lengths[width, require_bmm]
        if not known:
            raise EmptySpaceError(f"no kernel of {low} to {high} primitives exists with num_max_width_range at {width}")
        return known

    def can_start(self, limits: Limits) -> bool:
        """Whether a kernel is known to exist within limits."""
        return self._finisher.search(self.machine.start(limits)) is not None

    def start(self, limits: Limits | None = None) -> State:
        """The empty program.

        Raises:
            EmptySpaceError: no kernel exists within the limits.
        """
        state = self.machine.start(limits or self.widest())
        if self._finisher.far_from_limits(state):
            return state
        plan = self._finisher.search(state)
        if plan is None:
            raise EmptySpaceError(f"no kernel is known to exist within {limits}")
        return replace(state, plan=plan)

    def _legality(self, state: State) -> Legality:
        """The legal actions of a state; those of the latest state asked about are kept."""
        if self._latest is None or self._latest.state is not state:
            self._latest = Legality(self.machine, self._finisher, state)
        return self._latest

    def mask(self, state: State) -> NDArray[np.bool_]:
        """Which actions are legal.

        Raises:
            InternalError: none is, which can't happen: a bug.
        """
        mask = self._legality(state).mask()
        if not state.done and not mask.any():
            raise InternalError(f"dead end after {list(state.program)} with {state.limits}")
        return mask

    def is_legal(self, state: State, action: int) -> bool:
        """Whether an action is legal."""
        return not isinstance(self._legality(state).plan(action), str)

    def explain(self, state: State, action: int) -> str:
        """Why an action is illegal, in one sentence; empty where it is legal."""
        plan = self._legality(state).plan(action)
        return f"{self._name(action)} is illegal here: {plan}" if isinstance(plan, str) else ""

    def _name(self, action: int) -> str:
        return self.actions[action]

    def step(self, state: State, action: int) -> State:
        """The state after a legal action.

        Raises:
            IllegalActionError: the action is illegal or its index out of range.
        """
        if not 0 <= action < len(self._set):
            raise IllegalActionError(f"there is no action {action}: expected 0 to {len(self._set) - 1}")
        try:
            state = self._legality(state).after(action)
        except GraphError as error:
            raise IllegalActionError(f"{self._name(action)} is illegal here: {error}") from error
        level = self._set.actions[action].fill
        return state if level is None else self._finish(state, action)

    def _finish(self, state: State, index: int) -> State:
        level = self._set.actions[index].fill
        assert level is not None
        values = fill(self.machine, state, level)
        nodes = [Node(n.primitive.substitute(values), n.inputs, n.shape.substitute(values)) for n in state.nodes]
        output = output_for(nodes[state.stack[-1]].shape, self.sites[0].spatial_dims)
        nodes.append(Node(output, (state.stack[-1],), nodes[0].shape))
        used = _reachable(nodes)
        program = (*state.program, self._name(index))
        graph = KernelGraph(used, self.options.ensure_spatial_invariance, self.sites, program)
        return replace(state, program=program, graph=graph, plan=())

    def integers(self, state: State, size: Size) -> tuple[int, ...]:
        """What a size is at each site under the state's witness."""
        return self.machine.integers(state, size)

    def replay(self, program: Iterable[str], limits: Limits | None = None) -> State:
        """The state after a program of action names.

        Raises:
            IllegalActionError: an unknown name, or an action that is illegal at its place.
        """
        state = self.start(limits)
        for name in program:
            if name not in self._set.index:
                raise IllegalActionError(f"this search space has no action {name!r}.{did_you_mean(name, self.actions)}")
            state = self.step(state, self._set.index[name])
        return state

    def random_action(self, state: State, rng: np.random.Generator) -> int:
        """A legal action: a family drawn evenly among those with a legal action, then one of its actions evenly."""
        plan = self._legality(state).plan
        families: list[int] = rng.permutation(len(self.families)).tolist()
        for family in families:
            actions: list[int] = rng.permutation(self._set.members[family]).tolist()
            for action in actions:
                if not isinstance(plan(action), str):
                    return action
        raise InternalError(f"dead end after {list(state.program)} with {state.limits}")

    def sample(self, rng: np.random.Generator, limits: Limits | None = None) -> KernelGraph:
        """A random kernel; without limits, its length is drawn evenly over the asked range."""
        state = self.start(limits or self.draw_limits(rng, exact_length=True))
        while state.graph is None:
            state = self.step(state, self.random_action(state, rng))
        return state.graph


def _reachable(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes as they are: every one reaches the output, because the stack ends with one tensor."""
    used = {operand for node in nodes for operand in node.inputs}
    if used != set(range(len(nodes) - 1)):
        raise InternalError(f"tensors {sorted(set(range(len(nodes) - 1)) - used)} do not reach the output")
    return tuple(nodes)
