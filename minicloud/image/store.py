"""Queries on images. Knows SQL and no rules: who may see or change what is decided above.

State changes are compare-and-set on ``status`` and, while data is involved, on ``blob``: the
name of one upload. An upload that was taken over or deleted can change nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Exists, NotFound
from minicloud.image import records
from minicloud.image.models import (
    image_locations,
    image_members,
    image_properties,
    image_tags,
    images,
)
from minicloud.image.records import Content, Image, Location, Member
from minicloud.kit.db import Transaction

_COLUMNS = tuple(column.name for column in images.columns)
_NOTHING_COMING: Mapping[str, None] = dict.fromkeys(
    ("blob", "blob_store", "lease", "staged", "staged_total")
)
_NO_CONTENT: Mapping[str, None] = dict.fromkeys(Content.__struct_fields__)

# Statements of what every look at an image asks: to make one costs several times a run of it.
_GET = sa.select(images).where(images.c.id == sa.bindparam("this"))
_GET_LOCKED = _GET.with_for_update()
_PROPERTIES_OF, _TAGS_OF, _LOCATIONS_OF = (
    sa.select(table)
    .where(table.c.image_id.in_(sa.bindparam("these", expanding=True)))
    .order_by(order)
    for table, order in (
        (image_properties, image_properties.c.name),
        (image_tags, image_tags.c.tag),
        (image_locations, image_locations.c.created_at),
    )
)


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
    row = tx.execute(_GET_LOCKED if lock else _GET, {"this": image_id}).one_or_none()
    return None if row is None else images_of(tx, [row])[0]


def images_of(tx: Transaction, rows: Sequence[Any]) -> list[Image]:
    """Rows of the images table as Images, in their order; three queries however many."""
    properties: dict[str, dict[str, str]] = {}
    tags: dict[str, list[str]] = {}
    locations: dict[str, list[Location]] = {}
    ids = [row.id for row in rows]
    if ids:
        these = {"these": ids}
        for image_id, name, value in tx.execute(_PROPERTIES_OF, these):
            properties.setdefault(image_id, {})[name] = value
        for image_id, tag in tx.execute(_TAGS_OF, these):
            tags.setdefault(image_id, []).append(tag)
        for row in tx.execute(_LOCATIONS_OF, these):
            place = Location(store=row.store, name=row.name)
            locations.setdefault(row.image_id, []).append(place)
    return [
        Image(
            **dict(row._mapping),
            properties=properties.get(row.id, {}),
            tags=tags.get(row.id, ()),
            locations=locations.get(row.id, ()),
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


def property_set(tx: Transaction, image_id: str, name: str, value: str) -> None:
    """One property, whatever it was before."""
    tx.execute(
        sa.delete(image_properties).where(
            image_properties.c.image_id == image_id, image_properties.c.name == name
        )
    )
    _properties_put(tx, image_id, {name: value})


def image_set_status(tx: Transaction, image_id: str, old: str, new: str, now: float) -> bool:
    """Compare-and-set of the status; whether it was ``old``."""
    return _set(tx, images.c.id == image_id, images.c.status == old, status=new, updated_at=now)


# -- the life of an upload -----------------------------------------------------------------------
def upload_begin(
    tx: Transaction,
    image_id: str,
    statuses: tuple[str, str],
    blob: Location,
    now: float,
    lease: float,
) -> bool:
    """From the first status to the second, in the name of upload ``blob``; whether it was."""
    return _set(
        tx,
        images.c.id == image_id,
        images.c.status == statuses[0],
        status=statuses[1],
        blob=blob.name,
        blob_store=blob.store,
        lease=lease,
        updated_at=now,
    )


def upload_renew(tx: Transaction, blob: str, lease: float) -> bool:
    """The upload lives; whether the image still waits for it."""
    return _set(tx, images.c.blob == blob, lease=lease)


def upload_finish(tx: Transaction, blob: Location, content: Content, now: float) -> bool:
    """saving -> active; whether the image still waits for this very upload."""
    return _set(
        tx,
        images.c.blob == blob.name,
        images.c.status == records.SAVING,
        status=records.ACTIVE,
        updated_at=now,
        **_NOTHING_COMING,
        **msgspec.structs.asdict(content),
    )


def upload_keep(tx: Transaction, blob: str, content: Content, now: float) -> bool:
    """What an import's data is, while its image is importing still; whether it waits for it."""
    return _set(
        tx,
        images.c.blob == blob,
        images.c.status == records.IMPORTING,
        updated_at=now,
        **msgspec.structs.asdict(content),
    )


