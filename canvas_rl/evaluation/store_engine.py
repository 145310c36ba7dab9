"""Connections to the measurement store's database, and its errors in one sentence."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from canvas_rl.errors import StoreError
from canvas_rl.evaluation.store_schema import WRITE

_BUSY_S = 60
_SECRETS = ("password", "passfile", "sslpassword")
_HIDDEN = "***"


def parse_url(location: str | Path) -> URL:
    """The URL of an SQLite file's path, or the one that is given.

    Raises:
        StoreError: it is no URL.
    """
    if isinstance(location, Path):
        return URL.create("sqlite", database=str(location))
    try:
        url = make_url(location)
    except ArgumentError as error:
        raise StoreError(
            f"the store URL {location!r} can't be read: expected something like sqlite:///measurements.sqlite"
        ) from error
    # Which driver a bare postgresql:// means depends on SQLAlchemy's version; the extra installs this one.
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def make_engine(url: URL, read_only: bool = False) -> Engine:
    """Connections to a database, such that several processes can write to it side by side.

    Args:
        url: of the database.
        read_only: the database refuses every change. An SQLite file that nobody has open is read without locks, which
            leaves no files beside it: what a writer that starts meanwhile stores is not seen, or spoils the reading.

    Raises:
        StoreError: an SQLite file to read is missing.
    """
    if not _is_sqlite(url):
        options = {"postgresql_readonly": True} if read_only else {}
        return create_engine(url, pool_pre_ping=True, execution_options=options)
    engine = create_engine(_without_writing(url) if read_only else url, connect_args={"timeout": _BUSY_S})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        connection.isolation_level = None  # Python's sqlite3 would leave changes of tables out of transactions
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_S * 1000}")
        if not read_only:
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that turns from reading to writing fails at once if another one writes; this one waits.
        writes = connection.get_execution_options().get(WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _without_writing(url: URL) -> URL:
    """The URL of an SQLite file that is opened for reading alone.

    Raises:
        StoreError: it is missing.
    """
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return url
    path = Path(url.database).resolve()
    if _is_missing(path):
        raise StoreError(
            f"can't open the store {show_url(url)}: there is no file {str(path)!r}, so restore it or name another store"
        )
    query = {"mode": "ro", "uri": "true"}
    if not any(os.path.exists(f"{path}{suffix}") for suffix in ("-wal", "-shm", "-journal")):
        query["immutable"] = "1"  # nobody has it open; else reading, too, would leave files of locks beside it
    return url.set(database=f"file:{quote(str(path))}", query=query)


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # such as a folder that can't be searched, which is for SQLite to tell
        return False
    return False


@contextmanager
def plain_errors(url: URL, action: str, read_only: bool = False) -> Iterator[None]:
    """Turn the database's errors into one sentence.

    Args:
        url: of the database.
        action: what was asked of it, a verb.
        read_only: whether it was opened for reading alone.

    Raises:
        StoreError: in their place.
    """
    try:
        yield
    except ImportError as error:
        raise StoreError(
            f"the store {show_url(url)} needs a database driver that is not installed ({error}): install it, for "
            "PostgreSQL with pip install 'psycopg[binary]'"
        ) from error
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StoreError(
            f"can't {action} the store {show_url(url)} ({cause}): {_doubt(url, read_only)}, and is it a database of "
            "canvas_rl?"
        ) from error


def _doubt(url: URL, read_only: bool) -> str:
    if _is_sqlite(url):
        return "may it be read" if read_only else "is its folder there and writable"
    return f"is the server up and may this user {'read' if read_only else 'write'}"


def show_url(url: URL) -> str:
    """A URL for a message, without its passwords."""
    return repr(masked(url))


def masked(url: URL) -> str:
    """A URL as a text in which `***` stands for passwords and for the path of a file of them."""
    hidden = url.update_query_dict({name: _HIDDEN for name in url.query if name.lower() in _SECRETS})
    return hidden.render_as_string(hide_password=True).replace(quote(_HIDDEN), _HIDDEN)


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"
