"""JSON patch on an image: reading the operations, and what they make of it.

Pure: from an image and operations to a Description, or an error. Two forms of patch come, told
apart by content type: v2.1 (``{"op": "add", "path": "/name", "value": 1}``) and the older v2.0
(``{"add": "/name", "value": 1}``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from minicloud.domain.errors import Conflict, Invalid, NotAllowed
from minicloud.image import records
from minicloud.image.records import Image
from minicloud.image.schemas import (
    ATTRIBUTES,
    Description,
    describe,
    is_reserved,
    refuse_unsettable,
)

V21 = "application/openstack-images-v2.1-json-patch"
V20 = "application/openstack-images-v2.0-json-patch"
_VERBS = ("add", "replace", "remove")
_MOST = 512
_WHILE_QUEUED = ("disk_format", "container_format")


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    verb: str
    path: Sequence[str]
    """The pointer's parts, unescaped: one, or two below ``tags``."""
    value: Any = None


def parse(body: Sequence[Any], media_type: str) -> list[Operation]:
    """The operations of a patch. Invalid says what is wrong with which."""
    if len(body) > _MOST:
        raise Invalid(reason=f"A patch may have {_MOST} operations at most.")
    read = _older if media_type == V20 else _newer
    return [read(item) for item in body]


def apply(image: Image, operations: Sequence[Operation]) -> Description:
    """What ``image`` would be. Conflict, NotAllowed or Invalid where that cannot be."""
    document: dict[str, Any] = {name: getattr(image, name) for name in ATTRIBUTES}
    document["tags"] = list(image.tags)
    kept = {name: value for name, value in image.properties.items() if is_reserved(name)}
    document.update({n: value for n, value in image.properties.items() if n not in kept})
    for operation in operations:
        name = operation.path[0]
        _check_target(image, operation, name)
        if len(operation.path) == 2:
            _change_tags(document["tags"], operation)
        elif operation.verb == "remove":
            _require(document, name)
            del document[name]
        else:
            if operation.verb == "replace":
                _require(document, name)
            document[name] = operation.value
            if name == "tags":
                # A list of ours, so that an operation below it changes it and not the request.
                if not isinstance(operation.value, list):
                    raise Invalid(reason="tags must be a list of strings.")
                document[name] = list(operation.value)
    description = describe(document)
    return msgspec.structs.replace(description, properties={**description.properties, **kept})


def _newer(item: Any) -> Operation:
    if not isinstance(item, dict) or not isinstance(item.get("op"), str):
        raise Invalid(reason="Operations must be objects with 'op', 'path' and 'value'.")
    if item["op"] not in _VERBS:
        raise Invalid(reason=f"Operations must be one of {', '.join(_VERBS)}.")
    return _operation(item["op"], item.get("path"), item)


def _older(item: Any) -> Operation:
    verbs = [verb for verb in _VERBS if isinstance(item, dict) and verb in item]
    if len(verbs) != 1:
        raise Invalid(reason=f"Operations must be objects with one of {', '.join(_VERBS)}.")
    return _operation(verbs[0], item[verbs[0]], item)


def _operation(verb: str, pointer: Any, item: dict[str, Any]) -> Operation:
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise Invalid(reason="A path must be a JSON pointer, such as '/name'.")
    if re.search(r"~(?![01])", pointer):
        raise Invalid(reason="A path may use '~' only as '~0' or '~1'.")
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]
    refuse_unsettable(parts[0])
    if not parts[0] or len(parts) > (2 if parts[0] == "tags" else 1):
        raise Invalid(reason=f"The path '{pointer[:300]}' names nothing that can be changed.")
    if verb != "remove" and "value" not in item:
        raise Invalid(reason=f"Operation '{verb}' needs a 'value'.")
    return Operation(verb=verb, path=parts, value=item.get("value"))


def _check_target(image: Image, operation: Operation, name: str) -> None:
    refuse_unsettable(name)
    if name == "id":
        raise NotAllowed(reason="Attribute 'id' is read-only.")
    if operation.verb == "remove" and name in ATTRIBUTES and len(operation.path) == 1:
        raise NotAllowed(reason=f"Property {name} may not be removed.")
    if (
        name in _WHILE_QUEUED
        and image.status != records.QUEUED
        and operation.value != getattr(image, name)
    ):
        raise NotAllowed(reason=f"Attribute {name} can be replaced only for a queued image.")


def _require(document: dict[str, Any], name: str) -> None:
    if name not in document:
        raise Conflict(reason=f"Property {name[:255]} does not exist.")


def _change_tags(tags: list[Any], operation: Operation) -> None:
    """An operation on one place of the list of tags: ``/tags/0``, or ``/tags/-`` to append."""
    place = operation.path[1]
    if place == "-" and operation.verb == "add":
        tags.append(operation.value)
        return
    if not re.fullmatch(r"0|[1-9][0-9]{0,3}", place):
        raise Invalid(reason="A place in the list of tags is a number, or '-' to append.")
    index = int(place)
    if index > len(tags) or (index == len(tags) and operation.verb != "add"):
        raise Conflict(reason=f"There is no tag at place {index}.")
    if operation.verb == "add":
        tags.insert(index, operation.value)
    elif operation.verb == "replace":
        tags[index] = operation.value
    else:
        del tags[index]
