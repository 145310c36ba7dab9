import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from canvas_rl.errors import ConfigError, MissingDependencyError, StoreError, UnknownNameError
from canvas_rl.evaluation.measurement import Measurement, SiteFigures, Status
from canvas_rl.evaluation.store import MeasurementStore
from canvas_rl.evaluation.store_queries import Constraints
from canvas_rl.symbolic.site import Site
from canvas_rl.zoo import debug_sample

PAGE = Path(__file__).parents[2] / "docs" / "measurement.md"
MEASUREMENT = Measurement("k1", Status.OK, speedup=2.0, quality=0.5, environment={"a": "b"}, wall_time_s=3.0)
WRITER = """
import sys
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.evaluation.store import MeasurementStore
url, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
store = MeasurementStore(url)
for i in range(150):
    store.put(Measurement(f"{name}{i}", Status.OK), {"of": name}, "f", "cpu")
    store.put(Measurement(f"both{i}", Status.OK, message=name), {"of": "both"}, "f", "cpu")
store.close()
"""


@pytest.fixture
def store(location: str) -> Iterator[MeasurementStore]:
    store = MeasurementStore(location)
    yield store
    store.close()


def figures(speedup: float, latency_s: float, flops: int = 10, params: int = 5) -> dict[str, object]:
    sites = (
        SiteFigures(Site(8, 4, 4), flops, params, 7, latency_s, 1.0),
        SiteFigures(Site(8, 2, 2), 1, 1, 1, 0.5, 1.0),
    )
    return {"speedup": speedup, "sites": sites}


def fill(store: MeasurementStore) -> None:
    rows = [
        Measurement("slow", Status.OK, quality=0.9, **figures(0.5, 2.0, params=1)),
        Measurement("quick", Status.OK, quality=0.2, **figures(4.0, 0.1, flops=1000)),
        Measurement("fair", Status.OK, quality=0.6, **figures(2.0, 0.4)),
        Measurement("untrained", Status.OK, **figures(8.0, 0.05, flops=2000)),
        Measurement("broken", Status.RUN_FAILED, quality=1.0, **figures(9.0, 0.01)),
    ]
    for row in rows:
        store.put(row, {"of": row.kernel}, "f", "cpu")


def test_put_and_get_by_the_whole_key(store: MeasurementStore) -> None:
    store.put(MEASUREMENT, {"nodes": 1}, "f", "cpu")
    assert store.get("k1", "f", "cpu") == MEASUREMENT
    assert store.get("k1", "other", "cpu") is None
    assert store.get("k1", "f", "gpu") is None
    assert store.get("k2", "f", "cpu") is None
    assert store.get_graph("k1") == {"nodes": 1}
    assert store.get_graph("k2") is None


def test_measuring_again_adds_rows_and_the_latest_counts(store: MeasurementStore) -> None:
    again = replace(MEASUREMENT, speedup=3.0)
    before = datetime.now(UTC) - timedelta(seconds=1)
    store.put(MEASUREMENT, {"nodes": 1}, "f", "cpu")
    store.put(again, {"nodes": 1}, "f", "cpu")
    store.put(MEASUREMENT, {"nodes": 1}, "other", "gpu")
    assert store.get("k1", "f", "cpu") == again
    history = store.history("k1")
    assert [record.measurement for record in history] == [MEASUREMENT, again, MEASUREMENT]
    assert [(record.fingerprint, record.device) for record in history] == [("f", "cpu"), ("f", "cpu"), ("other", "gpu")]
    assert all(before <= record.created <= datetime.now(UTC) for record in history)
    assert [record.graph for record in history] == [{"nodes": 1}] * 3
    assert store.history("k2") == []


