import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from canvas_rl.errors import StoreError
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.evaluation.store import SCHEMA_VERSION, MeasurementStore

MEASUREMENT = Measurement("k1", Status.OK, speedup=2.0, quality=0.5, environment={"a": "b"}, wall_time_s=3.0)


@pytest.fixture
def store(tmp_path: Path):
    store = MeasurementStore(tmp_path / "store.sqlite")
    yield store
    store.close()


def test_put_and_get_by_the_whole_key(store: MeasurementStore) -> None:
    store.put(MEASUREMENT, {"nodes": 1}, "f", "cpu")
    assert store.get("k1", "f", "cpu") == MEASUREMENT
    assert store.get("k1", "other", "cpu") is None
    assert store.get("k1", "f", "gpu") is None
    assert store.get("k2", "f", "cpu") is None
    assert store.get_graph("k1") == {"nodes": 1}
    assert store.get_graph("k2") is None


def test_first_measurement_stays(store: MeasurementStore) -> None:
    store.put(MEASUREMENT, {}, "f", "cpu")
    store.put(Measurement("k1", Status.CRASHED), {}, "f", "cpu")
    assert store.get("k1", "f", "cpu") == MEASUREMENT


def test_get_many_beyond_one_query(store: MeasurementStore) -> None:
    for index in range(0, 1200, 100):
        store.put(Measurement(f"k{index}", Status.OK), {}, "f", "cpu")
    found = store.get_many([f"k{index}" for index in range(1200)], "f", "cpu")
    assert sorted(found) == sorted(f"k{index}" for index in range(0, 1200, 100))


def test_two_processes_share_a_store(tmp_path: Path) -> None:
    path = tmp_path / "shared.sqlite"
    script = (
        "import sys; from pathlib import Path\n"
        "from canvas_rl.evaluation.measurement import Measurement, Status\n"
        "from canvas_rl.evaluation.store import MeasurementStore\n"
        "store = MeasurementStore(Path(sys.argv[1]))\n"
        "for i in range(100): store.put(Measurement(f'{sys.argv[2]}{i}', Status.OK), {}, 'f', 'cpu')\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in "ab"]
    assert [process.wait(60) for process in processes] == [0, 0]
    store = MeasurementStore(f"sqlite:///{path}")
    assert len(store.get_many([f"{name}{i}" for name in "ab" for i in range(100)], "f", "cpu")) == 200
    store.close()


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("not a url", "can't be read: expected something like sqlite"),
        ("sqlite:////nowhere/at/all/store.sqlite", "can't open the store .*folder there and writable"),
        ("nosuchdatabase://host/x", "store"),
        (Path("/dev/null/store.sqlite"), "can't open the store"),
    ],
)
def test_unusable_locations_are_named(location: str | Path, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        MeasurementStore(location)


def test_password_is_not_shown() -> None:
    with pytest.raises(StoreError) as caught:
        MeasurementStore("nosuchdatabase://user:secret@host/x")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    path.write_text("hello " * 1000)
    with pytest.raises(StoreError, match="is it a database of canvas_rl"):
        MeasurementStore(path)
    assert path.read_text() == "hello " * 1000


@pytest.mark.parametrize(("version", "age"), [(SCHEMA_VERSION + 1, "newer"), (SCHEMA_VERSION - 1, "older")])
def test_another_schema_is_refused(tmp_path: Path, version: int, age: str) -> None:
    path = tmp_path / "store.sqlite"
    MeasurementStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE canvas_rl_schema SET version = ?", [version])
    connection.close()
    with pytest.raises(StoreError, match=f"written by an? {age} version"):
        MeasurementStore(path)


def test_a_damaged_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = MeasurementStore(path)
    store.put(MEASUREMENT, {}, "f", "cpu")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE measurements SET measurement = '{}'")
    connection.close()
    with pytest.raises(StoreError, match="entry of kernel k1"):
        store.get("k1", "f", "cpu")
    store.close()
