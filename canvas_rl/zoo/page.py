"""The zoo as a page of documentation."""

from collections.abc import Iterator

from canvas_rl.zoo.loading import OPERATORS
from canvas_rl.zoo.operator import Operator

_INTRODUCTION = """# The zoo

Operators that people designed by hand, as programs of the kernel language. Where the language has no exact word for
what a paper does, the description says what is done here; a matrix product (`bmm`) is always divided by the square root
of the size it contracts, and `fold(...,avg)` averages where papers add up. Windows are those of 2-D sites; at 1-D sites
3x3 is 3.

`canvas_rl.zoo.load(name)` gives an operator's kernel graph, `canvas_rl.zoo.pack(name)` its module class and source,
`canvas_rl.zoo.program(name)` the actions to replay in a search space of yours, `canvas_rl.zoo.build(name, space)` the
kernel that they make there. `python -m canvas_rl.train --warm-start NAME ...` evaluates operators before a search.

Widths are written as at sites without narrower budgets: `output(1/4)` makes free sizes a quarter of what the
constraints and budgets allow. "Needs" lists search options that are not the defaults.

This page is made by `python -m canvas_rl.zoo`."""


def page() -> str:
    """The page in Markdown: what the zoo is, a table of its operators, their programs."""
    table = ["| name | what it does | published | dims |", "| --- | --- | --- | --- |"]
    table += [f"| `{o.name}` | {o.description} | {o.reference} | {_dims(o)} |" for o in OPERATORS.values()]
    programs = [line for operator in OPERATORS.values() for line in _programs(operator)]
    return "\n".join([_INTRODUCTION, "", *table, "", "## Programs", *programs]) + "\n"


def _dims(operator: Operator) -> str:
    return ", ".join(f"{dims}-D" for dims in sorted(operator.dims, reverse=True))


def _programs(operator: Operator) -> Iterator[str]:
    yield from ("", f"### {operator.name}", "")
    for dims in sorted(operator.dims, reverse=True):
        yield f"- {dims}-D: `{' '.join(operator.program(dims))}`"
    if operator.needs:
        yield f"- Needs {', '.join(f'{name}={value}' for name, value in operator.needs.items())}."
