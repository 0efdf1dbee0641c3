"""Queries on volumes, their metadata and their projects. Returns records, never rows.

Every change of a status is a compare-and-set: who gets False lost to somebody else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from minicloud.kit import clock
from minicloud.kit.db import Transaction
from minicloud.volume.attachment_store import attachments_of_volumes, values_of
from minicloud.volume.models import (
    attachments,
    backups,
    groups,
    projects,
    quota_classes,
    snapshots,
    volume_image_metadata,
    volume_metadata,
    volume_types,
    volumes,
)
from minicloud.volume.records import MIGRATING, SETTLED, TARGET, Usage, Volume
from minicloud.volume.states import (
    ALONE,
    FOLLOWING,
    MOVES,
    OF_TARGETS,
    VolumeStatus,
    of_attachments,
)

_COLUMNS = tuple(str(column.name) for column in volumes.columns)


def volume_add(tx: Transaction, volume: Volume) -> None:
    tx.execute(volumes.insert().values({name: getattr(volume, name) for name in _COLUMNS}))
    metadata_put(tx, volume.id, volume.metadata)
    image_metadata_put(tx, volume.id, volume.image_metadata)


def volume_get(tx: Transaction, volume_id: str) -> Volume | None:
    found = volumes_select(tx, sa.select(volumes).where(volumes.c.id == volume_id))
    return found[0] if found else None


def volume_by_bytes(tx: Transaction, bytes_id: str) -> Volume | None:
    """The volume whose bytes have that name."""
    mine = sa.and_(volumes.c.id == bytes_id, volumes.c.name_id.is_(None))
    found = volumes_select(
        tx, sa.select(volumes).where(sa.or_(mine, volumes.c.name_id == bytes_id))
    )
    return found[0] if found else None


def name_of_bytes(tx: Transaction, volume_id: str) -> str:
    """What the bytes of a volume, which may be gone, are called."""
    query = sa.select(volumes.c.name_id).where(volumes.c.id == volume_id)
    return tx.execute(query).scalar_one_or_none() or volume_id


def names_elsewhere(tx: Transaction, host: str) -> dict[str, str]:
    """Volume -> what its bytes are called, for those of ``host`` whose bytes have another name."""
    query = sa.select(volumes.c.id, volumes.c.name_id)
    found = tx.execute(query.where(volumes.c.host == host, volumes.c.name_id.is_not(None)))
    return {row.id: row.name_id for row in found}


def volumes_select(tx: Transaction, query: sa.Select[Any]) -> list[Volume]:
    """The volumes of ``query``, a select of all columns of the table, in its order. Five queries
    however many there are.
    """
    rows = tx.execute(query).mappings().all()
    if not rows:
        return []
    ids = [row["id"] for row in rows]
    metadata = _pairs(tx, volume_metadata, ids)
    image_metadata = _pairs(tx, volume_image_metadata, ids)
    attached = attachments_of_volumes(tx, ids)
    names = sa.select(volume_types.c.id, volume_types.c.name)
    types = {row.id: row.name for row in tx.execute(names)}
    return [
        Volume(
            **values_of(row),
            metadata=metadata.get(row["id"], {}),
            image_metadata=image_metadata.get(row["id"], {}),
            attachments=attached.get(row["id"], ()),
            type_name=types.get(row["type_id"], ""),
        )
        for row in rows
    ]


def _pairs(tx: Transaction, table: sa.Table, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for pair in tx.execute(
        sa.select(table).where(table.c.volume_id.in_(ids)).order_by(table.c.key)
    ):
        found.setdefault(pair.volume_id, {})[pair.key] = pair.value
    return found


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


def volumes_on(tx: Transaction, host: str) -> list[Volume]:
    return volumes_select(tx, sa.select(volumes).where(volumes.c.host == host))


def volume_move(
    tx: Transaction,
    volume_id: str,
    verb: str,
    at: float,
    *,
    size_gb: int | None = None,
    values: Mapping[str, Any] | None = None,
) -> bool:
    """Take ``volume_id`` through the row ``verb`` of ``states.MOVES``. ``size_gb``: only while it
    has this size.
    """
    move = MOVES[verb]
    change = volumes.update().where(
        volumes.c.id == volume_id, volumes.c.status.in_([status.value for status in move.start])
    )
    if size_gb is not None:
        change = change.where(volumes.c.size_gb == size_gb)
    change = change.where(sa.or_(_stays(), _is_target()) if verb in OF_TARGETS else _stays())
    if verb in ALONE:
        change = change.where(
            ~sa.exists().where(attachments.c.volume_id == volumes.c.id).correlate(volumes)
        )
    result = tx.execute(change.values(status=move.to.value, updated_at=at, **(values or {})))
    return result.rowcount == 1


def volume_set_out(
    tx: Transaction, volume_id: str, statuses: Collection[VolumeStatus], values: Mapping[str, Any]
) -> bool:
    """Begin the volume's way to another place, from one of ``statuses``."""
    change = volumes.update().where(
        volumes.c.id == volume_id,
        volumes.c.status.in_([status.value for status in statuses]),
        _stays(),
    )
    values = {"migration_status": "starting", "updated_at": clock.now(), **values}
    return tx.execute(change.values(**values)).rowcount == 1


