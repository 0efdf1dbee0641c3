"""Databases: SQLite in WAL mode or PostgreSQL, by URL; migrations by alembic."""

from minicloud.kit.db.engine import Database, Transaction

__all__ = ["Database", "Transaction"]
