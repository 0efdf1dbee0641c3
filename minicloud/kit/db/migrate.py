"""Alembic, one linear history a service, in ``migrations/<service>``."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from minicloud.kit.db.engine import Database

MIGRATIONS = Path(__file__).resolve().parents[3] / "migrations"


def upgrade(service: str, database: Database, revision: str = "head") -> None:
    """Bring the tables of ``service`` up to ``revision``; repeatable."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS / service))
    with database.migrating() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def head(service: str) -> str:
    """The newest revision: histories are linear, and files are named ``<revision>_<slug>.py``."""
    return max(
        path.name.split("_")[0] for path in (MIGRATIONS / service / "versions").glob("*_*.py")
    )


def is_current(service: str, database: Database) -> bool:
    """Whether the tables are at the newest revision. Asked by every daemon: without alembic."""
    with database.read() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return False
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found == head(service)
