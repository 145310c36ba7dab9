"""The code on a page: fenced blocks with the comment before them, and commands quoted in the text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
OUTPUT = "text"
"""The language of blocks that are no code but what code printed."""
_COMMENT = re.compile(r"<!-- (file|run|not run)(?:: (.+?))? -->")


@dataclass(frozen=True)
class Block:
    """A block of code, or a command quoted in the text.

    Attributes:
        page: the page's file.
        line: where its code begins, from 1.
        language: what the fence says; `quoted` for a command in the text.
        code: the text.
        order: `file`, `run` or `not run` of the comment before it; or empty.
        argument: a file's name, or the reason not to run the block.
    """

    page: Path
    line: int
    language: str
    code: str
    order: str = ""
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """All blocks of a page, in order; an indented one has no language."""
    order = argument = ""
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "html_block" and (comment := _COMMENT.search(token.content)):
            order, argument = comment[1], comment[2] or ""
        elif token.type in ("fence", "code_block"):
            yield Block(page, line + 1, token.info.strip(), token.content, order, argument)
            order = argument = ""
        for child in token.children or ():
            if child.type == "code_inline" and child.content.startswith("python "):
                yield Block(page, line, "quoted", child.content)
