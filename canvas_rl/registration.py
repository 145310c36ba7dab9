"""The only place of canvas_rl that names the packages `envs` and `agents`, and the fence around them.

Both are top-level packages whose names are not ours alone, so they are named as strings, imported late and checked.
"""

from importlib import import_module
from importlib.metadata import packages_distributions
from typing import Any

from canvas_rl.errors import MissingDependencyError, RegistrationError
from canvas_rl.registry import Registry

ENVIRONMENT_ID = "envs:canvas_rl/KernelConstruction-v0"
"""What `gymnasium.make` takes."""

AGENTS = Registry(
    "agent",
    {
        "ppo": "agents.maskable_ppo:PPOAgent",
        "genetic": "agents.genetic:GeneticAgent",
        "evolution": "agents.evolution:EvolutionAgent",
        "mcts": "agents.mcts:MCTSAgent",
        "random": "agents.random_search:RandomAgent",
    },
)

MARKER = "CANVAS_RL_MARKER"
"""Attribute by which a package shows that it is ours; its value is `canvas_rl.<package>`."""


def check_package(package: str) -> None:
    """Make sure that the importable `package` is the one of canvas_rl.

    Raises:
        MissingDependencyError: there is no such package.
        RegistrationError: another distribution's package of that name comes first.
    """
    try:
        module = import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingDependencyError(
            f"the package {package!r} of canvas_rl is missing: reinstall canvas_rl (pip install --force-reinstall)"
        ) from error
    if getattr(module, MARKER, None) != f"canvas_rl.{package}":
        owners = [name for name in packages_distributions().get(package, []) if name != "canvas_rl"]
        where = getattr(module, "__file__", None) or "a namespace package"
        raise RegistrationError(
            f"the package {package!r} at {where} is not canvas_rl's but belongs to "
            f"{', '.join(owners) or 'no distribution'}: uninstall that, or use a virtual environment of its own"
        )


def load_agent(name: str) -> Any:
    """The class of the agent registered as `name`.

    Raises:
        UnknownNameError: no agent has that name.
        RegistrationError: another distribution's `agents` or `envs` stands in the way.
    """
    if name in AGENTS:
        for package in ("envs", "agents"):  # agents build on the environments
            check_package(package)
    return AGENTS.get(name)
