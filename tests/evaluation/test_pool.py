"""Whatever a job does, it costs one worker and a status, never the pool, and no process is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import planted_kernels
import psutil
import pytest

from canvas_rl.errors import EvaluationError
from canvas_rl.evaluation.jobs import CHECK
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.measurement import Status
from canvas_rl.evaluation.pool import Job, Outcome, WorkerPool
from canvas_rl.evaluation.subject import kernel_spec
from canvas_rl.evaluation.worker import WorkerSettings

LIMIT_S = 2.0
SETTINGS = WorkerSettings(threads=1, memory_limit=2**29)

PLANTED = {
    "endless": Status.TIMED_OUT,
    "native_hang": Status.TIMED_OUT,
    "segfault": Status.CRASHED,
    "exiting": Status.CRASHED,
    "memory_hog": Status.OUT_OF_MEMORY,
    "slow_memory_hog": Status.OUT_OF_MEMORY,
    "raising": Status.RUN_FAILED,
    "nan": Status.NOT_FINITE,
    "good": Status.OK,
}


def job(kind: str, limit_s: float = LIMIT_S) -> Job:
    payload = {
        "subject": kernel_spec(planted_kernels.Planted(kind).to_json(), planted_kernels.LOADER),
        "places": [[[4, 8, 8], 3, 1]],
        "latency": LatencyConfig().to_json(),
        "proxy": None,
        "seed": 0,
    }
    return Job(CHECK, payload, limit_s)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(processes: list[int], limit_s: float = 5.0) -> list[int]:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and any(map(alive, processes)):
        time.sleep(0.05)
    return [process for process in processes if alive(process)]


def worker_processes() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "canvas_rl.evaluation.worker" in " ".join(child.cmdline())]


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    pool = WorkerPool(2, SETTINGS)
    ended: dict[str, Outcome] = {}
    kinds = list(PLANTED)
    result = pool.run(
        [job(kind) for kind in kinds], on_outcome=lambda index, outcome: ended.setdefault(kinds[index], outcome)
    )
    assert result == list(map(ended.get, kinds))
    assert worker_processes()
    pool.close()
    assert worker_processes() == []
    return ended


@pytest.mark.parametrize(("kind", "status"), PLANTED.items())
def test_every_planted_job_ends_in_its_status_within_the_limit(
    outcomes: dict[str, Outcome], kind: str, status: Status
) -> None:
    assert outcomes[kind].status is status
    assert outcomes[kind].seconds < LIMIT_S + 5
    assert bool(outcomes[kind].message) is (status is not Status.OK)


def test_crashes_name_their_signal_or_exit_code(outcomes: dict[str, Outcome]) -> None:
    assert "SIGSEGV" in outcomes["segfault"].message
    assert "exit code 3" in outcomes["exiting"].message


def test_a_worker_killed_while_idle_is_replaced_and_blamed_on_nobody() -> None:
    pool = WorkerPool(1, SETTINGS)
    assert pool.run([job("good")])[0].status is Status.OK
    (victim,) = pool.process_ids()
    os.kill(victim, signal.SIGKILL)
    assert wait_until_gone([victim]) == []
    assert pool.run([job("good"), job("raising")])[0].status is Status.OK
    pool.close()


def test_an_interrupt_in_the_parent_ends_busy_workers_and_the_pool_goes_on() -> None:
    pool = WorkerPool(1, SETTINGS)
    pool.run([job("good")])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    processes = pool.process_ids()
    try:
        with pytest.raises(KeyboardInterrupt):
            pool.run([job("endless", 60)])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert wait_until_gone(processes) == []
    assert pool.run([job("good")])[0].status is Status.OK
    pool.close()


@pytest.mark.parametrize("kind", ["endless", "native_hang"])
def test_workers_do_not_outlive_a_killed_parent(kind: str) -> None:
    script = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "import test_pool\n"
        "from canvas_rl.evaluation.pool import WorkerPool\n"
        "pool = WorkerPool(1, test_pool.SETTINGS)\n"
        "pool.run([test_pool.job('good')])\n"
        "print(*pool.process_ids(), flush=True)\n"
        "pool.run([test_pool.job(sys.argv[2], 1.0 if sys.argv[2] == 'native_hang' else 60)])\n"
    )
    folder = str(Path(__file__).parent)
    parent = subprocess.Popen([sys.executable, "-c", script, folder, kind], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert workers
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    # The one that keeps the interpreter lock has only its last resort: the time limit and five seconds.
    assert wait_until_gone(workers, 12.0) == []


def test_a_pool_that_can_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool = WorkerPool(1, SETTINGS)
    with pytest.raises(EvaluationError, match="could not start: exit code 1"):
        pool.run([job("good")])
    assert pool.process_ids() == []