def content_set(tx: Transaction, image_id: str, content: Content, now: float) -> bool:
    """What the data of an importing image is; whether it is importing."""
    return _set(
        tx,
        images.c.id == image_id,
        images.c.status == records.IMPORTING,
        updated_at=now,
        **msgspec.structs.asdict(content),
    )


def import_begin(tx: Transaction, image_id: str, status: str, now: float) -> bool:
    """``status`` -> importing; whether it was."""
    return image_set_status(tx, image_id, status, records.IMPORTING, now)


def import_finish(tx: Transaction, image_id: str, now: float) -> bool:
    """importing -> active; whether it was."""
    return _set(
        tx,
        images.c.id == image_id,
        images.c.status == records.IMPORTING,
        status=records.ACTIVE,
        updated_at=now,
        **_NOTHING_COMING,
    )


def upload_abandon(tx: Transaction, blob: str, now: float) -> bool:
    """saving -> queued; whether the image still waited for this very upload."""
    return _set(
        tx,
        images.c.blob == blob,
        images.c.status == records.SAVING,
        status=records.QUEUED,
        updated_at=now,
        **_NOTHING_COMING,
    )


def uploads_under_way(tx: Transaction) -> list[tuple[Location, float]]:
    """The uploads of all images in status saving, and until when each is believed alive."""
    query = sa.select(images.c.blob, images.c.blob_store, images.c.lease).where(
        images.c.status == records.SAVING, images.c.blob.is_not(None)
    )
    return [
        (Location(store=row.blob_store or "", name=row.blob), row.lease or 0.0)
        for row in tx.execute(query)
    ]


# -- where data lies -----------------------------------------------------------------------------
def location_add(tx: Transaction, image_id: str, location: Location, now: float) -> None:
    """Exists when the image has a copy in that store; NotFound when there is no image."""
    try:
        with tx.begin_nested():
            tx.execute(
                sa.insert(image_locations).values(
                    image_id=image_id, store=location.store, name=location.name, created_at=now
                )
            )
    except sa.exc.IntegrityError:
        if image_get(tx, image_id) is None:
            raise NotFound(kind="Image", id=image_id) from None
        raise Exists(kind="A copy of the image in store", id=location.store) from None


def location_remove(tx: Transaction, image_id: str, store: str) -> bool:
    done = tx.execute(
        sa.delete(image_locations).where(
            image_locations.c.image_id == image_id, image_locations.c.store == store
        )
    )
    return bool(done.rowcount == 1)


def blobs_known(tx: Transaction, store: str) -> set[str]:
    """Every name in ``store`` that an image refers to."""
    held = sa.select(image_locations.c.name).where(image_locations.c.store == store)
    coming = sa.select(images.c.blob).where(images.c.blob_store == store)
    return {str(name) for query in (held, coming) for name in tx.scalars(query) if name}


def blob_is_known(tx: Transaction, store: str, blob: str) -> bool:
    held = sa.select(image_locations.c.name).where(
        image_locations.c.store == store, image_locations.c.name == blob
    )
    coming = sa.select(images.c.blob).where(images.c.blob_store == store, images.c.blob == blob)
    return any(tx.scalar(query) is not None for query in (held, coming))


# -- staging -------------------------------------------------------------------------------------
def stage_begin(tx: Transaction, image_id: str, now: float) -> bool:
    """queued or uploading -> uploading; whether it was."""
    return _set(
        tx,
        images.c.id == image_id,
        images.c.status.in_((records.QUEUED, records.UPLOADING)),
        status=records.UPLOADING,
        updated_at=now,
    )


def stage_set(
    tx: Transaction, image_id: str, staged: int | None, total: int | None, now: float
) -> bool:
    """How much is staged, of how much; whether the image is uploading still."""
    return _set(
        tx,
        images.c.id == image_id,
        images.c.status == records.UPLOADING,
        staged=staged,
        staged_total=total,
        updated_at=now,
    )


def image_requeue(tx: Transaction, image_id: str, status: str, now: float) -> bool:
    """``status`` -> queued, with nothing staged; whether it was."""
    return _set(
        tx,
        images.c.id == image_id,
        images.c.status == status,
        status=records.QUEUED,
        updated_at=now,
        **_NOTHING_COMING,
        **_NO_CONTENT,
    )


def images_staged(tx: Transaction) -> set[str]:
    """Ids of the images whose staged data is still needed."""
    waiting = (records.UPLOADING, records.IMPORTING)
    return set(tx.scalars(sa.select(images.c.id).where(images.c.status.in_(waiting))))


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
