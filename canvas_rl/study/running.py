"""The search itself: from settings to a run folder with a best kernel."""

import logging
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from canvas_rl import zoo
from canvas_rl.errors import EvaluationError
from canvas_rl.evaluation.evaluator import KernelEvaluator
from canvas_rl.ir import KernelGraph
from canvas_rl.registration import load_agent
from canvas_rl.rewards import Reward, make_reward
from canvas_rl.session import Agent, SearchOver
from canvas_rl.space import SearchSpace
from canvas_rl.study.board import Board
from canvas_rl.study.final import measure_network, write_best
from canvas_rl.study.folder import RunFolder, new_path
from canvas_rl.study.progress import SearchProgress
from canvas_rl.study.recorded import recorded_result
from canvas_rl.study.result import SHOWN, Row, SearchResult
from canvas_rl.study.session import Parts, SearchSession, summary
from canvas_rl.study.settings import SearchSettings, agent_config
from canvas_rl.study.stopping import Stopper
from canvas_rl.study.target import Target, evaluation_config, load_target, make_evaluator, make_space

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Plan:
    """A search that is checked and ready to begin."""

    settings: SearchSettings
    agent: Agent
    reward: Reward
    target: Target
    space: SearchSpace
    warm_start: tuple[KernelGraph, ...]


def search(settings: SearchSettings | None = None, *, progress: bool | Console = True, **values: Any) -> SearchResult:
    """Search a kernel that replaces a network's convolutions.

    Args:
        settings: all settings; None for the defaults, or with `resume=True` for those of the run.
        progress: draw a progress bar, on standard error or on a console of yours (one that also shows the log, so that
            the two don't write over each other).
        values: single settings by their flat names, such as `agent="random"`, `model="resnet8"`, `evaluations=20`
            or `kernel_sizes=(3,)`; they replace those of `settings`.

    Returns:
        The best kernels; they and everything else are in the run folder `result.path`.

    Raises:
        CanvasError: a setting or a file that can't be used; nothing has been written then.
    """
    if settings is None:
        settings = resumed_settings(values.get("run_dir")) if values.get("resume") else SearchSettings()
    with _kept_generators():
        return _search(settings.replaced(**values), progress)


def _search(settings: SearchSettings, progress: bool | Console) -> SearchResult:
    path = settings.run.run_dir or new_path()
    resumed = RunFolder.open(settings.run.run_dir) if settings.run.resume else None
    if resumed is not None:
        resumed.check_settings(settings)
        if (result := recorded_result(resumed, settings)) is not None:
            return result
    else:
        RunFolder.check_free(path)
    agent = _make_agent(settings)
    reward = make_reward(settings.run.reward)
    target = load_target(settings)
    config = evaluation_config(settings, target.sites[0].spatial_dims)
    space = make_space(settings, target, config)
    if resumed is not None:
        resumed.check_space(space.fingerprint)
    known = tuple(zoo.build(name, space) for name in settings.run.warm_start)
    plan = _Plan(settings, agent, reward, target, space, known)
    with _run_folder(resumed, path) as folder:
        evaluator = make_evaluator(target, config, folder.store_url(settings.run.storage))
        try:
            return _Run(plan, folder, evaluator).search(progress)
        finally:
            evaluator.close()


def resumed_settings(run_dir: str | Path | None) -> SearchSettings:
    """The settings with which a run goes on; None takes the newest of `runs/`.

    Raises:
        RunError: there is no run, or it is not writable.
        FormatError: its `config.json` is damaged or of another version.
    """
    folder = RunFolder.open(None if run_dir is None else Path(run_dir))
    return folder.settings().replaced(run_dir=folder.path, resume=True)


def _make_agent(settings: SearchSettings) -> Agent:
    agent_type = load_agent(settings.run.agent)
    agent: Agent = agent_type(agent_config(agent_type.config_type, settings.run.agent_options))
    return agent


