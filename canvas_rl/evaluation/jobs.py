"""What workers are asked to do. Payloads and results are plain data, so that nothing of a kernel crosses over."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from canvas_rl.evaluation.environment import describe_environment
from canvas_rl.evaluation.floor import Floor, calibrate
from canvas_rl.evaluation.gates import check_gates
from canvas_rl.evaluation.latency import LatencyConfig, compile_ahead, measure_pair, prepare
from canvas_rl.evaluation.measurement import Rejection, Status
from canvas_rl.evaluation.proxy import ProxyConfig, ProxyResult, proxy_sites, train_proxy
from canvas_rl.evaluation.settings import load_proxy_data
from canvas_rl.evaluation.subject import Place, Subject, load_subject, reference_module
from canvas_rl.evaluation.timing import PairTiming, Timed
from canvas_rl.symbolic.site import Site

CHECK = "canvas_rl.evaluation.jobs:check"
COMPILE = "canvas_rl.evaluation.jobs:compile_sites"
TIME = "canvas_rl.evaluation.jobs:time_sites"
TRAIN = "canvas_rl.evaluation.jobs:train"

_OUT_OF_MEMORY = ("allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")

Payload = dict[str, Any]
Cache = dict[str, Any]


def check(payload: Payload, cache: Cache) -> Payload:
    """Gates at all sites, then proxy training if a proxy is given: the accuracies, and the training's seconds."""
    subject = load_subject(payload["subject"])
    device = payload["latency"]["device"]
    proxy = _proxy(payload)
    sites = [place.site for place in _places(payload)]
    torch.manual_seed(payload["seed"])
    # The proxy's sites are small and come first: most failures show there.
    check_gates(subject.build, (*(proxy_sites(proxy) if proxy else ()), *sites), device, payload["seed"])
    if proxy is None:
        return {"accuracies": {}, "train_s": 0.0}
    result = _train(subject, proxy, device, cache)
    return {"accuracies": _accuracies(result), "train_s": result.seconds}


def train(payload: Payload, cache: Cache) -> Payload:
    """Proxy training alone: the accuracies, and the network's weights as numpy arrays."""
    proxy = _proxy(payload)
    if proxy is None:
        raise Rejection(Status.TRAINING_FAILED, "no proxy is configured to train with")
    result = _train(load_subject(payload["subject"]), proxy, payload["latency"]["device"], cache)
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in result.network.state_dict().items()}
    return _accuracies(result) | {"weights": weights}


def compile_sites(payload: Payload, _: Cache) -> Payload:
    """Compile the kernel for every different place, so that timing finds it in the compiler's cache on disk."""
    config = LatencyConfig.from_json(payload["latency"])
    subject = load_subject(payload["subject"])
    torch.manual_seed(payload["seed"])
    for place in dict.fromkeys(_places(payload)):
        with _at(place.site, "compiling"):
            compile_ahead(subject.at(place).build(place.site), place.site.shape, config)
    return {}


def time_sites(payload: Payload, cache: Cache) -> Payload:
    """One visit: latency at every different place, beside the reference's. Nothing else may run on the device."""
    config = LatencyConfig.from_json(payload["latency"])
    subject = load_subject(payload["subject"])
    torch.manual_seed(payload["seed"])
    floor = _floor(config, cache)
    timings = []
    for place in dict.fromkeys(_places(payload)):
        with _at(place.site, "timing"):
            with torch.device(config.device):  # large weights are drawn there in a fraction of the time
                module = subject.at(place).build(place.site)
            reference = _reference(place, config, cache)
            timing = measure_pair(module, reference, place.site.shape, config.one_visit, payload["seed"])
        _check_floor(timing, subject.at(place), place.site, config, floor)
        timings.append({"place": place.to_json(), "timing": asdict(timing)})
    return {"timings": timings, "environment": describe_environment(config)}


def _reference(place: Place, config: LatencyConfig, cache: Cache) -> Timed:
    """What is replaced, compiled once in a worker."""
    prepared: dict[tuple[Place, LatencyConfig], Timed] = cache.setdefault("references", {})
    if (place, config) not in prepared:
        with torch.device(config.device):
            prepared[place, config] = prepare(reference_module(*place), config)
    return prepared[place, config]


