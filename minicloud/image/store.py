"""Queries on images. Knows SQL and no rules: who may see or change what is decided above.

State changes are compare-and-set on ``status`` and, while data is involved, on ``blob``: the
name of one upload. An upload that was taken over or deleted can change nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Exists
from minicloud.image import records
from minicloud.image.models import image_members, image_properties, image_tags, images
from minicloud.image.records import Content, Image, Member
from minicloud.kit.db import Transaction

_COLUMNS = tuple(column.name for column in images.columns)


def image_insert(tx: Transaction, image: Image) -> None:
    """Add a new image with its properties and tags. Exists when the id is taken."""
    row = {name: getattr(image, name) for name in _COLUMNS}
    try:
        with tx.begin_nested():
            tx.execute(sa.insert(images).values(row))
    except sa.exc.IntegrityError:
        raise Exists(kind="Image", id=image.id) from None
    _properties_put(tx, image.id, image.properties)
    _tags_put(tx, image.id, image.tags)


def image_get(tx: Transaction, image_id: str, *, lock: bool = False) -> Image | None:
    """The image, or None. ``lock``: no other transaction changes it before this one ends."""
    query = sa.select(images).where(images.c.id == image_id)
    row = tx.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else images_of(tx, [row])[0]


def images_of(tx: Transaction, rows: Sequence[Any]) -> list[Image]:
    """Rows of the images table as Images, in their order; two queries however many."""
    properties: dict[str, dict[str, str]] = {}
    tags: dict[str, list[str]] = {}
    ids = [row.id for row in rows]
    if ids:
        some = sa.select(image_properties).where(image_properties.c.image_id.in_(ids))
        for image_id, name, value in tx.execute(some.order_by(image_properties.c.name)):
            properties.setdefault(image_id, {})[name] = value
        labels = sa.select(image_tags).where(image_tags.c.image_id.in_(ids))
        for image_id, tag in tx.execute(labels.order_by(image_tags.c.tag)):
            tags.setdefault(image_id, []).append(tag)
    return [
        Image(
            **dict(row._mapping),
            properties=properties.get(row.id, {}),
            tags=tags.get(row.id, ()),
        )
        for row in rows
    ]


def image_update(tx: Transaction, before: Image, after: Image) -> None:
    """Write what differs. The caller holds the image's lock (``image_get(lock=True)``)."""
    changed = {
        name: getattr(after, name)
        for name in _COLUMNS
        if getattr(after, name) != getattr(before, name)
    }
    if changed:
        tx.execute(sa.update(images).where(images.c.id == before.id).values(changed))
    gone = [
        name for name, value in before.properties.items() if after.properties.get(name) != value
    ]
    if gone:
        tx.execute(
            sa.delete(image_properties).where(
                image_properties.c.image_id == before.id, image_properties.c.name.in_(gone)
            )
        )
    fresh = {
        name: value
        for name, value in after.properties.items()
        if before.properties.get(name) != value
    }
    _properties_put(tx, before.id, fresh)
    dropped = set(before.tags) - set(after.tags)
    if dropped:
        tx.execute(
            sa.delete(image_tags).where(
                image_tags.c.image_id == before.id, image_tags.c.tag.in_(dropped)
            )
        )
    _tags_put(tx, before.id, set(after.tags) - set(before.tags))


def image_delete(tx: Transaction, image_id: str) -> None:
    tx.execute(sa.delete(images).where(images.c.id == image_id))


def image_set_status(tx: Transaction, image_id: str, old: str, new: str, now: float) -> bool:
    """Compare-and-set of the status; whether it was ``old``."""
    return _set(tx, images.c.id == image_id, images.c.status == old, status=new, updated_at=now)


# -- the life of an upload -----------------------------------------------------------------------
def upload_begin(tx: Transaction, image_id: str, blob: str, now: float) -> bool:
    """queued -> saving, in the name of upload ``blob``; whether it was queued."""
    return _set(
        tx,
        images.c.id == image_id,
        images.c.status == records.QUEUED,
        status=records.SAVING,
        blob=blob,
        updated_at=now,
    )


def upload_finish(tx: Transaction, blob: str, content: Content, now: float) -> bool:
    """saving -> active; whether the image still waits for this very upload."""
    return _set(
        tx,
        images.c.blob == blob,
        images.c.status == records.SAVING,
        status=records.ACTIVE,
        updated_at=now,
        **msgspec.structs.asdict(content),
    )


def upload_abandon(tx: Transaction, blob: str, now: float) -> bool:
    """saving -> queued; whether the image still waited for this very upload."""
    return _set(
        tx,
        images.c.blob == blob,
        images.c.status == records.SAVING,
        status=records.QUEUED,
        blob=None,
        updated_at=now,
    )


def uploads_under_way(tx: Transaction) -> list[str]:
    """The blobs of all images in status saving."""
    query = sa.select(images.c.blob).where(images.c.status == records.SAVING)
    return [str(blob) for blob in tx.scalars(query) if blob is not None]


def blobs_known(tx: Transaction) -> set[str]:
    """Every file name that an image refers to."""
    return set(tx.scalars(sa.select(images.c.blob).where(images.c.blob.is_not(None))))


def blob_is_known(tx: Transaction, blob: str) -> bool:
    return tx.scalar(sa.select(images.c.id).where(images.c.blob == blob)) is not None


# -- members -------------------------------------------------------------------------------------
def member_add(tx: Transaction, member: Member) -> None:
    """Exists when the project is a member already."""
    try:
        with tx.begin_nested():
            tx.execute(sa.insert(image_members).values(msgspec.structs.asdict(member)))
    except sa.exc.IntegrityError:
        raise Exists(kind="Image member", id=member.member) from None


def members_list(tx: Transaction, image_id: str) -> list[Member]:
    query = sa.select(image_members).where(image_members.c.image_id == image_id)
    rows = tx.execute(query.order_by(image_members.c.created_at, image_members.c.member))
    return [Member(**row._mapping) for row in rows]


def member_set_status(tx: Transaction, image_id: str, member: str, status: str, now: float) -> bool:
    done = tx.execute(
        sa.update(image_members)
        .where(image_members.c.image_id == image_id, image_members.c.member == member)
        .values(status=status, updated_at=now)
    )
    return bool(done.rowcount == 1)


def member_remove(tx: Transaction, image_id: str, member: str) -> bool:
    done = tx.execute(
        sa.delete(image_members).where(
            image_members.c.image_id == image_id, image_members.c.member == member
        )
    )
    return bool(done.rowcount == 1)


def _set(tx: Transaction, *conditions: sa.ColumnElement[bool], **values: Any) -> bool:
    return bool(tx.execute(sa.update(images).where(*conditions).values(values)).rowcount == 1)


def _properties_put(tx: Transaction, image_id: str, properties: Mapping[str, str]) -> None:
    if properties:
        tx.execute(
            sa.insert(image_properties),
            [
                {"image_id": image_id, "name": name, "value": value}
                for name, value in properties.items()
            ],
        )


def _tags_put(tx: Transaction, image_id: str, tags: Iterable[str]) -> None:
    rows = [{"image_id": image_id, "tag": tag} for tag in sorted(tags)]
    if rows:
        tx.execute(sa.insert(image_tags), rows)
