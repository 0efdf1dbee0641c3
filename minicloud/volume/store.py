"""Queries on volumes, their metadata and their projects. Returns records, never rows.

Every change of a status is a compare-and-set: who gets False lost to somebody else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from minicloud.kit.db import Transaction
from minicloud.volume.attachment_store import attachments_of_volumes, values_of
from minicloud.volume.models import attachments, projects, volume_metadata, volumes
from minicloud.volume.records import Usage, Volume
from minicloud.volume.states import MOVES, VolumeStatus


def volume_add(tx: Transaction, volume: Volume) -> None:
    tx.execute(
        volumes.insert().values(
            id=volume.id,
            project_id=volume.project_id,
            user_id=volume.user_id,
            host=volume.host,
            name=volume.name,
            description=volume.description,
            size_gb=volume.size_gb,
            status=volume.status,
            bootable=volume.bootable,
            created_at=volume.created_at,
            updated_at=volume.updated_at,
        )
    )
    metadata_put(tx, volume.id, volume.metadata)


def volume_get(tx: Transaction, volume_id: str) -> Volume | None:
    found = volumes_select(tx, sa.select(volumes).where(volumes.c.id == volume_id))
    return found[0] if found else None


def volumes_select(tx: Transaction, query: sa.Select[Any]) -> list[Volume]:
    """The volumes of ``query``, a select of all columns of the table, in its order. Three queries
    however many there are.
    """
    rows = tx.execute(query).mappings().all()
    ids = [row["id"] for row in rows]
    found: dict[str, dict[str, str]] = {volume_id: {} for volume_id in ids}
    if ids:
        pairs = sa.select(volume_metadata).where(volume_metadata.c.volume_id.in_(ids))
        for pair in tx.execute(pairs.order_by(volume_metadata.c.key)):
            found[pair.volume_id][pair.key] = pair.value
    attached = attachments_of_volumes(tx, ids)
    return [
        Volume(**values_of(row), metadata=found[row["id"]], attachments=attached.get(row["id"], ()))
        for row in rows
    ]


def volumes_by_id(tx: Transaction, ids: Collection[str]) -> dict[str, Volume]:
    found = volumes_select(tx, sa.select(volumes).where(volumes.c.id.in_(ids))) if ids else []
    return {volume.id: volume for volume in found}


def volumes_in(tx: Transaction, host: str, statuses: Collection[VolumeStatus]) -> list[Volume]:
    """Volumes of ``host`` that are in one of ``statuses``."""
    return volumes_select(
        tx,
        sa.select(volumes).where(
            volumes.c.host == host, volumes.c.status.in_([status.value for status in statuses])
        ),
    )


def volume_ids(tx: Transaction, host: str) -> set[str]:
    return set(tx.execute(sa.select(volumes.c.id).where(volumes.c.host == host)).scalars())


def volume_move(
    tx: Transaction,
    volume_id: str,
    verb: str,
    at: float,
    *,
    size_gb: int | None = None,
    values: Mapping[str, Any] | None = None,
) -> bool:
    """Take ``volume_id`` through the row ``verb`` of ``states.MOVES``. A volume with attachments
    is neither deleted nor extended. ``size_gb``: only while it has this size.
    """
    move = MOVES[verb]
    change = volumes.update().where(
        volumes.c.id == volume_id, volumes.c.status.in_([status.value for status in move.start])
    )
    if size_gb is not None:
        change = change.where(volumes.c.size_gb == size_gb)
    if move.to in (VolumeStatus.DELETING, VolumeStatus.EXTENDING):
        change = change.where(
            ~sa.exists().where(attachments.c.volume_id == volumes.c.id).correlate(volumes)
        )
    result = tx.execute(change.values(status=move.to.value, updated_at=at, **(values or {})))
    return result.rowcount == 1


def volume_declare(tx: Transaction, volume_id: str, status: VolumeStatus, at: float) -> None:
    """Set the status whatever it was: for what follows from rows under the volume's lock."""
    volume_update(tx, volume_id, {"status": status.value}, at)


def volume_update(tx: Transaction, volume_id: str, values: Mapping[str, Any], at: float) -> None:
    tx.execute(volumes.update().where(volumes.c.id == volume_id).values(updated_at=at, **values))


def volume_lock(tx: Transaction, volume_id: str) -> bool:
    """Hold the volume's row until the transaction ends. False: there is no such row."""
    held = tx.execute(volumes.update().where(volumes.c.id == volume_id).values(id=volumes.c.id))
    return held.rowcount == 1


def volume_remove(tx: Transaction, volume_id: str) -> None:
    """Forget a volume that is ``deleting``."""
    tx.execute(
        volumes.delete().where(
            volumes.c.id == volume_id, volumes.c.status == VolumeStatus.DELETING.value
        )
    )


def metadata_put(tx: Transaction, volume_id: str, pairs: Mapping[str, str]) -> None:
    """Add or replace ``pairs``; others stay. The caller holds the volume's row."""
    metadata_remove(tx, volume_id, list(pairs))
    if pairs:
        tx.execute(
            volume_metadata.insert(),
            [{"volume_id": volume_id, "key": key, "value": pairs[key]} for key in pairs],
        )


def metadata_remove(tx: Transaction, volume_id: str, keys: Sequence[str] | None = None) -> int:
    """Remove ``keys``, or all; how many there were."""
    change = volume_metadata.delete().where(volume_metadata.c.volume_id == volume_id)
    if keys is not None:
        change = change.where(volume_metadata.c.key.in_(keys))
    return tx.execute(change).rowcount


def project_lock(tx: Transaction, project_id: str) -> dict[str, int]:
    """Hold the project's row until the transaction ends; the limits set for it alone."""
    touch = projects.update().where(projects.c.id == project_id).values(id=projects.c.id)
    if tx.execute(touch).rowcount == 0:
        try:
            with tx.begin_nested():
                tx.execute(projects.insert().values(id=project_id, quotas={}))
        except sa.exc.IntegrityError:
            tx.execute(touch)
    return project_quotas(tx, project_id)


def project_quotas(tx: Transaction, project_id: str) -> dict[str, int]:
    """The limits set for the project alone; empty where the defaults hold."""
    return (
        tx.execute(
            sa.select(projects.c.quotas).where(projects.c.id == project_id)
        ).scalar_one_or_none()
        or {}
    )


def project_quotas_set(tx: Transaction, project_id: str, quotas: Mapping[str, int]) -> None:
    tx.execute(projects.update().where(projects.c.id == project_id).values(quotas=dict(quotas)))


def project_usage(tx: Transaction, project_id: str | None) -> Usage:
    """What a project has; None: all projects."""
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(volumes.c.size_gb), 0))
    if project_id is not None:
        query = query.where(volumes.c.project_id == project_id)
    count, gigabytes = tx.execute(query.select_from(volumes)).one()
    return Usage(volumes=count, gigabytes=gigabytes)


def metadata_values(tx: Transaction, project_id: str | None) -> dict[str, list[str]]:
    """Metadata key -> the values it has among a project's volumes; None: all projects."""
    query = sa.select(volume_metadata.c.key, volume_metadata.c.value).distinct().join(volumes)
    if project_id is not None:
        query = query.where(volumes.c.project_id == project_id)
    found: dict[str, list[str]] = {}
    for pair in tx.execute(query.order_by(volume_metadata.c.key, volume_metadata.c.value)):
        found.setdefault(pair.key, []).append(pair.value)
    return found