@contextmanager
def _at(site: Site, doing: str) -> Iterator[None]:
    """Name the site in what goes wrong there."""
    try:
        yield
    except Rejection as rejection:
        raise Rejection(rejection.status, f"at site {site} {rejection.message}") from rejection
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if is_out_of_memory(error) or is_poisoned(error):
            raise
        raise Rejection(Status.LATENCY_FAILED, f"{doing} at site {site} raised {shorten(error)}") from error


def _check_floor(timing: PairTiming, subject: Subject, site: Site, config: LatencyConfig, floor: Floor) -> None:
    cost = subject.cost(site)
    elements = cost.params + config.batch_size * torch.Size(site.shape).numel()
    least = floor.seconds(cost.flops * config.batch_size, elements * config.torch_dtype.itemsize)
    if timing.latency_s < least:
        raise Rejection(
            Status.TOO_FAST,
            f"at site {site} it was timed at {timing.latency_s:.3g} s, the device's physical floor is {least:.3g} s",
        )


def _floor(config: LatencyConfig, cache: Cache) -> Floor:
    if "floor" not in cache:
        cache["floor"] = calibrate(config)
    floor: Floor = cache["floor"]
    return floor


def _train(subject: Subject, proxy: ProxyConfig, device: str, cache: Cache) -> ProxyResult:
    if "data" not in cache:
        cache["data"] = load_proxy_data(proxy)
    try:
        result = train_proxy(subject.build, proxy, device, cache["data"])
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if is_out_of_memory(error) or is_poisoned(error):
            raise
        raise Rejection(Status.TRAINING_FAILED, f"training the proxy network raised {shorten(error)}") from error
    if result.diverged:
        raise Rejection(Status.TRAINING_FAILED, f"training the proxy network diverged in epoch {result.epochs_run}")
    return result


def _accuracies(result: ProxyResult) -> Payload:
    return {"accuracy": result.accuracy, "test_accuracy": result.test_accuracy, "quality": result.quality}


def _proxy(payload: Payload) -> ProxyConfig | None:
    return ProxyConfig.from_json(payload["proxy"]) if payload["proxy"] is not None else None


def _places(payload: Payload) -> tuple[Place, ...]:
    return tuple(Place.from_json(place) for place in payload["places"])


def run_job(function: Callable[[Payload, Cache], Payload], payload: Payload, cache: Cache) -> Payload:
    """Run one job and say how it ended, as plain data: status, message, value, and whether the worker must go."""
    start = time.perf_counter()
    status, message, value, poisoned = Status.OK, "", {}, False
    try:
        value = function(payload, cache)
    except Rejection as rejection:
        poisoned = is_out_of_memory(rejection)
        status, message = (Status.OUT_OF_MEMORY if poisoned else rejection.status), rejection.message
    except Exception as error:  # whatever a kernel raises is its result
        memory = is_out_of_memory(error)
        status, poisoned = (Status.OUT_OF_MEMORY if memory else Status.RUN_FAILED), memory or is_poisoned(error)
        message = f"it raised {shorten(error)}"
    late = _late_error()
    if late is not None:
        poisoned = True
        if status is Status.OK:
            status, message, value = Status.RUN_FAILED, f"it raised {shorten(late)}", {}
    seconds = time.perf_counter() - start
    return {"status": str(status), "message": message, "value": value, "poisoned": poisoned, "seconds": seconds}


def _late_error() -> Exception | None:
    """What went wrong on the CUDA device and shows only now: the next job must not meet it."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        try:
            torch.cuda.synchronize()
        except Exception as error:
            return error
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one behind it, says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def is_poisoned(error: BaseException) -> bool:
    """Whether an error leaves the process's CUDA context unusable."""
    return isinstance(error, RuntimeError) and ("CUDA error" in str(error) or "device-side assert" in str(error))


def shorten(error: BaseException) -> str:
    """The error's class and the first line of its message, at most 200 characters."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]
