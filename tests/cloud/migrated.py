"""What the migration tests of all services share: models and migrated tables are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from minicloud.kit.db import Database, migrate


def differences(
    service: str, metadata: sa.MetaData, directory: Path, url: str | None = None
) -> list[Any]:
    """What autogenerate would still change after all migrations of ``service``; twice is once."""
    database = Database(url or f"sqlite:///{directory / 'migrated.sqlite'}")
    assert not migrate.is_current(service, database)
    migrate.upgrade(service, database)
    migrate.upgrade(service, database)
    assert migrate.is_current(service, database)
    with database.read() as connection:
        found = compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": True}), metadata
        )
    database.close()
    return list(found)
