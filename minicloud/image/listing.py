"""The list of images as one query: who sees what, filters, order and pages.

Three queries a page however long it is. Words of the HTTP query string are parsed in
``filters.py``; this module gets values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Invalid
from minicloud.image import records
from minicloud.image.models import image_members, image_properties, image_tags, images
from minicloud.image.records import Image
from minicloud.image.store import images_of
from minicloud.kit.db import Transaction

SORT_KEYS: Mapping[str, Any] = {
    "name": "",
    "status": "",
    "visibility": "",
    "owner": "",
    "disk_format": "",
    "container_format": "",
    "size": -1,
    "virtual_size": -1,
    "min_disk": -1,
    "min_ram": -1,
    "id": "",
    "created_at": 0.0,
    "updated_at": 0.0,
}
"""What a list may be ordered by -> the value that stands for null, so that pages have one order."""

COMPARISONS: Mapping[str, Any] = {
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
    "eq": lambda column, value: column == value,
    "neq": lambda column, value: column != value,
}


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """Whose eyes: a project's (None: of nobody), or everyone's for an administrator."""

    project_id: str | None
    sees_all: bool = False


class ImageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A list request."""

    one_of: Mapping[str, Sequence[Any]] = {}
    """Column -> values, one of which it must have."""
    compare: Sequence[tuple[str, str, float]] = ()
    """(column, a key of COMPARISONS, value)"""
    properties: Mapping[str, str] = {}
    tags: Sequence[str] = ()
    visibility: str = ""
    """Empty: what the viewer usually sees; ``all``: community images too."""
    member_status: str = records.ACCEPTED
    """Memberships that make shared images of others visible; ``all``: any."""
    sort: Sequence[tuple[str, str]] = (("created_at", "desc"), ("id", "desc"))
    """(key, asc or desc), ending with ``id``, so that no two images are equal."""
    limit: int
    marker: str | None = None


def images_list(tx: Transaction, viewer: Viewer, query: ImageQuery) -> tuple[list[Image], bool]:
    """One page, and whether there is another. Invalid when the marker is not to be seen."""
    statement = sa.select(images).where(*_conditions(viewer, query))
    if query.marker is not None:
        statement = statement.where(_after(tx, viewer, query))
    for key, direction in query.sort:
        column = _ordered(key)
        statement = statement.order_by(column.desc() if direction == "desc" else column.asc())
    rows = tx.execute(statement.limit(query.limit + 1)).all()
    return images_of(tx, rows[: query.limit]), len(rows) > query.limit


def is_visible(tx: Transaction, viewer: Viewer, image: Image) -> bool:
    """Whether the viewer may know of one image by its id; any membership is enough."""
    if viewer.sees_all or image.visibility in (records.PUBLIC, records.COMMUNITY):
        return True
    if viewer.project_id is None:
        return False
    if image.owner == viewer.project_id:
        return True
    if image.visibility != records.SHARED:
        return False
    query = sa.select(image_members.c.member).where(
        image_members.c.image_id == image.id, image_members.c.member == viewer.project_id
    )
    return tx.scalar(query) is not None


def _conditions(viewer: Viewer, query: ImageQuery) -> list[sa.ColumnElement[bool]]:
    found = [_sight(viewer, query)]
    found += [images.c[name].in_(list(values)) for name, values in query.one_of.items()]
    found += [
        COMPARISONS[operator](images.c[name], value) for name, operator, value in query.compare
    ]
    for name, value in query.properties.items():
        found.append(
            sa.exists().where(
                image_properties.c.image_id == images.c.id,
                image_properties.c.name == name,
                image_properties.c.value == value,
            )
        )
    for tag in query.tags:
        found.append(
            sa.exists().where(image_tags.c.image_id == images.c.id, image_tags.c.tag == tag)
        )
    return found


def _sight(viewer: Viewer, query: ImageQuery) -> sa.ColumnElement[bool]:
    """Which images the viewer's list holds, under the ``visibility`` asked for."""
    wanted: sa.ColumnElement[bool] = sa.true()
    if query.visibility not in ("", "all"):
        wanted = images.c.visibility == query.visibility
    if viewer.sees_all:
        return wanted
    open_to_all = [records.PUBLIC]
    if query.visibility in ("all", records.COMMUNITY):
        open_to_all.append(records.COMMUNITY)
    seen: sa.ColumnElement[bool] = images.c.visibility.in_(open_to_all)
    if viewer.project_id is not None:
        membership = sa.exists().where(
            image_members.c.image_id == images.c.id, image_members.c.member == viewer.project_id
        )
        if query.member_status != "all":
            membership = membership.where(image_members.c.status == query.member_status)
        seen = sa.or_(
            seen,
            images.c.owner == viewer.project_id,
            sa.and_(images.c.visibility == records.SHARED, membership),
        )
    return sa.and_(wanted, seen)


def _ordered(key: str) -> sa.ColumnElement[Any]:
    column: sa.ColumnElement[Any] = images.c[key]
    return sa.func.coalesce(column, SORT_KEYS[key]) if images.c[key].nullable else column


def _after(tx: Transaction, viewer: Viewer, query: ImageQuery) -> sa.ColumnElement[bool]:
    """Behind the marker: beyond it in the first key, or equal there and beyond in the next..."""
    row = tx.execute(
        sa.select(*(_ordered(key) for key, _ in query.sort)).where(
            images.c.id == query.marker, _sight(viewer, query)
        )
    ).one_or_none()
    if row is None:
        raise Invalid(reason=f"The marker {query.marker} could not be found.")
    alternatives: list[sa.ColumnElement[bool]] = []
    equal: list[sa.ColumnElement[bool]] = []
    for (key, direction), value in zip(query.sort, row, strict=True):
        column = _ordered(key)
        beyond = column < value if direction == "desc" else column > value
        alternatives.append(sa.and_(*equal, beyond))
        equal.append(column == value)
    return sa.or_(*alternatives)
