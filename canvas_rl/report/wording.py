"""Figures and dates in words for people."""

from datetime import datetime

_UNITS = ("", "k", "M", "G", "T", "P")
NOTHING = "–"


def times(value: float | None) -> str:
    """A ratio: `5.93×`."""
    return NOTHING if value is None else f"{value:.3g}×" if value < 100 else f"{value:.0f}×"


def percent(value: float | None, digits: int = 1) -> str:
    """A share: `97.4%`."""
    return NOTHING if value is None else f"{value:.{digits}%}"


def share(value: float | None) -> str:
    """A part of something else: `12.6%`, or `8.7×` where it is more."""
    return percent(value) if value is None or value < 2 else times(value)


def number(value: float | None, digits: int = 3) -> str:
    """A figure with a fixed number of decimals."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """A large number in short: `40.6M`."""
    if value is None:
        return NOTHING
    for unit in _UNITS[:-1]:
        if abs(value) < 999.5:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}{_UNITS[-1]}"


def plural(number: int, noun: str) -> str:
    """`1 kernel`, `1,200 kernels`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """`45 s`, `8 min`, `2 h 5 min`."""
    if seconds is None:
        return NOTHING
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def moment(value: datetime | None) -> str:
    """A time in UTC to the minute."""
    return NOTHING if value is None else f"{value:%Y-%m-%d %H:%M} UTC"
