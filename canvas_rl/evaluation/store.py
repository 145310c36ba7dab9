"""The database of measurements: a kernel seen before is never paid for again."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, Text, create_engine, event, insert, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, SQLAlchemyError

from canvas_rl.errors import FormatError, StoreError
from canvas_rl.evaluation.measurement import Measurement

SCHEMA_VERSION = 1
_BUSY_S = 60
_CHUNK = 500
_OPEN_ATTEMPTS, _OPEN_PAUSE_S = 4, 0.1

_METADATA = MetaData()
_SCHEMA = Table("canvas_rl_schema", _METADATA, Column("version", Integer, primary_key=True, autoincrement=False))
_MEASUREMENTS = Table(
    "measurements",
    _METADATA,
    Column("kernel", String(128), primary_key=True),
    Column("fingerprint", String(128), primary_key=True),
    Column("device", String(255), primary_key=True),
    Column("measurement", Text, nullable=False),
    Column("graph", Text, nullable=False),
)


class MeasurementStore:
    """Measurements keyed by (kernel hash, evaluation fingerprint, device name), shared by any number of processes.

    Args:
        location: the path of an SQLite file, made if it does not exist, or any SQLAlchemy URL.

    Raises:
        StoreError: it can't be opened, or was written by another version.
    """

    def __init__(self, location: str | Path) -> None:
        self._url = _parse(location)
        with _errors(self._url, "open"):
            self._engine = _make_engine(self._url)
        self._prepare()

    def get(self, kernel: str, fingerprint: str, device: str) -> Measurement | None:
        """The stored measurement of one kernel, None if there is none."""
        return self.get_many([kernel], fingerprint, device).get(kernel)

    def get_many(self, kernels: Sequence[str], fingerprint: str, device: str) -> dict[str, Measurement]:
        """The stored measurements of those kernels that have one.

        Raises:
            StoreError: the database can't be read, or an entry is damaged.
        """
        found: dict[str, Measurement] = {}
        with _errors(self._url, "read"), self._engine.connect() as connection:
            for start in range(0, len(kernels), _CHUNK):
                query = select(_MEASUREMENTS.c.kernel, _MEASUREMENTS.c.measurement).where(
                    _MEASUREMENTS.c.kernel.in_(kernels[start : start + _CHUNK]),
                    _MEASUREMENTS.c.fingerprint == fingerprint,
                    _MEASUREMENTS.c.device == device,
                )
                for kernel, text in connection.execute(query):
                    found[kernel] = self._decode(kernel, text)
        return found

    def put(self, measurement: Measurement, graph: dict[str, Any], fingerprint: str, device: str) -> None:
        """Store a measurement in one transaction; where another process stored one first, that one stays.

        Raises:
            StoreError: the database can't be written.
        """
        row = {
            "kernel": measurement.kernel,
            "fingerprint": fingerprint,
            "device": device,
            "measurement": json.dumps(measurement.to_json()),
            "graph": json.dumps(graph),
        }
        with _errors(self._url, "write"):
            try:
                with self._engine.begin() as connection:
                    connection.execute(insert(_MEASUREMENTS).values(row))
            except IntegrityError:
                return

    def get_graph(self, kernel: str) -> dict[str, Any] | None:
        """JSON of a stored kernel's graph, None if it was never stored."""
        with _errors(self._url, "read"), self._engine.connect() as connection:
            query = select(_MEASUREMENTS.c.graph).where(_MEASUREMENTS.c.kernel == kernel).limit(1)
            text = connection.execute(query).scalar()
        graph: dict[str, Any] | None = json.loads(text) if text is not None else None
        return graph

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        self._engine.dispose()

    def _prepare(self) -> None:
        with _errors(self._url, "open"):
            version = self._create()
        if version != SCHEMA_VERSION:
            age = "a newer" if version > SCHEMA_VERSION else "an older"
            self.close()
            raise StoreError(
                f"the store {_show(self._url)} was written by {age} version of canvas_rl (schema {version}, "
                f"this one has {SCHEMA_VERSION}): use that version, or name another store"
            )

    def _create(self) -> int:
        """Make the tables if they are not there; the schema's version."""
        for attempt in range(_OPEN_ATTEMPTS):
            try:
                with self._engine.begin() as connection:
                    _METADATA.create_all(connection)
                    version = connection.execute(select(_SCHEMA.c.version)).scalar()
                    if version is None:
                        connection.execute(insert(_SCHEMA).values(version=SCHEMA_VERSION))
            except (IntegrityError, OperationalError):  # perhaps another process is making them just now
                if attempt == _OPEN_ATTEMPTS - 1:
                    raise
                time.sleep(_OPEN_PAUSE_S)
            else:
                break
        return SCHEMA_VERSION if version is None else int(version)

    def _decode(self, kernel: str, text: str) -> Measurement:
        try:
            return Measurement.from_json(json.loads(text))
        except (ValueError, FormatError) as error:
            raise StoreError(
                f"the entry of kernel {kernel} in the store {_show(self._url)} is damaged: delete it, or name another "
                f"store ({error})"
            ) from error


def _parse(location: str | Path) -> URL:
    if isinstance(location, Path):
        return URL.create("sqlite", database=str(location))
    try:
        return make_url(location)
    except ArgumentError as error:
        raise StoreError(
            f"the store URL {location!r} can't be read: expected something like sqlite:///measurements.sqlite"
        ) from error


def _make_engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_S})

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_S * 1000}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    return engine


@contextmanager
def _errors(url: URL, action: str) -> Iterator[None]:
    """Turn the database's errors into one sentence."""
    try:
        yield
    except ImportError as error:
        raise StoreError(f"the store {_show(url)} needs a database driver that is not installed: {error}") from error
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StoreError(
            f"can't {action} the store {_show(url)} ({cause}): is its folder there and writable, "
            "and is it a database of canvas_rl?"
        ) from error


def _show(url: URL) -> str:
    return repr(url.render_as_string(hide_password=True))
