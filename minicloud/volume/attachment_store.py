"""Queries on attachments. Returns records, never rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from minicloud.kit.db import Transaction
from minicloud.volume.models import attachments, volumes
from minicloud.volume.records import Attachment
from minicloud.volume.states import AttachmentStatus


class PortTaken(Exception):
    """Another attachment has the TCP port."""


def values_of(row: sa.RowMapping) -> dict[str, Any]:
    """A row under plain names: SQLAlchemy's are a subclass of str that records refuse."""
    return {str(name): value for name, value in row.items()}


def _record(row: sa.RowMapping) -> Attachment:
    return Attachment(**values_of(row))


def attachment_add(tx: Transaction, attachment: Attachment) -> None:
    tx.execute(
        attachments.insert().values(
            id=attachment.id,
            volume_id=attachment.volume_id,
            project_id=attachment.project_id,
            server_id=attachment.server_id,
            status=attachment.status,
            mode=attachment.mode,
            connector=None,
            port=None,
            created_at=attachment.created_at,
            attached_at=None,
        )
    )


def attachment_get(tx: Transaction, attachment_id: str) -> Attachment | None:
    row = tx.execute(sa.select(attachments).where(attachments.c.id == attachment_id))
    found = row.mappings().one_or_none()
    return _record(found) if found else None


def attachments_list(
    tx: Transaction,
    *,
    project_id: str | None,
    filters: Mapping[str, str],
    limit: int,
    marker: Attachment | None,
    offset: int,
) -> list[Attachment]:
    """Oldest first, after ``marker``. ``filters``: column -> value; ``project_id`` None: all."""
    query = sa.select(attachments).order_by(attachments.c.created_at, attachments.c.id)
    if project_id is not None:
        query = query.where(attachments.c.project_id == project_id)
    for name, value in filters.items():
        query = query.where(attachments.c[name] == value)
    if marker is not None:
        query = query.where(
            sa.tuple_(attachments.c.created_at, attachments.c.id)
            > sa.tuple_(sa.literal(marker.created_at), sa.literal(marker.id))
        )
    return [_record(row) for row in tx.execute(query.limit(limit).offset(offset)).mappings()]


def attachments_of_volumes(tx: Transaction, ids: Sequence[str]) -> dict[str, list[Attachment]]:
    """Volume id -> its attachments, oldest first."""
    found: dict[str, list[Attachment]] = {}
    if ids:
        query = sa.select(attachments).where(attachments.c.volume_id.in_(ids))
        query = query.order_by(attachments.c.created_at, attachments.c.id)
        for row in tx.execute(query).mappings():
            found.setdefault(row["volume_id"], []).append(_record(row))
    return found


def attachments_on(tx: Transaction, host: str) -> list[Attachment]:
    """All attachments of the volumes of ``host``, oldest first."""
    query = sa.select(attachments).join(volumes).where(volumes.c.host == host)
    query = query.order_by(attachments.c.created_at, attachments.c.id)
    return [_record(row) for row in tx.execute(query).mappings()]


def attachment_connect(
    tx: Transaction, attachment_id: str, connector: Mapping[str, Any], port: int | None
) -> bool:
    """Give a connector to an attachment that waits for one, or another while attaching.
    PortTaken: another attachment has the port; the transaction is to be given up.
    """
    change = attachments.update().where(
        attachments.c.id == attachment_id,
        attachments.c.status.in_(
            [AttachmentStatus.RESERVED.value, AttachmentStatus.ATTACHING.value]
        ),
    )
    values = {
        "status": AttachmentStatus.ATTACHING.value,
        "connector": dict(connector),
        "port": port,
    }
    try:
        return tx.execute(change.values(**values)).rowcount == 1
    except sa.exc.IntegrityError as problem:
        raise PortTaken() from problem


def attachment_move(
    tx: Transaction,
    attachment_id: str,
    start: Collection[AttachmentStatus],
    to: AttachmentStatus,
    **values: Any,
) -> bool:
    """Compare-and-set of the status."""
    change = attachments.update().where(
        attachments.c.id == attachment_id,
        attachments.c.status.in_([status.value for status in start]),
    )
    return tx.execute(change.values(status=to.value, **values)).rowcount == 1


def attachments_give(tx: Transaction, volume_id: str, other_id: str) -> None:
    """All attachments of the one volume are the other's."""
    change = attachments.update().where(attachments.c.volume_id == volume_id)
    tx.execute(change.values(volume_id=other_id))


def attachment_unplug(tx: Transaction, attachment_id: str) -> None:
    """An attachment that has no export any more, though it is not given up yet."""
    tx.execute(
        attachments.update()
        .where(attachments.c.id == attachment_id)
        .values(status=AttachmentStatus.DETACHING.value, port=None)
    )


def attachment_remove(tx: Transaction, attachment_id: str) -> bool:
    """Whether it was there."""
    gone = tx.execute(attachments.delete().where(attachments.c.id == attachment_id))
    return gone.rowcount == 1


def ports_taken(tx: Transaction) -> set[int]:
    query = sa.select(attachments.c.port).where(attachments.c.port.is_not(None))
    return set(tx.execute(query).scalars())
