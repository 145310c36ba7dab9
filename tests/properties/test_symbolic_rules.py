"""Symbolic rules against brute force over integers.

How to run each property 10,000 times by hand stands in `conftest.py`.
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import product

from drawing import for_all
from hypothesis import assume
from hypothesis import strategies as st

from canvas_rl.space._core import Algebra
from canvas_rl.symbolic.binding import Binding, symbol_values
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


def algebra(sites: Sequence[Site], spatial_fixed: bool = True) -> Algebra:
    """The compiled arithmetic."""
    return Algebra([(site.c, site.h or 1, site.w or 1) for site in dict.fromkeys(sites)], spatial_fixed, Size.of)


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
        compiled = algebra([Site(4, 6, 9)])
        assert compiled.product(left, right) is left * right
        assert compiled.quotient(left, right) is left / right
        assert everywhere(left.inverse()) == [1 / a for a, _ in pairs]
        assert (left is right) == (left == right) == ((left / right).exps == () and all(a == b for a, b in pairs))


def test_substitution(tally: Counter[str]) -> None:
    @for_all(tally, sizes(ALL), sizes((*KNOWN, X0)), sizes(KNOWN))
    def check(size: Size, first: Size, second: Size) -> None:
        replaced = size.substitute({X1: first, X2: second})
        assert not set(replaced.variables()) & {X1, X2}
        known = [Size.of(s.num, s.den, tuple(p for p in s.exps if p[0] != X0)) for s in (first, second)]
        values_of = {X0: Size.of(2, 1, ((0, 1),)), X1: known[0], X2: known[1]}
        assert algebra([Site(4, 6, 9)]).substitute(size, list(values_of.values())) is size.substitute(values_of)
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
        assert algebra(sites).integers(size) == (list(map(int, found)) if whole else None)


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
        assert (algebra(sites, spatial_fixed=False).integers(size) is not None) == always


def test_a_solved_equation_has_its_only_solution(tally: Counter[str]) -> None:
    @for_all(tally, sizes((0, X0, X1)), sizes((0, X0, X1)))
    def check(left: Size, right: Size) -> None:
        assume(left is not right)
        exponents = {v: left.exponent(v) - right.exponent(v) for v in (X0, X1)}
        linear = [v for v, exp in exponents.items() if abs(exp) == 1]
        solution = algebra([Site(4, 6, 9)]).solve(left, right)
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


Rule = tuple[Size, float]


def meets(rules: Sequence[Rule], values: Sequence[Size], sites: Sequence[Site]) -> bool:
    """Whether values of x0 and x1 meet rules, by fractions."""
    chosen = dict(zip((X0, X1), values, strict=True))
    found = [(number(size.substitute(chosen), symbol_values(site)), least) for size, least in rules for site in sites]
    return all(value.denominator == 1 and value >= least for value, least in found)


def test_a_witness_is_found_exactly_where_one_exists(tally: Counter[str]) -> None:
    limited = st.tuples(sizes((0, 1, X0, X1), (-1, 1)), st.integers(1, 4))

    @for_all(tally, st.lists(limited, min_size=1, max_size=3), site_lists, st.booleans(), st.data())
    def check(rules: list[Rule], sites: list[Site], keeps: bool, data: st.DataObject) -> None:
        sites = sites[:2]
        compiled = algebra(sites)
        before = [data.draw(st.sampled_from(compiled.domain(0, []))) for _ in range(2)] if keeps else []
        domains = [compiled.domain(variable, rules) for variable in range(2)]
        exists = (bool(before) and meets(rules, before, sites)) or any(
            meets(rules, values, sites) for values in product(*domains)
        )
        found = compiled.find_witness(2, rules, before, 1 << 20)
        tally["satisfiable"] += exists
        assert (found is not None) == exists
        if found is None:
            return
        assert meets(rules, found, sites)
        assert all(meets([(size, 2)], found, sites) for size in found)
        if before and meets(rules, before, sites):
            assert found == before
        tally["within 400 tries"] += compiled.find_witness(2, rules, before, 400) is not None

    assert tally["satisfiable"] >= 0.2 * tally["examples"]
    assert tally["within 400 tries"] >= 0.9 * tally["satisfiable"]
