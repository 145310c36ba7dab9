"""A run as it is read: what counts, what is known of each kernel, and that nothing is changed."""

import hashlib
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from canvas_rl.errors import FormatError, RunError, StoreError
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.files import read_json, write_json
from canvas_rl.report import read_run
from canvas_rl.report.course import course_of
from canvas_rl.report.model import page_model
from canvas_rl.report.reading import Origin
from canvas_rl.report.summary import summarise
from canvas_rl.rewards import make_reward


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_all_kernels_come_in_order_with_what_they_earned(finished):
    run = read_run(finished)
    state = read_json(finished / "state.json")
    assert [trial.kernel for trial in run.trials] == state["asked"]
    assert [trial.number for trial in run.trials] == list(range(1, 13))
    assert [trial.status for trial in run.trials].count("ok") == 10
    assert run.trials[3].status == "not_finite"
    assert run.trials[5].status == "skipped"
    assert run.trials[5].graph is None
    assert run.best is not None
    assert run.best.kernel == state["archive"][0]["kernel"]["hash"]
    assert run.best.reward == pytest.approx(state["archive"][0]["reward"])
    assert all(trial.history and trial.made for trial in run.trials if trial.status != "skipped")
    assert {trial.origin for trial in run.trials} == {Origin.AGENT}


def test_the_course_ends_where_the_search_did(finished):
    run = read_run(finished)
    course, state = course_of(run), read_json(finished / "state.json")
    kernels = [trial.kernel for trial in run.trials]
    assert kernels[course.best[-1]] == state["archive"][0]["kernel"]["hash"]
    assert {kernels[index] for index in course.front} == {entry["kernel"]["hash"] for entry in state["front"]}
    assert list(course.hypervolume) == sorted(course.hypervolume)


def test_reading_changes_nothing(make_run, tmp_path):
    folder = make_run(tmp_path / "never read before", evaluations=2)
    before = content(folder)
    assert "search.sqlite" in before
    read_run(folder)
    assert content(folder) == before


def test_a_run_that_is_going_on_is_read_while_its_store_is_open(copied):
    store = MeasurementStore(copied / "search.sqlite")
    run = read_run(copied)
    name, graph = run.trials[0].kernel, dict(run.trials[0].graph or {})
    store.put(Measurement(name, Status.OK, quality=0.5, speedup=2.0), graph, run.fingerprint, run.device)
    again = read_run(copied)
    assert again.trials[0].measurement is not None
    assert again.trials[0].measurement.quality == 0.5
    assert len(again.trials[0].history) == 2
    store.put(Measurement(name, Status.CRASHED, "by chance"), graph, run.fingerprint, run.device)
    assert read_run(copied).trials[0].status == "ok"
    store.put(Measurement(name, Status.OK), graph, run.fingerprint, "another device")
    assert read_run(copied).trials[0].measurement.quality == 0.5
    store.close()


