"""The kernel language as a page of documentation, made from the primitives themselves."""

import inspect
import json
from collections.abc import Iterable, Iterator

from canvas_rl.config import SearchOptions
from canvas_rl.primitives import FAMILIES, Family
from canvas_rl.primitives.examples import Example, examples, reasons, templates
from canvas_rl.primitives.receptive import GLOBAL, Field
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.size import Size

_INTRODUCTION = """# The kernel language

Every primitive, what it does to shapes, what it costs and the PyTorch code that it becomes. All of it is computed from
the primitives themselves ([concepts](concepts.md) says what the words mean, [design](design.md) why the language is as
it is, [canonical](canonical.md) what is masked although it would be legal).

- A shape such as `[C, KH=3, H, W]` lists the dims of group 0, then those of group 1, without the batch. `C`, `H` and
  `W` are those of the site, `x0` is a **free size**, chosen when the kernel ends. A group is channel-like (`G`, `C`,
  `KH`, `KW`) or spatial-like (`H`, `W`); `0.C` is dim C of group 0.
- The tables apply actions to the kernel's input `[C, H, W]`, or where nothing of a family is legal there to other
  tensors, at 2-D sites, with windows of 3, steps of 1 and 4 groups. Other windows, dilations and steps differ only in
  the number. FLOPs are of one sample: 2 for a multiply-add, 1 for another elementary operation.
- "Must hold" is what the mask makes sure of at every site, beside the budgets and what the search options ask for.
  Where two sizes must be equal, one free size in them may be solved for.
- "Sees" is the bounding box of the input pixels that one element depends on; "all" is every pixel.
- In code, `x` is the operand (`a` and `b` are two), `y` the result, `c`, `h`, `w` the site's sizes and `n` the batch.
- A program also has `push(i)`, which pushes tensor i again and costs nothing, and ends with `output(f)`: free sizes are
  filled as far as budgets and constraints allow, times f.

This page is made by `python -m canvas_rl.primitives`."""

_LINES = 12


def page() -> str:
    """The page in Markdown: how to read it, a table of families, a section for each."""
    lines = [
        _INTRODUCTION,
        "",
        "| section | names in filters | actions | learned weights |",
        "| --- | --- | ---: | --- |",
    ]
    lines += [_overview(family) for family in FAMILIES]
    for family in FAMILIES:
        lines += ["", *_section(family)]
    return "\n".join(lines) + "\n"


def _title(family: Family) -> str:
    return " and ".join(kind.__name__ for kind in family.types)


def _names(family: Family) -> tuple[str, ...]:
    """What filters call the primitives of a family; Input and Output have no actions of their own."""
    found = dict.fromkeys(template.family for template in templates(family, SearchOptions()))
    return tuple(found) or tuple(kind.__name__ for kind in family.types)


def _overview(family: Family) -> str:
    title, actions = _title(family), templates(family, SearchOptions())
    weighted = "yes" if any(template.weighted for template in actions) else "no"
    link = f"[{title}](#{title.lower().replace(' ', '-')})"
    return f"| {link} | {', '.join(f'`{name}`' for name in _names(family))} | {len(actions)} | {weighted} |"


def _section(family: Family) -> Iterator[str]:
    yield from (f"## {_title(family)}", "")
    for kind in family.types:
        yield from (*_description(kind, named=len(family.types) > 1), "")
    shown = list(examples(family))
    if not shown:
        return
    yield from (*_table(shown), "")
    said = reasons(family)
    if said:
        yield from ("Not legal, in the words of the shape rules:", "", *(f"- {reason}" for reason in said), "")
    yield from (*_code(shown), "")
    yield from (f"In a saved kernel: `{json.dumps(shown[0].primitive.to_json())}`.", "")
    yield from _actions(family)


def _description(kind: type, named: bool) -> Iterator[str]:
    """The docstring of a primitive: its text, its arguments as a list."""
    text, _, arguments = (inspect.getdoc(kind) or "").partition("\n\nArgs:\n")
    yield f"**{kind.__name__}**: {text}" if named else text
    if arguments:
        yield ""
    for line in arguments.splitlines():
        indent, stripped = len(line) - len(line.lstrip()), line.strip()
        name, _, meaning = stripped.partition(": ")
        yield f"- `{name}`: {meaning}" if indent == 4 else f"  {stripped}"


def _table(shown: list[Example]) -> Iterator[str]:
    yield "| action | operands | result | must hold | weights | FLOPs | sees |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for example in shown:
        cells = (
            _quoted([example.template.name]),
            _quoted(map(str, example.inputs)),
            _quoted([str(example.typed.shape)]),
            _conditions(example),
            _quoted(f"[{', '.join(map(str, weight.sizes))}]" for weight in example.primitive.weights(example.inputs)),
            _sum(example.primitive.flops(example.inputs, example.typed.shape)),
            _sees(example),
        )
        yield f"| {' | '.join(cells)} |"


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(f"`{text}`" for text in texts)


def _conditions(example: Example) -> str:
    equal = example.primitive.equation(example.inputs)
    solved = [] if equal is None else [f"`{equal[0]}` = `{equal[1]}`"]
    return "; ".join(dict.fromkeys(filter(None, (*solved, *map(_condition, example.typed.constraints)))))


def _condition(constraint: Constraint) -> str:
    """What a constraint asks for; empty where every site meets it."""
    size = constraint.size
    whole = size.den == 1 and all(exponent > 0 for _, exponent in size.exps)
    if constraint.least > 1:
        return f"`{size}` ≥ {constraint.least}" if whole else f"`{size}` an integer ≥ {constraint.least}"
    return "" if whole else f"`{size}` an integer"


def _sum(sizes: tuple[Size, ...]) -> str:
    return f"`{' + '.join(map(str, sizes))}`" if sizes else "0"


def _sees(example: Example) -> str:
    field = example.primitive.receptive((Field(),) * len(example.inputs), example.inputs)
    spans = (field.bottom - field.top + 1, field.right - field.left + 1)
    text = "×".join("all" if span > GLOBAL else str(span) for span in spans)
    return f"{text}, moved" if field.top + field.bottom or field.left + field.right else text


def _code(shown: list[Example]) -> Iterator[str]:
    """The code of the first actions, as many as have room."""
    lines: list[str] = []
    for example in shown:
        init, forward = example.code()
        block = [f"# {example.template.name}", *init, *forward]
        if lines and len(lines) + len(block) > _LINES and not (len(block) == 2 and len(lines) < 2 * _LINES):
            break
        lines += block
    where = " (what comes before `y` is the module's constructor's)" if shown[0].code()[0] else ""
    yield from (f"In PyTorch{where}:", "", "```text", *lines, "```")


def _actions(family: Family) -> Iterator[str]:
    found = templates(family, SearchOptions())
    names = " ".join(f"`{template.name}`" for template in found)
    summary = f"All {len(found)} actions with default options" if len(found) > 1 else "The action"
    yield from ('<details markdown="1">', f"<summary>{summary}</summary>", "", names, "", "</details>")
