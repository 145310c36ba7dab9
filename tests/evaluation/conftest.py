"""Planted kernels that workers can import too, and databases for the store: on SQLite and on a PostgreSQL server."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text

FOLDER = str(Path(__file__).parent)


@pytest.fixture(autouse=True, scope="session")
def planted_path() -> None:
    """The workers take over this process's path."""
    if FOLDER not in sys.path:
        sys.path.append(FOLDER)


@pytest.fixture(scope="session")
def postgresql_url(planted_path: None) -> Iterator[str]:
    """A PostgreSQL server: the one that CANVAS_RL_POSTGRESQL_URL names, or one started for these tests."""
    if named := os.environ.get("CANVAS_RL_POSTGRESQL_URL"):
        yield named
        return
    from postgresql import NoServer, postgresql_server

    try:
        with postgresql_server() as url:
            yield url
    except NoServer as error:
        pytest.skip(f"no PostgreSQL server, and CANVAS_RL_POSTGRESQL_URL names none: {error}")


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database: a file, or a schema of its own on the server."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.sqlite'}"
        return
    server = make_url(request.getfixturevalue("postgresql_url")).set(drivername="postgresql+psycopg")
    schema = f"canvas_rl_{uuid4().hex}"
    engine = create_engine(server)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    url = server.update_query_dict({"options": f"-csearch_path={schema}"}).set(drivername="postgresql")
    yield url.render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()
