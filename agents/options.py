"""Checks of agents' options."""

from math import inf
from typing import Any

from canvas_rl.errors import ConfigError


def require_positive(config: Any, *names: str) -> None:
    """Refuse numbers below 1, and those that are no finite number.

    Raises:
        ConfigError: names the option and its value.
    """
    for name in names:
        if not 1 <= getattr(config, name) < inf:
            raise ConfigError(f"{name} is {getattr(config, name)}: expected at least 1")


def require_not_negative(config: Any, *names: str) -> None:
    """Refuse numbers below 0, and those that are no finite number.

    Raises:
        ConfigError: names the option and its value.
    """
    for name in names:
        if not 0 <= getattr(config, name) < inf:
            raise ConfigError(f"{name} is {getattr(config, name)}: expected at least 0")


def require_share(config: Any, *names: str) -> None:
    """Refuse numbers that are not from 0 to 1.

    Raises:
        ConfigError: names the option and its value.
    """
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ConfigError(f"{name} is {getattr(config, name)}: expected a number from 0 to 1")


def require_above(config: Any, least: float, *names: str) -> None:
    """Refuse numbers that are not above a bound, and infinity.

    Raises:
        ConfigError: names the option and its value.
    """
    for name in names:
        if not least < getattr(config, name) < inf:
            raise ConfigError(f"{name} is {getattr(config, name)}: expected a number above {least:g}")
