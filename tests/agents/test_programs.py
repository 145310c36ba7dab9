import itertools

import numpy as np
import pytest

from agents.programs import Genetics
from canvas_rl.config import SearchOptions
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site


@pytest.fixture(scope="module")
def genetics() -> Genetics:
    options = SearchOptions(num_primitive_range=(1, 8), max_weighted_ratio=1.0)
    return Genetics(SearchSpace((Site(8, 16, 16), Site(16, 8, 8)), options))


def test_a_genome_grows_to_its_program(genetics: Genetics) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        program = genetics.space.sample(rng, genetics.limits(rng)).program
        assert genetics.grow(genetics.genome(program), rng).program == program


def test_mutants_and_children_are_kernels_of_the_space(genetics: Genetics) -> None:
    rng = np.random.default_rng(1)
    programs = [genetics.space.sample(rng).program for _ in range(20)]
    for one, other in itertools.pairwise(programs):
        for genome in (genetics.mutate(genetics.genome(one), rng, 3.0, branches=True), genetics.cross(one, other, rng)):
            state = genetics.grow(genome, rng)
            assert state.done
            assert genetics.space.replay(state.program).program == state.program


def test_one_edit_makes_a_gate(genetics: Genetics) -> None:
    rng = np.random.default_rng(2)
    program = ("conv(3x3,d1,C)", "relu", "output(1)")
    mutants = {
        genetics.grow(genetics.mutate(genetics.genome(program), rng, branches=True), rng).program for _ in range(600)
    }
    assert ("conv(3x3,d1,C)", "relu", "push(0)", "mul(under->top)", "output(1)") in mutants


def test_children_keep_the_beginning_of_one_parent_and_the_end_of_the_other(genetics: Genetics) -> None:
    rng = np.random.default_rng(3)
    one, other = ("conv(3x3,d1,C)", "relu", "output(1)"), ("tanh", "fc(C)", "output(1)")
    children = {genetics.grow(genetics.cross(one, other, rng), rng).program for _ in range(100)}
    assert ("conv(3x3,d1,C)", "relu", "fc(C)", "output(1)") in children
    assert ("conv(3x3,d1,C)", "relu", "tanh", "fc(C)", "output(1)") in children


def test_neighbours_differ_in_one_gene_and_cover_all_of_them(genetics: Genetics) -> None:
    rng = np.random.default_rng(4)
    program = ("conv(3x3,d1,C)", "relu", "output(1)")
    states = [genetics.grow_whole(genetics.neighbour(genetics.genome(program), rng), rng) for _ in range(12_000)]
    grown = {state.program for state in states if state is not None}
    moved = ("relu", "conv(3x3,d1,C)", "output(1)")
    branched = {other for other in grown if any(name.startswith("push") for name in other)}
    assert all(_differ_in_one(program, other) for other in grown - branched - {moved})
    replaced, first, last, taken_out, related = (
        ("fc(C)", "relu", "output(1)"),
        ("tanh", "conv(3x3,d1,C)", "relu", "output(1)"),
        ("conv(3x3,d1,C)", "relu", "tanh", "output(1)"),
        ("conv(3x3,d1,C)", "output(1)"),
        ("conv(3x3,d2,C)", "relu", "output(1)"),
    )
    assert {replaced, first, last, taken_out, related, moved} <= grown
    assert ("push(0)", "conv(3x3,d1,C)", "add(under->top)", "relu", "output(1)") in branched
    assert ("conv(3x3,d1,C)", "relu", "push(0)", "mul(under->top)", "output(1)") in branched
    assert all(_unbranched(other) in (program, moved) for other in branched)


def _unbranched(program: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in program if not name.startswith(("push", "add", "sub", "mul", "min", "max", "bmm")))


def test_a_branch_is_taken_out_with_what_joins_it_and_with_or_without_what_is_between(genetics: Genetics) -> None:
    rng = np.random.default_rng(6)
    program = ("fc(C)", "push(1)", "tanh", "push(0)", "sub(under->top)", "mul(under->top)", "output(1)")
    pruned = {genetics.grow_whole(genetics._pruned(genetics.genome(program), rng), rng) for _ in range(100)}
    assert {state.program for state in pruned if state is not None} == {
        ("fc(C)", "push(1)", "tanh", "mul(under->top)", "output(1)"),
        ("fc(C)", "tanh", "push(0)", "sub(under->top)", "output(1)"),
        ("fc(C)", "output(1)"),
    }


def _differ_in_one(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether a gene was put in, taken out or replaced, or nothing was done."""
    shared = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    ends = {one[shared:], one[shared + 1 :]}
    return bool(ends & {other[shared:], other[shared + 1 :]})


def test_a_genome_that_needs_repair_is_not_whole(genetics: Genetics) -> None:
    rng = np.random.default_rng(5)
    unfinished, pointless = ("fc(C)", "relu"), ("relu", "relu", "output(1)")
    for program in (unfinished, pointless):
        assert genetics.grow_whole(genetics.genome(program), rng) is None
        assert genetics.grow(genetics.genome(program), rng).done
