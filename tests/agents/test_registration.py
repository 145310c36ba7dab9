import subprocess
import sys

import pytest

from canvas_rl import registration
from canvas_rl.errors import MissingDependencyError, RegistrationError, UnknownNameError


def test_every_agent_loads_and_has_frozen_options():
    for name in registration.AGENTS.names():
        agent_type = registration.load_agent(name)
        agent = agent_type(agent_type.config_type())
        assert agent.config == agent_type.config_type()
        with pytest.raises(AttributeError):
            agent.config.anything = 1


def test_unknown_agent_gets_a_hint():
    with pytest.raises(UnknownNameError, match=r"unknown agent 'pppo'.*Did you mean 'ppo'\?"):
        registration.load_agent("pppo")


@pytest.mark.parametrize("package", ["envs", "agents"])
def test_our_packages_pass_the_check(package):
    registration.check_package(package)


def run_with_clash(tmp_path, package, call):
    """A process in which another distribution's package of the same name comes first."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    info = tmp_path / "intruder-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: intruder\nVersion: 1.0\n")
    (info / "top_level.txt").write_text(f"{package}\n")
    (info / "RECORD").write_text(f"{package}/__init__.py,,\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + (
        "from canvas_rl.registration import check_package, load_agent\n"
        f"from canvas_rl.errors import RegistrationError\n"
        f"try:\n    {call}\nexcept RegistrationError as error:\n    print(error)\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("package", ["envs", "agents"])
def test_a_clash_names_the_distribution_in_the_way(tmp_path, package):
    message = run_with_clash(tmp_path, package, f"check_package({package!r})")
    assert f"'{package}'" in message
    assert "intruder" in message
    assert "uninstall" in message


@pytest.mark.parametrize("package", ["envs", "agents"])
def test_an_agent_does_not_load_beside_a_foreign_package(tmp_path, package):
    assert f"'{package}'" in run_with_clash(tmp_path, package, "load_agent('ppo')")


def test_a_package_without_the_marker_is_refused():
    with pytest.raises(RegistrationError, match="not canvas_rl's"):
        registration.check_package("json")


def test_a_missing_package_is_named():
    with pytest.raises(MissingDependencyError, match="no_such_package"):
        registration.check_package("no_such_package")
