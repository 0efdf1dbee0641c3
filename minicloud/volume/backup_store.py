"""Queries on backups. Returns records, never rows; every change of a status is a
compare-and-set.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from minicloud.kit import clock
from minicloud.kit.db import Transaction
from minicloud.volume.attachment_store import values_of
from minicloud.volume.models import backups, volumes
from minicloud.volume.records import Backup
from minicloud.volume.states import BackupStatus, VolumeStatus


def backup_add(tx: Transaction, made: Backup) -> None:
    tx.execute(
        backups.insert().values({name: getattr(made, name) for name in made.__struct_fields__})
    )


def backup_get(tx: Transaction, backup_id: str) -> Backup | None:
    found = backups_select(tx, sa.select(backups).where(backups.c.id == backup_id))
    return found[0] if found else None


def backups_select(tx: Transaction, query: sa.Select[Any]) -> list[Backup]:
    return [Backup(**values_of(row)) for row in tx.execute(query).mappings()]


def backups_in(tx: Transaction, host: str, statuses: Collection[BackupStatus]) -> list[Backup]:
    query = sa.select(backups).where(
        backups.c.host == host, backups.c.status.in_([each.value for each in statuses])
    )
    return backups_select(tx, query)


def backup_ids(tx: Transaction) -> set[str]:
    return set(tx.execute(sa.select(backups.c.id)).scalars())


def latest_of(tx: Transaction, volume_id: str, project_id: str) -> Backup | None:
    """The newest whole backup of the volume."""
    query = (
        sa.select(backups)
        .where(
            backups.c.volume_id == volume_id,
            backups.c.project_id == project_id,
            backups.c.status == BackupStatus.AVAILABLE.value,
        )
        .order_by(backups.c.data_at.desc(), backups.c.created_at.desc())
        .limit(1)
    )
    found = backups_select(tx, query)
    return found[0] if found else None


def dependents(tx: Transaction, ids: Sequence[str]) -> dict[str, int]:
    """Backup id -> how many are built upon it; those without are missing."""
    if not ids:
        return {}
    parent = backups.c.parent_id
    query = sa.select(parent, sa.func.count()).where(parent.in_(ids)).group_by(parent)
    return {row[0]: row[1] for row in tx.execute(query)}


def backup_move(
    tx: Transaction,
    backup_id: str,
    start: Sequence[BackupStatus],
    to: BackupStatus,
    **values: Any,
) -> bool:
    change = backups.update().where(
        backups.c.id == backup_id, backups.c.status.in_([each.value for each in start])
    )
    result = tx.execute(change.values(status=to.value, updated_at=clock.now(), **values))
    return result.rowcount == 1


def backups_end_restores(tx: Transaction, host: str) -> None:
    """Backups whose bytes no volume is being given any more are there for others again."""
    goes_on = sa.exists().where(
        volumes.c.id == backups.c.restore_volume_id,
        volumes.c.status == VolumeStatus.RESTORING.value,
    )
    change = backups.update().where(
        backups.c.host == host,
        backups.c.status == BackupStatus.RESTORING.value,
        ~goes_on.correlate(backups),
    )
    tx.execute(change.values(status=BackupStatus.AVAILABLE.value, updated_at=clock.now()))


def backup_update(tx: Transaction, backup_id: str, values: Mapping[str, Any]) -> bool:
    change = backups.update().where(backups.c.id == backup_id)
    return tx.execute(change.values(updated_at=clock.now(), **values)).rowcount == 1


def backup_lock(tx: Transaction, backup_id: str) -> bool:
    held = backups.update().where(backups.c.id == backup_id).values(id=backups.c.id)
    return tx.execute(held).rowcount == 1


def backup_remove(tx: Transaction, backup_id: str) -> None:
    """Forget a backup that is ``deleting``."""
    tx.execute(
        backups.delete().where(
            backups.c.id == backup_id, backups.c.status == BackupStatus.DELETING.value
        )
    )
