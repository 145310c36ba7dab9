"""The search space: states, legal actions, transitions, sampling."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple, replace

import numpy as np
from numpy.typing import NDArray

from canvas_rl.config import SearchOptions
from canvas_rl.errors import ConfigError, EmptySpaceError, IllegalActionError, InternalError, SamplingTimeout
from canvas_rl.ir import KernelGraph, Node
from canvas_rl.primitives import VIEWS
from canvas_rl.primitives.io import Input, output_for
from canvas_rl.registry import did_you_mean
from canvas_rl.space import _core
from canvas_rl.space.actions import FILL_LEVELS, ActionSet
from canvas_rl.space.budget import budget_of
from canvas_rl.space.feasible import check_options
from canvas_rl.space.filters import family_rules
from canvas_rl.space.recipes import Tracer, pattern_of, shape_of
from canvas_rl.space.refusals import sentence
from canvas_rl.space.routes import family_set, routes
from canvas_rl.space.state import Limits, State
from canvas_rl.symbolic.binding import Binding
from canvas_rl.symbolic.shape import Shape, input_shape
from canvas_rl.symbolic.site import ReferenceConv, Site, check_sites
from canvas_rl.symbolic.size import FIRST_VARIABLE, Size

EXACT_PRIMITIVES = 2
"""The search for a finishing program is exact for so many last primitives."""
_SEEDS = 1 << 63


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
        self.rules = family_rules(self.options)
        self.binding = Binding(sites, self.options.ensure_spatial_invariance)
        self.sites = self.binding.sites
        self.spatial_dims = self.sites[0].spatial_dims
        self._set = ActionSet(self.sites, self.options)
        self._tracer = Tracer(self._set, self.spatial_dims)
        self._core = _core.Core(self._config(sites), self._tracer)
        self._lengths: dict[tuple[int, bool], tuple[int, ...]] = {}
        self._startable: set[Limits] = set()
        check_options(self)

    def _config(self, sites: Sequence[Site]) -> dict[str, object]:
        """What the core needs to know."""
        options, actions = self.options, self._set
        least, most = options.num_weighted_range
        templates = [action.template for action in actions.actions if action.template is not None]
        return {
            "sites": [(site.c, site.h or 1, site.w or 1) for site in self.sites],
            "spatial_fixed": options.ensure_spatial_invariance,
            "spatial_dims": self.spatial_dims,
            "input_pattern": pattern_of(input_shape(self.spatial_dims)),
            "make_size": Size.of,
            "view": [VIEWS.index(template.view) for template in templates],
            "arity": [template.arity for template in templates],
            "family": actions.family_of.tolist(),
            "pushes": sum(action.push is not None for action in actions.actions),
            "levels": [float(level) for level in FILL_LEVELS],
            "min_weighted": least,
            "most_weighted": most,
            "weighted_ratio": options.max_weighted_ratio,
            "receptive_pixels": float(options.min_receptive_size),
            "necessary": [family_set(actions, *families) for _, families in self.rules.necessary],
            "bmm": family_set(actions, "BMM"),
            "bmm_matters": options.force_bmm_possibility > 0,
            "routes": routes(actions),
            "exact": EXACT_PRIMITIVES,
            **budget_of(self.sites, sites, self.references, options)._asdict(),
        }

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

    def arity(self, action: int) -> int:
        """How many tensors an action takes off the stack: 1 or 2, and 0 for a push; an output takes the last one."""
        found = self._set.actions[action]
        return found.template.arity if found.template is not None else int(found.push is None)

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

    @property
    def tables(self) -> int:
        """How many tables of recipes the core holds by now."""
        return self._core.tables

    def widest(self) -> Limits:
        """The limits that allow all that the options allow; a BMM is required where the options always force one."""
        lengths, widths = self.options.num_primitive_range, self.options.num_max_width_range
        return Limits(*lengths, widths[1], self.options.force_bmm_possibility == 1)

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
        return self._core.can_finish(self._core.start(_core.Limits(*astuple(limits))))

    def start(self, limits: Limits | None = None) -> State:
        """The empty program.

        Raises:
            EmptySpaceError: no kernel exists within the limits.
        """
        limits = limits or self.widest()
        core = self._core.start(_core.Limits(*astuple(limits)))
        if limits not in self._startable:
            if not self._core.can_finish(core):
                raise EmptySpaceError(f"no kernel is known to exist within {limits}")
            self._startable.add(limits)
        return State(self, limits, core)

    def mask(self, state: State) -> NDArray[np.bool_]:
        """Which actions are legal.

        Raises:
            InternalError: none is, which can't happen: a bug.
        """
        mask = self._core.mask(self._own(state))
        if not state.done and not mask.any():
            raise self._dead_end(state)
        return mask

    def _own(self, state: State) -> _core.CoreState:
        """A state's core.

        Raises:
            ConfigError: the state was made by another search space, in which actions mean something else.
        """
        if state.space is not self:
            raise ConfigError("this state was made by another search space: replay its program in this one")
        return state.core

    def _dead_end(self, state: State) -> InternalError:
        return InternalError(f"dead end after {list(state.program)} with {state.limits}")

    def is_legal(self, state: State, action: int) -> bool:
        """Whether an action is legal."""
        return self._core.refusal(self._own(state), action) == _core.Refusal.none

    def is_senseless(self, state: State, action: int) -> bool:
        """Whether an action is masked because something simpler does the same."""
        refusal = self._core.refusal(self._own(state), action)
        return refusal in (_core.Refusal.pointless, _core.Refusal.pointless_end, _core.Refusal.repeated)

    def explain(self, state: State, action: int) -> str:
        """Why an action is illegal, in one sentence; empty where it is legal."""
        refusal = self._core.refusal(self._own(state), action)
        if refusal == _core.Refusal.none:
            return ""
        return f"{self.actions[action]} is illegal here: {sentence(self, state, self._set.actions[action], refusal)}"

    def why_pointless(self, state: State, name: str) -> str | None:
        """Why an action makes no sense for the tensors on top of the stack, None if it does."""
        recipe, operands = self._core.operands(state.core, self._set.index[name])
        if recipe < 0:
            return self._tracer.output_reason(operands[1], operands[3])
        return self._tracer.reason(recipe, operands)

    def step(self, state: State, action: int) -> State:
        """The state after a legal action.

        Raises:
            IllegalActionError: the action is illegal or its index out of range.
        """
        if not 0 <= action < len(self._set):
            raise IllegalActionError(f"there is no action {action}: expected 0 to {len(self._set) - 1}")
        core = self._core.step(self._own(state), action)
        if core is None:
            raise IllegalActionError(self.explain(state, action))
        return State(self, state.limits, core)

    def move(self, state: State, action: int) -> State | None:
        """The state after an action that the rules allow, whether or not it makes sense or leads to a kernel.

        None where a rule forbids the action. Tests enumerate with it what the mask may hide.
        """
        core = self._core.move(self._own(state), action)
        return None if core is None else State(self, state.limits, core)

    def nodes(self, state: State) -> tuple[Node, ...]:
        """The tensors of a state."""
        nodes = [Node(Input(self.spatial_dims), (), input_shape(self.spatial_dims))]
        for recipe, under, top, spatial, sizes, fresh in self._core.nodes(state.core):
            shape = shape_of(spatial, sizes)
            inputs = self._tracer.ordered(recipe, under, top)
            primitive = self._tracer.primitive(recipe, [nodes[index].shape for index in inputs], fresh)
            nodes.append(Node(primitive, inputs, shape))
        return tuple(nodes)

    def kernel(self, state: State) -> KernelGraph:
        """The kernel of a finished state."""
        last = state.stack[-1]
        output = output_for(state.nodes[last].shape, self.spatial_dims)
        nodes = (*state.nodes, Node(output, (last,), state.nodes[0].shape))
        used = {operand for node in nodes for operand in node.inputs}
        unused = set(range(len(nodes) - 1)) - used
        if unused:
            raise InternalError(f"tensors {sorted(unused)} do not reach the output after {list(state.program)}")
        return KernelGraph(nodes, self.options.ensure_spatial_invariance, self.sites, state.program)

    def integers(self, state: State, size: Size) -> tuple[int, ...]:
        """What a size is at each site under values of the free sizes that are possible in a state."""
        witness = dict(enumerate(self._core.witness(state.core), start=FIRST_VARIABLE))
        values = self.binding.integers(size.substitute(witness))
        assert values is not None, f"{size} is no integer under the witness"
        return values

    def spent(self, state: State) -> list[float]:
        """The share of each budget that the primitives so far take, at the site where it is greatest.

        In the order of FLOPs, parameters and activations, those without a budget left out. Free sizes count as in
        `integers`: sizes that are possible.
        """
        return self._core.spent(state.core)

    def shape_keys(self, state: State, count: int) -> list[bytes]:
        """Of the top tensors of the stack, from the top, bytes that are equal for equal shapes."""
        return self._core.shape_keys(state.core, count)

    def shown_shape(self, state: State, depth: int) -> Shape:
        """The shape of a tensor on the stack, from the top."""
        return shape_of(*self._core.shape(state.core, depth))

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
        action = self._core.draw(self._own(state), int(rng.integers(_SEEDS)))
        if action < 0:
            raise self._dead_end(state)
        return action

    def play(
        self, rng: np.random.Generator, limits: Limits | None = None, timeout: float = 0, state: State | None = None
    ) -> State:
        """A finished random program; without limits, its length is drawn evenly over the asked range.

        Raises:
            SamplingTimeout: `timeout` is above 0 and so many seconds have passed.
        """
        state = state or self.start(limits or self.draw_limits(rng, exact_length=True))
        core, ended = self._core.play(state.core, int(rng.integers(_SEEDS)), timeout)
        state = State(self, state.limits, core)
        if ended:
            return state
        if timeout:
            raise SamplingTimeout(
                f"no kernel was finished within the timeout of {timeout} s: raise it, or relax the options"
            )
        raise self._dead_end(state)

    def sample(self, rng: np.random.Generator, limits: Limits | None = None, timeout: float = 0) -> KernelGraph:
        """A random kernel, see `play`."""
        return self.kernel(self.play(rng, limits, timeout))
