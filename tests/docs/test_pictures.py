import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_pictures_are_up_to_date():
    for name, text in runpy.run_path(str(DOCS / "pictures.py"))["pictures"]().items():
        assert (DOCS / "images" / name).read_text() == f"{text}\n", f"{name}: run python docs/pictures.py"


def test_every_picture_is_shown():
    pages = "".join(page.read_text() for page in DOCS.rglob("*.md"))
    assert all(f"images/{picture.name}" in pages for picture in (DOCS / "images").iterdir())
