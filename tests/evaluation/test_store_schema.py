"""Stores of an older schema are brought up to date when they are opened."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import Engine, create_engine, inspect, make_url, text

from canvas_rl.errors import StoreError
from canvas_rl.evaluation import store_schema
from canvas_rl.evaluation.measurement import Measurement, SiteFigures, Status
from canvas_rl.evaluation.store import SCHEMA_VERSION, MeasurementStore
from canvas_rl.evaluation.store_queries import Constraints
from canvas_rl.symbolic.site import Site

SCHEMA_1 = (
    "CREATE TABLE canvas_rl_schema (version INTEGER NOT NULL, PRIMARY KEY (version))",
    "CREATE TABLE measurements (kernel VARCHAR(128) NOT NULL, fingerprint VARCHAR(128) NOT NULL, "
    "device VARCHAR(255) NOT NULL, measurement TEXT NOT NULL, graph TEXT NOT NULL, "
    "PRIMARY KEY (kernel, fingerprint, device))",
)
GOOD = Measurement("k1", Status.OK, "", (SiteFigures(Site(8), 100, 10, 5, 0.25, 0.5),), 2.0, 0.5, seed=3)
ROWS = [
    (GOOD, "f", "cpu"),
    (replace(GOOD, speedup=4.0), "f", "gpu"),
    (Measurement("k2", Status.BUILD_FAILED, "no"), "f", "cpu"),
]
OPENER = """
import sys
from canvas_rl.evaluation.store import MeasurementStore
print("ready", flush=True)
sys.stdin.readline()
store = MeasurementStore(sys.argv[1])
print(len(store.history("k0")), flush=True)
"""


@pytest.fixture
def engine(location: str) -> Iterator[Engine]:
    url = make_url(location)
    engine = create_engine(url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url)
    yield engine
    engine.dispose()


def write_schema_1(engine: Engine, rows: Sequence[tuple[Measurement, str, str]], version: int | None = 1) -> None:
    with engine.begin() as connection:
        for statement in SCHEMA_1:
            connection.execute(text(statement))
        if version is not None:
            connection.execute(text("INSERT INTO canvas_rl_schema VALUES (:version)"), {"version": version})
        for measurement, fingerprint, device in rows:
            connection.execute(
                text("INSERT INTO measurements VALUES (:kernel, :fingerprint, :device, :measurement, :graph)"),
                {
                    "kernel": measurement.kernel,
                    "fingerprint": fingerprint,
                    "device": device,
                    "measurement": json.dumps(measurement.to_json()),
                    "graph": json.dumps({"of": measurement.kernel}),
                },
            )


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


@pytest.mark.parametrize("version", [1, None], ids=["complete", "its process died before it wrote the version"])
def test_schema_1_is_brought_up_to_date(location: str, engine: Engine, version: int | None) -> None:
    write_schema_1(engine, ROWS, version)
    store = MeasurementStore(location)
    for measurement, fingerprint, device in ROWS:
        assert store.get(measurement.kernel, fingerprint, device) == measurement
    assert store.get_graph("k1") == {"of": "k1"}
    assert store.get_graph("k2") == {"of": "k2"}
    assert [record.created for record in store.history("k1")] == [None, None]
    (best,) = store.best(Constraints(max_latency_s=0.25, max_flops=100, min_quality=0.5), device="gpu")
    assert (best.measurement.speedup, best.graph) == (4.0, {"of": "k1"})
    assert tables(engine) == {"canvas_rl_schema", "graphs", "measurements"}
    store.put(GOOD, {}, "f", "cpu")
    assert len(store.history("k1")) == 3
    store.close()
    MeasurementStore(location).close()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version FROM canvas_rl_schema")).scalars().all() == [SCHEMA_VERSION]


def test_a_migration_of_more_rows_than_are_read_at_once(location: str, engine: Engine) -> None:
    write_schema_1(engine, [(Measurement(f"k{i}", Status.OK), "f", "cpu") for i in range(1100)])
    store = MeasurementStore(location)
    assert len(store.get_many([f"k{i}" for i in range(1100)], "f", "cpu")) == 1100
    store.close()


def test_a_damaged_entry_survives_the_migration(location: str, engine: Engine) -> None:
    write_schema_1(engine, ROWS)
    with engine.begin() as connection:
        connection.execute(text("UPDATE measurements SET measurement = '{' WHERE kernel = 'k2'"))
    store = MeasurementStore(location)
    assert store.get("k1", "f", "cpu") == GOOD
    with pytest.raises(StoreError, match=r"entry of kernel k2 .* is damaged"):
        store.get("k2", "f", "cpu")
    store.close()


def test_a_migration_that_fails_changes_nothing(location: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    write_schema_1(engine, ROWS)

    def fail(_: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store_schema, "_read_figures", fail)
        with pytest.raises(KeyboardInterrupt):
            MeasurementStore(location)
    assert tables(engine) == {"canvas_rl_schema", "measurements"}
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(graph) FROM measurements")).scalar() == len(ROWS)
    store = MeasurementStore(location)
    assert store.get("k1", "f", "cpu") == GOOD
    store.close()


def test_two_processes_migrate_at_once(location: str, engine: Engine) -> None:
    write_schema_1(engine, [(Measurement("k0", Status.OK), f"f{i}", "cpu") for i in range(600)])
    engine.dispose()
    command = [sys.executable, "-c", OPENER, location]
    openers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [opener.stdout.readline() for opener in openers] == ["ready\n"] * 2
    for opener in openers:
        opener.stdin.write("go\n")
        opener.stdin.flush()
    assert [opener.communicate(timeout=60)[0] for opener in openers] == ["600\n"] * 2
    assert [opener.returncode for opener in openers] == [0, 0]


@pytest.mark.parametrize(("version", "age"), [(SCHEMA_VERSION + 1, "a newer"), (0, "an older")])
def test_another_schema_is_refused(location: str, engine: Engine, version: int, age: str) -> None:
    MeasurementStore(location).close()
    with engine.begin() as connection:
        connection.execute(text("UPDATE canvas_rl_schema SET version = :version"), {"version": version})
    with pytest.raises(StoreError, match=rf"written by {age} version of canvas_rl \(schema {version}, this one has"):
        MeasurementStore(location)


def test_tables_that_are_not_ours_are_left_alone(location: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE measurements (height INTEGER)"))
    with pytest.raises(StoreError, match=r"can't open the store .*measurements.* already exists"):
        MeasurementStore(location)
    assert tables(engine) == {"measurements"}
