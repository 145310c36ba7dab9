"""The README's Python blocks that need no run of yours are run as they stand."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
RUNNABLE = [block for block in BLOCKS if "MyModel" not in block]


def test_blocks_are_found():
    assert len(RUNNABLE) == 3
    assert "PLACEHOLDER" not in README


@pytest.mark.parametrize("block", RUNNABLE)
def test_block_runs(block, capsys):
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out
