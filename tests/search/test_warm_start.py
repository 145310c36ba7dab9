"""A warm start: known operators are evaluated first, counted like all others, and refused where they are illegal."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_session import make
from test_train import QUICK, refused

from canvas_rl import zoo
from canvas_rl.session import SearchOver, Snapshot
from canvas_rl.space import SearchSpace
from canvas_rl.study.session import SearchSession
from canvas_rl.train import main

NAMES = ("depthwise_separable", "spatially_separable", "shift_conv1x1")


@pytest.fixture(scope="module")
def space(space):
    return SearchSpace(space.sites, replace(space.options, max_weighted_ratio=1.0))


@pytest.fixture(scope="module")
def known(space):
    return [zoo.build(name, space) for name in NAMES]


def warm(space, path, known, **options):
    """A session that begins with known kernels."""
    _, evaluator, parts = make(space, path, **options)
    begun = SearchSession(parts, options.get("evaluations", 100), 0, known)
    begun.restore()
    return begun, evaluator, parts


def test_known_kernels_are_evaluated_counted_kept_and_shown(space, known, tmp_path):
    session, evaluator, parts = warm(space, tmp_path, [*known, known[0]])
    session.warm_up()
    expected = [graph.hash for graph in known]
    assert evaluator.paid == parts.board.measurements == expected
    assert session.count == 3
    assert session.repeats == 0
    assert {entry.graph.hash for entry in session.archive.entries} == set(expected)
    (outcome,) = session.judge(known[:1])
    assert outcome.repeated
    session.judge([space.sample(np.random.default_rng(0))])
    state = json.loads((tmp_path / "state.json").read_text())
    assert state["asked"][:3] == state["warm_start"] == expected
    assert len(state["asked"]) == 4


def test_resumed_before_the_first_checkpoint_they_are_claimed_and_not_counted_twice(space, known, tmp_path):
    session, evaluator, _ = warm(space, tmp_path, known)
    session.warm_up()
    resumed, other, _ = warm(space, tmp_path, known, store=evaluator.store)
    assert resumed.unclaimed
    resumed.warm_up()
    assert not resumed.unclaimed
    assert not other.paid
    assert (resumed.count, resumed.repeats, resumed.store_hits) == (3, 0, 0)


def test_resumed_from_a_checkpoint_they_are_not_judged_again(space, known, tmp_path):
    session, evaluator, _ = warm(space, tmp_path, known)
    session.warm_up()
    session.checkpoint(Snapshot({"rounds": 1}))
    resumed, other, _ = warm(space, tmp_path, known, store=evaluator.store)
    resumed.warm_up()
    assert not other.paid
    assert (resumed.count, resumed.repeats, resumed.store_hits) == (3, 0, 0)


def test_no_more_than_the_evaluations_asked_for(space, known, tmp_path):
    session, evaluator, _ = warm(space, tmp_path, known, evaluations=2)
    with pytest.raises(SearchOver, match="all 2 evaluations"):
        session.warm_up()
    assert len(evaluator.paid) == session.count == 2


@pytest.mark.parametrize("agent", ["ppo", "random"])
def test_a_run_begins_with_them(tmp_path, data, agent):
    folder = tmp_path / "run"
    options = ["--agent", agent, "--evaluations", "4", "--agent-options"]
    options += ["kernels_per_update=2" if agent == "ppo" else "kernels_per_round=2"]
    assert main(["--run-dir", str(folder), "--warm-start", *NAMES[::2], *options, *QUICK, *data]) == 0
    state = json.loads((folder / "state.json").read_text())
    programs = {entry["kernel"]["program"][0] for entry in state["archive"]}
    assert len(state["asked"]) == 4
    assert {"conv(3x3,d1,depthwise)", "shift(1.HW,+1)"} <= programs
    assert json.loads((folder / "config.json").read_text())["run"]["warm_start"] == list(NAMES[::2])
    assert main(["--resume", "--run-dir", str(folder), "--evaluations", "5"]) == 0
    resumed = json.loads((folder / "state.json").read_text())["asked"]
    assert resumed[:4] == state["asked"]
    assert len(set(resumed)) == 5


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["involutoin"], "unknown operator 'involutoin'"),
        (
            ["conv1x1"],
            "the operator 'conv1x1' is not in this search space: output(1) is illegal here: the kernel has 1",
        ),
        (["depthwise_separable", "involution"], "the operator 'involution' needs unfold(HW,k3,d1), which"),
        (["bottleneck"], "the operator 'bottleneck' is not in this search space: "),
    ],
)
def test_what_the_space_does_not_have_is_refused_before_anything_is_written(tmp_path, capsys, names, message):
    folder = tmp_path / "run"
    assert message in refused(capsys, main(["--run-dir", str(folder), "--warm-start", *names, *QUICK]))
    assert not folder.exists()
