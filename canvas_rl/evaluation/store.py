"""The database of measurements: a kernel seen before is never paid for again."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, insert, select
from sqlalchemy.exc import IntegrityError

from canvas_rl.errors import FormatError, StoreError
from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.evaluation.store_engine import make_engine, parse_url, plain_errors, show_url
from canvas_rl.evaluation.store_queries import (
    COLUMNS,
    INCONCLUSIVE,
    Constraints,
    Record,
    best_records,
    counting_row,
    make_frame,
    make_record,
    records,
    timed_rows,
    where_made,
)
from canvas_rl.evaluation.store_schema import (
    GRAPHS,
    MEASUREMENTS,
    NO_SCHEMA,
    SCHEMA_VERSION,
    WRITE,
    figures_of,
    found_version,
    prepare,
)

if TYPE_CHECKING:
    import pandas

_CHUNK = 500


class MeasurementStore:
    """Measurements of kernels by evaluation fingerprint and device, shared by any number of processes.

    Rows are added and never changed. Where a kernel was measured more than once with the same fingerprint on the same
    device, **the latest conclusive row counts**: one whose status speaks of the kernel, not of what else the machine
    was doing (`Status.conclusive`). Where there is none, the latest row counts. Order is that of storing.

    Args:
        location: the path of an SQLite file, made if it does not exist, or any SQLAlchemy URL.
        read_only: change nothing: make no file and no tables, and leave those of an older version as they are. Open it
            anew for what a writer stores that starts later (see `make_engine`).

    Raises:
        StoreError: it can't be opened, or was written by a newer version (for `read_only`, by an older one, too).
    """

    def __init__(self, location: str | Path, read_only: bool = False) -> None:
        self._url, self._read_only = parse_url(location), read_only
        with plain_errors(self._url, "open", read_only):
            self._engine = make_engine(self._url, read_only)
            version = found_version(self._engine) if read_only else prepare(self._engine)
        if version != SCHEMA_VERSION:
            self.close()
            raise StoreError(_unusable(show_url(self._url), version))

    def get(self, kernel: str, fingerprint: str, device: str) -> Measurement | None:
        """The measurement of one kernel that counts, None if there is none."""
        return self.get_many([kernel], fingerprint, device).get(kernel)

    def get_many(
        self, kernels: Sequence[str], fingerprint: str, device: str, believed_after: int = 1
    ) -> dict[str, Measurement]:
        """The measurements that count of those kernels that have one, in the order of `kernels`.

        Args:
            kernels: hashes of the kernels.
            fingerprint: of the evaluation.
            device: the device's name.
            believed_after: how often a kernel must have been measured before an inconclusive row counts.

        Raises:
            StoreError: the database can't be read, or an entry is damaged.
        """
        rows: dict[str, list[tuple[str, str]]] = {}
        columns = MEASUREMENTS.c
        with self._reading() as connection:
            for start in range(0, len(kernels), _CHUNK):
                query = select(columns.kernel, columns.status, columns.measurement).order_by(columns.id)
                query = query.where(columns.kernel.in_(kernels[start : start + _CHUNK]))
                for kernel, status, text in connection.execute(where_made(query, fingerprint, device)):
                    rows.setdefault(kernel, []).append((status, text))
        counting = {
            kernel: counting_row(rows.get(kernel, []), lambda entry: entry[0] not in INCONCLUSIVE, believed_after)
            for kernel in kernels
        }
        return {kernel: self._decode(kernel, entry[1]) for kernel, entry in counting.items() if entry is not None}

    def timed(self, fingerprint: str, device: str) -> dict[str, int]:
        """The kernels that were timed without failure: hash, and number of the first such row, in order of storing.

        Raises:
            StoreError: the database can't be read.
        """
        query = where_made(timed_rows(), fingerprint, device)
        with self._reading() as connection:
            return {kernel: number for kernel, number in connection.execute(query)}

    def rows(self, numbers: Sequence[int]) -> list[Record]:
        """The rows of these numbers, in the order in which they were stored.

        Raises:
            StoreError: the database can't be read, or an entry is damaged.
        """
        ordered = sorted(numbers)
        chunks = (ordered[start : start + _CHUNK] for start in range(0, len(ordered), _CHUNK))
        return [record for chunk in chunks for record in self._records(records().where(MEASUREMENTS.c.id.in_(chunk)))]

    def put(self, measurement: Measurement, graph: dict[str, Any], fingerprint: str, device: str) -> None:
        """Add a measurement, and its kernel's graph if it is new, in one transaction.

        Raises:
            StoreError: the database can't be written.
        """
        row = figures_of(measurement) | {
            "kernel": measurement.kernel,
            "fingerprint": fingerprint,
            "device": device,
            "created": datetime.now(UTC).replace(tzinfo=None),
            "measurement": json.dumps(measurement.to_json()),
        }
        with plain_errors(self._url, "write"), self._engine.execution_options(**{WRITE: True}).begin() as connection:
            _add_graph(connection, measurement.kernel, json.dumps(graph))
            connection.execute(insert(MEASUREMENTS).values(row))

    def get_graph(self, kernel: str) -> dict[str, Any] | None:
        """JSON of a stored kernel's graph, None if it was never stored."""
        with self._reading() as connection:
            text = connection.execute(select(GRAPHS.c.graph).where(GRAPHS.c.kernel == kernel)).scalar()
        graph: dict[str, Any] | None = json.loads(text) if text is not None else None
        return graph

    def history(self, kernel: str) -> list[Record]:
        """All rows of a kernel, of every fingerprint and device, in the order in which they were stored.

        Raises:
            StoreError: the database can't be read, or an entry is damaged.
        """
        return self.histories([kernel]).get(kernel, [])

    def histories(self, kernels: Sequence[str]) -> dict[str, list[Record]]:
        """`history` of several kernels; those that were never stored are left out.

        Raises:
            StoreError: the database can't be read, or an entry is damaged.
        """
        found: dict[str, list[Record]] = {}
        for start in range(0, len(kernels), _CHUNK):
            query = records().where(MEASUREMENTS.c.kernel.in_(kernels[start : start + _CHUNK]))
            for record in self._records(query):
                found.setdefault(record.measurement.kernel, []).append(record)
        return found

    def best(
        self,
        constraints: Constraints | None = None,
        by: str = "speedup",
        limit: int = 10,
        fingerprint: str | None = None,
        device: str | None = None,
    ) -> list[Record]:
        """The best kernels under constraints, best first; only rows that count and whose status is ok.

        Latencies and speedups of different fingerprints or devices can't be compared: name both where the store has
        more than one. A kernel appears once for each pair of them.

        Args:
            constraints: what the kernels must keep to; None for nothing.
            by: what is best: the greatest `speedup`, `quality` or `accuracy`, or the least `latency_s`, `flops` or
                `params`. Kernels without that figure are left out; of equal ones the first stored comes first.
            limit: how many at most.
            fingerprint: of the evaluation, such as `KernelEvaluator.fingerprint`; None for any.
            device: the device's name, such as `KernelEvaluator.device`; None for any.

        Raises:
            ConfigError: `by` is no such figure, or the limit is below 1.
            StoreError: the database can't be read, or an entry is damaged.
        """
        return self._records(where_made(best_records(constraints or Constraints(), by, limit), fingerprint, device))

    def to_dataframe(self, fingerprint: str | None = None, device: str | None = None) -> "pandas.DataFrame":
        """All rows, also those that don't count, as a pandas dataframe in the order in which they were stored.

        Columns: `id`, `kernel` (hash), `fingerprint`, `device`, `created` (UTC; NaT for rows that an older canvas_rl
        stored), `status`, `quality`, `accuracy`, `test_accuracy`, `speedup`, `latency_s` and `reference_latency_s`
        (seconds for one batch, summed over the sites), `flops` (of one sample) and `params` (both summed over the
        sites), `wall_time_s` (seconds that the evaluation took). Missing figures are NaN or NA.

        Args:
            fingerprint: of the evaluation; None for any.
            device: the device's name; None for any.

        Raises:
            MissingDependencyError: pandas is not installed.
            StoreError: the database can't be read.
        """
        query = where_made(select(*COLUMNS).order_by(MEASUREMENTS.c.id), fingerprint, device)
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return make_frame(rows)

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with plain_errors(self._url, "read", self._read_only), self._engine.connect() as connection:
            yield connection

    def _records(self, query: Select[Any]) -> list[Record]:
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return [make_record(row, self._decode(row.kernel, row.measurement)) for row in rows]

    def _decode(self, kernel: str, text: str) -> Measurement:
        try:
            return Measurement.from_json(json.loads(text))
        except (ValueError, FormatError) as error:
            raise StoreError(
                f"the entry of kernel {kernel} in the store {show_url(self._url)} is damaged: delete it, or name "
                f"another store ({error})"
            ) from error


def _unusable(url: str, version: int) -> str:
    """Why a database of another schema can't be used; one of an older schema or of none is met by reading alone."""
    if version == NO_SCHEMA:
        return f"{url} is no store of canvas_rl: expected the database of a search"
    age, way = ("a newer", "use that version, or name another store")
    if version < SCHEMA_VERSION:
        age, way = ("an older", "go on with its search, with --resume, which brings it up to date")
    return (
        f"the store {url} was written by {age} version of canvas_rl (schema {version}, this one has {SCHEMA_VERSION}): "
        f"{way}"
    )


def _add_graph(connection: Connection, kernel: str, graph: str) -> None:
    try:
        with connection.begin_nested():
            connection.execute(insert(GRAPHS).values(kernel=kernel, graph=graph))
    except IntegrityError:  # stored before, perhaps by another process just now
        return
