"""Request bodies and replies of the metadata definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from minicloud.image.metadefs import Association, Item, Namespace
from minicloud.kit import clock
from minicloud.kit.web.decode import convert

_LINE = r"\A[^\x00-\x1f\x7f\ud800-\udfff]*\Z"
Name = Annotated[str, Meta(min_length=1, max_length=80, pattern=_LINE)]
Line = Annotated[str, Meta(max_length=80, pattern=_LINE)]
Text = Annotated[str, Meta(max_length=500, pattern=r"\A[^\x00\ud800-\udfff]*\Z")]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Visibility = Literal["public", "private"]
Kind = Literal["array", "boolean", "integer", "number", "object", "string"]
Words = Annotated[Sequence[Text], Meta(max_length=1000)]
_HREF = "/v2/metadefs/namespaces"


class Element(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a property that is a list is a list of."""

    type: Kind | UnsetType = UNSET
    enum: Sequence[Any] | UnsetType = UNSET


class PropertyFields(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A property's definition, in the words of JSON schema."""

    title: Text
    type: Kind
    description: Text | UnsetType = UNSET
    operators: Words | UnsetType = UNSET
    required: Words | UnsetType = UNSET
    minimum: float | UnsetType = UNSET
    maximum: float | UnsetType = UNSET
    minLength: Count | UnsetType = UNSET
    maxLength: Count | UnsetType = UNSET
    pattern: Text | UnsetType = UNSET
    enum: Sequence[Any] | UnsetType = UNSET
    readonly: bool | UnsetType = UNSET
    default: Any = UNSET
    items: Element | UnsetType = UNSET
    minItems: Count | UnsetType = UNSET
    maxItems: Count | UnsetType = UNSET
    uniqueItems: bool | UnsetType = UNSET
    additionalItems: bool | UnsetType = UNSET


class NewProperty(PropertyFields, frozen=True, omit_defaults=True, kw_only=True):
    name: Name

    def item(self) -> tuple[str, dict[str, Any]]:
        return _item(self)


class NewObject(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Properties that belong together."""

    name: Name
    description: Text | UnsetType = UNSET
    required: Words | UnsetType = UNSET
    properties: dict[Name, PropertyFields] | UnsetType = UNSET

    def item(self) -> tuple[str, dict[str, Any]]:
        return _item(self)


class NewTag(msgspec.Struct, frozen=True, kw_only=True):
    name: Name

    def item(self) -> tuple[str, dict[str, Any]]:
        return _item(self)


class NewTags(msgspec.Struct, frozen=True, kw_only=True):
    tags: Annotated[Sequence[NewTag], Meta(max_length=1000)]


class NewAssociation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """To which kind of resource a namespace applies, and how its properties are named there."""

    name: Name
    prefix: Line | None = None
    properties_target: Line | None = None


class NamespaceFields(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A namespace as an update gives it, all of it."""

    namespace: Name
    display_name: Line | None = None
    description: Text | None = None
    visibility: Visibility = "private"
    protected: bool = False
    owner: Annotated[str, Meta(min_length=1, max_length=255, pattern=_LINE)] | None = None


class NewNamespace(NamespaceFields, frozen=True, kw_only=True, omit_defaults=True):
    """Also with all that belongs to it."""

    resource_type_associations: Sequence[NewAssociation] = ()
    properties: dict[Name, PropertyFields] = {}
    objects: Sequence[NewObject] = ()
    tags: Sequence[NewTag] = ()


def _item(body: msgspec.Struct) -> tuple[str, dict[str, Any]]:
    """A body's name, and the rest of it as JSON."""
    fields = msgspec.to_builtins(body)
    return fields.pop("name"), fields


def namespace_view(
    namespace: Namespace, associations: Sequence[Association] = ()
) -> dict[str, Any]:
    view: dict[str, Any] = {
        "namespace": namespace.namespace,
        "visibility": namespace.visibility,
        "protected": namespace.protected,
        "owner": namespace.owner,
        "created_at": clock.iso(namespace.created_at),
        "updated_at": clock.iso(namespace.updated_at),
        "self": f"{_HREF}/{namespace.namespace}",
        "schema": "/v2/schemas/metadefs/namespace",
    }
    for name in ("display_name", "description"):
        value = getattr(namespace, name)
        if value is not None:
            view[name] = value
    if associations:
        view["resource_type_associations"] = [association_view(one) for one in associations]
    return view


def parts_view(namespace: str, items: Sequence[Item]) -> dict[str, Any]:
    """Objects, properties and tags as a whole namespace shows them."""
    view: dict[str, Any] = {}
    objects = [object_view(namespace, item) for item in items if item.kind == "object"]
    properties = {item.name: property_view(item) for item in items if item.kind == "property"}
    tags = [{"name": item.name} for item in items if item.kind == "tag"]
    for key, part in (("objects", objects), ("properties", properties), ("tags", tags)):
        if part:
            view[key] = part
    return view


def association_view(association: Association) -> dict[str, Any]:
    view = {"name": association.name, **_times(association)}
    for name in ("prefix", "properties_target"):
        value = getattr(association, name)
        if value is not None:
            view[name] = value
    return view


def object_view(namespace: str, item: Item) -> dict[str, Any]:
    return {
        "required": [],
        "properties": {},
        **item.body,
        "name": item.name,
        **_times(item),
        "self": f"{_HREF}/{namespace}/objects/{item.name}",
        "schema": "/v2/schemas/metadefs/object",
    }


def property_view(item: Item) -> Mapping[str, Any]:
    return {**item.body, "name": item.name}


def tag_view(item: Item) -> dict[str, Any]:
    return {"name": item.name, **_times(item)}


def _times(row: Item | Association) -> dict[str, Any]:
    return {"created_at": clock.iso(row.created_at), "updated_at": clock.iso(row.updated_at)}


def new_tag(name: str) -> NewTag:
    """A tag of a name that came in a path. Invalid."""
    tag: NewTag = convert({"name": name}, NewTag)
    return tag
