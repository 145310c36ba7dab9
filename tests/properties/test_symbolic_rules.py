"""Symbolic rules against brute force over integers.

How to run each property 10,000 times by hand stands in `conftest.py`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import product

from drawing import for_all
from hypothesis import assume
from hypothesis import strategies as st

from canvas_rl.symbolic.binding import Binding, symbol_values
from canvas_rl.symbolic.constraints import Constraint, domain, find_witness, holds, solve_linear
from canvas_rl.symbolic.site import Site
from canvas_rl.symbolic.size import FIRST_VARIABLE, Size

X0, X1, X2 = range(FIRST_VARIABLE, FIRST_VARIABLE + 3)
GRID = [dict(enumerate(values)) for values in product((2, 3), (1, 4), (5,), (2, 7), (1, 3), (6,))]
NUMBERS = (1, 1, 1, 2, 3, 4, 6, 8)


def sizes(symbols: Sequence[int], powers: Sequence[int] = (-2, -1, 1, 2)) -> st.SearchStrategy[Size]:
    exponents = st.dictionaries(st.sampled_from(symbols), st.sampled_from(powers), max_size=3)
    return st.builds(
        lambda num, den, exps: Size.of(num, den, tuple(sorted(exps.items()))),
        st.sampled_from(NUMBERS),
        st.sampled_from(NUMBERS),
        exponents,
    )


KNOWN, ALL = (0, 1, 2), (0, 1, 2, X0, X1, X2)
site_lists = st.lists(
    st.builds(Site, st.sampled_from((4, 6, 8, 9, 12, 16)), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3
)


def number(size: Size, values: dict[int, int]) -> Fraction:
    """The size from its definition: a coefficient times powers of symbols."""
    result = Fraction(size.num, size.den)
    for index, exp in size.exps:
        result *= Fraction(values[index]) ** exp
    return result


def everywhere(size: Size) -> list[Fraction]:
    return [number(size, values) for values in GRID]


def test_products_quotients_and_equality(tally: Counter[str]) -> None:
    @for_all(tally, sizes(ALL), sizes(ALL))
    def check(left: Size, right: Size) -> None:
        pairs = list(zip(everywhere(left), everywhere(right), strict=True))
        assert everywhere(left * right) == [a * b for a, b in pairs]
        assert everywhere(left / right) == [a / b for a, b in pairs]
        assert everywhere(left.inverse()) == [1 / a for a, _ in pairs]
        assert (left is right) == (left == right) == ((left / right).exps == () and all(a == b for a, b in pairs))


def test_substitution(tally: Counter[str]) -> None:
    @for_all(tally, sizes(ALL), sizes((*KNOWN, X0)), sizes(KNOWN))
    def check(size: Size, first: Size, second: Size) -> None:
        replaced = size.substitute({X1: first, X2: second})
        assert not set(replaced.variables()) & {X1, X2}
        for values in GRID:
            moved: dict[int, Fraction | int] = {**values, X1: number(first, values), X2: number(second, values)}
            wanted = Fraction(size.num, size.den)
            for index, exp in size.exps:
                wanted *= Fraction(moved[index]) ** exp
            assert number(replaced, values) == wanted


def test_integers_at_every_site(tally: Counter[str]) -> None:
    @for_all(tally, sizes(KNOWN), site_lists, st.integers(1, 9))
    def check(size: Size, sites: list[Site], least: int) -> None:
        binding = Binding(sites, spatial_fixed=True)
        found = [number(size, symbol_values(site)) for site in dict.fromkeys(sites)]
        whole = all(value.denominator == 1 for value in found)
        assert binding.integers(size) == (tuple(map(int, found)) if whole else None)
        assert binding.at_least(size, least) == (whole and min(found) >= least)
        assert [Fraction(*pair) for pair in binding.fractions(size)] == found


def test_integers_at_any_resolution(tally: Counter[str]) -> None:
    @for_all(tally, sizes(KNOWN), site_lists)
    def check(size: Size, sites: list[Site]) -> None:
        """97 divides no number of these sites, so that it stands for all large image sizes."""
        always = all(
            number(size, {0: site.c, 1: h, 2: w}).denominator == 1
            for site in sites
            for h in (1, 2, 97)
            for w in (1, 2, 97)
        )
        assert (Binding(sites, spatial_fixed=False).integers(size) is not None) == always


def test_a_solved_equation_has_its_only_solution(tally: Counter[str]) -> None:
    @for_all(tally, sizes((0, X0, X1)), sizes((0, X0, X1)))
    def check(left: Size, right: Size) -> None:
        assume(left is not right)
        exponents = {v: left.exponent(v) - right.exponent(v) for v in (X0, X1)}
        linear = [v for v, exp in exponents.items() if abs(exp) == 1]
        solution = solve_linear(left, right)
        if solution is None:
            assert not linear
            return
        index, value = solution
        assert index == max(linear)
        for channels, other in product((4, 6, 12), range(1, 9)):
            values = {0: channels, X0: other, X1: other}
            found = [
                n for n in range(1, 50) if number(left, {**values, index: n}) == number(right, {**values, index: n})
            ]
            solved = number(value, values)
            assert found == ([int(solved)] if solved.denominator == 1 and solved < 50 else [])


def searched(
    constraints: Sequence[Constraint], variables: Sequence[int], binding: Binding
) -> Iterable[dict[int, Size]]:
    """Every assignment from the variables' domains that meets the constraints."""
    domains = [domain(variable, constraints, binding) for variable in variables]
    for values in product(*domains):
        chosen = dict(zip(variables, values, strict=True))
        if all(
            number(c.size.substitute(chosen), symbol_values(site)).denominator == 1
            and number(c.size.substitute(chosen), symbol_values(site)) >= c.least
            for c in constraints
            for site in binding.sites
        ):
            yield chosen


def test_a_witness_is_found_exactly_where_one_exists(tally: Counter[str]) -> None:
    limited = st.builds(Constraint, sizes((0, 1, X0, X1), (-1, 1)), st.integers(1, 4))

    @for_all(tally, st.lists(limited, min_size=1, max_size=3), site_lists, st.booleans(), st.data())
    def check(constraints: list[Constraint], sites: list[Site], keeps: bool, data: st.DataObject) -> None:
        binding = Binding(sites[:2], spatial_fixed=True)
        variables = sorted({v for c in constraints for v in c.size.variables()})
        before = {v: data.draw(st.sampled_from(domain(v, [], binding))) for v in variables} if keeps else {}
        exists = next(iter(searched(constraints, variables, binding)), None) is not None
        found = find_witness(variables, constraints, binding, before, tries=1 << 20)
        tally["satisfiable"] += exists
        assert (found is not None) == exists
        if found is None:
            return
        assert found.keys() == set(variables)
        assert all(holds(constraint, binding, found) for constraint in constraints)
        assert all(binding.at_least(size, 2) for size in found.values())
        if before and all(holds(constraint, binding, before) for constraint in constraints):
            assert found == before
        tally["within 400 tries"] += find_witness(variables, constraints, binding, before) is not None

    assert tally["satisfiable"] >= 0.2 * tally["examples"]
    assert tally["within 400 tries"] >= 0.9 * tally["satisfiable"]
