"""Symbolic sizes: monomials `q * C^a H^b W^c * x0^e0 ...` with a rational `q`.

Sizes are interned: equal sizes are the same object, so comparing and hashing them costs nothing.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import gcd, isqrt
from typing import ClassVar, Self
from weakref import WeakValueDictionary

from canvas_rl.errors import FormatError, shown

C, H, W = 0, 1, 2
FIRST_VARIABLE = 3
SYMBOLS = ("C", "H", "W")

Exponents = tuple[tuple[int, int], ...]
_FACTOR = re.compile(r"(?:(\d+)|([CHW]|x\d+)(?:\^(\d+))?)$")


class Size:
    """An immutable monomial; build it with `Size.of`, `symbol`, `constant` or `parse`.

    Attributes:
        num: numerator of the coefficient, at least 1.
        den: denominator of the coefficient, at least 1, coprime to `num`.
        exps: sorted pairs (symbol index, non-zero exponent); 0 to 2 are C, H, W, 3 and up the free variables.
    """

    __slots__ = ("__weakref__", "_text", "den", "exps", "has_spatial", "has_variables", "num")
    _interned: ClassVar["WeakValueDictionary[tuple[int, int, Exponents], Size]"] = WeakValueDictionary()

    num: int
    den: int
    exps: Exponents
    has_variables: bool
    has_spatial: bool
    _text: str

    @classmethod
    def of(cls, num: int, den: int, exps: Exponents) -> Self:
        """The interned size `num / den * product of symbol ** exponent`."""
        common = gcd(num, den)
        key = (num // common, den // common, exps)
        found = cls._interned.get(key)
        if found is None:
            found = super().__new__(cls)
            found.num, found.den, found.exps = key
            found.has_variables = any(symbol >= FIRST_VARIABLE for symbol, _ in exps)
            found.has_spatial = any(symbol in (H, W) for symbol, _ in exps)
            found._text = found._write()
            cls._interned[key] = found
        return found  # type: ignore[return-value]

    def __reduce__(self) -> tuple[object, ...]:
        return (Size.of, (self.num, self.den, self.exps))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __mul__(self, other: "Size") -> "Size":
        return _product(self, other)

    def __truediv__(self, other: "Size") -> "Size":
        return _quotient(self, other)

    def root(self) -> "Size | None":
        """The square root where it is a size."""
        num, den = isqrt(self.num), isqrt(self.den)
        if num * num != self.num or den * den != self.den or any(exp % 2 for _, exp in self.exps):
            return None
        return Size.of(num, den, tuple((index, exp // 2) for index, exp in self.exps))

    def inverse(self) -> "Size":
        """One over this size."""
        return _quotient(ONE, self)

    def exponent(self, symbol: int) -> int:
        """The exponent of a symbol, 0 where it is absent."""
        return next((exp for index, exp in self.exps if index == symbol), 0)

    def variables(self) -> tuple[int, ...]:
        """Indices of the free variables in it, oldest first."""
        return tuple(symbol for symbol, _ in self.exps if symbol >= FIRST_VARIABLE)

    def substitute(self, values: Mapping[int, "Size"]) -> "Size":
        """This size with some free variables replaced by sizes, which hold none of the variables replaced."""
        if not self.has_variables:
            return self
        result = self
        for index, exp in self.exps:
            if index in values:
                result = _replace(result, index, exp, values[index])
        return result

    def fraction(self, values: Mapping[int, int]) -> tuple[int, int]:
        """Numerator and denominator (not reduced) at integer values of all symbols."""
        num, den = self.num, self.den
        for symbol, exp in self.exps:
            if exp > 0:
                num *= values[symbol] ** exp
            else:
                den *= values[symbol] ** -exp
        return num, den

    def _factors(self, sign: int, names: tuple[str, ...], power: str) -> list[str]:
        coefficient = self.num if sign > 0 else self.den
        factors = [str(coefficient)] if coefficient != 1 else []
        for symbol, exp in self.exps:
            if exp * sign > 0:
                name = names[symbol] if symbol < FIRST_VARIABLE else f"x{symbol - FIRST_VARIABLE}"
                factors.append(name if abs(exp) == 1 else f"{name}{power}{abs(exp)}")
        return factors

    def __str__(self) -> str:
        return self._text

    def _write(self) -> str:
        top = "*".join(self._factors(1, SYMBOLS, "^")) or "1"
        bottom = self._factors(-1, SYMBOLS, "^")
        if not bottom:
            return top
        return f"{top}/{bottom[0]}" if len(bottom) == 1 else f"{top}/({'*'.join(bottom)})"

    def __repr__(self) -> str:
        return f"Size({self})"

    def python(self) -> str:
        """The size as a Python expression over the integers c, h, w, exact where the size is an integer."""
        names = ("c", "h", "w")
        top = " * ".join(self._factors(1, names, "**")) or "1"
        bottom = self._factors(-1, names, "**")
        if not bottom:
            return top
        return f"{top} // {bottom[0]}" if len(bottom) == 1 else f"{top} // ({' * '.join(bottom)})"


@lru_cache(maxsize=1 << 16)
def _product(left: Size, right: Size) -> Size:
    exps = dict(left.exps)
    for symbol, exp in right.exps:
        exps[symbol] = exps.get(symbol, 0) + exp
    return Size.of(left.num * right.num, left.den * right.den, _sorted(exps))


@lru_cache(maxsize=1 << 16)
def _quotient(left: Size, right: Size) -> Size:
    exps = dict(left.exps)
    for symbol, exp in right.exps:
        exps[symbol] = exps.get(symbol, 0) - exp
    return Size.of(left.num * right.den, left.den * right.num, _sorted(exps))


@lru_cache(maxsize=1 << 16)
def _replace(size: Size, index: int, exp: int, value: Size) -> Size:
    rest = Size.of(size.num, size.den, tuple(pair for pair in size.exps if pair[0] != index))
    return rest * _power(value, exp)


def _power(base: Size, exp: int) -> Size:
    result = ONE
    for _ in range(abs(exp)):
        result = result * base
    return result if exp > 0 else result.inverse()


def _sorted(exps: Mapping[int, int]) -> Exponents:
    return tuple(sorted((symbol, exp) for symbol, exp in exps.items() if exp))


def constant(value: int) -> Size:
    """The integer `value` as a size."""
    return Size.of(value, 1, ())


def symbol(index: int) -> Size:
    """The symbol with this index: C, H, W or, from `FIRST_VARIABLE` on, a free variable."""
    return Size.of(1, 1, ((index, 1),))


@lru_cache(maxsize=1 << 14)
def product(sizes: tuple[Size, ...]) -> Size:
    """Product of sizes; 1 of none."""
    result = ONE
    for size in sizes:
        result = result * size
    return result


def parse(text: str) -> Size:
    """The size that `str` wrote, such as `C/4`, `9*C^2` or `C*H/(4*W)`.

    Raises:
        FormatError: the text is no size.
    """
    if not isinstance(text, str) or len(text) > 200:
        raise FormatError(f"{shown(text)} is no size: expected a product such as 'C/4' or '9*C'")
    top, slash, bottom = text.partition("/")
    if bottom.startswith("(") and bottom.endswith(")"):
        bottom = bottom[1:-1]
    result = _parse_product(top, text)
    return result / _parse_product(bottom, text) if slash else result


def _parse_product(text: str, whole: str) -> Size:
    return product(tuple(_parse_factors(text.split("*"), whole)))


def _parse_factors(factors: Iterable[str], whole: str) -> Iterable[Size]:
    for factor in factors:
        match = _FACTOR.match(factor)
        if match is None or len(factor) > 20:
            raise FormatError(f"{whole!r} is no size: {factor!r} is neither a number nor a symbol (C, H, W, x0, ...)")
        number, name, exp = match.groups()
        if number is not None:
            if int(number) == 0:
                raise FormatError(f"{whole!r} is no size: sizes are above 0")
            yield constant(int(number))
        else:
            index = SYMBOLS.index(name) if name in SYMBOLS else FIRST_VARIABLE + int(name[1:])
            if exp is not None and not 1 <= int(exp) <= 64:
                raise FormatError(f"{whole!r} is no size: exponent {exp} is not in 1..64")
            yield _power(symbol(index), int(exp or 1))


ONE = constant(1)
CHANNELS, HEIGHT, WIDTH = symbol(C), symbol(H), symbol(W)