def volume_leaves(tx: Transaction, volume_id: str) -> None:
    """What was begun is under way."""
    change = volumes.update().where(
        volumes.c.id == volume_id, volumes.c.migration_status == "starting"
    )
    tx.execute(change.values(migration_status="migrating"))


def volume_completes(tx: Transaction, volume_id: str) -> None:
    """The guest of a volume on its way has, or is about to have, its new place."""
    change = volumes.update().where(
        volumes.c.id == volume_id, volumes.c.migration_status.in_(MIGRATING)
    )
    tx.execute(change.values(migration_status="completing"))


def volumes_moving(tx: Transaction, host: str) -> list[Volume]:
    """Volumes of ``host`` that are on their way, and the places where they go."""
    on_its_way = sa.or_(volumes.c.migration_status.in_(MIGRATING), _is_target())
    return volumes_select(tx, sa.select(volumes).where(volumes.c.host == host, on_its_way))


def _stays() -> sa.ColumnElement[bool]:
    """Whether a volume is not on its way to another place, and not such a place."""
    status = volumes.c.migration_status
    return sa.or_(status.is_(None), status.in_(SETTLED))


def _is_target() -> sa.ColumnElement[bool]:
    return volumes.c.migration_status.startswith(f"{TARGET}:")


def _is_somebodys() -> sa.ColumnElement[bool]:
    """Whether a volume is no place that another goes to, or left behind."""
    status = volumes.c.migration_status
    return sa.or_(status.is_(None), sa.not_(sa.or_(_is_target(), status == "deleting")))


def volume_declare(tx: Transaction, volume_id: str, status: VolumeStatus, at: float) -> None:
    """Set the status whatever it was: for what follows from rows under the volume's lock."""
    volume_update(tx, volume_id, {"status": status.value}, at)


def volume_follow(tx: Transaction, volume_id: str, *, after: VolumeStatus | None = None) -> bool:
    """Make the volume what its attachments make it; the caller holds its row. ``after``: only
    where it is that, whose work has ended now. Whether it was so.
    """
    left = attachments_of_volumes(tx, [volume_id]).get(volume_id, [])
    status = of_attachments([each.status for each in left])
    start = FOLLOWING if after is None else (after,)
    change = volumes.update().where(
        volumes.c.id == volume_id,
        volumes.c.status.in_([each.value for each in start]),
        sa.or_(_stays(), _is_target()),
    )
    values: dict[str, Any] = {"status": status.value, "updated_at": clock.now()}
    if after is not None:
        values["goal"] = None
    return tx.execute(change.values(**values)).rowcount == 1


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
    _put(tx, volume_metadata, volume_id, pairs)