def test_a_conclusive_row_counts_before_a_later_failure_of_circumstance(store: MeasurementStore) -> None:
    failures = [Measurement("k1", status) for status in Status if not status.conclusive]
    for failure in failures:
        store.put(failure, {}, "f", "cpu")
        assert store.get("k1", "f", "cpu") == failure
    assert store.get_many(["k1"], "f", "cpu", believed_after=len(failures)) == {"k1": failures[-1]}
    assert store.get_many(["k1"], "f", "cpu", believed_after=len(failures) + 1) == {}
    store.put(MEASUREMENT, {}, "f", "cpu")
    store.put(failures[0], {}, "f", "cpu")
    assert store.get_many(["k1"], "f", "cpu", believed_after=99) == {"k1": MEASUREMENT}
    assert [record.measurement for record in store.best()] == [MEASUREMENT]
    assert len(store.history("k1")) == len(failures) + 2


def test_get_many_beyond_one_query(store: MeasurementStore) -> None:
    for index in range(0, 1200, 100):
        store.put(Measurement(f"k{index}", Status.OK), {}, "f", "cpu")
    found = store.get_many([f"k{index}" for index in range(1200)], "f", "cpu")
    assert list(found) == [f"k{index}" for index in range(0, 1200, 100)]


def test_best_orders_by_the_figure_asked_for(store: MeasurementStore) -> None:
    fill(store)

    def names(by: str) -> list[str]:
        return [record.measurement.kernel for record in store.best(by=by)]

    assert names("speedup") == ["untrained", "quick", "fair", "slow"]
    assert names("quality") == ["slow", "fair", "quick"]
    assert names("latency_s") == ["untrained", "quick", "fair", "slow"]
    assert names("flops") == ["slow", "fair", "quick", "untrained"]
    assert names("params") == ["slow", "quick", "fair", "untrained"]
    assert [record.graph for record in store.best(limit=1)] == [{"of": "untrained"}]


@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        (Constraints(min_quality=0.2), ["quick", "fair", "slow"]),
        (Constraints(min_quality=0.21), ["fair", "slow"]),
        (Constraints(min_speedup=1.0, max_flops=1001), ["quick", "fair"]),
        (Constraints(max_latency_s=0.6, min_quality=0.0), ["quick"]),
        (Constraints(max_latency_s=0.95), ["untrained", "quick", "fair"]),
        (Constraints(max_params=2), ["slow"]),
        (Constraints(max_params=1), []),
    ],
)
def test_best_keeps_to_the_constraints(store: MeasurementStore, constraints: Constraints, expected: list[str]) -> None:
    fill(store)
    assert [record.measurement.kernel for record in store.best(constraints)] == expected


def test_best_takes_the_row_that_counts_of_the_place_asked_for(store: MeasurementStore) -> None:
    for speedup, fingerprint, device in ((9.0, "f", "cpu"), (2.0, "f", "cpu"), (5.0, "g", "cpu"), (7.0, "f", "gpu")):
        store.put(replace(MEASUREMENT, speedup=speedup), {}, fingerprint, device)
    assert [record.measurement.speedup for record in store.best()] == [7.0, 5.0, 2.0]
    assert [record.measurement.speedup for record in store.best(fingerprint="f")] == [7.0, 2.0]
    assert [record.measurement.speedup for record in store.best(fingerprint="f", device="cpu")] == [2.0]
    store.put(Measurement("k1", Status.NOT_REPEATABLE), {}, "f", "cpu")
    assert store.best(fingerprint="f", device="cpu") == []


def test_timed_kernels_are_named_with_their_first_row_in_the_order_of_storing(store: MeasurementStore) -> None:
    fill(store)
    store.put(replace(MEASUREMENT, kernel="slow", speedup=9.0), {}, "f", "cpu")
    store.put(replace(MEASUREMENT, kernel="elsewhere"), {}, "f", "gpu")
    store.put(replace(MEASUREMENT, kernel="otherwise"), {}, "g", "cpu")
    timed = store.timed("f", "cpu")
    assert list(timed) == ["slow", "quick", "fair", "untrained"]
    rows = store.rows([timed["fair"], timed["slow"]])
    assert [(row.measurement.kernel, row.measurement.speedup) for row in rows] == [("slow", 0.5), ("fair", 2.0)]
    assert store.rows([]) == []


