"""Links work on a code host too; the site has every page; the interface page has every public name."""

import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from code_blocks import PAGES, ROOT

import canvas_rl
from canvas_rl.registry import load_object

DOCS = ROOT / "docs"
ALL = [*PAGES, ROOT / "CHANGELOG.md"]
OBJECTS = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def _text(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> set[str]:
    """Anchors as code hosts and the site make them of headings."""
    headings = re.findall(r"^#+ (.+)$", _text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in _LINK.findall(_text(page)):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        if target in (DOCS / "contributing.md", DOCS / "changelog.md"):  # on the site; here they lie further up
            target = ROOT / f"{target.stem.upper()}.md"
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


def test_the_site_has_every_page():
    nav = str(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert all(f"'{page.relative_to(DOCS).as_posix()}'" in nav for page in DOCS.rglob("*.md"))


def test_the_site_loads_nothing_from_elsewhere():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert config["theme"]["font"] is False
    assert "mermaid" not in "".join(page.read_text() for page in DOCS.rglob("*.md"))  # the theme fetches its script


@pytest.mark.parametrize("name", OBJECTS)
def test_what_the_interface_page_names_exists(name):
    module, _, attribute = name.rpartition(".")
    assert load_object(f"{module}:{attribute}").__doc__


def test_the_interface_page_has_every_public_name():
    named = {name.rpartition(".")[2] for name in OBJECTS}
    assert {name for name in canvas_rl.__all__ if not name.startswith("_")} <= named
