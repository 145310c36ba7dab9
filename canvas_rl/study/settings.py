"""The settings of a search: frozen dataclasses from which the command line is made."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from canvas_rl.config import SearchOptions
from canvas_rl.errors import ConfigError, FormatError
from canvas_rl.evaluation.data import is_file
from canvas_rl.evaluation.settings import check_skip_slower, processor_count
from canvas_rl.files import full_path
from canvas_rl.registry import did_you_mean

FORMAT = 1
"""Version of `config.json`."""


def chosen_workers(asked: int, device: str) -> int:
    """The workers asked for; for 0, one on CUDA, else one a core, as each uses one thread, but at most 8."""
    return asked or (1 if device == "cuda" else min(8, processor_count()))


@dataclass(frozen=True)
class RunSettings:
    """The search, and where it is kept."""

    agent: str = "ppo"
    """who searches: ppo, genetic, evolution, mcts, or random, which draws kernels without learning (docs/agents.md)"""
    agent_options: tuple[str, ...] = ()
    """options of the agent as name=value, such as learning_rate=3e-4 ent_coef=0.02"""
    warm_start: tuple[str, ...] = ()
    """known operators, such as depthwise_separable, that are evaluated first; agents learn from them"""
    evaluations: int = 200
    """kernels to evaluate in the run, resumed parts included: distinct ones, failures and store hits count too"""
    time_limit: float | None = 600.0
    """seconds after which the search ends even with evaluations left (the final table comes on top)"""
    seed: int = 0
    """all that is random in the search follows from it; the trainings of kernels have a fixed seed of their own"""
    reward: str = "mnasnet"
    """what a measurement is worth: mnasnet is quality times a power of the latency ratio"""
    skip_slower: float | None = None
    """least speedup of interest, such as 1.0: a kernel that a model of those timed so far predicts to be slower is
    skipped and earns the lowest reward; needs scikit-learn (none: measure all; docs/measurement.md)"""
    pareto_parameters: bool = False
    """count parameters as a third objective of the Pareto front, beside latency and quality"""
    workers: int = 0
    """processes that evaluate kernels, each with one core, and measure latency one at a time (0: one a core, at most 8;
    one on CUDA)"""
    storage: str | None = None
    """database URL of measurements, such as sqlite:////tmp/all.sqlite or postgresql://... (none: in the run folder)"""
    run_dir: Path | None = None
    """folder of the run (none: runs/<date and time>; with --resume: the newest run)"""
    resume: bool = False
    """continue the run in run_dir from its last checkpoint; settings not given are those of the run"""

    def __post_init__(self) -> None:
        if self.run_dir is not None:
            object.__setattr__(self, "run_dir", Path(self.run_dir))  # from Python a text will do
        for name, least in (("evaluations", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected at least {least}")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ConfigError(f"time_limit is {self.time_limit}: expected seconds above 0, or None")
        check_skip_slower(self.skip_slower)
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}: expected a whole number of at least 0")


@dataclass(frozen=True)
class TargetSettings:
    """The network whose convolutions are replaced, and the device it shall be fast on."""

    model: str = "resnet18"
    """a built-in network, or module:factory of your own (it returns the model, or the model and an example input)"""
    device: str = "auto"
    """where latency is measured: auto (cuda if there is one), cpu or cuda"""
    dtype: str = "float32"
    """number type while latency is measured: float32, bfloat16 or float16"""
    batch_size: int = 1
    """batch size while latency is measured"""
    channels_last: bool = False
    """measure latency in channels-last memory layout"""
    latency: str = "eager"
    """how kernels run while latency is measured: eager, or compile for torch.compile"""

    def __post_init__(self) -> None:
        for name, known in (("device", ("auto", "cpu", "cuda")), ("latency", ("eager", "compile"))):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is {getattr(self, name)!r}: expected one of {', '.join(known)}")


@dataclass(frozen=True)
class QualitySettings:
    """The training that tells a kernel's quality.

    Paths become absolute, so that a run can be resumed, and its network scored, from any working directory.
    """

    dataset: str = "shifted_digits"
    """shifted_digits, digits, motifs, shapes, cifar10, cifar100, the path of an .npz file, or module:function"""
    data_dir: Path | None = None
    """folder of data files that are not shipped, such as CIFAR's"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", str(self.dataset))  # from Python a path will do
        if self.data_dir is not None:
            object.__setattr__(self, "data_dir", full_path(self.data_dir))
        elif is_file(self.dataset):
            object.__setattr__(self, "dataset", str(full_path(self.dataset)))


def default_space() -> SearchOptions:
    """The search space of a search: Canvas's, but shorter kernels that must be cheaper than what they replace."""
    return SearchOptions(num_primitive_range=(2, 8), max_weighted_ratio=1.0, flops_budget=0.5)


def unusual_options(space: SearchOptions) -> dict[str, Any]:
    """The options, by name, that are not those of `default_space`."""
    usual = default_space()
    values = {item.name: getattr(space, item.name) for item in fields(space)}
    return {name: value for name, value in values.items() if value != getattr(usual, name)}


@dataclass(frozen=True)
class SearchSettings:
    """All settings of a search."""

    run: RunSettings = field(default_factory=RunSettings)
    target: TargetSettings = field(default_factory=TargetSettings)
    quality: QualitySettings = field(default_factory=QualitySettings)
    space: SearchOptions = field(default_factory=default_space)

    @classmethod
    def of(cls, **values: Any) -> "SearchSettings":
        """Settings from flat names, such as `of(agent="random", dataset="motifs", kernel_sizes=(3,))`.

        Raises:
            ConfigError: an unknown name, or a value that can't be used.
        """
        return cls().replaced(**values)

    def replaced(self, **values: Any) -> "SearchSettings":
        """These settings with some values, by their flat names, changed.

        Raises:
            ConfigError: an unknown name, or a value that can't be used.
        """
        groups: dict[str, Any] = {}
        rest = dict(values)
        for group in fields(self):
            old = getattr(self, group.name)
            chosen = {item.name: rest.pop(item.name) for item in fields(old) if item.name in rest}
            groups[group.name] = type(old)(**{**_values(old), **chosen})
        if rest:
            raise ConfigError(_unknown(next(iter(rest)), self))
        return SearchSettings(**groups)

    def flat(self) -> dict[str, Any]:
        """All values by their flat names."""
        return {name: value for group in fields(self) for name, value in _values(getattr(self, group.name)).items()}

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` is its inverse."""
        data: dict[str, Any] = {group.name: _jsonable(asdict(getattr(self, group.name))) for group in fields(self)}
        return {"format": FORMAT, **data}

    @classmethod
    def from_json(cls, data: Any) -> "SearchSettings":
        """Settings saved by `to_json`.

        Raises:
            FormatError: damaged, or saved by another version.
        """
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else None
            raise FormatError(
                f"the run's config.json has format {found}: this version of canvas_rl reads format {FORMAT}"
            )
        try:
            values = {
                name: value for group in ("run", "target", "quality", "space") for name, value in data[group].items()
            }
            for name in ("run_dir", "data_dir"):
                values[name] = None if values[name] is None else Path(values[name])
            for name in ("agent_options", "warm_start"):
                values[name] = tuple(values[name] if name in values else ())
            return cls.of(**values)
        except (KeyError, TypeError, AttributeError, ConfigError) as error:
            raise FormatError(
                f"the run's config.json can't be used ({error}): damaged, or of another version"
            ) from error


def _values(group: Any) -> dict[str, Any]:
    return {item.name: getattr(group, item.name) for item in fields(group)}


def _jsonable(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }


def _unknown(name: str, settings: SearchSettings) -> str:
    return f"unknown setting {name!r}: see the fields of SearchSettings.{did_you_mean(name, settings.flat())}"


def agent_config(config_type: type[Any], assignments: tuple[str, ...]) -> Any:
    """An agent's options from `name=value` texts; values are read by the type of the default.

    Raises:
        ConfigError: not an assignment, an unknown name or an unusable value.
    """
    known = {item.name: item for item in fields(config_type)}
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"agent option {assignment!r} is no assignment: expected name=value")
        if name not in known:
            listed = ", ".join(known) or "none"
            raise ConfigError(f"unknown agent option {name!r}: expected one of {listed}.{did_you_mean(name, known)}")
        values[name] = _read(name, text, known[name].default)
    try:
        return config_type(**values)
    except ConfigError as error:
        raise ConfigError(f"agent option {error}") from error


def _read(name: str, text: str, default: Any) -> Any:
    try:
        if text.lower() == "none":
            return None
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, tuple):
            return tuple(type(default[0])(part) for part in text.split(","))
        return type(default)(text)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"agent option {name} is {text!r}: expected a value such as {default}") from error
