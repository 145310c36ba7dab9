"""What was searched, on what and with which budget, as pairs of a name and a text."""

from collections.abc import Iterable

from canvas_rl.config import SearchOptions
from canvas_rl.evaluation.store_engine import masked, parse_url
from canvas_rl.report.reading import Run
from canvas_rl.report.wording import duration, times
from canvas_rl.study.settings import unusual_options

Facts = list[tuple[str, str]]

_NOT_OF_THE_DEVICE = ("noise", "notes")
_BUDGETS = {"flops_budget": "FLOPs", "params_budget": "parameters", "memory_budget": "activation memory"}


def target_facts(run: Run) -> Facts:
    """The network, the device and the data."""
    target, quality = run.settings.target, run.settings.quality
    layout = "channels last" if target.channels_last else "contiguous"
    return [
        ("Network", target.model),
        ("Places", ", ".join(sites(run)) or "not known before a kernel is measured"),
        ("Device", run.device),
        ("Timed as", f"{target.dtype}, batch {target.batch_size}, {layout}, {target.latency}"),
        ("Quality on", quality.dataset),
    ]


def budget_facts(run: Run) -> Facts:
    """Evaluations, time, and what kernels may cost and look like."""
    settings, space = run.settings.run, run.settings.space
    limit = "no limit of time" if settings.time_limit is None else f"at most {duration(settings.time_limit)}"
    found: Facts = [("Evaluations", f"{len(run.trials):,} of {settings.evaluations:,}, {limit}")]
    costs = [f"{words} {times(getattr(space, name))}" for name, words in _BUDGETS.items() if getattr(space, name)]
    found.append(("Cost at most", f"{', '.join(costs)} of the convolution's" if costs else "not bounded"))
    found.append(("Primitives", "{} to {}".format(*space.num_primitive_range)))
    other = ", ".join(_changed(space))
    return [*found, ("Other options", other)] if other else found


def agent_facts(run: Run) -> Facts:
    """Who searched, and what it learned from."""
    settings = run.settings.run
    options = ", ".join(settings.agent_options)
    found: Facts = [("Agent", f"{settings.agent} ({options})" if options else settings.agent)]
    found += [("Reward", settings.reward), ("Seed", str(settings.seed))]
    if settings.warm_start:
        found.append(("Warm start", ", ".join(settings.warm_start)))
    if settings.skip_slower is not None:
        found.append(("Skipped if slower than", times(settings.skip_slower)))
    store = "in the run's folder" if settings.storage is None else masked(parse_url(settings.storage))
    return [*found, ("Store", store)]


def environment_facts(run: Run) -> Facts:
    """Device, versions and clocks as the measurements have them; values that differ are listed."""
    values: dict[str, dict[str, None]] = {}
    for trial in run.trials:
        for name, value in (trial.measurement.environment if trial.measurement else {}).items():
            if name not in _NOT_OF_THE_DEVICE:
                values.setdefault(name, {})[value] = None
    return [(name.replace("_", " "), _range(found)) for name, found in values.items()]


def sites(run: Run) -> list[str]:
    """The network's places, from any measurement."""
    measured = [run.reference, *(trial.measurement for trial in run.trials)]
    found = next((item.sites for item in measured if item and item.sites), ())
    return [str(part.site) for part in found]


def _changed(space: SearchOptions) -> list[str]:
    """Options that are not those of a search by default, but for those that have a line of their own."""
    own = {*_BUDGETS, "num_primitive_range"}
    return [f"{name}={value}" for name, value in unusual_options(space).items() if name not in own]


def _range(values: Iterable[str]) -> str:
    listed = list(values)
    try:
        numbers = sorted(map(float, listed))
    except ValueError:
        return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
    return listed[0] if len(numbers) == 1 else f"{numbers[0]:g} to {numbers[-1]:g}"
