"""Templates filled: one self-contained file of HTML."""

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from canvas_rl.report import wording

_FILTERS = ("times", "percent", "share", "number", "count", "plural", "duration", "moment")


def render(template: str, **values: Any) -> str:
    """A page from a template of this package; texts are escaped.

    Args:
        template: name of its file.
        values: what it may name.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    loader = PackageLoader("canvas_rl.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update({name: getattr(wording, name) for name in _FILTERS})
    environment.globals["asset"] = _asset
    return environment


def _asset(name: str) -> str:
    """The text of a style sheet or script of ours, for the page to contain."""
    return (files("canvas_rl.report") / "templates" / name).read_text(encoding="utf-8")