def test_bad_questions_are_refused(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "store.sqlite")
    with pytest.raises(UnknownNameError, match=r"can't order by 'sped': expected one of speedup, .* mean 'speedup'"):
        store.best(by="sped")
    with pytest.raises(ConfigError, match="the limit is 0: expected at least 1"):
        store.best(limit=0)
    with pytest.raises(ConfigError, match="max_flops is nan: expected a number"):
        Constraints(max_flops=float("nan"))
    store.close()


def test_a_dataframe_has_every_row_and_its_types(store: MeasurementStore) -> None:
    fill(store)
    store.put(Measurement("unbuilt", Status.BUILD_FAILED), {}, "f", "gpu")
    store.put(Measurement("quick", Status.OK, quality=0.3, **figures(5.0, 0.1)), {}, "f", "gpu")
    frame = store.to_dataframe()
    assert list(frame["kernel"]) == ["slow", "quick", "fair", "untrained", "broken", "unbuilt", "quick"]
    assert list(frame["status"])[-2:] == ["build_failed", "ok"]
    assert frame["latency_s"].tolist()[:2] == pytest.approx([2.5, 0.6])
    assert frame["reference_latency_s"][0] == 2.0
    assert frame["flops"].tolist()[:3] == [11, 1001, 11]
    assert frame[["flops", "params", "quality", "latency_s"]].loc[5].isna().all()
    assert {name: str(frame[name].dtype) for name in ("id", "flops", "params", "quality")} == {
        "id": "Int64",
        "flops": "Int64",
        "params": "Int64",
        "quality": "float64",
    }
    assert str(frame["created"].dt.tz) == "UTC"
    assert list(store.to_dataframe(device="gpu")["kernel"]) == ["unbuilt", "quick"]
    empty = store.to_dataframe(fingerprint="none")
    assert list(empty.dtypes) == list(frame.dtypes)
    assert len(empty) == 0


def test_a_dataframe_without_pandas_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    store = MeasurementStore(tmp_path / "store.sqlite")
    with pytest.raises(MissingDependencyError, match="needs pandas, which is not installed: pip install pandas"):
        store.to_dataframe()
    store.close()


def test_costs_beyond_a_column_are_kept(store: MeasurementStore) -> None:
    huge = Measurement("k1", Status.TOO_LARGE, sites=(SiteFigures(Site(8), 10**30, 10**30, 1),))
    store.put(huge, {}, "f", "cpu")
    store.put(Measurement("k2", Status.BUILD_FAILED), {}, "f", "cpu")
    assert store.get("k1", "f", "cpu") == huge
    assert int(store.to_dataframe()["flops"][0]) == 2**63 - 1


def test_the_example_of_the_docs_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("runs/my-run").mkdir(parents=True)
    graph = debug_sample().graph
    store = MeasurementStore("sqlite:///runs/my-run/search.sqlite")
    for speedup in (2.0, 3.0):
        store.put(Measurement(graph.hash, Status.OK, quality=0.9, **figures(speedup, 1.0)), graph.to_json(), "f", "cpu")
    store.close()
    exec(compile(block, PAGE.name, "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out
    assert f"{graph.hash} 3.0 cpu" in printed
    assert "2 measurements of it" in printed
    assert "count" in printed


def test_two_processes_write_at_once(location: str) -> None:
    command = [sys.executable, "-c", WRITER, location]
    writers = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 2
    for writer in writers:  # neither the file nor the tables are there yet: they make these at once too
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [writer.wait(60) for writer in writers] == [0, 0]
    for writer in writers:
        writer.stdin.close()
        writer.stdout.close()
    store = MeasurementStore(location)
    frame = store.to_dataframe()
    assert Counter(frame["kernel"]) == Counter(
        [f"{name}{i}" for name in "ab" for i in range(150)] + [f"both{i}" for i in range(150)] * 2
    )
    assert frame["id"].is_unique
    for i in (0, 149):
        assert sorted(record.measurement.message for record in store.history(f"both{i}")) == ["a", "b"]
        assert store.get_graph(f"both{i}") == {"of": "both"}
    assert len(store.best(by="speedup", limit=1000)) == 0
    store.close()


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("not a url", "can't be read: expected something like sqlite"),
        ("sqlite:////nowhere/at/all/store.sqlite", "can't open the store .*folder there and writable"),
        ("nosuchdatabase://host/x", "store"),
        ("postgresql://host.invalid/x", "can't open the store .*is the server up and may this user write"),
        (Path("/dev/null/store.sqlite"), "can't open the store"),
    ],
)
def test_unusable_locations_are_named(location: str | Path, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        MeasurementStore(location)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"needs a database driver .* pip install 'psycopg\[binary\]'"):
        MeasurementStore("postgresql://host.invalid/x")


