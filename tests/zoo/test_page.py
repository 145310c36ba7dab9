from pathlib import Path

from canvas_rl import zoo
from canvas_rl.zoo.page import page

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_up_to_date():
    assert (DOCS / "zoo.md").read_text() == page(), "run: python -m canvas_rl.zoo > docs/zoo.md"


def test_the_page_has_every_operator_with_its_programs():
    for name in zoo.names():
        assert page().count(f"\n### {name}\n") == page().count(f"\n| `{name}` |") == 1
        for dims in zoo.operator(name).dims:
            assert f"- {dims}-D: `{' '.join(zoo.program(name, dims))}`" in page()
