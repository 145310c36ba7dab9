from pathlib import Path

import pytest

from canvas_rl.config import SearchOptions
from canvas_rl.primitives import FAMILIES
from canvas_rl.primitives.examples import examples, templates
from canvas_rl.primitives.page import page

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = page()


def test_the_page_is_up_to_date():
    assert (DOCS / "language.md").read_text() == PAGE, "run: python -m canvas_rl.primitives > docs/language.md"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.types[0].__name__)
def test_every_action_is_named(family):
    for template in templates(family, SearchOptions()):
        assert f"`{template.name}`" in PAGE


@pytest.mark.parametrize("family", FAMILIES[1:], ids=lambda family: family.types[0].__name__)
def test_every_class_has_an_example_with_code(family):
    shown = list(examples(family))
    assert {type(example.primitive) for example in shown} == set(family.types)
    assert all(any("y = " in line for line in example.code()[1]) for example in shown)
    assert all(f"| `{example.template.name}` |" in PAGE for example in shown)
