"""What can be asked of the measurement store: the best kernels under constraints, and everything as a table."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, Row, Select, func, select

from canvas_rl.errors import ConfigError, MissingDependencyError, UnknownNameError
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.evaluation.store_schema import GRAPHS, MEASUREMENTS
from canvas_rl.registry import did_you_mean

if TYPE_CHECKING:
    import pandas

GREATEST_FIRST = ("speedup", "quality", "accuracy")
LEAST_FIRST = ("latency_s", "flops", "params")
COLUMNS = tuple(column for column in MEASUREMENTS.c if column.name != "measurement")

_DTYPES = {int: "Int64", float: "float64", str: "str", datetime: "datetime64[us]"}
INCONCLUSIVE = tuple(str(status) for status in Status if not status.conclusive)

Item = TypeVar("Item")


def counting_row(rows: Sequence[Item], conclusive: Callable[[Item], bool], believed_after: int = 1) -> Item | None:
    """Of a kernel's rows, in the order of storing, the one that counts: the latest conclusive one, else the latest.

    Args:
        rows: of one kernel, fingerprint and device.
        conclusive: whether a row's status is.
        believed_after: how many rows there must be before an inconclusive one counts.
    """
    found = [row for row in rows if conclusive(row)] or (rows if len(rows) >= believed_after else [])
    return found[-1] if found else None


@dataclass(frozen=True)
class Constraints:
    """What a kernel must keep to; None is no bound. One that lacks a bounded figure does not keep to it."""

    min_speedup: float | None = None
    """geometric mean over the sites of reference latency over latency"""
    min_quality: float | None = None
    """validation accuracy rescaled: 0 is chance, 1 is perfect"""
    max_latency_s: float | None = None
    """seconds for one batch, summed over the sites"""
    max_flops: float | None = None
    """of one sample, summed over the sites"""
    max_params: float | None = None
    """summed over the sites"""

    def __post_init__(self) -> None:
        for bound in fields(self):
            value = getattr(self, bound.name)
            if value is not None and math.isnan(value):
                raise ConfigError(f"{bound.name} is {value!r}: expected a number, or None for no bound")

    def conditions(self) -> list[ColumnElement[bool]]:
        """The constraints as conditions on rows of the measurements."""
        found: list[ColumnElement[bool]] = []
        for bound in fields(self):
            value, (side, _, figure) = getattr(self, bound.name), bound.name.partition("_")
            if value is not None:
                column = MEASUREMENTS.c[figure]
                found.append(column >= value if side == "min" else column <= value)
        return found


@dataclass(frozen=True)
class Record:
    """A row of the store: a measurement, and where it belongs."""

    measurement: Measurement
    graph: dict[str, Any]
    """JSON of the kernel graph, for `KernelGraph.from_json`"""
    fingerprint: str
    device: str
    created: datetime | None
    """when it was stored, UTC; None for one that an older canvas_rl stored"""


def records() -> Select[Any]:
    """All rows with their graphs, in the order in which they were stored."""
    columns = MEASUREMENTS.c
    graph = GRAPHS.c.graph
    return (
        select(columns.kernel, columns.measurement, graph, columns.fingerprint, columns.device, columns.created)
        .join(GRAPHS, GRAPHS.c.kernel == columns.kernel)
        .order_by(columns.id)
    )


def make_record(row: Row[Any], measurement: Measurement) -> Record:
    """One of the rows of `records`, its measurement decoded."""
    return Record(measurement, json.loads(row.graph), row.fingerprint, row.device, _in_utc(row.created))


def best_records(constraints: Constraints, by: str, limit: int) -> Select[Any]:
    """Rows of `records` that count, are ok and keep to the constraints, the best first.

    Raises:
        ConfigError: the limit is below 1.
        UnknownNameError: `by` is no figure to order by.
    """
    known = (*GREATEST_FIRST, *LEAST_FIRST)
    if by not in known:
        raise UnknownNameError(f"can't order by {by!r}: expected one of {', '.join(known)}.{did_you_mean(by, known)}")
    if limit < 1:
        raise ConfigError(f"the limit is {limit}: expected at least 1")
    figure = MEASUREMENTS.c[by]
    order = figure.desc() if by in GREATEST_FIRST else figure.asc()
    conditions = [MEASUREMENTS.c.status == str(Status.OK), figure.is_not(None), *constraints.conditions()]
    counting = MEASUREMENTS.c.id.in_(_latest_conclusive())
    return records().where(counting, *conditions).order_by(None).order_by(order, MEASUREMENTS.c.id).limit(limit)


def timed_rows() -> Select[Any]:
    """Kernels with a speedup: hash, and number of the first row that has one, in the order of these rows."""
    columns = MEASUREMENTS.c
    first = func.min(columns.id)
    query = select(columns.kernel, first).group_by(columns.kernel).order_by(first)
    return query.where(columns.status == str(Status.OK), columns.speedup.is_not(None))


def where_made(query: Select[Any], fingerprint: str | None, device: str | None) -> Select[Any]:
    """The query for one evaluation fingerprint and one device; None is any."""
    if fingerprint is not None:
        query = query.where(MEASUREMENTS.c.fingerprint == fingerprint)
    if device is not None:
        query = query.where(MEASUREMENTS.c.device == device)
    return query


def make_frame(rows: Sequence[Row[Any]]) -> "pandas.DataFrame":
    """A dataframe of rows of COLUMNS.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingDependencyError("a dataframe needs pandas, which is not installed: pip install pandas") from error
    values = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    # Each column with its type at once: pandas would make floats of whole numbers where one is missing.
    frame = pandas.DataFrame(
        {
            column.name: pandas.Series(list(part), dtype=_DTYPES[column.type.python_type])
            for column, part in zip(COLUMNS, values, strict=True)
        }
    )
    frame["created"] = frame["created"].dt.tz_localize("UTC")
    return frame


def _latest_conclusive() -> Select[Any]:
    columns = MEASUREMENTS.c
    key = (columns.kernel, columns.fingerprint, columns.device)
    return select(func.max(columns.id)).where(columns.status.not_in(INCONCLUSIVE)).group_by(*key)


def _in_utc(created: datetime | None) -> datetime | None:
    return None if created is None else created.replace(tzinfo=UTC)
