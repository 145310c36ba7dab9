"""The stack machine: what a program's state is and what the whole kernel must meet.

What an action does to a state is `moves`'s question, whether the kernel can still be finished `finish`'s.
"""

from dataclasses import replace
from math import ceil

from canvas_rl.config import SearchOptions
from canvas_rl.ir import Node
from canvas_rl.primitives import Template
from canvas_rl.primitives.io import Input
from canvas_rl.primitives.receptive import Field
from canvas_rl.space.actions import ActionSet
from canvas_rl.space.bound import Binder
from canvas_rl.space.budget import Budget
from canvas_rl.space.filters import FamilyRules
from canvas_rl.space.sizes import SizeSolver
from canvas_rl.space.state import Limits, State
from canvas_rl.symbolic.binding import Binding
from canvas_rl.symbolic.size import Size

Missing = tuple[tuple[str, frozenset[str]], ...]


class Machine:
    """The rules of a search space.

    Args:
        actions: the action set.
        binding: the sites.
        budget: the cost bounds.
        options: the search-space options.
        rules: the resolved filters.
    """

    def __init__(
        self, actions: ActionSet, binding: Binding, budget: Budget, options: SearchOptions, rules: FamilyRules
    ) -> None:
        self.actions = actions
        self.binding = binding
        self.budget = budget
        self.options = options
        self.rules = rules
        self.solver = SizeSolver(binding)
        self.binder = Binder(actions, self.solver, budget)
        self.spatial_dims = binding.sites[0].spatial_dims
        primitive = Input(self.spatial_dims)
        self.input = Node(primitive, (), primitive.infer(()).shape)
        self.input_facts = primitive.facts((), ())

    def start(self, limits: Limits) -> State:
        """The empty program: the input is on the stack."""
        return State(limits, (self.input,), (0,), (Field(),), (self.input_facts,))

    def full(self, state: State, template: Template) -> str | None:
        """Why no primitive of the template's arity and kind can be added, or None."""
        if len(state.stack) < template.arity:
            return f"{template.family} needs {template.arity} tensors on the stack"
        if state.primitives >= state.limits.max_primitives:
            return f"the kernel has {state.primitives} primitives, the most allowed"
        if not template.weighted:
            return None
        if state.weighted >= self.options.num_weighted_range[1]:
            return f"the kernel has {state.weighted} weighted primitives, the most allowed"
        ratio = self.options.max_weighted_ratio
        total = ceil((state.weighted + 1) / ratio - 1e-9) if ratio else 1 << 30
        return "max_weighted_ratio would be exceeded whatever follows" if total > state.limits.max_primitives else None

    def substitute(self, state: State, values: dict[int, Size]) -> State:
        """Replace free variables everywhere; constraints, volumes and budgets are checked anew.

        Raises:
            GraphError: something no longer holds.
        """
        sizes, costs = self.solver.substitute(state.sizes, values), state.costs.substitute(values)
        self.budget.check(costs, sizes.witness)
        nodes = tuple(Node(n.primitive.substitute(values), n.inputs, n.shape.substitute(values)) for n in state.nodes)
        return replace(state, nodes=nodes, sizes=sizes, costs=costs, plan=())

    def unmet(self, state: State) -> str | None:
        """A requirement on the whole kernel that the tensor on top does not meet yet, or None."""
        if state.primitives < state.limits.min_primitives:
            return (
                f"the kernel has {state.primitives} primitives, fewer than the {state.limits.min_primitives} asked for"
            )
        if state.weighted < self.options.num_weighted_range[0]:
            return f"the kernel has {state.weighted} weighted primitives, too few"
        if state.weighted > self.options.max_weighted_ratio * state.primitives + 1e-9:
            return "max_weighted_ratio is exceeded so far"
        missing = self.missing(state)
        if missing:
            return f"a necessary primitive is missing: {missing[0][0]}"
        return (
            None if self.reaches(state, state.stack[-1]) else "the receptive field is smaller than min_receptive_size"
        )

    def missing(self, state: State) -> Missing:
        """Necessary families that the kernel lacks."""
        wanted = self.rules.necessary
        if state.limits.require_bmm:
            wanted = (*wanted, ("force_bmm_possibility", frozenset({"BMM"})))
        return tuple(entry for entry in wanted if not entry[1] & state.families) if wanted else ()

    @property
    def fields_matter(self) -> bool:
        """Whether legality depends on receptive fields."""
        return self.options.min_receptive_size > 1

    def reaches(self, state: State, tensor: int) -> bool:
        """Whether a tensor's receptive field is as large as asked at every site."""
        return not self.fields_matter or all(
            state.fields[tensor].pixels(site.h or 1, site.w or 1) >= self.options.min_receptive_size
            for site in self.binding.sites
        )

    def integers(self, state: State, size: Size) -> tuple[int, ...]:
        """What a size is at each site under the witness."""
        values = self.binding.integers(size.substitute(state.sizes.witness))
        assert values is not None, f"{size} is no integer under the witness"
        return values
