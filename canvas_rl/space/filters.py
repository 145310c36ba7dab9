"""Filters: comma-separated prefixes of primitive names."""

from dataclasses import dataclass

from canvas_rl.config import SearchOptions
from canvas_rl.errors import ConfigError, EmptySpaceError
from canvas_rl.primitives import FAMILIES
from canvas_rl.registry import did_you_mean

STRUCTURAL = frozenset({"Input", "Output"})


@dataclass(frozen=True)
class FamilyRules:
    """Which families a search may use, and which it must.

    Attributes:
        enabled: families that may be used, Input and Output left out.
        necessary: for each necessary filter entry, the enabled families that satisfy it.
    """

    enabled: frozenset[str]
    necessary: tuple[tuple[str, frozenset[str]], ...]


def primitive_names() -> tuple[str, ...]:
    """Names of all primitives, as filters know them."""
    return tuple(name for family in FAMILIES for name in family.names)


def match(entry: str, option: str) -> frozenset[str]:
    """Primitive names that begin with `entry`, whatever its case; exactly the name where one has it.

    Raises:
        ConfigError: no primitive's name begins so.
    """
    found = frozenset(name for name in primitive_names() if name.lower().startswith(entry.lower()))
    if not found:
        hint = did_you_mean(entry, [name.lower()[: max(len(entry), 2)] for name in primitive_names()])
        raise ConfigError(
            f"{option} has {entry!r}: no primitive's name begins so; "
            f"expected prefixes of {', '.join(primitive_names())}.{hint}"
        )
    return found


def split(text: str, option: str) -> tuple[str, ...]:
    """The entries of a filter.

    Raises:
        ConfigError: an empty entry, as in `fc,,bmm`.
    """
    if not text.strip():
        return ()
    entries = tuple(entry.strip() for entry in text.split(","))
    if not all(entries):
        raise ConfigError(f"{option} is {text!r}: there is an empty entry between commas")
    return entries


def family_rules(options: SearchOptions) -> FamilyRules:
    """Resolve the three filters of a search space.

    Raises:
        ConfigError: an entry that matches no primitive.
        EmptySpaceError: filters that contradict each other.
    """
    allowed = _union(options.allowed_filter, "allowed_filter") or frozenset(primitive_names())
    forbidden = _union(options.forbidden_filter, "forbidden_filter")
    for name in sorted(forbidden & STRUCTURAL):
        raise EmptySpaceError(
            f"forbidden_filter {options.forbidden_filter!r} forbids {name}, which every kernel has: leave it out"
        )
    enabled = allowed - forbidden - STRUCTURAL
    if not enabled:
        raise EmptySpaceError(
            f"allowed_filter {options.allowed_filter!r} and forbidden_filter {options.forbidden_filter!r} "
            "leave no primitive"
        )
    necessary = []
    for entry in split(options.necessary_filter, "necessary_filter"):
        matched = match(entry, "necessary_filter")
        if matched & STRUCTURAL:
            continue
        if not matched & enabled:
            against = "forbidden_filter" if matched & forbidden else "allowed_filter"
            value = getattr(options, against)
            raise EmptySpaceError(
                f"necessary_filter asks for {entry!r}, which {against} {value!r} rules out: change one of them"
            )
        necessary.append((entry, matched & enabled))
    return FamilyRules(enabled, tuple(necessary))


def _union(text: str, option: str) -> frozenset[str]:
    return frozenset().union(*(match(entry, option) for entry in split(text, option)))
