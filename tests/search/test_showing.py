"""What is shown of a search while it runs."""

import io
from collections import Counter

from rich.console import Console

from canvas_rl.study.board import Board
from canvas_rl.study.progress import SearchProgress


def test_skipped_kernels_are_no_failures(tmp_path, monkeypatch):
    board = Board(tmp_path)
    shown = {}
    monkeypatch.setattr(board, "scalar", lambda name, value, step: shown.__setitem__(name, value))
    board.counts(Counter(ok=2, skipped=5, crashed=3, not_finite=1), 0, 0, 11)
    board.close()
    assert shown["search/failures"] == 4
    assert shown["search/skipped"] == 5
    assert {name for name in shown if name.startswith("failures/")} == {"failures/crashed", "failures/not_finite"}


def test_the_bar_tells_how_many_were_skipped_if_any_were():
    lines = []
    for skipped in (0, 7):
        console = Console(file=io.StringIO(), width=120)
        with SearchProgress(20, console=console) as bar:
            bar.update(9, 3.0, 60.0, None, skipped)
        lines.append(console.file.getvalue())
    assert "skipped" not in lines[0]
    assert "· 7 skipped · best none yet" in lines[1]
