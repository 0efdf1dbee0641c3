"""Host aggregates on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from minicloud.api.schemas.fields import UNSEEN, DaemonHost, Key, Name, Text, Uuid
from minicloud.api.schemas.older import for_each, without
from minicloud.domain.models import Aggregate
from minicloud.kit.clock import iso_micro
from minicloud.kit.web import Body

ZONE = "availability_zone"
_ZoneName = Annotated[
    str, Meta(min_length=1, max_length=255,
              pattern=rf"^[^\s:{UNSEEN}](?:[^:{UNSEEN}]*[^\s:{UNSEEN}])?\Z"),
]  # fmt: skip


class _Strict(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    pass


class AggregateCreate(_Strict):
    name: Name
    availability_zone: _ZoneName | None = None


class AggregateUpdate(_Strict):
    name: Name | UnsetType = UNSET
    availability_zone: _ZoneName | UnsetType | None = UNSET


class AggregateHost(_Strict):
    host: DaemonHost


class AggregateMetadata(_Strict):
    metadata: dict[Key, Text | None]
    """A key without a value is taken away."""


class _CachedImage(_Strict):
    id: Uuid


class AggregateImages(_Strict):
    cache: Annotated[list[_CachedImage], Meta(min_length=1, max_length=100)]


CREATE = Body(type=AggregateCreate, wrapper="aggregate")
UPDATE = Body(type=AggregateUpdate, wrapper="aggregate")
CACHE = Body(type=AggregateImages)
ACTIONS: dict[Literal["add_host", "remove_host", "set_metadata"], Body] = {
    "add_host": Body(type=AggregateHost, wrapper="add_host"),
    "remove_host": Body(type=AggregateHost, wrapper="remove_host"),
    "set_metadata": Body(type=AggregateMetadata, wrapper="set_metadata"),
}


def created_view(aggregate: Aggregate) -> dict[str, Any]:
    """A new one, of which the rest is known."""
    return {
        "id": aggregate.number,
        "uuid": aggregate.id,
        "name": aggregate.name,
        ZONE: aggregate.zone,
        "created_at": iso_micro(aggregate.created_at),
        "updated_at": iso_micro(aggregate.updated_at),
        "deleted": False,
        "deleted_at": None,
    }


def aggregate_view(aggregate: Aggregate) -> dict[str, Any]:
    view = created_view(aggregate)
    return {**view, "hosts": list(aggregate.hosts), "metadata": dict(aggregate.metadata)}


DOWN = for_each("aggregate", "aggregates", (((2, 41), without("uuid")),))
