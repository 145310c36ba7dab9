"""A benchmark table for search agents: every kernel of a closed search space, really trained and timed.

    python experiments/benchmark_table.py collect --device cuda --workers 14 --seconds 530
    python experiments/benchmark_table.py pack --output canvas_rl/evaluation/benchmark.json.gz
    python experiments/benchmark_table.py report

`collect` enumerates the space and evaluates kernels into `FOLDER/measurements.sqlite`, with `FOLDER/recipe.json`
beside it; what is there is not measured again, so that it goes on where a call has stopped. Kernels are taken in
chunks: all of a chunk are checked and trained by several workers, then they are timed one after the other while nothing
else runs.

`pack` writes the table once every kernel is there, on any machine. `report` says what is in a table.

Trials: `collect --kernels 6` and `pack --kernels 6 --output FILE` take six kernels spread over the space.
"""

import argparse
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from canvas_rl import zoo
from canvas_rl.command_line import exit_code
from canvas_rl.config import SearchOptions
from canvas_rl.errors import ConfigError, IllegalActionError
from canvas_rl.evaluation.evaluator import KernelEvaluator
from canvas_rl.evaluation.latency import LatencyConfig
from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.evaluation.proxy import ProxyConfig, proxy_sites
from canvas_rl.evaluation.settings import EvaluationConfig
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.evaluation.table import make_table, space_json
from canvas_rl.evaluation.tabulated import TabulatedEvaluator
from canvas_rl.files import read_json, write_json
from canvas_rl.ir import KernelGraph
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.rewards import make_reward
from canvas_rl.space import SearchSpace, enumerate_kernels
from canvas_rl.symbolic.site import ReferenceConv, Site

OPTIONS = SearchOptions(
    allowed_filter="fc,convolution,fold,group,shift,relu,bmul",
    necessary_filter="fc",
    kernel_sizes=(3,),
    dilated_sizes=(1,),
    shift_sizes=(1,),
    num_primitive_range=(1, 3),
    num_max_width_range=(2, 2),
    num_weighted_range=(1, 3),
    max_weighted_ratio=1.0,
)
PROXY = ProxyConfig(milestones=())  # every kernel is trained to the end
TIME_CAP_S = 0.015
KERNELS_PER_WORKER = 8
TRIES = 3
"""A kernel that crashed, or ran out of time or memory, is measured again by so many calls in all."""
VARYING = {"clock_mhz", "noise", "notes"}
SLACK = 1.2
"""A chunk is begun if the time left is so many times what its kernels should take."""


def places() -> tuple[tuple[Site, ...], tuple[ReferenceConv | None, ...]]:
    """Sites and references as a default search has them: ResNet-18's, then the proxy's, at which nothing is timed."""
    proxies = tuple(site for site in proxy_sites(PROXY) if site not in DEFAULT_SITES)
    return (*DEFAULT_SITES, *proxies), (*[ReferenceConv()] * len(DEFAULT_SITES), *[None] * len(proxies))


def chosen_kernels(count: int | None) -> list[KernelGraph]:
    """All kernels of the space in order, or so many spread over it."""
    sites, references = places()
    kernels = list(enumerate_kernels(SearchSpace(sites, OPTIONS, references)))
    if count is None or count >= len(kernels):
        return kernels
    return [kernels[index] for index in np.linspace(0, len(kernels) - 1, count).astype(int)]


def collect(given: argparse.Namespace) -> None:
    started = time.perf_counter()
    given.folder.mkdir(parents=True, exist_ok=True)
    config = EvaluationConfig(LatencyConfig(given.device, time_cap_s=TIME_CAP_S), PROXY, workers=given.workers)
    kernels = chosen_kernels(given.kernels)
    store = MeasurementStore(given.folder / "measurements.sqlite")
    with KernelEvaluator(DEFAULT_SITES, None, config, store, kernels_per_worker=KERNELS_PER_WORKER) as evaluator:
        known = store.get_many([graph.hash for graph in kernels], evaluator.fingerprint, evaluator.device, TRIES)
        missing = [graph for graph in kernels if graph.hash not in known]
        print(f"{len(kernels)} kernels, {len(missing)} of them to be measured", flush=True)
        recipe = open_recipe(given.folder / "recipe.json", evaluator)
        call: dict[str, Any] = {"command": shlex.join(["python", *sys.argv]), "started": now()}
        recipe["calls"].append(call)
        done, began = 0, time.perf_counter()
        while chunk := next_chunk(missing[done:], done, time.perf_counter() - began, given.seconds + started, config):
            evaluator.evaluate(chunk)
            done += len(chunk)
            seconds = {name: round(value, 1) for name, value in evaluator.statistics.seconds.items()}
            call |= {"measured": done, "seconds": round(time.perf_counter() - started, 1), "worker_seconds": seconds}
            write_json(given.folder / "recipe.json", recipe)
            print(f"{done} of {len(missing)} after {call['seconds']} s; worker seconds {seconds}", flush=True)
        statuses = {str(status): count for status, count in evaluator.statistics.by_status.items()}
        print(f"statuses {statuses}; {len(missing) - done} kernels are left", flush=True)


