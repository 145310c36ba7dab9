"""Why an action is illegal, in words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from canvas_rl.errors import GraphError
from canvas_rl.primitives import Fresh, Template
from canvas_rl.space._core import Refusal
from canvas_rl.space.actions import Action
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.shape import Shape
from canvas_rl.symbolic.size import FIRST_VARIABLE

if TYPE_CHECKING:
    from canvas_rl.space.search_space import SearchSpace
    from canvas_rl.space.state import State

_SENTENCES = {
    Refusal.finished: "the kernel is finished",
    Refusal.few_tensors: "{family} needs two tensors on the stack",
    Refusal.most_primitives: "the kernel has {primitives} primitives, the most allowed",
    Refusal.most_weighted: "the kernel has {weighted} weighted primitives, the most allowed",
    Refusal.weighted_ratio: "max_weighted_ratio is exceeded, or would be whatever follows",
    Refusal.shape: "{family} does not apply to {operands}",
    Refusal.equation: "the sizes it contracts in {operands} can't be made equal",
    Refusal.group_count: "the kernel's group count is {groups} already",
    Refusal.constraint: "no values of the free sizes would meet every constraint",
    Refusal.variables: "the kernel would have more free sizes than the solver allows",
    Refusal.exponent: "a size would be out of all bounds",
    Refusal.activation: "a tensor or a weight would break the activation limit",
    Refusal.spatial_weight: "a weight would have an image size, and the kernel must run at any resolution",
    Refusal.flops_budget: "flops_budget would be exceeded",
    Refusal.params_budget: "params_budget would be exceeded",
    Refusal.memory_budget: "memory_budget would be exceeded",
    Refusal.no_tensor: "there is no such tensor yet",
    Refusal.width: "the stack holds {depth} tensors, the most allowed",
    Refusal.just_pushed: "this tensor was just pushed",
    Refusal.number: "this tensor is a single number: nothing can join it with itself",
    Refusal.tensors_left: "{depth} tensors are on the stack: one must be left",
    Refusal.few_primitives: "the kernel has {primitives} primitives, fewer than the {least} asked for",
    Refusal.few_weighted: "the kernel has {weighted} weighted primitives, too few",
    Refusal.necessary: "a necessary primitive is missing",
    Refusal.receptive: "the receptive field is smaller than min_receptive_size",
    Refusal.output_size: "{operands} can't be made as large as the output",
    Refusal.one_level: "no size is free, so that all fill levels are the same",
    Refusal.pointless_end: "only the output could follow, and it would make no sense",
    Refusal.repeated: "it was applied to the same tensors before: push what it made",
    Refusal.unfinishable: "the kernel could not be finished within its limits afterwards",
}

_EXPLAINED = (Refusal.shape, Refusal.constraint)
"""Refusals that the primitive's own rules can explain better."""


def sentence(space: "SearchSpace", state: "State", action: Action, refusal: Refusal) -> str:
    """Why an action is illegal, without its name."""
    template = action.template
    shapes: tuple[Shape, ...] = ()
    if refusal == Refusal.pointless:
        return f"it makes no sense: {space.why_pointless(state, action.name)}"
    if template is not None and state.depth >= template.arity:
        window = state.stack[-template.arity :]
        shapes = tuple(state.nodes[window[place]].shape for place in template.order)
        reason = _reason(space, state, template, shapes) if refusal in _EXPLAINED else None
        if reason is not None:
            return reason
    return _SENTENCES[refusal].format(
        family=action.family,
        primitives=state.primitives,
        weighted=state.weighted,
        depth=state.depth,
        groups=state.core.group_count,
        least=state.limits.min_primitives,
        operands=" and ".join(map(str, shapes or (state.top.shape,))),
    )


def _reason(space: "SearchSpace", state: "State", template: Template, shapes: Sequence[Shape]) -> str | None:
    """What the primitive's own rules say."""
    try:
        primitive = template.build(tuple(shapes), Fresh(FIRST_VARIABLE + state.core.variables))
        shape, rules = primitive.infer(tuple(shapes))
    except GraphError as error:
        return str(error)
    for rule in (*rules, *map(Constraint, shape.sizes())):
        if not rule.size.has_variables and not space.binding.at_least(rule.size, rule.least):
            return f"{rule.size} would not be an integer of at least {rule.least} at every site"
    return None
