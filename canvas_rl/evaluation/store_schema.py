"""The tables of the measurement store, and how a store of an older schema becomes one of this.

The steps are written by hand: with one of them so far, alembic would be a dependency larger than what it does here.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Double,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from canvas_rl.errors import FormatError
from canvas_rl.evaluation.measurement import Measurement, SiteFigures, Status

SCHEMA_VERSION = 2
NO_SCHEMA = -1
"""what stands for the schema's version of a database that is not a store"""
WRITE = "canvas_rl_write"
"""execution option of connections whose transactions write"""

_ROWS_AT_ONCE = 500
_OPEN_PAUSE_S = 0.1
_OPEN_LOCK = 0x63616E76  # any number: only that all processes use the same one matters
_LARGEST = 2**63 - 1
_DAMAGED = "damaged"

_METADATA = MetaData()
SCHEMA = Table("canvas_rl_schema", _METADATA, Column("version", Integer, primary_key=True, autoincrement=False))
GRAPHS = Table(
    "graphs",
    _METADATA,
    Column("kernel", String(128), primary_key=True),
    Column("graph", Text, nullable=False),
)
MEASUREMENTS = Table(
    "measurements",
    _METADATA,
    # SQLite numbers rows by itself only where the type is INTEGER.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kernel", String(128), ForeignKey(GRAPHS.c.kernel), nullable=False),
    Column("fingerprint", String(128), nullable=False),
    Column("device", String(255), nullable=False),
    Column("created", DateTime),  # UTC; unknown for rows that came from schema 1
    Column("status", String(32), nullable=False),
    Column("quality", Double),
    Column("accuracy", Double),
    Column("test_accuracy", Double),
    Column("speedup", Double),
    Column("latency_s", Double),
    Column("reference_latency_s", Double),
    Column("flops", BigInteger),
    Column("params", BigInteger),
    Column("wall_time_s", Double),
    Column("measurement", Text, nullable=False),
    Index("measurements_of_kernel", "kernel", "fingerprint", "device", "id"),
)


def figures_of(measurement: Measurement) -> dict[str, Any]:
    """What the columns of a measurement's row say, None where it has no such figure; sites are summed up."""
    sites = measurement.sites
    return {
        "status": str(measurement.status),
        "quality": measurement.quality,
        "accuracy": measurement.accuracy,
        "test_accuracy": measurement.test_accuracy,
        "speedup": measurement.speedup,
        "latency_s": _total(sites, "latency_s"),
        "reference_latency_s": _total(sites, "reference_latency_s"),
        # Kernels refused for their size may cost more than a column can hold.
        "flops": min(sum(site.flops for site in sites), _LARGEST) if sites else None,
        "params": min(sum(site.params for site in sites), _LARGEST) if sites else None,
        "wall_time_s": measurement.wall_time_s,
    }


def _total(sites: Sequence[SiteFigures], name: str) -> float | None:
    values = [getattr(site, name) for site in sites]
    return None if not values or None in values else sum(values)


def prepare(engine: Engine, attempts: int = 4) -> int:
    """Make the tables where there are none and bring those of an older schema up to date, in one transaction.

    Returns:
        the schema's version afterwards: SCHEMA_VERSION, or one that this version of canvas_rl can't use.
    """
    try:
        version = found_version(engine)
        return version if version == SCHEMA_VERSION else _upgrade(engine)
    except (IntegrityError, OperationalError, ProgrammingError):  # perhaps another process is at it just now
        if attempts == 1:
            raise
        time.sleep(_OPEN_PAUSE_S)
        return prepare(engine, attempts - 1)


def found_version(engine: Engine) -> int:
    """The schema's version as it is, NO_SCHEMA for a database without our tables; nothing is changed."""
    with engine.connect() as connection:
        return _version(connection)


def _version(connection: Connection) -> int:
    tables = inspect(connection)
    if not tables.has_table(SCHEMA.name):
        return NO_SCHEMA
    version = connection.execute(select(SCHEMA.c.version)).scalar()
    if version is not None:
        return int(version)
    # Schema 1 was not made in one transaction: a process that died could leave its tables without a version.
    return 1 if tables.has_table(MEASUREMENTS.name) else NO_SCHEMA


def _upgrade(engine: Engine) -> int:
    with engine.execution_options(**{WRITE: True}).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _OPEN_LOCK})
        version = _version(connection)  # once more: another process may have been first
        if version == NO_SCHEMA:
            SCHEMA.create(connection, checkfirst=True)
            _create_tables(connection)
        elif version == 1:
            _from_schema_1(connection)
        else:
            return version
        connection.execute(delete(SCHEMA))
        connection.execute(insert(SCHEMA).values(version=SCHEMA_VERSION))
    return SCHEMA_VERSION


def _create_tables(connection: Connection) -> None:
    # No check whether they are there: tables of these names that are not ours must end in an error.
    _METADATA.create_all(connection, [GRAPHS, MEASUREMENTS], checkfirst=False)


def _from_schema_1(connection: Connection) -> None:
    """One row a key with the graph in it becomes a numbered row and a graph of its own."""
    connection.execute(text("ALTER TABLE measurements RENAME TO measurements_1"))
    _create_tables(connection)
    connection.execute(
        text("INSERT INTO graphs (kernel, graph) SELECT kernel, MIN(graph) FROM measurements_1 GROUP BY kernel")
    )
    rows = connection.execute(
        text("SELECT kernel, fingerprint, device, measurement FROM measurements_1"),
        execution_options={"yield_per": _ROWS_AT_ONCE},
    )
    for part in rows.mappings().partitions():
        connection.execute(insert(MEASUREMENTS), [{**row, **_read_figures(row["measurement"])} for row in part])
    connection.execute(text("DROP TABLE measurements_1"))


def _read_figures(measurement: str) -> dict[str, Any]:
    """The figures of a stored measurement; a damaged one is kept, for reading it says which it is."""
    try:
        return figures_of(Measurement.from_json(json.loads(measurement)))
    except (ValueError, FormatError):
        return dict.fromkeys(figures_of(Measurement("", Status.OK))) | {"status": _DAMAGED}
