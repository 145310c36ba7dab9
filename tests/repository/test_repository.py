"""The repository's own promises: packaging fences, pinned versions, sizes of files."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = sorted(
    path
    for folder in ("canvas_rl", "envs", "agents", "examples", "experiments", "tests")
    for path in (ROOT / folder).rglob("*.py")
)


def pins() -> dict[str, Version]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pairs = [line.split("==") for line in lines]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


@pytest.mark.parametrize("group", ["dependencies", "dev", "docs", "plots", "release"])
def test_every_dependency_is_pinned_within_its_bounds(group):
    project = PROJECT["project"]
    for line in project.get(group) or project["optional-dependencies"][group]:
        requirement = Requirement(line)
        assert requirement.specifier, line
        assert pins()[canonicalize_name(requirement.name)] in requirement.specifier, line


def test_the_pinned_torch_is_that_of_the_promise():
    assert str(pins()["torch"]) == "2.13.0"


def test_packages_are_fenced():
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]
    assert {name.partition(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]} == {
        "canvas_rl",
        "envs",
        "agents",
    }
    assert all((ROOT / package / "py.typed").is_file() for package in ("canvas_rl", "envs", "agents"))


def test_versions_agree():
    version = PROJECT["project"]["version"]
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_make_shows_its_targets():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"setup", "train", "test", "lint"} <= set(re.findall(r"^make (\w+)", shown, re.MULTILINE))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["TORCH=mine"], "TORCH is 'mine': expected pinned or user"),
        (["PYTHON="], "no Python >= 3.11 was found"),
    ],
)
def test_make_refuses_what_it_cannot_use(arguments, message, tmp_path):
    command = ["make", "-C", str(ROOT), f"VENV={tmp_path / 'venv'}", *arguments, "setup"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert message in run.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("stamp", [".installed-pinned", ".installed-user"])
def test_make_never_clears_an_environment_that_it_did_not_make(tmp_path, stamp):
    (tmp_path / "work.txt").write_text("dear to somebody")
    (tmp_path / stamp).touch()
    command = ["make", "-C", str(ROOT), f"VENV={tmp_path}", "--always-make", "setup"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "was not made here and has no pip" in run.stderr
    assert (tmp_path / "work.txt").exists()


def test_files_stay_short():
    long = {str(path): lines for path in SOURCES if (lines := len(path.read_text().splitlines())) > 500}
    assert not long


def test_the_library_does_not_print():
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] in ("canvas_rl", "envs", "agents"):
            calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path


def test_test_files_have_unique_names():
    names = [path.name for path in SOURCES if path.name.startswith("test_")]
    assert len(names) == len(set(names))
