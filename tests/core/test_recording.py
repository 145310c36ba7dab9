"""What the core keeps of rules on facts: decision trees over what the rules read, which must say what the rules say."""

from copy import copy
from dataclasses import astuple, dataclass, replace
from functools import lru_cache

import numpy as np
import pytest

from canvas_rl.config import SearchOptions
from canvas_rl.primitives.elementwise import Elementwise
from canvas_rl.primitives.facts import NOTHING, Facts
from canvas_rl.primitives.mix import Mix
from canvas_rl.primitives.shift import Shift
from canvas_rl.space import SearchSpace
from canvas_rl.space._core import Refusal
from canvas_rl.space.recording import FIELDS, SHAPE, WHOLE, WIDTH, Numbered, Recording, in_order
from canvas_rl.symbolic.shape import CHANNEL, SPATIAL, Dim, Group, Shape, input_shape
from canvas_rl.symbolic.site import Site

SITES = (Site(64, 56, 56), Site(128, 28, 28))
C, H = Dim(0, "C"), Dim(1, "H")
KNOWN = Facts(lean=1, rolled=frozenset((C, H)), wide=True)
SHAPE_READ = "shape"


def read(rule, facts=KNOWN, shape=None, arity=1):
    """What a rule says, and what it read, by name; of the second of two operands with a prefix."""
    recording = Recording((facts,) * arity, (shape or input_shape(2),) * arity, 0)
    result = recording.ask(rule, tuple(range(arity)))
    names = {**dict(enumerate(FIELDS)), WHOLE[0]: "whole", WHOLE[1]: "", SHAPE: SHAPE_READ}
    found = [("other " if place >= WIDTH else "") + names[place % WIDTH] for place in recording.reads()]
    return result, [name for name in found if name.strip() not in ("", "other")]


@pytest.mark.parametrize(
    ("rule", "result", "reads"),
    [
        (lambda k, s: None, None, []),
        (lambda k, s: (k[0].wide and k[0].growth) or k[0].wide, True, ["wide", "growth"]),
        (lambda k, s: k[0].leaning, 1, ["sign", "lean"]),
        (lambda k, s: k[0] == NOTHING, False, ["whole"]),
        (lambda k, s: NOTHING != k[0], True, ["whole"]),
        (lambda k, s: k[0] == Facts(lean=1, rolled=frozenset((H, C)), wide=True), True, ["whole"]),
        (lambda k, s: k[0] in {KNOWN}, True, ["whole"]),
        (lambda k, s: copy(k[0]), KNOWN, ["whole"]),
        (lambda k, s: isinstance(k[0], Facts) and isinstance(s[0], Shape), True, []),
        (lambda k, s: replace(k[0], sign=1), replace(KNOWN, sign=1), list(FIELDS[1:])),
        (lambda k, s: astuple(k[0]) == astuple(KNOWN), True, list(FIELDS)),
        (lambda k, s: C in k[0].rolled and s[0].size(C) is not None, True, ["rolled", SHAPE_READ]),
        (lambda k, s: s[0][0].kind, CHANNEL, [SHAPE_READ]),
        (lambda k, s: [group.kind for group in s[0]], [CHANNEL, SPATIAL], [SHAPE_READ]),
        (lambda k, s: s[0] == input_shape(2), True, [SHAPE_READ]),
        (lambda k, s: len((*s[0], *tuple(s[0]))), 4, [SHAPE_READ]),
        # what a stand-in can't do reads everything
        (lambda k, s: len(() + s[0]), 2, ["whole", SHAPE_READ]),
    ],
)
def test_what_a_rule_reads_is_noted_in_order(rule, result, reads):
    found, noted = read(rule)
    assert (found, noted) == (result, reads)
    assert type(found) is not Facts or type(replace(found)) is Facts


def test_operands_are_told_apart():
    assert read(lambda k, s: (k[1].wide, k[0].sign), arity=2)[1] == ["other wide", "sign"]
    assert read(lambda k, s: k[0] == k[1], arity=2) == (True, ["whole", "other whole"])


def test_a_cached_function_reads_the_whole_each_time():
    cached = lru_cache(lambda known: known.wide)
    for _ in range(2):
        assert "whole" in read(lambda k, s: cached(k[0]))[1]


def matched(shape):
    match shape:
        case (Group(kind=kind), _):
            return kind
        case _:
            return None


def test_a_shape_matches_as_a_sequence():
    assert read(lambda k, s: matched(s[0])) == (CHANNEL, [SHAPE_READ])


