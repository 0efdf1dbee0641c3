"""Databases for the tests of the services: the embedded one, and a PostgreSQL of the tests' own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql import PostgresqlServer, binaries, postgresql_server


@pytest.fixture(scope="session")
def database_server() -> Iterator[PostgresqlServer]:
    if binaries() is None or os.geteuid() != 0:
        pytest.skip("needs PostgreSQL's programs, and root to start them as another user")
    with postgresql_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new and empty database: the test runs once on SQLite and once on PostgreSQL."""
    return _new_database(request, tmp_path)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def module_database_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """``database_url`` for all tests of a module."""
    return _new_database(request, tmp_path_factory.mktemp("database"))


def _new_database(request: pytest.FixtureRequest, directory: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{directory / 'service.sqlite'}"
    server: PostgresqlServer = request.getfixturevalue("database_server")
    return server.new_database()
