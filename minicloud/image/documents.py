"""What the service says about itself: versions and JSON schemas. Data, no logic.

Schemas of metadata definitions are made from the types that take them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from minicloud.image import metadef_schemas as metadefs
from minicloud.image import records

_VERSIONS = tuple(f"v2.{number}" for number in range(17, -1, -1))


def versions(base_url: str) -> dict[str, Any]:
    links = [{"rel": "self", "href": f"{base_url}/v2/"}]
    return {
        "versions": [
            {"id": name, "status": "SUPPORTED" if number else "CURRENT", "links": links}
            for number, name in enumerate(_VERSIONS)
        ]
    }


_STRING = {"type": "string"}
_TEXT = {"type": ["null", "string"], "maxLength": 255}
_TIME = {"type": "string", "readOnly": True}
_URL = {"type": "string", "readOnly": True}
_COUNT = {"type": "integer"}
_BYTES = {"type": ["null", "integer"], "readOnly": True}
_DIGEST = {"type": ["null", "string"], "readOnly": True}

_IMAGE: dict[str, Any] = {
    "id": {
        "type": "string",
        "pattern": "^([0-9a-fA-F]){8}(-([0-9a-fA-F]){4}){3}-([0-9a-fA-F]){12}$",
    },
    "name": _TEXT,
    "status": {
        "type": "string",
        "readOnly": True,
        "enum": [
            records.QUEUED,
            records.SAVING,
            records.UPLOADING,
            records.IMPORTING,
            records.ACTIVE,
            records.DEACTIVATED,
        ],
    },
    "visibility": {
        "type": "string",
        "enum": [records.COMMUNITY, records.PUBLIC, records.PRIVATE, records.SHARED],
    },
    "protected": {"type": "boolean"},
    "os_hidden": {"type": "boolean"},
    "owner": _TEXT,
    "disk_format": {"type": ["null", "string"], "enum": [None, *records.DISK_FORMATS]},
    "container_format": {"type": ["null", "string"], "enum": [None, *records.CONTAINER_FORMATS]},
    "min_disk": _COUNT,
    "min_ram": _COUNT,
    "size": _BYTES,
    "virtual_size": _BYTES,
    "checksum": _DIGEST,
    "os_hash_algo": _DIGEST,
    "os_hash_value": _DIGEST,
    "created_at": _TIME,
    "updated_at": _TIME,
    "tags": {"type": "array", "items": {"type": "string", "maxLength": 255}},
    "stores": {"type": "string", "readOnly": True},
    "self": _URL,
    "file": _URL,
    "schema": _URL,
}
_MEMBER: dict[str, Any] = {
    "image_id": _STRING,
    "member_id": _STRING,
    "status": {
        "type": "string",
        "enum": [records.PENDING, records.ACCEPTED, records.REJECTED],
    },
    "created_at": _TIME,
    "updated_at": _TIME,
    "schema": _URL,
}
_TASK: dict[str, Any] = {
    "id": _IMAGE["id"],
    "type": {"type": "string", "enum": ["import", "api_image_import", "location_import"]},
    "status": {"type": "string", "enum": ["pending", "processing", "success", "failure"]},
    "input": {"type": ["null", "object"]},
    "result": {"type": ["null", "object"]},
    "message": _STRING,
    "owner": {"type": ["null", "string"]},
    "user_id": _STRING,
    "request_id": _STRING,
    "image_id": {"type": ["null", "string"]},
    "created_at": _TIME,
    "updated_at": _TIME,
    "expires_at": {"type": ["null", "string"]},
    "self": _URL,
    "schema": _URL,
}


def _one(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "properties": properties}


def _many(name: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "properties": {
            name: {"type": "array", "items": item},
            "schema": _STRING,
            "first": _STRING,
            "next": _STRING,
        },
        "links": [{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"}],
    }


_IMAGE_SCHEMA = {
    **_one("image", _IMAGE),
    "additionalProperties": _STRING,
    "links": [
        {"rel": "self", "href": "{self}"},
        {"rel": "enclosure", "href": "{file}"},
        {"rel": "describedby", "href": "{schema}"},
    ],
}
_MEMBER_SCHEMA = _one("member", _MEMBER)
_TASK_SCHEMA = _one("task", _TASK)

SCHEMAS: dict[str, dict[str, Any]] = {
    "image": _IMAGE_SCHEMA,
    "images": _many("images", _IMAGE_SCHEMA),
    "member": _MEMBER_SCHEMA,
    "members": _many("members", _MEMBER_SCHEMA),
    "task": _TASK_SCHEMA,
    "tasks": _many("tasks", _TASK_SCHEMA),
}

_METADEF_TIMES: dict[str, Any] = {
    "created_at": {"type": "string", "readOnly": True, "format": "date-time"},
    "updated_at": {"type": "string", "readOnly": True, "format": "date-time"},
}
_LINKS: dict[str, Any] = {"self": _URL, "schema": _URL}


def _made(name: str, kind: Any, *more: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type that a request's body is held to, and what replies add."""
    (made,), definitions = msgspec.json.schema_components([kind], ref_template=_DEFINITION)
    own = definitions.pop(made["$ref"].rpartition("/")[2])
    properties = dict(own["properties"])
    for added in more:
        properties.update(added)
    schema = {"name": name, "properties": properties, "required": own.get("required", [])}
    return {**schema, "additionalProperties": False, "definitions": definitions}


_DEFINITION = "#/definitions/{name}"
_NAMESPACE = _made("namespace", metadefs.NewNamespace, _METADEF_TIMES, _LINKS)
_OBJECT = _made("object", metadefs.NewObject, _METADEF_TIMES, _LINKS)
_PROPERTY = _made("property", metadefs.NewProperty)
_TAG = _made("tag", metadefs.NewTag, _METADEF_TIMES)
_RESOURCE_TYPE = _made("resource_type_association", metadefs.NewAssociation, _METADEF_TIMES)

METADEF_SCHEMAS: dict[str, dict[str, Any]] = {
    "namespace": _NAMESPACE,
    "namespaces": _many("namespaces", _NAMESPACE),
    "object": _OBJECT,
    "objects": _many("objects", _OBJECT),
    "property": _PROPERTY,
    "properties": {
        **_many("properties", _PROPERTY),
        "properties": {"properties": {"type": "object", "additionalProperties": _PROPERTY}},
    },
    "tag": _TAG,
    "tags": _many("tags", _TAG),
    "resource_type": _RESOURCE_TYPE,
    "resource_types": _many("resource_type_associations", _RESOURCE_TYPE),
}
