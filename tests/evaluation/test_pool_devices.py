"""Failures on a device, CUDA above all: a status each, a worker that is replaced, and nothing left on the device."""

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import planted_devices
import pytest
from planted_kernels import Planted
from test_pool import HANG_S, PLENTY_S, job, left_by, logged

from canvas_rl.evaluation.evaluator import KernelEvaluator, _worker_settings
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.measurement import Status
from canvas_rl.evaluation.pool import Job, Outcome, WorkerPool
from canvas_rl.evaluation.settings import EvaluationConfig
from canvas_rl.evaluation.subject import kernel_spec
from canvas_rl.symbolic.site import Site

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
SLACK = 2**26

PLANTED = {
    "wants_memory": Status.OUT_OF_MEMORY,
    "device_hog": Status.OUT_OF_MEMORY,
    "bad_index": Status.RUN_FAILED,
    "endless_kernel": Status.TIMED_OUT,
}
ON_CUDA_ONLY = {
    "endless": Status.TIMED_OUT,
    "slow_memory_hog": Status.OUT_OF_MEMORY,
    "segfault": Status.CRASHED,
    "killed": Status.CRASHED,
    "nan": Status.NOT_FINITE,
}
"""On a CPU they are in test_pool.py, or have no twin."""
if planted_devices.triton is not None and any(map(shutil.which, ("cc", "gcc", "clang"))):  # Triton needs both
    ON_CUDA_ONLY["wild_pointer"] = Status.RUN_FAILED
KEEPS_ITS_WORKER = {"cpu": {"bad_index"}, "cuda": {"nan"}}


def config_of(device: str) -> EvaluationConfig:
    return EvaluationConfig(LatencyConfig(device=device), proxy=None, memory_limit=2**30, workers=1)


def free_memory(device: str) -> int:
    """Bytes free on the device, as a process sees it that has nothing to do with any worker."""
    if device == "cpu":
        return 0
    code = "import torch; print(torch.cuda.mem_get_info()[0])"
    return int(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)


def wait_for_memory(device: str, wanted: int) -> int:
    """Free bytes, once they are as many as wanted or half a minute has passed."""
    deadline = time.monotonic() + 30
    while (free := free_memory(device)) < wanted and time.monotonic() < deadline:
        time.sleep(1)
    return free


def job_on(device: str, kind: str, log: Path) -> Job:
    base = job(kind, HANG_S if "endless" in kind else PLENTY_S)
    spec = kernel_spec(Planted(kind, {"log": str(log)}).to_json(), planted_devices.LOADER)
    latency = LatencyConfig(device=device).to_json()
    return replace(base, payload=base.payload | {"subject": spec, "latency": latency})


@dataclass
class Ended:
    """What was left of a pool that ran every planted kernel, each followed by a good one."""

    device: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    next_ones: dict[str, Outcome] = field(default_factory=dict)
    workers: dict[str, tuple[int, int]] = field(default_factory=dict)
    """of a kernel and of the good one that follows"""
    memory: tuple[int, int] = (0, 0)
    """free on the device before and after"""


@pytest.fixture(scope="module", params=DEVICES)
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    result = Ended(request.param)
    device, log = result.device, tmp_path_factory.mktemp("pool") / "log"
    before = free_memory(device)
    pool = WorkerPool(1, _worker_settings(config_of(device)))
    for kind in PLANTED | (ON_CUDA_ONLY if device == "cuda" else {}):
        result.outcomes[kind], result.next_ones[kind] = pool.run(
            [job_on(device, kind, log), job_on(device, "good", log)]
        )
        result.workers[kind] = (logged(log)[-2], logged(log)[-1])
    pool.close()
    assert left_by(logged(log)) == []
    result.memory = (before, wait_for_memory(device, before - SLACK))
    return result


@pytest.mark.parametrize(("kind", "status"), (PLANTED | ON_CUDA_ONLY).items())
def test_every_failure_ends_in_its_status_and_costs_one_worker(ended: Ended, kind: str, status: Status) -> None:
    if kind not in ended.outcomes:
        pytest.skip("has no twin on this device, or is in test_pool.py")
    outcome = ended.outcomes[kind]
    assert outcome.status is status, outcome.message
    assert outcome.seconds < (HANG_S if "endless" in kind else PLENTY_S) + 5
    assert ended.next_ones[kind].status is Status.OK, ended.next_ones[kind].message
    first, second = ended.workers[kind]
    assert (first == second) is (kind in KEEPS_ITS_WORKER[ended.device])


def test_nothing_is_left_on_the_device(ended: Ended) -> None:
    before, after = ended.memory
    assert after >= before - SLACK


@pytest.mark.parametrize("device", DEVICES)
def test_an_error_that_shows_late_is_not_the_next_jobs(device: str, tmp_path: Path) -> None:
    pool = WorkerPool(1, _worker_settings(config_of(device)))
    late = Job("planted_devices:leave_an_error", {"device": device}, PLENTY_S)
    outcomes = pool.run([late, job_on(device, "good", tmp_path / "log")])
    pool.close()
    assert [outcome.status for outcome in outcomes] == [Status.RUN_FAILED, Status.OK], outcomes


@pytest.mark.parametrize("device", DEVICES)
def test_memory_is_limited_whatever_the_static_cost_says(device: str) -> None:
    kernels = [Planted(kind) for kind in ("large", "wants_memory", "good")]
    with KernelEvaluator((Site(16, 12, 12),), config=config_of(device), loader=planted_devices.LOADER) as evaluator:
        measurements = evaluator.evaluate(kernels)
    assert [item.status for item in measurements] == [Status.TOO_LARGE, Status.OUT_OF_MEMORY, Status.OK]