def test_a_store_of_its_own_url_and_what_it_had_before(make_run, tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    make_run(tmp_path / "first", evaluations=5, storage=url)
    path = make_run(tmp_path / "second", evaluations=8, storage=url)
    expected = [Origin.STORE] * 5 + [Origin.AGENT] * 3
    assert [trial.origin for trial in read_run(path).trials] == expected
    assert not (path / "search.sqlite").exists()
    with sqlite3.connect(tmp_path / "shared.sqlite") as connection:  # what another run stores meanwhile may be younger
        names = ", ".join(f"'{trial.kernel}'" for trial in read_run(path).trials[:5])
        connection.execute(f"UPDATE measurements SET created = datetime(created, '+7 days') WHERE kernel IN ({names})")
    connection.close()
    assert [trial.origin for trial in read_run(path).trials] == expected


def test_the_first_kernels_are_those_of_the_warm_start(make_run, tmp_path):
    run = read_run(make_run(tmp_path / "run", evaluations=4, warm_start=("shift_conv1x1",)))
    assert [trial.origin for trial in run.trials] == [Origin.WARM_START] + [Origin.AGENT] * 3


def test_times_are_those_of_the_run_not_of_the_store_before_it(make_run, tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    names = ("shift_conv1x1",)
    make_run(tmp_path / "first", evaluations=3, storage=url, warm_start=names)
    with sqlite3.connect(tmp_path / "shared.sqlite") as connection:
        connection.execute("UPDATE measurements SET created = datetime(created, '-7 days')")
    connection.close()
    run = read_run(make_run(tmp_path / "second", evaluations=6, storage=url, warm_start=names))
    origins = [Origin.WARM_START] + [Origin.STORE] * 2 + [Origin.AGENT] * 3
    assert [trial.origin for trial in run.trials] == origins
    assert [trial.stored_before for trial in run.trials] == [True] * 3 + [False] * 3
    course = course_of(run)
    seconds = page_model([run], [course])["runs"][0]["columns"]["seconds"]
    assert seconds[:3] == [None] * 3
    assert all(0 <= value < 3600 for value in seconds[3:])
    summary = summarise(run, course)
    assert summary.store_hits == 3
    assert summary.seconds is not None
    assert summary.seconds < 3600


def test_the_time_of_a_run_is_its_own_word(make_run, tmp_path):
    path = make_run(tmp_path / "run", evaluations=4)
    state = read_json(path / "state.json")
    for told, least, most in ((1000.5, 1000.5, 1000.5), (None, 0, 900)):  # None: as older versions wrote it
        write_json(path / "state.json", state | {"seconds": told})
        run = read_run(path)
        assert least <= summarise(run, course_of(run)).seconds <= most


def test_without_the_convolutions_figures_the_best_kernels_keep_their_rewards(copied):
    state = read_json(copied / "state.json")
    del state["reference"]
    state["front"], state["archive"] = [], state["archive"][:1]
    write_json(copied / "state.json", state)
    run = read_run(copied)
    assert run.reference is None
    known = [trial.reward for trial in run.trials if trial.reward is not None]
    assert known == [state["archive"][0]["reward"]]
    (copied / "best").mkdir(exist_ok=True)
    reference = Measurement("reference", Status.OK)
    write_json(copied / "best" / "metrics.json", {"reference": reference.to_json(), "network": None})
    assert read_run(copied).reference == reference


def test_rewards_are_those_of_the_runs_own_reward(copied):
    run = read_run(copied)
    reward = make_reward(run.settings.run.reward)
    assert run.reference is not None
    for trial in run.trials:
        assert trial.measurement is not None
        assert trial.reward == pytest.approx(reward(trial.measurement, run.reference))


def test_a_run_without_evaluations_is_a_run(make_run, tmp_path):
    run = read_run(make_run(tmp_path / "run", evaluations=0))
    assert run.trials == ()
    assert run.best is None


def test_a_name_that_is_too_long_is_refused():
    with pytest.raises(RunError, match=r"can't be read .*: expected the folder of a run"):
        read_run("x" * 300)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match=r"is no run: expected a folder with config\.json"):
            read_run(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("state.json", lambda state: {"asked": None}),
        ("state.json", lambda state: state | {"archive": [{}]}),
        ("state.json", lambda state: state | {"reference": {"status": "no such"}}),
        ("state.json", lambda state: state | {"from_store": 3}),
        ("config.json", lambda config: {key: value for key, value in config.items() if key != "measured"}),
        ("config.json", lambda config: config | {"format": 99}),
    ],
)
def test_damaged_files_are_named(copied, name, change):
    write_json(copied / name, change(read_json(copied / name)))
    with pytest.raises(FormatError, match=r"damaged|can't be read|format 99"):
        read_run(copied)


def test_a_missing_store_is_refused_and_not_made(copied):
    (copied / "search.sqlite").unlink()
    with pytest.raises(StoreError, match=r"can't open the store .*there is no file '/.*/copied/search.sqlite'"):
        read_run(copied)
    assert not (copied / "search.sqlite").exists()


def test_a_database_that_is_no_store_is_refused(copied):
    (copied / "search.sqlite").unlink()
    sqlite3.connect(copied / "search.sqlite").close()
    with pytest.raises(StoreError, match="is no store of canvas_rl"):
        read_run(copied)


def test_a_store_of_an_older_version_is_left_as_it_is(copied):
    with sqlite3.connect(copied / "search.sqlite") as connection:
        connection.execute("UPDATE canvas_rl_schema SET version = 1")
    connection.close()
    with pytest.raises(StoreError, match=r"an older version .* --resume"):
        read_run(copied)
    with sqlite3.connect(copied / "search.sqlite") as connection:
        assert connection.execute("SELECT version FROM canvas_rl_schema").fetchone() == (1,)
    connection.close()


def test_a_store_in_a_folder_that_cannot_be_written_is_read(copied, monkeypatch):
    asked = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and asked(path, mode))
    assert len(read_run(copied).trials) == 12


def test_a_run_may_be_moved(copied, tmp_path):
    shutil.move(copied, tmp_path / "elsewhere")
    assert len(read_run(tmp_path / "elsewhere").trials) == 12
    assert json.loads((tmp_path / "elsewhere" / "config.json").read_text())["run"]["storage"] is None
