"""Query strings of lists as values. Everything a client may misspell is a 400 here, not in SQL."""

from __future__ import annotations

import ast
import json
from typing import Any

from werkzeug.datastructures import MultiDict

from minicloud.domain.errors import Invalid
from minicloud.kit.web.paging import next_link
from minicloud.kit.web.route import Call
from minicloud.volume.access import sees_all
from minicloud.volume.listing import SORT_KEYS, Listing
from minicloud.volume.views import ZONE

MAX_LIMIT = 1000
_TEXT = ("name", "status", "host", "user_id")
_NOTHING_HAS = ("group_id", "glance_metadata", "consistencygroup_id", "snapshot_id", "image_id")
"""Filters on what no volume of ours has: they match nothing."""


def text(call: Call, name: str) -> str | None:
    """A query parameter without control characters. Invalid."""
    value = call.query.get(name)
    if value is not None and any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise Invalid(reason=f"{name} must not contain control characters.")
    return value


def page_size(call: Call) -> int:
    limit = call.number("limit", MAX_LIMIT)
    return MAX_LIMIT if limit is None else min(limit, MAX_LIMIT)


def volumes_asked(call: Call, project: str) -> Listing | None:
    """The list that the query describes; None: nothing can match."""
    if any(call.query.get(name) for name in _NOTHING_HAS):
        return None
    if (text(call, "availability_zone") or ZONE) != ZONE:
        return None
    equal: dict[str, Any] = {}
    for name in _TEXT:
        value = text(call, name)
        if value is not None:
            equal[name] = value
    if "display_name" in call.query:
        equal["name"] = text(call, "display_name")
    if "bootable" in call.query:
        equal["bootable"] = call.flag("bootable")
    size = call.number("size")
    if size is not None:
        equal["size"] = size
    like = {name: text(call, f"{name}~") or "" for name in _TEXT if f"{name}~" in call.query}
    return Listing(
        project_id=_project(call, project),
        limit=page_size(call) + 1,
        marker=text(call, "marker"),
        offset=call.number("offset", 0) or 0,
        sort=_sort(call),
        equal=equal,
        like=like,
        metadata=_metadata(text(call, "metadata")),
    )


def project_asked(call: Call, project: str) -> str | None:
    """Whose things a list shows; None: everybody's."""
    return _project(call, project)


def _project(call: Call, project: str) -> str | None:
    # Who may not see all projects is not told so: the wish is passed over, as in Cinder.
    if not call.flag("all_tenants") or not sees_all(call.ctx):
        return project
    return text(call, "project_id") or None


def _sort(call: Call) -> list[tuple[str, bool]]:
    pairs = []
    for part in filter(None, (text(call, "sort") or "").split(",")):
        key, _, direction = part.partition(":")
        pairs.append((key, direction or "desc"))
    if not pairs and "sort_key" in call.query:
        pairs = [(call.query["sort_key"], call.query.get("sort_dir") or "desc")]
    for key, direction in pairs:
        if key not in SORT_KEYS or direction not in ("asc", "desc"):
            raise Invalid(reason=f"Invalid sort: use {', '.join(SORT_KEYS)} with asc or desc.")
    return [(key, direction == "asc") for key, direction in pairs]


def _metadata(written: str | None) -> dict[str, str]:
    """``{"a": "b"}``, as JSON or as the Python literal that older clients write."""
    if not written:
        return {}
    try:
        value = json.loads(written)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(written[:4096])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise Invalid(reason="metadata must be a JSON object of names and values.")
    pairs = {str(key): str(each) for key, each in value.items()}
    if any("\0" in part for pair in pairs.items() for part in pair):
        raise Invalid(reason="metadata must not contain NUL.")
    return pairs


def links(call: Call, last_id: str) -> list[dict[str, str]]:
    """The ``..._links`` of a page that ends with ``last_id``."""
    # The marker stands for everything before it, the offset of this page too.
    query: MultiDict[str, str] = MultiDict(
        (key, value) for key, value in call.query.items(multi=True) if key != "offset"
    )
    return [{"rel": "next", "href": next_link(call.base_url + call.path, query, last_id)}]