def next_chunk(
    missing: Sequence[KernelGraph], done: int, spent_s: float, deadline: float, config: EvaluationConfig
) -> Sequence[KernelGraph]:
    """The kernels to measure next: a whole chunk, or what can be done in time; none if workers would idle for it."""
    left_s, size = deadline - time.perf_counter(), KERNELS_PER_WORKER * config.process_count
    if left_s <= 0:
        return []
    if done:
        size = min(size, int(left_s * done / (SLACK * spent_s)))
    return missing[:size] if size >= min(config.process_count, len(missing)) else []


def open_recipe(path: Path, evaluator: KernelEvaluator) -> dict[str, Any]:
    """The recipe of a folder; a new one measures the replaced convolution.

    Raises:
        ConfigError: the folder's figures are not comparable with this evaluator's.
    """
    same = {
        "space": space_json(*places(), OPTIONS),
        "fingerprint": evaluator.fingerprint,
        "device": evaluator.device,
    }
    if not path.exists():
        reference = evaluator.reference.to_json()
        recipe = {**same, "evaluation": evaluator.config.to_json(), "reference": reference, "calls": []}
        write_json(path, recipe)
        return recipe
    recipe = read_json(path)
    for name, value in same.items():
        if recipe[name] != value:
            raise ConfigError(f"{str(path)!r} has another {name} ({recipe[name]}, now {value}): use a new --folder")
    return dict(recipe)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def pack(given: argparse.Namespace) -> None:
    recipe = read_json(given.folder / "recipe.json")
    kernels = chosen_kernels(given.kernels)
    store = MeasurementStore(given.folder / "measurements.sqlite")
    known = store.get_many([graph.hash for graph in kernels], recipe["fingerprint"], recipe["device"])
    store.close()
    reference = Measurement.from_json(recipe.pop("reference"))
    recipe["environments"] = environments(known.values())
    table = make_table(recipe, reference, kernels, known)
    table.save(given.output)
    print(f"{len(kernels)} kernels in {given.output.stat().st_size} bytes: {given.output}")


def environments(rows: Iterable[Measurement]) -> list[dict[str, str]]:
    """The different machines and versions behind measurements, without what changes from kernel to kernel."""
    kept = ({name: row.environment[name] for name in sorted({*row.environment} - VARYING)} for row in rows)
    return [dict(entry) for entry in sorted({tuple(entry.items()) for entry in kept})]


def report(given: argparse.Namespace) -> None:
    evaluator, reward = TabulatedEvaluator(given.table), make_reward()
    rows = list(evaluator.measurements.values())
    rewards = {row.kernel: reward(row, evaluator.reference) for row in rows}
    ranked = sorted(rewards, key=lambda kernel: -rewards[kernel])
    print(f"{len(rows)} kernels: {dict(Counter(str(row.status) for row in rows))}")
    print(f"the replaced convolution: quality {evaluator.reference.quality}")
    for name, values in (
        ("speedup", [row.speedup for row in rows if row.ok]),
        ("quality", [row.quality for row in rows if row.ok]),
        ("reward", list(rewards.values())),
        ("wall time, s", [row.wall_time_s for row in rows]),
    ):
        quantiles = np.quantile(np.array(values, dtype=float), (0, 0.1, 0.5, 0.9, 0.99, 1))
        print(f"{name}: least, 10%, median, 90%, 99%, most {quantiles.round(3).tolist()}")
    print("\n| rank | reward | quality | speedup | program |\n| ---: | ---: | ---: | ---: | --- |")
    for kernel in dict.fromkeys((*ranked[: given.best], *known_operators(evaluator))):
        row = evaluator.measurements[kernel]
        figures = [
            f"{value:.3f}" if value is not None else "-" for value in (rewards[kernel], row.quality, row.speedup)
        ]
        print(f"| {ranked.index(kernel) + 1} | {' | '.join(figures)} | {' '.join(evaluator.table.programs[kernel])} |")


def known_operators(evaluator: TabulatedEvaluator) -> Sequence[str]:
    """Hashes of the zoo's operators that are in a table."""
    found = []
    for name in zoo.names(evaluator.space.spatial_dims):
        try:
            found.append(zoo.build(name, evaluator.space).hash)
        except IllegalActionError:
            continue
    return [kernel for kernel in found if kernel in evaluator.measurements]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("collect", "pack", "report"))
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark"), help="of the store and the recipe")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--workers", type=int, default=0, help="processes that train side by side")
    parser.add_argument("--seconds", type=float, default=530.0, help="collect: begin nothing that would end later")
    parser.add_argument("--kernels", type=int, help="a trial with so many kernels")
    parser.add_argument("--output", type=Path, default=Path("benchmark.json.gz"), help="pack: the table's file")
    parser.add_argument("--table", type=Path, help="report: the table's file (default: the shipped one)")
    parser.add_argument("--best", type=int, default=10, help="report: how many of the best to show")
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    sys.exit(exit_code(lambda: {"collect": collect, "pack": pack, "report": report}[options.action](options)))
