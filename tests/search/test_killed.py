"""Killing any process of a running search, at random moments, loses no finished measurement.

A measurement is finished when it is in the store. The number of kills comes from the environment variable
`CANVAS_RL_KILLS`, 4 if there is none: `CANVAS_RL_KILLS=20 pytest -s tests/search/test_killed.py` is the long version.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from test_train import SPACE

KILLS = int(os.environ.get("CANVAS_RL_KILLS", "4"))
LONGEST_PAUSE_S = 3.0 if KILLS < 10 else 10.0  # the longer ones leave time to measure something
LIMIT_S = 180.0
COMMAND = [sys.executable, "-m", "canvas_rl.train"]
ENDLESS = ["--evaluations", "100000", "--time-limit", "none", "--model", "resnet8", "--workers", "2", *SPACE]
ENDLESS += ["--agent", "random", "--agent-options", "kernels_per_round=3"]


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class RunningSearch:
    """A search on the command line, of which any process can be killed; it is resumed if it was the first."""

    def __init__(self, folder: Path, data: list[str]) -> None:
        self.folder, self.seen = folder, set()
        self._log = folder.with_suffix(".log")
        self.start("--run-dir", str(folder), *ENDLESS, *data)

    def close(self) -> None:
        """End it, should the test have failed."""
        self.main.kill()
        self.main.wait()

    def start(self, *arguments: str) -> None:
        with self._log.open("ab") as log:
            self.main = subprocess.Popen([*COMMAND, *arguments], stdout=log, stderr=log)

    def resume(self, *arguments: str) -> None:
        self.start("--resume", "--run-dir", str(self.folder), *arguments)

    def processes(self) -> list[psutil.Process]:
        """The search's own first, then its workers."""
        assert self.main.poll() is None, self._log.read_text()
        main = psutil.Process(self.main.pid)
        found = [main, *filter(alive, main.children(recursive=True))]
        self.seen.update(found)
        return found

    def stored(self) -> dict[int, tuple[str, str, str]]:
        """Kernel, status and measurement of the store's rows, by their ids."""
        query = "select id, kernel, status, measurement from measurements"
        with closing(sqlite3.connect(self.folder / "search.sqlite", timeout=30)) as store:
            return {number: row for number, *row in store.execute(query)}

    def wait_for_first(self) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not ((self.folder / "config.json").exists() and self.stored()):
            assert time.monotonic() < deadline, self._log.read_text()
            self.processes()
            time.sleep(0.1)

    def kill(self, victim: psutil.Process) -> None:
        self.processes()
        victim.kill()
        if victim.pid == self.main.pid:
            self.main.wait()
            self.wait_until_gone()

    def finish(self, evaluations: int) -> None:
        self.resume("--evaluations", str(evaluations))
        while self.main.poll() is None:
            self.seen.update(psutil.Process(self.main.pid).children(recursive=True))
            time.sleep(0.2)
        assert self.main.returncode == 0, self._log.read_text()
        self.wait_until_gone()

    def wait_until_gone(self) -> None:
        """Workers notice within a second that the search is gone, or when they have imported torch."""
        deadline = time.monotonic() + 60
        while any(map(alive, self.seen)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not list(filter(alive, self.seen))


@pytest.fixture
def search(tmp_path, data):
    with closing(RunningSearch(tmp_path / "run", data)) as running:
        yield running


def test_killing_any_process_at_random_loses_no_finished_measurement(search):
    chance = random.Random(0)
    search.wait_for_first()
    finished = {}
    for number in range(1, KILLS + 1):
        time.sleep(chance.uniform(0, LONGEST_PAUSE_S))
        processes = search.processes()
        victim = chance.choice(processes) if number < KILLS else processes[0]
        finished |= search.stored()
        search.kill(victim)
        stored = search.stored()
        assert finished.items() <= stored.items()
        what = "the search" if victim is processes[0] else "a worker"
        print(f"kill {number}: {what} ({len(processes)} processes), {len(finished)} measurements before and after")
        if victim is processes[0] and number < KILLS:
            search.resume()
    evaluations = len({kernel for kernel, _, _ in stored.values()}) + 2
    search.finish(evaluations)

    stored = search.stored()
    assert finished.items() <= stored.items()
    # No kernel is blamed for what happened to its worker.
    assert "crashed" not in {status for _, status, _ in stored.values()}
    state = json.loads((search.folder / "state.json").read_text())
    assert len(state["asked"]) == evaluations
    assert set(state["asked"]) == {kernel for kernel, _, _ in stored.values()}
    assert not [path for path in search.folder.rglob(".*")]
    print(f"{evaluations} evaluations, each once in the store; {len(search.seen)} processes, of which none is left")