@contextmanager
def _kept_generators() -> Iterator[None]:
    """Leave the caller's global generators (CPU) as they were: building networks and Stable-Baselines3 seed them."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - it is the caller's
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


@contextmanager
def _run_folder(resumed: RunFolder | None, path: Path) -> Iterator[RunFolder]:
    """The run's folder; a new one goes away again if the search can't even begin."""
    if resumed is not None:
        resumed.tidy()
        yield resumed
        return
    folder = RunFolder.create(path)
    try:
        yield folder
    finally:
        if not folder.is_run():
            shutil.rmtree(folder.path, ignore_errors=True)


class _Run:
    """One search from its first kernel to its table."""

    def __init__(self, plan: _Plan, folder: RunFolder, evaluator: KernelEvaluator) -> None:
        self._plan = plan
        self._folder = folder
        self._evaluator = evaluator

    def search(self, progress: bool | Console) -> SearchResult:
        """Let the agent play until the session is over, then write what was found."""
        plan, folder = self._plan, self._folder
        measured = f"{self._evaluator.device}, {self._evaluator.fingerprint}"
        resumed = folder.is_run()
        if resumed:
            folder.check_measured(measured)
        reference = self._evaluator.reference  # first of all: where it can't be measured, nothing can
        if not resumed:
            folder.save_settings(plan.settings, plan.space.fingerprint, measured)
        stopper = Stopper(plan.settings.run.time_limit)
        board = Board(folder.subfolder("tensorboard"), folder.evaluations(), reference.quality)
        parts = Parts(
            plan.space, self._evaluator, plan.reward, folder, board, stopper, plan.settings.run.pareto_parameters
        )
        session = SearchSession(parts, plan.settings.run.evaluations, plan.settings.run.seed, plan.warm_start)
        try:
            session.restore()
            self._check_version(session)
            if resumed:
                folder.save_changes(plan.settings)
            board.settings(plan.settings)
            with stopper.listening():
                reason = self._play(session, stopper, progress)
                rows = self._finish(session)
                if session.ended != session.count:  # else `best/` alone was missing
                    board.final(rows, session.front.entries, session.measured, session.count)
                session.end(rows)
                board.end()
        finally:
            board.close()
        return SearchResult(folder.path, rows, reference, reason, summary(session), plan.reward(reference, reference))

    def _check_version(self, session: SearchSession) -> None:
        """Refuse a checkpoint that the agent would refuse, before anything of the run is changed."""
        version = getattr(self._plan.agent, "version", None)  # agents that don't count have none
        if session.restored is not None and version is not None:
            session.restored.check_version(version)

    def _play(self, session: SearchSession, stopper: Stopper, progress: bool | Console) -> str:
        """Run the agent; why it ended."""
        total = self._plan.settings.run.evaluations
        console = progress if isinstance(progress, Console) else None
        with SearchProgress(total, session.count, console, hidden=progress is False) as bar:
            session.on_change = lambda: bar.update(
                session.count, stopper.elapsed_s, stopper.time_left_s, session.archive.best, session.skipped
            )
            session.on_change()
            try:
                if session.count < total or session.unclaimed:
                    session.warm_up()
                    self._plan.agent.run(session)
            except SearchOver as over:
                return str(over)
        return session.used_up

    def _finish(self, session: SearchSession) -> tuple[Row, ...]:
        """Measure the best kernels in the whole network and write the very best one."""
        session.save()
        target, config = self._plan.target, self._evaluator.config
        rows = tuple(
            Row(entry, measure_network(entry, target, config.latency, config.seed))
            for entry in session.archive.entries[:SHOWN]
        )
        if rows:
            try:
                final = self._evaluator.train(rows[0].entry.graph)
            except EvaluationError as error:  # the table is still worth having
                logger.warning("best/ is not written: %s; --resume tries it again", error)
            else:
                reference = self._evaluator.reference
                earned = self._plan.reward(reference, reference)
                self._folder.replace_best(lambda folder: write_best(folder, rows[0], final, self._evaluator, earned))
        return rows
