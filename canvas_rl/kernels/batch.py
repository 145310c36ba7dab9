"""Drawing many kernels, in one process or several."""

import gc
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial

import numpy as np

from canvas_rl.config import SearchOptions
from canvas_rl.errors import ConfigError
from canvas_rl.garbage import no_collections
from canvas_rl.ir import KernelGraph
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import ReferenceConv, Site

CHUNK = 25
"""Kernels that a process draws before it hands them over."""
_AHEAD = 4
"""Chunks for each worker that may be drawn before they are asked for."""

Given = tuple[tuple[Site, ...], SearchOptions, Sequence[ReferenceConv | None] | None]
"""Sites, options and references of a search space."""


class _Drawn:
    """The search space of a worker process, made at its start."""

    space: SearchSpace


def sample_many(
    count: int,
    seed: int = 0,
    sites: Sequence[Site] = DEFAULT_SITES,
    options: SearchOptions | None = None,
    references: Sequence[ReferenceConv | None] | None = None,
    workers: int = 1,
) -> Iterator[KernelGraph]:
    """Random kernels, in an order that depends on the seed alone: kernel i is the same with any number of workers.

    `workers` above 1 uses so many processes, this one among them; the others are spawned, so a script that calls this
    needs the usual `if __name__ == "__main__"`.

    Raises:
        ConfigError: a negative count or seed, or less than one worker.
        EmptySpaceError: no kernel can meet the options.
    """
    for name, value, least in (("count", count, 0), ("seed", seed, 0), ("workers", workers, 1)):
        if value < least:
            raise ConfigError(f"{name} is {value}: expected at least {least}")
    space = SearchSpace(sites, options, references)  # refuses impossible options at once, in this process
    if workers == 1:
        return _chunk(space, seed, range(count))
    return _spread(space, (tuple(sites), space.options, references), seed, count, workers)


def _spread(space: SearchSpace, given: Given, seed: int, count: int, workers: int) -> Iterator[KernelGraph]:
    """Chunks in order; while the next one is still being drawn elsewhere, this process draws one itself."""
    chunks = [range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    pool = ProcessPoolExecutor(workers - 1, multiprocessing.get_context("spawn"), partial(_start, given))
    try:
        others: dict[int, Future[list[KernelGraph]]] = {}
        own: dict[int, list[KernelGraph]] = {}
        for index in range(len(chunks)):
            for ahead in range(index, min(index + _AHEAD * workers, len(chunks))):
                if ahead not in others and ahead not in own:
                    others[ahead] = pool.submit(_listed, seed, chunks[ahead])
            while index not in own and not others[index].done():
                ahead = next((i for i in sorted(others) if others[i].cancel()), -1)
                if ahead < 0:
                    break
                del others[ahead]
                with no_collections():
                    own[ahead] = list(_chunk(space, seed, chunks[ahead]))
            yield from own.pop(index) if index in own else others.pop(index).result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start(given: Given) -> None:
    _Drawn.space = SearchSpace(*given)
    gc.disable()  # kernels have no reference cycles


def _listed(seed: int, indices: range) -> list[KernelGraph]:
    return list(_chunk(_Drawn.space, seed, indices))


def _chunk(space: SearchSpace, seed: int, indices: range) -> Iterator[KernelGraph]:
    return (space.sample(np.random.default_rng([seed, index])) for index in indices)