def test_an_error_of_a_rule_is_passed_on():
    with pytest.raises(ZeroDivisionError):
        read(lambda k, s: 1 // k[0].sign)


def test_numbers_of_facts_and_of_the_values_of_their_fields():
    numbered = Numbered()
    first, second = numbered.number(KNOWN), numbered.number(Facts(rolled=frozenset((H, C))))
    assert numbered.number(replace(KNOWN)) == first != second
    assert numbered[first] == KNOWN
    assert numbered[first].rolled is numbered[second].rolled
    ours, theirs = numbered.values(first), numbered.values(second)
    for place, name in enumerate(FIELDS):
        assert (ours[place] == theirs[place]) == (getattr(KNOWN, name) == getattr(numbered[second], name))
    assert len(ours) == WIDTH - 1
    assert [ours[place] for place in WHOLE] != [theirs[place] for place in WHOLE]


def compare(space: SearchSpace, steps: int, seed: int) -> dict[str, int]:
    """Compares what the core says over random steps with what the rules say of plain facts; counts the reasons met."""
    rng, met = np.random.default_rng(seed), dict[str, int]()
    tracer, templates = space._tracer, [a for a in space._set.actions if a.template is not None]
    numbers = {action.name: space._set.index[action.name] for action in templates}
    state = space.start()
    for _ in range(steps):
        if state.done:
            state = space.start()
        legal = np.flatnonzero(space.mask(state))
        for name, index in numbers.items():
            refusal = space._core.refusal(state.core, index)
            if refusal in (Refusal.few_tensors, Refusal.shape):
                continue
            reason = space.why_pointless(state, name)
            if reason is not None:
                met[reason] = met.get(reason, 0) + 1
                assert refusal == Refusal.pointless or [index] == list(legal), (state.program, name)
            else:
                assert refusal != Refusal.pointless, (state.program, name)
        action = int(rng.choice(legal))
        expected = expected_facts(space, state, action)
        state = space.step(state, action)
        if expected is not None and not state.done:
            assert tracer._facts[space._core.operands(state.core, numbers["relu"])[1][3]] == expected
    return met


def expected_facts(space: SearchSpace, state, action: int) -> Facts | None:
    """What is known of an action's result, by the primitive's own rule; None for a push or an output."""
    if space._set.actions[action].template is None:
        return None
    recipe, operands = space._core.operands(state.core, action)
    primitive, _, template = space._tracer._traced[recipe]
    return primitive.facts(*in_order(space._tracer._operands(operands), template.order))


@pytest.mark.parametrize(
    "options", [SearchOptions(), SearchOptions(num_primitive_range=(3, 8))], ids=["defaults", "short"]
)
def test_the_core_says_what_the_rules_say(options):
    met = compare(SearchSpace(SITES, options), 400, seed=4)
    assert len(met) > 15


def whole(self, operands, inputs):
    """A rule that compares facts as wholes."""
    return "seen" if operands[0] in (Facts(wide=True), replace(operands[0], wide=True, growth=0)) else None


def by_property(self, operands, inputs):
    """A rule that reads a property, and a field only where that says so."""
    return "leans" if operands[0].leaning and operands[0].growth == 0 else None


def by_shape(self, operands, inputs):
    """A rule that reads the shape only for some facts."""
    return "no C" if operands[0].rolled and C not in inputs[0].dims() else None


def awkward(self, operands, inputs):
    """A rule that does with a shape what no stand-in can."""
    return "many" if len(((), *operands[0].rolled)) + len(() + inputs[0]) > 3 else None


@pytest.mark.parametrize("rule", [whole, by_property, by_shape, awkward])
def test_the_core_says_what_a_primitive_of_ones_own_says(rule, monkeypatch):
    for primitive in (Elementwise, Shift, Mix):
        monkeypatch.setattr(primitive, "pointless", rule)
    assert compare(SearchSpace(SITES), 150, seed=5)


def test_facts_may_be_handed_on(monkeypatch):
    monkeypatch.setattr(Shift, "facts", lambda self, operands, inputs: operands[0])
    assert compare(SearchSpace(SITES), 150, seed=8)


@dataclass(frozen=True)
class Holding(Elementwise):
    """A primitive that holds something more."""

    extra: object = None


def test_only_equal_primitives_share_what_a_rule_said():
    tracer = SearchSpace(SITES)._tracer
    template = tracer._template(0)

    def number(extra):
        return tracer._rule(Holding("relu", extra), template)

    assert number("a") == number("a") != number("b")
    assert number([]) != number([])
    assert tracer._rule(Elementwise("relu"), template) != number(None)
    assert tracer._rule(Holding("relu"), replace(template, order=(1, 0))) != number(None)


def test_a_rule_that_is_not_deterministic_is_refused(monkeypatch):
    calls = iter(range(10**9))

    def fickle(self, operands, inputs):
        return None if (operands[0].sign, operands[0].lean)[next(calls) % 2] else operands[0].unit and "so"

    def reading(self, operands, inputs):
        known = operands[0]
        return "so" if bool(known.rolled if next(calls) % 2 else known.offset) and known.wide else None

    for rule in (fickle, reading):
        monkeypatch.setattr(Shift, "pointless", rule)
        with pytest.raises(RuntimeError, match="not deterministic"):
            compare(SearchSpace(SITES), 150, seed=7)


def test_groups_are_part_of_a_shape():
    group = Group(CHANNEL, (None,) * 4)
    assert read(lambda k, s: s[0].with_group(0, group).first)[0] == group
