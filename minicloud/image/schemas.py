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
from minicloud.image.records import Image, Member, Task
from minicloud.kit import clock
from minicloud.kit.web.decode import convert

VISIBILITIES = (records.PUBLIC, records.COMMUNITY, records.SHARED, records.PRIVATE)

READ_ONLY = frozenset(
    ("status", "checksum", "size", "virtual_size", "os_hash_algo", "os_hash_value", "created_at",
     "updated_at", "self", "file", "schema", "direct_url", "locations", "stores")
)  # fmt: skip
RESERVED = frozenset(("deleted", "deleted_at", "is_public", "location"))
RESERVED_PREFIX = "os_glance_"

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


def _document_of(kind: Any) -> dict[str, Any]:
    """The JSON schema of a flat image: what is known, and strings besides."""
    (made,), components = msgspec.json.schema_components([kind])
    own = components[made["$ref"].rpartition("/")[2]]
    known = {name: spec for name, spec in own["properties"].items() if name != "properties"}
    return {"properties": known, "additionalProperties": {"type": "string", "maxLength": 65535}}


NewImage = Annotated[dict[str, Any], Meta(extra_json_schema=_document_of(Description))]
"""An image as it is created: told apart into attributes and properties by ``describe``."""

Patch = list[
    Annotated[
        dict[str, Any],
        Meta(
            extra_json_schema={
                "properties": {
                    "op": {"enum": ["add", "replace", "remove"]},
                    "path": {"type": "string", "pattern": "^/"},
                    "value": {},
                },
                "required": ["op", "path"],
            }
        ),
    ]
]
"""Changes of an image, read by ``patch.parse``."""

ATTRIBUTES = tuple(name for name in Description.__struct_fields__ if name != "properties")


class ImportMethod(msgspec.Struct, frozen=True):
    """More keys may come, for methods that are not here."""

    name: Label
    uri: Annotated[str, Meta(max_length=2048)] = ""


class ImportRequest(msgspec.Struct, frozen=True):
    method: ImportMethod
    stores: Annotated[Sequence[Label], Meta(max_length=64)] = ()
    all_stores: bool = False
    all_stores_must_succeed: bool = True


class ValidationData(msgspec.Struct, frozen=True):
    """What the data behind a URL must be."""

    os_hash_algo: Literal["sha512"] = "sha512"
    os_hash_value: Annotated[str, Meta(pattern=r"\A[0-9a-fA-F]{128}\Z")] | None = None


class NewLocation(msgspec.Struct, frozen=True):
    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    validation_data: ValidationData = ValidationData()

    def expected_hash(self) -> dict[str, str]:
        """The hash that was given, as a task keeps it."""
        value = self.validation_data.os_hash_value
        return {} if value is None else {"os_hash_value": value.lower()}


class LegacyInput(msgspec.Struct, frozen=True):
    import_from: Annotated[str, Meta(min_length=1, max_length=2048)]
    import_from_format: Name = ""
    image_properties: dict[str, Any] = {}


class NewTask(msgspec.Struct, frozen=True):
    """The older way to import, for administrators."""

    type: Literal["import"]
    input: LegacyInput


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
    if name in RESERVED or is_reserved(name):
        raise NotAllowed(reason=f"Attribute '{name}' is reserved.")


def is_reserved(name: str) -> bool:
    """Whether a property is the service's own."""
    return name.startswith(RESERVED_PREFIX)


def plain(text: str, what: str) -> None:
    """Invalid when ``text`` of a path or query holds characters that no name has."""
    if len(text) > 65535 or _UNFIT.search(text):
        raise Invalid(reason=f"{what[:64]!r} is too long or has characters that are not allowed.")


def image_view(image: Image) -> dict[str, Any]:
    """The image as clients see it."""
    stores = ",".join(place.store for place in image.locations)
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
        **({"stores": stores} if stores else {}),
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


def task_view(task: Task, *, full: bool = True) -> dict[str, Any]:
    """A task as clients see it; lists leave the details out."""
    view: dict[str, Any] = {
        "id": task.id,
        "type": task.type,
        "status": task.status,
        "owner": task.owner,
        "user_id": task.user_id,
        "request_id": task.request_id,
        "image_id": task.image_id,
        "created_at": clock.iso(task.created_at),
        "updated_at": clock.iso(task.updated_at),
        "expires_at": None if task.expires_at is None else clock.iso(task.expires_at),
        "self": f"/v2/tasks/{task.id}",
        "schema": "/v2/schemas/task",
    }
    if full:
        shown = {name: value for name, value in task.input.items() if name != "plan"}
        view.update(input=shown, result=task.result, message=task.message)
    return view


def _known_format(attribute: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise Invalid(
            reason=f"Invalid {attribute} '{value}' for image: this cloud takes {', '.join(known)}."
        )
