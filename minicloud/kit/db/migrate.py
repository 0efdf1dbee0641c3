"""Alembic, one linear history a service, in ``migrations/<service>``."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from minicloud.kit.db.engine import Database

MIGRATIONS = Path(__file__).resolve().parents[3] / "migrations"


def _config(service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS / service))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config


def upgrade(service: str, database: Database, revision: str = "head") -> None:
    """Bring the tables of ``service`` up to ``revision``; repeatable."""
    config = _config(service)
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def is_current(service: str, database: Database) -> bool:
    """Whether the tables are at the newest revision."""
    head = ScriptDirectory.from_config(_config(service)).get_current_head()
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision() == head
