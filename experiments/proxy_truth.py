"""Is the proxy true? What short trainings say of kernels beside long ones, and beside scores that need no training.

    python experiments/proxy_truth.py collect --device cuda --processes 12
    python experiments/proxy_truth.py extend --dataset shapes --device cuda --processes 12
    python experiments/proxy_truth.py report

Kernels: `--kernels` (half of them unselected draws of the default search space that pass the gates, the others
operators of the zoo and the best of sixteen draws each by `AnalyticEvaluator`) are trained by every schedule of
`SCHEDULES`, short ones and ones ten times as long, on digits and motifs; `--more` further unselected draws by the
short one on digits alone, without milestones. A long training's quality is that on validation and
test images together, which were not trained on. `extend` adds the same trainings on another data set, for those of the
recorded kernels that fit it (the further draws for the search's own, `SEARCHED`).

`report` prints Kendall's tau (tau-b) between each score and each long training, over all kernels and over the better
half by that training. Then it calibrates milestones on the first 120 of the further draws: after epochs 2 to 5, 0.7
times the lowest training quality among their best fifth; and judges them on the other draws: which share of the epochs
they save, and how many of the best tenth they stop. Writes JSON under `experiments/results/`.
"""

import argparse
import json
import math
import multiprocessing
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import canvas_rl
from canvas_rl import zoo
from canvas_rl.codegen import build_module
from canvas_rl.command_line import exit_code
from canvas_rl.errors import CanvasError, IllegalActionError
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.evaluation.data import Dataset, load_dataset
from canvas_rl.evaluation.gates import check_gates
from canvas_rl.evaluation.measurement import Rejection
from canvas_rl.evaluation.proxy import ProxyConfig, build_backbone, proxy_sites, rescale, train_proxy
from canvas_rl.ir import KernelGraph, static_cost
from canvas_rl.space import SearchSpace
from canvas_rl.study.settings import default_space
from canvas_rl.symbolic.site import Site

RESULTS = Path(__file__).parent / "results"
DATASETS = ("digits", "motifs")
LONGER = 10
CALIBRATED = 120
BEST_OF = 16
MARGIN, WATCHED = 0.7, range(2, 6)
SCORE_IMAGES = 64


@dataclass(frozen=True)
class Schedule:
    """One training: a data set, how many times its default epochs, and a seed."""

    dataset: str
    times: int
    seed: int

    @property
    def name(self) -> str:
        """As the report has it."""
        return f"{self.dataset} x{self.times}" + (f" seed {self.seed}" if self.seed else "")

    @property
    def config(self) -> ProxyConfig:
        """Without milestones."""
        plain = ProxyConfig.for_dataset(self.dataset, milestones=())
        return replace(plain, epochs=plain.epochs * self.times, seed=self.seed)


def schedules(dataset: str) -> tuple[Schedule, ...]:
    """The trainings on a data set: the search's, once more with another seed, and a long one."""
    return tuple(Schedule(dataset, times, seed) for times, seed in ((1, 0), (1, 1), (LONGER, 0)))


SCHEDULES = tuple(schedule for dataset in DATASETS for schedule in schedules(dataset))
SEARCHED = Schedule("shifted_digits", 1, 0)
_DATA: dict[str, Dataset] = {}


def dataset(name: str) -> Dataset:
    """A data set, loaded once in a process."""
    if name not in _DATA:
        _DATA[name] = load_dataset(name)
    return _DATA[name]


def sites() -> tuple[Site, ...]:
    """Where a kernel of this experiment has to fit: both data sets' backbones."""
    found = [site for name in DATASETS for site in proxy_sites(ProxyConfig.for_dataset(name), dataset(name))]
    return tuple(dict.fromkeys(found))


