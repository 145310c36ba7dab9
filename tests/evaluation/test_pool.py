"""Whatever a job does, it costs one worker and a status, never the pool, and no process is left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
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

HANG_S, PLENTY_S = 2.0, 120.0
"""Time limits of jobs that never end, and of all others."""
SETTINGS = WorkerSettings(threads=1, memory_limit=2**29)

PLANTED = {
    "endless": Status.TIMED_OUT,
    "prints_forever": Status.TIMED_OUT,
    "native_hang": Status.TIMED_OUT,
    "segfault": Status.CRASHED,
    "exiting": Status.CRASHED,
    "forks_and_crashes": Status.CRASHED,
    "killed": Status.CRASHED,
    "memory_hog": Status.OUT_OF_MEMORY,
    "tensor_hog": Status.OUT_OF_MEMORY,
    "hog_in_build": Status.OUT_OF_MEMORY,
    "slow_memory_hog": Status.OUT_OF_MEMORY,
    "raising": Status.RUN_FAILED,
    "nan": Status.NOT_FINITE,
    "prints": Status.OK,
    "forks": Status.OK,
    "good": Status.OK,
}


def limit_of(kind: str) -> float:
    return HANG_S if PLANTED.get(kind) is Status.TIMED_OUT else PLENTY_S


def job(kind: str, limit_s: float | None = None, log: Path | None = None) -> Job:
    planted = planted_kernels.Planted(kind, {} if log is None else {"log": str(log)})
    payload = {
        "subject": kernel_spec(planted.to_json(), planted_kernels.LOADER),
        "places": [[[4, 8, 8], 3, 1]],
        "latency": LatencyConfig().to_json(),
        "proxy": None,
        "seed": 0,
    }
    return Job(CHECK, payload, limit_of(kind) if limit_s is None else limit_s)


def logged(log: Path) -> list[int]:
    """Processes that have built a kernel, in order."""
    return [int(line.split()[0]) for line in log.read_text().splitlines()] if log.exists() else []


def left_by(workers: list[int]) -> list[int]:
    """What outlives the workers and their children by five seconds: each worker leads a process group."""
    found = []
    for process in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getpgid(process) in workers:
                found.append(process)
    return wait_until_gone(found)


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
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    log = tmp_path_factory.mktemp("pool") / "log"
    pool = WorkerPool(2, SETTINGS)
    ended: dict[str, Outcome] = {}
    kinds = list(PLANTED)
    result = pool.run(
        [job(kind, log=log) for kind in kinds],
        on_outcome=lambda index, outcome: ended.setdefault(kinds[index], outcome),
    )
    assert result == list(map(ended.get, kinds))
    assert worker_processes()
    pool.close()
    assert worker_processes() == []
    assert len(set(logged(log))) > len(PLANTED) / 2
    assert left_by(logged(log)) == []
    return ended


@pytest.mark.parametrize(("kind", "status"), PLANTED.items())
def test_every_planted_job_ends_in_its_status_within_the_limit(
    outcomes: dict[str, Outcome], kind: str, status: Status
) -> None:
    assert outcomes[kind].status is status
    assert outcomes[kind].seconds < limit_of(kind) + 5
    assert bool(outcomes[kind].message) is (status is not Status.OK)


def test_crashes_name_their_signal_or_exit_code(outcomes: dict[str, Outcome]) -> None:
    assert "SIGSEGV" in outcomes["segfault"].message
    assert "exit code 3" in outcomes["exiting"].message
    assert "SIGKILL" in outcomes["killed"].message


def test_a_crash_shows_at_once_even_if_a_child_holds_the_pipe(outcomes: dict[str, Outcome]) -> None:
    assert "SIGABRT" in outcomes["forks_and_crashes"].message
    assert outcomes["forks_and_crashes"].seconds < PLENTY_S / 4


def test_a_worker_prints_to_nowhere_leaves_no_core_and_goes_first_where_memory_runs_out() -> None:
    pool = WorkerPool(1, SETTINGS)
    assert pool.run([job("prints")])[0].status is Status.OK
    (worker,) = pool.process_ids()
    open_files = [os.readlink(path) for path in Path(f"/proc/{worker}/fd").iterdir()]
    assert [os.readlink(f"/proc/{worker}/fd/{number}") for number in (1, 2)] == [os.devnull] * 2
    assert not [name for name in open_files if "deleted" in name]
    assert psutil.Process(worker).rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert Path(f"/proc/{worker}/oom_score_adj").read_text().strip() == "1000"
    pool.close()


def test_a_worker_that_keeps_much_memory_is_replaced_before_the_next_job_needs_it(tmp_path: Path) -> None:
    pool = WorkerPool(1, SETTINGS)
    outcomes = pool.run([job(kind, log=tmp_path / "log") for kind in ("keeps", "good", "good")])
    pool.close()
    assert [outcome.status for outcome in outcomes] == [Status.OK] * 3
    first, second, third = logged(tmp_path / "log")
    assert first != second == third


@pytest.mark.parametrize("kind", ["slow_memory_hog", "tensor_hog"])
def test_resident_memory_is_watched_where_the_address_space_has_no_limit(kind: str) -> None:
    pool = WorkerPool(1, replace(SETTINGS, limit_address_space=False))
    outcomes = pool.run([job(kind), job("good")])
    assert [outcome.status for outcome in outcomes] == [Status.OUT_OF_MEMORY, Status.OK]
    pool.close()


def test_a_kernel_is_blamed_when_three_workers_were_killed(tmp_path: Path) -> None:
    pool = WorkerPool(1, SETTINGS)
    outcomes = pool.run([job("killed", log=tmp_path / "log"), job("good")])
    assert [outcome.status for outcome in outcomes] == [Status.CRASHED, Status.OK]
    assert len(set(logged(tmp_path / "log"))) == len(logged(tmp_path / "log")) == 3
    pool.close()


def test_a_worker_killed_from_outside_costs_no_kernel_its_verdict(tmp_path: Path) -> None:
    pool = WorkerPool(1, SETTINGS)
    log = tmp_path / "log"

    def kill() -> None:
        while not pool.process_ids():
            time.sleep(0.01)
        os.kill(pool.process_ids()[0], signal.SIGKILL)  # still importing torch
        while not logged(log):
            time.sleep(0.01)
        os.kill(logged(log)[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    outcomes = pool.run([job("slow", log=log), job("good"), job("raising")])
    assert [outcome.status for outcome in outcomes] == [Status.OK, Status.OK, Status.RUN_FAILED]
    assert len(set(logged(log))) == 2
    killer.join(5)
    pool.close()


def test_workers_that_are_always_killed_at_the_start_end_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["sh", "-c", "kill -9 $$"]
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, **options: start(command, **options))
    pool = WorkerPool(1, SETTINGS)
    with pytest.raises(EvaluationError, match="10 worker processes in a row were killed"):
        pool.run([job("good")])
    assert pool.process_ids() == []


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
    assert wait_until_gone(workers, 20.0) == []


def test_a_pool_that_can_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool = WorkerPool(1, SETTINGS)
    with pytest.raises(EvaluationError, match="could not start: exit code 1"):
        pool.run([job("good")])
    assert pool.process_ids() == []
