"""A pool of isolated workers: jobs with limits on time and memory, of which none can harm the search."""

import atexit
import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

from canvas_rl.errors import EvaluationError
from canvas_rl.evaluation.measurement import Status
from canvas_rl.evaluation.worker import READY, WorkerSettings

_LOGGER = logging.getLogger(__name__)
_START_LIMIT_S = 180.0
_POLL_S = 0.1
_JOBS_PER_WORKER = 500
_ATTEMPTS = 3
_STARTS = 10
_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP}
"""Exit codes of a worker that somebody else has killed, most likely: an administrator, or Linux out of memory."""


@dataclass(frozen=True)
class Job:
    """One call of a `module:function` in a worker.

    Args:
        function: takes the payload and the worker's cache, returns plain data.
        payload: plain data.
        limit_s: wall-clock seconds until the worker is killed.
    """

    function: str
    payload: dict[str, Any]
    limit_s: float


@dataclass(frozen=True)
class Outcome:
    """How a job ended; `value` is empty unless it ended well."""

    status: Status
    message: str = ""
    value: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    from_outside: bool = False
    """whether the worker was killed by a signal that kernels don't cause"""


class _Worker:
    """One process and the parent's end of its pipe."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        self.connection, theirs = Pipe()
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from canvas_rl.evaluation.worker import main; main({theirs.fileno()})"],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env=os.environ | {"PYTHONPATH": path},
            start_new_session=True,
        )
        theirs.close()
        with contextlib.suppress(OSError):  # one that died at once shows when it should be ready
            self.connection.send(settings)
        self.ready = False
        self.job: int | None = None
        self.jobs_done = 0
        self._deadline = time.monotonic() + _START_LIMIT_S
        self._started_at = 0.0
        self._first_memory = self._idle_memory = 0

    def confirm(self) -> bool:
        """Take the message that the worker is ready; whether it came.

        Raises:
            EvaluationError: the worker ended by itself instead.
        """
        try:
            self.ready = self.connection.recv() == READY
        except (EOFError, OSError):
            why = self._last_error()
            if self._process.returncode not in _FROM_OUTSIDE:
                raise EvaluationError(f"a worker process could not start: {why}") from None
        self._first_memory = self._memory()
        return self.ready

    @property
    def idle(self) -> bool:
        """Whether it waits for a job."""
        return self.ready and self.job is None

    @property
    def alive(self) -> bool:
        """Whether the process runs; one that was killed may keep threads for a while before it can be waited for."""
        return self._process.poll() is None and not self._dying()

    @property
    def process_id(self) -> int:
        """The process's id, which is its group's too."""
        return self._process.pid

    def start(self, index: int, job: Job) -> None:
        """Send a job."""
        self.job = index
        self._started_at = time.monotonic()
        self._deadline = self._started_at + job.limit_s
        self._idle_memory = self._memory()  # libraries and data that earlier jobs have loaded are not this one's
        with contextlib.suppress(OSError):  # a dead worker shows when its answer is read
            self.connection.send((job.function, job.payload, job.limit_s))

    def receive(self) -> tuple[Outcome, bool]:
        """The job's outcome, and whether the worker can go on."""
        seconds = time.monotonic() - self._started_at
        try:
            reply = self.connection.recv()
        except (EOFError, OSError):
            return self._crashed(seconds), False
        self.jobs_done += 1
        self.job = None
        outcome = Outcome(Status(reply["status"]), reply["message"], reply["value"], reply["seconds"])
        kept = self._memory() - self._first_memory
        full = self.jobs_done >= _JOBS_PER_WORKER or kept > self._settings.memory_limit / 2
        return outcome, not reply["poisoned"] and not full

    def overrun(self) -> Outcome | None:
        """What limit the worker has broken, or how it died; None if neither."""
        now = time.monotonic()
        seconds = now - self._started_at
        # Where a kernel's child holds the other end of the pipe, the pipe does not tell of the worker's death.
        if self.job is not None and not self.alive and not self.connection.poll():
            return self._crashed(seconds)
        if now > self._deadline:
            if not self.ready:
                raise EvaluationError(f"a worker process did not start within {_START_LIMIT_S:.0f} s")
            return Outcome(Status.TIMED_OUT, f"it ran past the time limit ({seconds:.1f} s)", seconds=seconds)
        if self.job is not None and self._memory() > self._idle_memory + self._settings.memory_limit:
            limit = self._settings.memory_limit / 2**20
            return Outcome(Status.OUT_OF_MEMORY, f"it took more than {limit:.0f} MiB of memory", seconds=seconds)
        return None

    def kill(self) -> None:
        """End the process and everything that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.connection.close()
        self._errors.close()

    def _dying(self) -> bool:
        try:
            state = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return False  # the system does not tell
        return state in ("Z", "X")

    def _memory(self) -> int:
        """Resident bytes, without pages of files such as libraries; 0 where the system does not tell."""
        try:
            pages = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()
        except OSError:
            return 0
        return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGESIZE")

    def _crashed(self, seconds: float) -> Outcome:
        message = f"its worker process {self._cause_of_death()}"
        from_outside = self._process.returncode in _FROM_OUTSIDE
        return Outcome(Status.CRASHED, message, seconds=seconds, from_outside=from_outside)

    def _cause_of_death(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        code = self._process.returncode
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def _last_error(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"


class WorkerPool:
    """Runs jobs in up to `size` worker processes, which start when first needed.

    A job that crashes, hangs or takes too much memory costs its worker, which is replaced. A job whose worker is killed
    from outside is begun anew, up to three times in all. `close` ends all workers; so does the end of this process,
    however it comes about.
    """

    def __init__(self, size: int, settings: WorkerSettings) -> None:
        self._size = size
        self._settings = settings
        self._workers: list[_Worker] = []
        self._killed_starts = 0
        atexit.register(self.close)

    def run(
        self,
        jobs: Sequence[Job],
        parallel: int | None = None,
        on_outcome: Callable[[int, Outcome], None] | None = None,
    ) -> list[Outcome]:
        """Run jobs, at most `parallel` at once (None: one a worker), and wait for all.

        Args:
            jobs: what to run.
            parallel: 1 leaves the machine to each job alone.
            on_outcome: called with a job's index and outcome as soon as it ends.

        Raises:
            EvaluationError: a worker can't be started at all.
        """
        outcomes: list[Outcome | None] = [None] * len(jobs)
        waiting = deque(range(len(jobs)))
        begun: Counter[int] = Counter()
        try:
            while waiting or any(worker.job is not None for worker in self._workers):
                self._assign(jobs, waiting, min(parallel or self._size, self._size))
                for index, outcome in self._collect():
                    begun[index] += 1
                    if outcome.from_outside and begun[index] < _ATTEMPTS:
                        waiting.appendleft(index)
                        continue
                    outcomes[index] = outcome
                    if on_outcome:
                        on_outcome(index, outcome)
        except BaseException:
            self._end([worker for worker in self._workers if worker.job is not None or not worker.ready])
            raise
        return [outcome for outcome in outcomes if outcome is not None]

    def process_ids(self) -> list[int]:
        """Ids of the living workers."""
        return [worker.process_id for worker in self._workers]

    def close(self) -> None:
        """End all workers, busy or not."""
        atexit.unregister(self.close)
        self._end(list(self._workers))

    def _assign(self, jobs: Sequence[Job], waiting: deque[int], parallel: int) -> None:
        self._end([worker for worker in self._workers if worker.idle and not worker.alive])
        busy = sum(worker.job is not None for worker in self._workers)
        starting = sum(not worker.ready for worker in self._workers)
        if parallel == 1 and starting and (busy or starting < len(self._workers)):
            return  # whoever asked to be alone must not share the machine with a worker that is still importing torch
        for worker in [worker for worker in self._workers if worker.idle]:
            if waiting and busy < parallel:
                index = waiting.popleft()
                worker.start(index, jobs[index])
                busy += 1
        for _ in range(min(len(waiting), parallel - busy) - starting):
            self._workers.append(_Worker(self._settings))

    def _collect(self) -> list[tuple[int, Outcome]]:
        """Outcomes of the jobs that ended within one poll."""
        active = {worker.connection: worker for worker in self._workers if worker.job is not None or not worker.ready}
        readable: list[Connection] = [item for item in wait(list(active), _POLL_S) if isinstance(item, Connection)]
        ended = []
        for connection in readable:
            worker = active.pop(connection)
            if worker.job is None:
                self._confirm(worker)
                continue
            index = worker.job
            outcome, healthy = worker.receive()
            ended.append((index, outcome))
            if not healthy:
                self._end([worker])
        for worker in active.values():
            overrun = worker.overrun()
            if overrun is not None and worker.job is not None:
                ended.append((worker.job, overrun))
                self._end([worker])
        return ended

    def _confirm(self, worker: _Worker) -> None:
        """Take a worker in, or end one that was killed before it was ready; the next is started in its place."""
        if worker.confirm():
            self._killed_starts = 0
            return
        self._end([worker])
        self._killed_starts += 1
        if self._killed_starts >= _STARTS:
            raise EvaluationError(f"{_STARTS} worker processes in a row were killed before they were ready")

    def _end(self, workers: list[_Worker]) -> None:
        for worker in workers:
            self._workers.remove(worker)
            worker.kill()
            _LOGGER.debug("ended a worker after %d jobs", worker.jobs_done)
