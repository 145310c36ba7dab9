"""Every code block of the README and of the pages: Python is run, commands are parsed by what they call.

A page's Python blocks share a namespace, and an empty folder with a finished run in `runs/my-run` and `runs/first`.
`MyModel` and `example_input` stand for what readers have.
"""

import os
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
import yaml
from code_blocks import OUTPUT, PAGES, ROOT, blocks
from commands import check_python, check_shell
from torch import nn

import canvas_rl


class MyModel(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 3, padding=1))


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """A search of two kernels on data that take no time to learn."""
    folder = tmp_path_factory.mktemp("runs")
    images, labels = np.random.default_rng(0).normal(size=(120, 8, 8)), np.arange(120) % 2
    np.savez(folder / "noise.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    canvas_rl.search(
        agent="random",
        model="resnet8",
        dataset=str(folder / "noise.npz"),
        evaluations=2,
        workers=1,
        num_primitive_range=(2, 3),
        allowed_filter="fc,conv,relu",
        run_dir=folder / "my-run",
        progress=False,
    )
    assert (folder / "my-run" / "best" / "metrics.json").exists()
    return folder / "my-run"


@pytest.fixture
def folder(tmp_path, finished_run, monkeypatch):
    (tmp_path / "runs").mkdir()
    for name in ("my-run", "first"):
        (tmp_path / "runs" / name).symlink_to(finished_run)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    return tmp_path


def module(block, monkeypatch):
    """The namespace of a page: a module, because dataclasses and workers look for theirs."""
    made = types.ModuleType(f"page_{block.page.stem}")
    vars(made).update(MyModel=MyModel, example_input=torch.zeros(1, 3, 8, 8))
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


def check(block, namespace, folder):
    """Run or check a block, or fail: there is no language that passes unseen."""
    if block.order == "not run":
        assert block.argument, f"{block}: say why it is not run"
    if block.order == "file":
        (folder / block.argument).write_text(block.code)
        sys.modules.pop(block.argument.removesuffix(".py"), None)
    if block.language == "python":
        code = compile("\n" * (block.line - 1) + block.code, str(block.page), "exec")
        if block.order != "not run":
            exec(code, vars(namespace))
    elif block.language == "bash":
        check_shell(block.code)
        if block.order == "run":
            subprocess.run(["bash", "-e", "-c", block.code], cwd=folder, check=True, timeout=60)
    elif block.language == "yaml":
        for job in yaml.safe_load(block.code)["jobs"].values():
            for step in job["steps"]:
                check_shell(step.get("run", ""))
    elif block.language == "quoted":
        check_quoted(block.code)
    else:
        pytest.fail(f"{block}: a block of {block.language or 'no language'} is not tested: {OUTPUT} is for output")


def check_quoted(command):
    """A command in the text, where a capital letter stands for a number and `...` for what the reader adds."""
    if "..." not in command and "NAME" not in command:
        words = command.split("#")[0].split()[1:]
        check_python(["1" if len(word) == 1 and word.isupper() else word for word in words])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code(page, folder, monkeypatch):
    found = [block for block in blocks(page) if block.language != OUTPUT]
    namespace = module(found[0], monkeypatch) if found else None
    for block in found:
        try:
            check(block, namespace, folder)
        except Exception as error:
            raise AssertionError(f"the code at {block} failed: {error!r}") from error


def test_blocks_are_found():
    assert sum(block.language == "python" for page in PAGES for block in blocks(page)) > 20
    assert not any("PLACEHOLDER" in page.read_text() for page in PAGES)
