"""Request bodies and replies of the image API.

An image is one flat object on the wire: what is no attribute is a property, and a string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from minicloud.domain.errors import Invalid, NotAllowed
from minicloud.image import records
from minicloud.image.records import Image, Member
from minicloud.kit import clock
from minicloud.kit.web.decode import convert

VISIBILITIES = (records.PUBLIC, records.COMMUNITY, records.SHARED, records.PRIVATE)

READ_ONLY = frozenset(
    ("status", "checksum", "size", "virtual_size", "os_hash_algo", "os_hash_value", "created_at",
     "updated_at", "self", "file", "schema", "direct_url", "locations", "stores")
)  # fmt: skip
RESERVED = frozenset(("deleted", "deleted_at", "is_public", "location"))
_RESERVED_PREFIX = "os_glance_"

# PostgreSQL takes no NUL, no encoding takes half a surrogate pair, and nobody wants a name with
# a line break; a property's value may have line breaks.
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_LINE = r"\A[^\x00-\x1f\x7f\ud800-\udfff]*\Z"
_TEXT = r"\A[^\x00\ud800-\udfff]*\Z"
_UUID = r"\A[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z"

Name = Annotated[str, Meta(max_length=255, pattern=_LINE)]
Label = Annotated[str, Meta(min_length=1, max_length=255, pattern=_LINE)]
Amount = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Value = Annotated[str, Meta(max_length=65535, pattern=_TEXT)]
Visibility = Literal["public", "community", "shared", "private"]


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a caller may say about an image."""

    id: Annotated[str, Meta(pattern=_UUID)] | None = None
    name: Name | None = None
    visibility: Visibility = "shared"
    owner: Annotated[str, Meta(min_length=1, max_length=64, pattern=_LINE)] | None = None
    disk_format: Name | None = None
    container_format: Name | None = None
    min_disk: Amount = 0
    min_ram: Amount = 0
    protected: bool = False
    os_hidden: bool = False
    tags: Sequence[Label] = ()
    properties: Mapping[Label, Value] = {}


ATTRIBUTES = tuple(name for name in Description.__struct_fields__ if name != "properties")


class NewMember(msgspec.Struct, frozen=True):
    """openstacksdk repeats what the path says already, so more keys may come."""

    member: Label


class MemberAnswer(msgspec.Struct, frozen=True):
    """As NewMember, more keys may come."""

    status: Literal["pending", "accepted", "rejected"]


def describe(document: Mapping[str, Any]) -> Description:
    """A flat wire object as a Description. Invalid, or NotAllowed for what is not to be set."""
    for name in document:
        refuse_unsettable(name)
    known = {name: value for name, value in document.items() if name in ATTRIBUTES}
    rest = {name: value for name, value in document.items() if name not in ATTRIBUTES}
    description: Description = convert({**known, "properties": rest}, Description)
    _known_format("disk_format", description.disk_format, records.DISK_FORMATS)
    _known_format("container_format", description.container_format, records.CONTAINER_FORMATS)
    if description.id is not None:
        return msgspec.structs.replace(description, id=description.id.lower())
    return description


def refuse_unsettable(name: str) -> None:
    """NotAllowed when callers may not set ``name``."""
    if name in READ_ONLY:
        raise NotAllowed(reason=f"Attribute '{name}' is read-only.")
    if name in RESERVED or name.startswith(_RESERVED_PREFIX):
        raise NotAllowed(reason=f"Attribute '{name}' is reserved.")


def plain(text: str, what: str) -> None:
    """Invalid when ``text`` of a path or query holds characters that no name has."""
    if len(text) > 65535 or _UNFIT.search(text):
        raise Invalid(reason=f"{what[:64]!r} is too long or has characters that are not allowed.")


def image_view(image: Image) -> dict[str, Any]:
    """The image as clients see it."""
    return {
        **image.properties,
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "visibility": image.visibility,
        "protected": image.protected,
        "os_hidden": image.os_hidden,
        "owner": image.owner,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "size": image.size,
        "virtual_size": image.virtual_size,
        "checksum": image.checksum,
        "os_hash_algo": image.os_hash_algo,
        "os_hash_value": image.os_hash_value,
        "created_at": clock.iso(image.created_at),
        "updated_at": clock.iso(image.updated_at),
        "tags": list(image.tags),
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
    }


def member_view(member: Member) -> dict[str, Any]:
    return {
        "image_id": member.image_id,
        "member_id": member.member,
        "status": member.status,
        "created_at": clock.iso(member.created_at),
        "updated_at": clock.iso(member.updated_at),
        "schema": "/v2/schemas/member",
    }


def _known_format(attribute: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise Invalid(
            reason=f"Invalid {attribute} '{value}' for image: this cloud takes {', '.join(known)}."
        )