def metadata_remove(tx: Transaction, volume_id: str, keys: Sequence[str] | None = None) -> int:
    """Remove ``keys``, or all; how many there were."""
    return _remove(tx, volume_metadata, volume_id, keys)


def image_metadata_put(tx: Transaction, volume_id: str, pairs: Mapping[str, str]) -> None:
    _put(tx, volume_image_metadata, volume_id, pairs)


def image_metadata_remove(
    tx: Transaction, volume_id: str, keys: Sequence[str] | None = None
) -> int:
    return _remove(tx, volume_image_metadata, volume_id, keys)


def _put(tx: Transaction, table: sa.Table, volume_id: str, pairs: Mapping[str, str]) -> None:
    _remove(tx, table, volume_id, list(pairs))
    if pairs:
        tx.execute(
            table.insert(),
            [{"volume_id": volume_id, "key": key, "value": pairs[key]} for key in pairs],
        )


def _remove(tx: Transaction, table: sa.Table, volume_id: str, keys: Sequence[str] | None) -> int:
    change = table.delete().where(table.c.volume_id == volume_id)
    if keys is not None:
        change = change.where(table.c.key.in_(keys))
    return tx.execute(change).rowcount


def group_of(tx: Transaction, group_id: str) -> tuple[str, Sequence[str]] | None:
    """(project, types of its volumes) of a group, whose row is held until ``tx`` ends."""
    tx.execute(groups.update().where(groups.c.id == group_id).values(id=groups.c.id))
    query = sa.select(groups.c.project_id, groups.c.volume_types).where(groups.c.id == group_id)
    row = tx.execute(query).one_or_none()
    return None if row is None else (row.project_id, row.volume_types)


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


def class_quotas(tx: Transaction, name: str) -> dict[str, int]:
    """The limits set for the class; empty where there are none."""
    query = sa.select(quota_classes.c.quotas).where(quota_classes.c.name == name)
    return tx.execute(query).scalar_one_or_none() or {}


def class_quotas_set(tx: Transaction, name: str, quotas: Mapping[str, int]) -> None:
    change = quota_classes.update().where(quota_classes.c.name == name)
    if tx.execute(change.values(quotas=dict(quotas))).rowcount == 0:
        tx.execute(quota_classes.insert().values(name=name, quotas=dict(quotas)))


def project_usage(tx: Transaction, project_id: str | None) -> Usage:
    """What a project has; None: all projects."""

    def count(table: sa.Table, size: sa.Column[Any] | None = None) -> tuple[int, int]:
        total = sa.literal(0) if size is None else sa.func.coalesce(sa.func.sum(size), 0)
        query = sa.select(sa.func.count(), total).select_from(table)
        if table is volumes:
            query = query.where(_is_somebodys())
        if project_id is not None:
            query = query.where(table.c.project_id == project_id)
        number, gigabytes = tx.execute(query).one()
        return number, int(gigabytes)

    volume_count, volume_gb = count(volumes, volumes.c.size_gb)
    snapshot_count, snapshot_gb = count(snapshots, snapshots.c.size_gb)
    backup_count, backup_gb = count(backups, backups.c.size_gb)
    return Usage(
        volumes=volume_count,
        gigabytes=volume_gb + snapshot_gb,
        volume_gigabytes=volume_gb,
        snapshots=snapshot_count,
        backups=backup_count,
        backup_gigabytes=backup_gb,
        groups=count(groups)[0],
    )


def metadata_values(tx: Transaction, project_id: str | None) -> dict[str, list[str]]:
    """Metadata key -> the values it has among a project's volumes; None: all projects."""
    query = sa.select(volume_metadata.c.key, volume_metadata.c.value).distinct().join(volumes)
    if project_id is not None:
        query = query.where(volumes.c.project_id == project_id)
    found: dict[str, list[str]] = {}
    for pair in tx.execute(query.order_by(volume_metadata.c.key, volume_metadata.c.value)):
        found.setdefault(pair.key, []).append(pair.value)
    return found
