"""What the service says about itself: versions, JSON schemas, stores. Data, no logic.

Versions from 2.10 on stand for features that are not here (several stores, image caching, a
locations API), so the list ends at 2.9: a client that goes by it asks for nothing in vain.
"""

from __future__ import annotations

from typing import Any

from minicloud.image import records

_VERSIONS = ("v2.9", "v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0")


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
        "enum": [records.QUEUED, records.SAVING, records.ACTIVE, records.DEACTIVATED],
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

SCHEMAS: dict[str, dict[str, Any]] = {
    "image": _IMAGE_SCHEMA,
    "images": _many("images", _IMAGE_SCHEMA),
    "member": _MEMBER_SCHEMA,
    "members": _many("members", _MEMBER_SCHEMA),
}

IMPORT_METHODS: list[str] = []
"""Images come by upload alone."""

IMPORT = {
    "import-methods": {
        "description": "Import methods available.",
        "type": "array",
        "value": IMPORT_METHODS,
    }
}
STORES = {"stores": [{"id": "file", "description": "Files of this service", "default": "true"}]}
