"""Queries on snapshots. Returns records, never rows; every change of a status is a
compare-and-set.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from minicloud.kit import clock
from minicloud.kit.db import Transaction
from minicloud.volume.attachment_store import values_of
from minicloud.volume.models import snapshot_metadata, snapshots, volumes
from minicloud.volume.records import Snapshot
from minicloud.volume.states import SnapshotStatus

_COLUMNS = tuple(str(column.name) for column in snapshots.columns)


def snapshot_add(tx: Transaction, made: Snapshot) -> None:
    tx.execute(snapshots.insert().values({name: getattr(made, name) for name in _COLUMNS}))
    metadata_put(tx, made.id, made.metadata)


def snapshot_get(tx: Transaction, snapshot_id: str) -> Snapshot | None:
    found = snapshots_select(tx, sa.select(snapshots).where(snapshots.c.id == snapshot_id))
    return found[0] if found else None


def snapshots_select(tx: Transaction, query: sa.Select[Any]) -> list[Snapshot]:
    """The snapshots of ``query``, a select of all columns, in its order. Three queries."""
    rows = tx.execute(query).mappings().all()
    if not rows:
        return []
    ids = [row["id"] for row in rows]
    pairs: dict[str, dict[str, str]] = {}
    wanted = sa.select(snapshot_metadata).where(snapshot_metadata.c.snapshot_id.in_(ids))
    for pair in tx.execute(wanted.order_by(snapshot_metadata.c.key)):
        pairs.setdefault(pair.snapshot_id, {})[pair.key] = pair.value
    owners = sa.select(volumes.c.id, volumes.c.host, volumes.c.backend, volumes.c.name_id).where(
        volumes.c.id.in_({row["volume_id"] for row in rows})
    )
    places = {row.id: row for row in tx.execute(owners)}
    return [
        Snapshot(
            **values_of(row),
            metadata=pairs.get(row["id"], {}),
            host=places[row["volume_id"]].host,
            backend=places[row["volume_id"]].backend,
            volume_bytes_id=places[row["volume_id"]].name_id or row["volume_id"],
        )
        for row in rows
        if row["volume_id"] in places
    ]


def snapshots_of(tx: Transaction, volume_id: str) -> list[Snapshot]:
    """Oldest first."""
    query = sa.select(snapshots).where(snapshots.c.volume_id == volume_id)
    return snapshots_select(tx, query.order_by(snapshots.c.created_at, snapshots.c.id))


def snapshots_of_group(tx: Transaction, group_snapshot_id: str) -> list[Snapshot]:
    query = sa.select(snapshots).where(snapshots.c.group_snapshot_id == group_snapshot_id)
    return snapshots_select(tx, query.order_by(snapshots.c.created_at, snapshots.c.id))


def snapshots_in(
    tx: Transaction, host: str, statuses: Collection[SnapshotStatus]
) -> list[Snapshot]:
    """Snapshots of the volumes of ``host`` that are in one of ``statuses``."""
    query = (
        sa.select(snapshots)
        .join(volumes)
        .where(
            volumes.c.host == host, snapshots.c.status.in_([status.value for status in statuses])
        )
    )
    return snapshots_select(tx, query)


def snapshot_ids(tx: Transaction, host: str) -> set[str]:
    query = sa.select(snapshots.c.id).join(volumes).where(volumes.c.host == host)
    return set(tx.execute(query).scalars())


def snapshot_move(
    tx: Transaction,
    snapshot_id: str,
    start: Sequence[SnapshotStatus],
    to: SnapshotStatus,
) -> bool:
    change = snapshots.update().where(
        snapshots.c.id == snapshot_id, snapshots.c.status.in_([each.value for each in start])
    )
    return tx.execute(change.values(status=to.value, updated_at=clock.now())).rowcount == 1


def snapshot_update(tx: Transaction, snapshot_id: str, values: Mapping[str, Any]) -> bool:
    change = snapshots.update().where(snapshots.c.id == snapshot_id)
    return tx.execute(change.values(updated_at=clock.now(), **values)).rowcount == 1


def snapshot_lock(tx: Transaction, snapshot_id: str) -> bool:
    held = snapshots.update().where(snapshots.c.id == snapshot_id).values(id=snapshots.c.id)
    return tx.execute(held).rowcount == 1


def snapshot_remove(tx: Transaction, snapshot_id: str) -> None:
    """Forget a snapshot that is ``deleting``."""
    tx.execute(
        snapshots.delete().where(
            snapshots.c.id == snapshot_id, snapshots.c.status == SnapshotStatus.DELETING.value
        )
    )


def metadata_put(tx: Transaction, snapshot_id: str, pairs: Mapping[str, str]) -> None:
    """Add or replace ``pairs``; others stay. The caller holds the snapshot's row."""
    metadata_remove(tx, snapshot_id, list(pairs))
    if pairs:
        tx.execute(
            snapshot_metadata.insert(),
            [{"snapshot_id": snapshot_id, "key": key, "value": pairs[key]} for key in pairs],
        )


def metadata_remove(tx: Transaction, snapshot_id: str, keys: Sequence[str] | None = None) -> int:
    """Remove ``keys``, or all; how many there were."""
    change = snapshot_metadata.delete().where(snapshot_metadata.c.snapshot_id == snapshot_id)
    if keys is not None:
        change = change.where(snapshot_metadata.c.key.in_(keys))
    return tx.execute(change).rowcount
