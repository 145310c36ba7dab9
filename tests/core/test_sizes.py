"""Symbolic sizes against plain fractions."""

import copy
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_rl.errors import FormatError
from canvas_rl.space._core import Algebra
from canvas_rl.symbolic.binding import Binding
from canvas_rl.symbolic.constraints import variable
from canvas_rl.symbolic.site import Site
from canvas_rl.symbolic.size import CHANNELS, HEIGHT, ONE, WIDTH, Size, constant, parse

SITES = (Site(64, 12, 8), Site(48, 6, 4))
exponents = st.dictionaries(st.integers(0, 5), st.integers(-3, 3).filter(bool), max_size=4)
sizes = st.builds(
    lambda num, den, exps: Size.of(num, den, tuple(sorted(exps.items()))),
    st.integers(1, 60),
    st.integers(1, 60),
    exponents,
)
values = st.fixed_dictionaries({index: st.integers(1, 50) for index in range(6)})


def number(size: Size, at: dict[int, int]) -> Fraction:
    return Fraction(*size.fraction(at))


@given(sizes, sizes, values)
def test_product_and_quotient_agree_with_numbers(left, right, at):
    assert number(left * right, at) == number(left, at) * number(right, at)
    assert number(left / right, at) == number(left, at) / number(right, at)


@given(sizes)
def test_equal_sizes_are_one_object_also_after_text_pickle_and_copy(size):
    assert parse(str(size)) is size
    assert pickle.loads(pickle.dumps(size)) is size
    assert copy.deepcopy(size) is size
    assert size / size is ONE


@given(sizes, sizes, values)
def test_substitution_agrees_with_numbers(size, value, at):
    value = Size.of(value.num, value.den, tuple(pair for pair in value.exps if pair[0] < 3))
    replaced = size.substitute({4: value})
    wanted = number(size, {**at, 4: 1}) * number(value, at) ** size.exponent(4)
    assert number(replaced, at) == wanted


@given(sizes, values)
def test_python_expression_is_exact_where_the_size_is_an_integer(size, at):
    size = Size.of(size.num, size.den, tuple(pair for pair in size.exps if pair[0] < 3))
    wanted = number(size, at)
    if wanted.denominator == 1:
        assert eval(size.python(), {"c": at[0], "h": at[1], "w": at[2]}) == wanted


@pytest.mark.parametrize(
    "text", ["", "C+1", "C//2", "0", "C/0", "y", "C^", "C^99999", "x", "C*", "1" * 300, "-1", None]
)
def test_damaged_sizes_are_refused(text):
    with pytest.raises(FormatError):
        parse(text)


@given(sizes)
def test_integers_at_the_sites_agree_with_numbers(size):
    size = Size.of(size.num, size.den, tuple(pair for pair in size.exps if pair[0] < 3))
    wanted = [number(size, {0: site.c, 1: site.h, 2: site.w}) for site in SITES]
    found = Binding(SITES, spatial_fixed=True).integers(size)
    assert found == (tuple(int(w) for w in wanted) if all(w.denominator == 1 for w in wanted) else None)


def test_without_fixed_space_divisibility_by_luck_does_not_count():
    size = HEIGHT * WIDTH / constant(8)
    assert Binding(SITES, spatial_fixed=True).integers(size) == (12, 3)
    assert Binding(SITES, spatial_fixed=False).integers(size) is None
    assert Binding(SITES, spatial_fixed=False).integers(CHANNELS * HEIGHT / constant(8)) == (96, 36)


def algebra(spatial_fixed: bool = True) -> Algebra:
    return Algebra([site.shape for site in SITES], spatial_fixed, Size.of)


def test_only_the_newest_linear_variable_is_solved():
    assert algebra().solve(variable(0) * variable(1), CHANNELS) == (4, CHANNELS / variable(0))
    assert algebra().solve(variable(0) * variable(0), CHANNELS) is None


def test_a_free_size_is_not_tied_to_an_image_size_that_may_change():
    assert algebra().solve(variable(0), CHANNELS * HEIGHT) == (3, CHANNELS * HEIGHT)
    assert algebra(spatial_fixed=False).solve(variable(0), CHANNELS * HEIGHT) is None


def test_a_witness_is_kept_where_it_still_holds():
    kept = [CHANNELS / constant(2), constant(2)]
    found = algebra().find_witness(2, [(variable(1) / constant(8), 1)], kept, 400)
    assert found is not None
    assert found[0] is kept[0]
    assert found[1] is not kept[1]


def test_domains_hold_integers_of_at_least_two_and_what_is_asked_for():
    binding = Binding(SITES, spatial_fixed=True)
    found = algebra().domain(0, [(variable(0) / constant(9), 1)])
    assert constant(9) in found
    assert CHANNELS in found
    assert all(binding.at_least(size, 2) for size in found)


def test_sizes_beyond_what_the_core_can_hold_are_refused():
    with pytest.raises(ValueError, match="more variables"):
        algebra().product(variable(9), ONE)


def test_a_domain_that_others_displace_while_it_is_searched_stays_whole():
    """Domains are kept in a ring of 64: here the second variable's takes the place of the first's."""
    divisors = [2**a * 3**b * 5**c for a in range(4) for b in range(4) for c in range(5)]
    rules = [(variable(0), 2), (variable(1) / constant(divisors[70]), 1)]
    expected = algebra().find_witness(2, rules, [], 1 << 20)
    compiled = algebra()
    for divisor in divisors[:64]:
        compiled.domain(0, [(variable(0) / constant(divisor), 1)])
    assert compiled.find_witness(2, rules, [], 1 << 20) == expected
    assert expected is not None