def test_password_is_not_shown() -> None:
    with pytest.raises(StoreError) as caught:
        MeasurementStore("nosuchdatabase://user:secret@host/x")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["password", "passfile", "sslpassword"])
def test_passwords_among_a_urls_options_are_not_shown(name: str) -> None:
    with pytest.raises(StoreError) as caught:
        MeasurementStore(f"nosuchdatabase://user:secret@host/x?{name}=secret&application_name=mine")
    assert f"user:***@host/x?application_name=mine&{name}=***" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    path.write_text("hello " * 1000)
    with pytest.raises(StoreError, match="is it a database of canvas_rl"):
        MeasurementStore(path)
    assert path.read_text() == "hello " * 1000


def test_a_damaged_entry_is_named(store: MeasurementStore, location: str) -> None:
    store.put(MEASUREMENT, {}, "f", "cpu")
    url = make_url(location)
    engine = create_engine(url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE measurements SET measurement = '{}'"))
    engine.dispose()
    for ask in (lambda: store.get("k1", "f", "cpu"), lambda: store.history("k1"), store.best):
        with pytest.raises(StoreError, match="entry of kernel k1"):
            ask()


def test_histories_are_those_of_each_kernel(store):
    for measurement in (MEASUREMENT, replace(MEASUREMENT, quality=0.6), replace(MEASUREMENT, kernel="k2")):
        store.put(measurement, {"of": measurement.kernel}, "f", "cpu")
    found = store.histories(["k2", "k1", "never stored"])
    assert found == {"k1": store.history("k1"), "k2": store.history("k2")}
    assert [record.measurement.quality for record in found["k1"]] == [0.5, 0.6]


def test_a_reader_sees_what_is_stored_and_changes_nothing(store, location):
    store.put(MEASUREMENT, {}, "f", "cpu")
    reader = MeasurementStore(location, read_only=True)
    store.put(replace(MEASUREMENT, kernel="k2"), {}, "f", "cpu")
    assert reader.get("k2", "f", "cpu") == replace(MEASUREMENT, kernel="k2")
    with pytest.raises(StoreError, match="can't write"):
        reader.put(replace(MEASUREMENT, kernel="k3"), {}, "f", "cpu")
    assert store.get("k3", "f", "cpu") is None
    reader.close()


def test_a_reader_makes_no_file(tmp_path):
    for location in (tmp_path / "none.sqlite", f"sqlite:///{tmp_path / 'none.sqlite'}"):
        with pytest.raises(StoreError, match=re.escape(f"there is no file {str(tmp_path / 'none.sqlite')!r}")):
            MeasurementStore(location, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_of_an_unreachable_server_is_asked_whether_it_may_read() -> None:
    with pytest.raises(StoreError, match="is the server up and may this user read, and"):
        MeasurementStore("postgresql://host.invalid/x", read_only=True)


def test_a_file_that_nobody_has_open_is_read_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    writer = MeasurementStore(path)
    writer.put(MEASUREMENT, {}, "f", "cpu")
    writer.close()
    reader = MeasurementStore(path, read_only=True)
    assert reader.get("k1", "f", "cpu") == MEASUREMENT
    reader.close()
    assert list(tmp_path.iterdir()) == [path]
