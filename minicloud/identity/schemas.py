"""Request bodies of the nouns, and every noun as Identity v3 shows it.

Identity keeps properties it does not know, so these types allow them; ``read`` puts them into
``extra``. The bodies of /auth are in ``auth_schemas.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from minicloud.domain.errors import Invalid
from minicloud.identity import records
from minicloud.identity.projects import DomainAsProject
from minicloud.kit import clock
from minicloud.kit.web.decode import convert

_LINE = r"\A[^\x00-\x1f\x7f]*\Z"
_LINES = r"\A[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z"

Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=_LINE)]
Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=_LINE)]
ShortName = Annotated[str, Meta(min_length=1, max_length=64, pattern=_LINE)]
Line = Annotated[str, Meta(max_length=255, pattern=_LINE)]
RegionId = Line
Text = Annotated[str, Meta(max_length=65535, pattern=_LINES)]
Tag = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\A[^\x00-\x1f\x7f,/]*\Z")]
Tags = Annotated[list[Tag], Meta(max_length=80)]
Url = Annotated[str, Meta(min_length=1, max_length=2048, pattern=_LINE)]
Password = Annotated[str, Meta(max_length=4096)]
Interface = Literal["public", "internal", "admin", "publicURL", "internalURL", "adminURL"]
Options = dict[str, Any]


class Fields(msgspec.Struct, kw_only=True):
    """Base: a field that the client left out is UNSET and not among the values."""

    in_extra: ClassVar[frozenset[str]] = frozenset()
    """Fields whose type is checked, but which are kept with the properties nobody knows."""


class DomainCreate(Fields):
    name: ShortName
    id: Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")] | UnsetType = msgspec.field(
        name="explicit_domain_id", default=UNSET
    )
    description: Text | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    options: Options | UnsetType = UNSET


class DomainUpdate(Fields):
    name: ShortName | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    options: Options | UnsetType = UNSET


class ProjectUpdate(Fields):
    name: ShortName | UnsetType = UNSET
    domain_id: Id | UnsetType | None = UNSET
    parent_id: Id | UnsetType | None = UNSET
    is_domain: bool | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    options: Options | UnsetType = UNSET


class ProjectCreate(ProjectUpdate):
    name: ShortName


class UserUpdate(Fields):
    in_extra = frozenset({"description", "email"})

    name: Name | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    email: Line | UnsetType | None = UNSET
    domain_id: Id | UnsetType | None = UNSET
    default_project_id: Id | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    password: Password | UnsetType | None = UNSET
    options: Options | UnsetType = UNSET


class UserCreate(UserUpdate):
    name: Name


class GroupUpdate(Fields):
    name: Name | UnsetType = UNSET
    domain_id: Id | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET


class GroupCreate(GroupUpdate):
    name: Name


class RoleUpdate(Fields):
    name: Name | UnsetType = UNSET
    domain_id: Id | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET
    options: Options | UnsetType = UNSET


class RoleCreate(RoleUpdate):
    name: Name


class RegionUpdate(Fields):
    description: Text | UnsetType | None = UNSET
    parent_region_id: RegionId | UnsetType | None = UNSET


class RegionCreate(RegionUpdate):
    id: RegionId | UnsetType | None = UNSET


class ServiceUpdate(Fields):
    type: Name | UnsetType = UNSET
    name: Line | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class ServiceCreate(ServiceUpdate):
    type: Name


class EndpointUpdate(Fields):
    service_id: Id | UnsetType = UNSET
    interface: Interface | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    region: RegionId | UnsetType | None = UNSET
    region_id: RegionId | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class EndpointCreate(EndpointUpdate):
    service_id: Id
    interface: Interface
    url: Url


class PolicyUpdate(Fields):
    type: Name | UnsetType = UNSET
    blob: Text | UnsetType = UNSET


class PolicyCreate(PolicyUpdate):
    type: Name
    blob: Text


class ProjectTags(msgspec.Struct, forbid_unknown_fields=True):
    tags: Tags


class NewPassword(msgspec.Struct, forbid_unknown_fields=True):
    password: Password
    original_password: Password

    def __repr__(self) -> str:
        return "<NewPassword>"


_OURS = frozenset({"id", "links", "extra"})


def read(kind: type[Fields], body: dict[str, Any]) -> dict[str, Any]:
    """The values of ``body`` as ``kind`` takes them, and ``extra``: all that it does not know.

    Invalid where a value does not fit. A description of null is an empty one.
    """
    fields = msgspec.structs.fields(kind)
    known = {each.encode_name for each in fields}
    converted = convert({key: body[key] for key in body.keys() & known}, kind)
    values = {
        each.name: value for each in fields if (value := getattr(converted, each.name)) is not UNSET
    }
    extra = {key: value for key, value in body.items() if key not in known | _OURS}
    extra |= {key: values.pop(key) for key in kind.in_extra & values.keys()}
    if values.get("description", "") is None:
        values["description"] = ""
    if any(len(key) > 255 for key in extra):
        raise Invalid(reason="The name of a property is longer than 255 characters.")
    return {**values, "extra": extra}


_LAST_MOMENT = 253_000_000_000.0
"""Late in the year 9987: what comes after is no date any more in some time zone."""


def moment(name: str, text: str) -> float:
    """Seconds since the epoch. Invalid."""
    try:
        at = clock.parse(text)
    except (ValueError, OverflowError):
        at = _LAST_MOMENT
    if at >= _LAST_MOMENT:
        raise Invalid(reason=f"{name} must be a time such as 2027-01-31T12:00:00Z.")
    return at


def tag(text: str) -> str:
    """A tag from a path. Invalid."""
    checked: str = convert(text, Tag)
    return checked


# -- as shown -------------------------------------------------------------------------------------
def view(record: records.Record, plural: str, base: str) -> dict[str, Any]:
    """``base``: the API's root, ``http://host:5000/v3``."""
    shown = msgspec.structs.asdict(record)
    extra = shown.pop("extra")
    if isinstance(record, DomainAsProject):
        shown |= {"domain_id": None, "parent_id": None, "is_domain": True}
    elif isinstance(record, records.Project):
        shown["parent_id"] = record.parent_id or record.domain_id
        shown["is_domain"] = False
    elif isinstance(record, records.User):
        shown["password_expires_at"] = None
        if record.default_project_id is None:
            del shown["default_project_id"]
    elif isinstance(record, records.Endpoint):
        shown["region"] = record.region_id
    shown["links"] = {"self": f"{base}/{plural}/{record.id}"}
    return {**extra, **shown}


def listing(
    plural: str, records_: Sequence[Any], base: str, url: str, next_url: str | None = None
) -> dict[str, Any]:
    """A list with its links. ``url``: what was asked."""
    shown = [view(record, plural, base) for record in records_]
    return {plural: shown, "links": {"next": next_url, "self": url, "previous": None}}
