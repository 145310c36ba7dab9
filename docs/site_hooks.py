"""What the site needs beyond docs/: the changelog, the contributor's guide and recorded pictures, from where they are.

Links in all of them are written for a code host, where the pages are read too; here they are made to fit the site.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
PICTURES = "experiments/results"
_LINK = re.compile(r"\]\(((?:\.\./)*)([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside docs/."""
    for name, source in PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    for picture in sorted((ROOT / PICTURES).rglob("*.png")):
        files.append(File.generated(config, f"results/{_below(picture)}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links of the site."""
    up = "../" * page.file.src_uri.count("/")
    return _LINK.sub(
        lambda match: f"]({up}{target(*match.groups())})" if is_outside(match, page) else match[0], markdown
    )


def is_outside(match: re.Match[str], page: Page) -> bool:
    """Whether a link leaves docs/, or comes from a page that lies outside it."""
    climbs, path = match[1].count("../"), match[2]
    if not path or ":" in path:
        return False
    return page.file.src_uri in PAGES or climbs > page.file.src_uri.count("/")


def target(_: str, path: str, anchor: str | None) -> str:
    """Where a path from the repository's root is on the site; unknown ones stay as they are, for the strict check."""
    known = {source: name for name, source in PAGES.items()}
    name = known.get(path, path.removeprefix("docs/"))
    return name.replace(PICTURES, "results", 1) + (anchor or "")


def _below(picture: Path) -> str:
    return picture.relative_to(ROOT / PICTURES).as_posix()