def kernels(count: int, more: int) -> list[tuple[str, KernelGraph]]:
    """Kernels with where they come from: drawn, zoo, chosen or more."""
    places, rng = sites(), np.random.default_rng(0)
    space = SearchSpace(places, default_space())
    known: set[str] = set()
    drawn = _passing(lambda: space.sample(rng), known, places)
    found = [("drawn", next(drawn)) for _ in range(count // 2)]
    found += [("zoo", graph) for graph in _zoo(places, known)]
    chosen = _passing(lambda: _best_of(space, rng, places), known, places)
    found += [("chosen", next(chosen)) for _ in range(count - len(found))]
    return found + [("more", next(drawn)) for _ in range(more)]


def _passing(draw: Callable[[], KernelGraph], known: set[str], places: Sequence[Site]) -> Iterator[KernelGraph]:
    while True:
        graph = draw()
        if graph.hash not in known and _passes(graph, places):
            known.add(graph.hash)
            yield graph


def _passes(graph: KernelGraph, places: Sequence[Site]) -> bool:
    torch.manual_seed(0)
    try:
        check_gates(lambda site: build_module(graph, site), places, "cpu")
    except Rejection:
        return False
    return True


def _best_of(space: SearchSpace, rng: np.random.Generator, places: Sequence[Site]) -> KernelGraph:
    graphs = [space.sample(rng) for _ in range(BEST_OF)]
    estimates = AnalyticEvaluator(places).evaluate(graphs)
    return max(zip(graphs, estimates, strict=True), key=lambda pair: pair[1].quality or 0.0)[0]


def _zoo(places: Sequence[Site], known: set[str]) -> Iterator[KernelGraph]:
    for name in zoo.names(2):
        try:
            graph = zoo.load(name, places)
        except CanvasError:  # not at these sites
            continue
        if graph.hash not in known and _passes(graph, places):
            known.add(graph.hash)
            yield graph


def train(data: dict[str, Any], schedule: Schedule, device: str) -> dict[str, Any]:
    """One training of one kernel, JSON-ready."""
    torch.set_num_threads(1)
    graph = KernelGraph.from_json(data)
    images = dataset(schedule.dataset)
    try:
        result = train_proxy(lambda site: build_module(graph, site), schedule.config, device, images)
    except (RuntimeError, ValueError) as error:
        return {"schedule": schedule.name, "error": str(error).splitlines()[0], "quality": 0.0, "unseen": 0.0}
    counts = len(images.validation.labels), len(images.test.labels)
    unseen = (result.accuracy * counts[0] + result.test_accuracy * counts[1]) / sum(counts)
    return {
        "schedule": schedule.name,
        "quality": round(result.quality, 5),
        "unseen": 0.0 if result.diverged else round(rescale(unseen, result.chance), 5),
        "curve": [round(value, 4) for value in result.curve],
        "seconds": round(result.seconds, 2),
    }


def score(data: dict[str, Any]) -> dict[str, float]:
    """Scores that need no training, each "more is better", on the backbone of the search's proxy."""
    torch.set_num_threads(1)
    graph, config = KernelGraph.from_json(data), SEARCHED.config
    images = dataset(SEARCHED.dataset)
    costs = [static_cost(graph, site) for site in proxy_sites(config, images)]
    torch.manual_seed(0)
    network = build_backbone(config, lambda site: build_module(graph, site), images)
    inputs = torch.from_numpy(images.train.images[:SCORE_IMAGES])
    labels = torch.from_numpy(images.train.labels[:SCORE_IMAGES])
    return {
        "parameters": float(sum(cost.params for cost in costs)),
        "FLOPs": float(sum(cost.flops for cost in costs)),
        "gradient norm": _gradient_norm(network, inputs, labels),
        "synflow": _synflow(network, inputs),
        "NASWOT": _naswot(network, inputs),
        "analytic estimate": float(AnalyticEvaluator(proxy_sites(config, images)).evaluate([graph])[0].quality or 0),
    }


def _gradient_norm(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Of the loss of one batch (Abdelfattah et al. 2021, "Zero-cost proxies for lightweight NAS")."""
    network.zero_grad()
    torch.nn.functional.cross_entropy(network(inputs), labels).backward()  # type: ignore[no-untyped-call]
    norms = [float(weight.grad.norm()) for weight in network.parameters() if weight.grad is not None]
    return float(np.nan_to_num(np.linalg.norm(norms), posinf=0))


def _synflow(network: nn.Module, inputs: Tensor) -> float:
    """Log of sum |w dR/dw| with all weights positive and an input of ones (Tanaka et al. 2020), without norms."""
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_()
    network.zero_grad()
    network.double()(torch.ones_like(inputs[:1]).double()).sum().backward()
    terms = [(weight * weight.grad).abs().sum().item() for weight in network.parameters() if weight.grad is not None]
    network.float().load_state_dict(state)
    network.train()
    return float(np.nan_to_num(np.log(max(sum(terms), 1e-300))))


def _naswot(network: nn.Module, inputs: Tensor) -> float:
    """Log-determinant of how the codes of active units agree (Mellor et al. 2021), on the blocks' outputs."""
    codes: list[Tensor] = []
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [
        norm.register_forward_hook(lambda _, __, output: codes.append((output > 0).flatten(1).double()))
        for norm in norms
    ]
    with torch.no_grad():
        network(inputs)
    for hook in hooks:
        hook.remove()
    matrix = sum(code @ code.T + (1 - code) @ (1 - code).T for code in codes)
    assert isinstance(matrix, Tensor)
    return float(np.nan_to_num(float(torch.linalg.slogdet(matrix)[1]), neginf=-1e6))


def collect(given: argparse.Namespace) -> None:
    started = time.time()
    found = kernels(given.kernels, given.more)
    print(f"{len(found)} kernels after {time.time() - started:.0f} s", flush=True)
    rows: list[dict[str, Any]] = [
        {"kernel": graph.hash, "origin": origin, "program": list(graph.program), "trainings": {}}
        for origin, graph in found
    ]
    plan = [
        (index, schedule)
        for schedule in sorted(SCHEDULES, key=lambda schedule: -schedule.times)
        for index, row in enumerate(rows)
        if row["origin"] != "more" or schedule == SCHEDULES[0]
    ]
    with ProcessPoolExecutor(given.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        data = [graph.to_json() for _, graph in found]
        scores = [pool.submit(score, data[index]) for index, row in enumerate(rows) if row["origin"] != "more"]
        jobs = {pool.submit(train, data[index], schedule, given.device): index for index, schedule in plan}
        for number, job in enumerate(as_completed(jobs), start=1):
            result = job.result()
            rows[jobs[job]]["trainings"][result.pop("schedule")] = result
            if number % 100 == 0 or number == len(jobs):
                print(f"{number} of {len(jobs)} trainings, {time.time() - started:.0f} s", flush=True)
                _write(given, rows, time.time() - started)
        for row, future in zip(rows, scores, strict=False):
            row["scores"] = future.result()
    _write(given, rows, time.time() - started)


def extend(given: argparse.Namespace) -> None:
    """Train the recorded kernels on another data set."""
    started, recorded = time.time(), json.loads(given.output.read_text(encoding="utf-8"))
    rows = [row for row in recorded["kernels"] if row["origin"] != "more" or given.dataset == SEARCHED.dataset]
    space = SearchSpace(sites(), default_space())
    config = ProxyConfig.for_dataset(given.dataset)
    places = proxy_sites(config, dataset(given.dataset))
    with ProcessPoolExecutor(given.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = {}
        for row in rows:
            graph = _rebuilt(row, space)
            if graph is None or not _fits(graph, places):
                print(f"left out: the {row['origin']} kernel {row['kernel'][:8]}", flush=True)
                continue
            wanted = sorted(schedules(given.dataset), key=lambda schedule: -schedule.times)
            for schedule in (SEARCHED,) if row["origin"] == "more" else wanted:
                if schedule.name in row["trainings"]:
                    continue  # recorded by a run that was cut off
                jobs[pool.submit(train, graph.to_json(), schedule, given.device)] = row
        for number, job in enumerate(as_completed(jobs), start=1):
            result = job.result()
            jobs[job]["trainings"][result.pop("schedule")] = result
            if number % 25 == 0 or number == len(jobs):
                print(f"{number} of {len(jobs)} trainings, {time.time() - started:.0f} s", flush=True)
                recorded.setdefault("extended", {})[given.dataset] = {
                    "machine": _machine(given),
                    "processes": given.processes,
                    "seconds": round(time.time() - started),
                }
                given.output.write_text(json.dumps(recorded) + "\n", encoding="utf-8")


def _rebuilt(row: dict[str, Any], space: SearchSpace) -> KernelGraph | None:
    """The kernel of a recorded row by its program, None if that is masked by now; the zoo's are filled as it does."""
    names = {zoo.program(name): name for name in zoo.names(2)}
    program = tuple(row["program"])
    if row["origin"] == "zoo":
        return zoo.load(names[program], sites())
    try:
        return space.replay(program).graph
    except IllegalActionError:
        return None


def _fits(graph: KernelGraph, places: Sequence[Site]) -> bool:
    try:
        for site in places:
            graph.check(site)
    except CanvasError:
        return False
    return True


def _machine(given: argparse.Namespace) -> dict[str, str]:
    device = torch.cuda.get_device_name() if given.device == "cuda" else platform.machine()
    return {"device": device, "torch": torch.__version__, "canvas_rl": canvas_rl.__version__}


def _write(given: argparse.Namespace, rows: Sequence[dict[str, Any]], seconds: float) -> None:
    report = {"machine": _machine(given), "processes": given.processes, "seconds": round(seconds), "kernels": rows}
    given.output.write_text(json.dumps(report) + "\n", encoding="utf-8")


def taus(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Kendall's tau-b of every score with every long training, over all kernels and their better half."""
    from scipy.stats import kendalltau  # the machine that collects need not have it

    table = []
    for dataset_name in _trained_on(rows):
        truth_name = Schedule(dataset_name, LONGER, 0).name
        judged = [row for row in rows if truth_name in row["trainings"]]
        truth = np.array([row["trainings"][truth_name]["unseen"] for row in judged])
        better = truth >= np.median(truth)
        for name, values in _predictors(judged).items():
            table.append(
                {
                    "truth": truth_name,
                    "kernels": len(judged),
                    "score": name,
                    "tau": round(float(kendalltau(values, truth).statistic), 3),
                    "tau_better_half": round(float(kendalltau(values[better], truth[better]).statistic), 3),
                }
            )
    return table


def _trained_on(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the data sets, in the order of their recording."""
    return list(dict.fromkeys(name.split()[0] for row in rows for name in row["trainings"] if name.endswith(" x1")))


def _predictors(rows: Sequence[dict[str, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """Scores that all rows have."""
    shared = set.intersection(*(set(row["trainings"]) for row in rows))
    trainings = {name: np.array([row["trainings"][name]["quality"] for row in rows]) for name in sorted(shared)}
    means = {
        f"{name} x1, mean of 2 seeds": (trainings[f"{name} x1"] + trainings[f"{name} x1 seed 1"]) / 2
        for name in _trained_on(rows)
        if f"{name} x1" in shared
    }
    scores = {name: np.array([row["scores"][name] for row in rows]) for name in rows[0]["scores"]}
    return trainings | means | scores


def calibrate(rows: Sequence[dict[str, Any]]) -> tuple[tuple[int, float], ...]:
    """Milestones from the curves of some kernels."""
    qualities = np.array([row["trainings"][SEARCHED.name]["quality"] for row in rows])
    best = [row for row, good in zip(rows, qualities >= np.quantile(qualities, 0.8), strict=True) if good]
    lowest = np.min([row["trainings"][SEARCHED.name]["curve"] for row in best], axis=0)
    return tuple((epoch, math.floor(100 * MARGIN * lowest[epoch - 1]) / 100) for epoch in WATCHED)


def judge(rows: Sequence[dict[str, Any]], milestones: Sequence[tuple[int, float]]) -> dict[str, float]:
    """What milestones would have done to kernels that were trained to the end."""
    epochs = SEARCHED.config.epochs
    qualities = np.array([row["trainings"][SEARCHED.name]["quality"] for row in rows])
    played = np.array([_stopped_after(row["trainings"][SEARCHED.name].get("curve", []), milestones) for row in rows])
    best = qualities >= np.quantile(qualities, 0.9)
    return {
        "kernels": len(rows),
        "share_of_epochs_saved": round(1 - float(played.mean()) / epochs, 3),
        "best_tenth": int(best.sum()),
        "of_these_stopped": int((played[best] < epochs).sum()),
    }


def _stopped_after(curve: Sequence[float], milestones: Sequence[tuple[int, float]]) -> int:
    stops = [epoch for epoch, bar in milestones if epoch <= len(curve) and curve[epoch - 1] < bar]
    return min([len(curve), *stops])


def report(given: argparse.Namespace) -> None:
    recorded = json.loads(given.output.read_text(encoding="utf-8"))
    rows = [row for row in recorded["kernels"] if row["origin"] != "more" and SEARCHED.name in row["trainings"]]
    print("| long training | kernels | score | tau | tau, better half |\n| --- | ---: | --- | ---: | ---: |")
    for line in taus(rows):
        print("| {truth} | {kernels} | {score} | {tau:.2f} | {tau_better_half:.2f} |".format(**line))
    print_zoo([row for row in rows if row["origin"] == "zoo"])
    more = [row for row in recorded["kernels"] if row["origin"] == "more" and SEARCHED.name in row["trainings"]]
    milestones = calibrate(more[:CALIBRATED])
    print(f"\nmilestones {milestones}: {judge(more[CALIBRATED:], milestones)}")


def print_zoo(rows: Sequence[dict[str, Any]]) -> None:
    """The known operators in the order of the long training, with what the search's proxy says of them."""
    from scipy.stats import kendalltau

    names = {zoo.program(name): name for name in zoo.names(2)}
    truth = {
        names[tuple(row["program"])]: row["trainings"][Schedule(SEARCHED.dataset, LONGER, 0).name]["unseen"]
        for row in rows
    }
    proxy = {names[tuple(row["program"])]: row["trainings"][SEARCHED.name]["quality"] for row in rows}
    order = sorted(truth, key=lambda name: -truth[name])
    tau = kendalltau([proxy[name] for name in order], [truth[name] for name in order]).statistic
    print(f"\nzoo, tau {tau:.2f}: " + ", ".join(f"{name} {truth[name]:.3f} ({proxy[name]:.3f})" for name in order))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("collect", "extend", "report"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kernels", type=int, default=72, help="kernels trained by every schedule")
    parser.add_argument("--more", type=int, default=450, help="kernels trained by the search's proxy alone")
    parser.add_argument("--dataset", default="shapes", help="extend: train on it")
    parser.add_argument("--output", type=Path, default=RESULTS / "proxy_truth.json")
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    sys.exit(exit_code(lambda: {"collect": collect, "extend": extend, "report": report}[options.action](options)))
