"""The version documents: what a client reads first, without a token.

v2.0 is listed because clients look for it first, and is a document alone: what there is below it is
served below v2.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.kit.web import Call, Versions
from minicloud.kit.web.versions import text

VERSIONS = Versions(
    service_type="compute",
    lowest=(2, 1),
    newest=(2, 100),
    legacy_header="X-OpenStack-Nova-API-Version",
)
_VERSIONS: Sequence[tuple[str, Mapping[str, str]]] = (
    ("v2", {
        "id": "v2.0",
        "status": "DEPRECATED",
        "version": "",
        "min_version": "",
        "updated": "2025-07-04T12:00:00Z",
    }),
    ("v2.1", {
        "id": "v2.1",
        "status": "CURRENT",
        "version": text(VERSIONS.newest),
        "min_version": text(VERSIONS.lowest),
        "updated": "2013-07-23T11:33:21Z",
    }),
)  # fmt: skip
"""(path, facts), oldest first."""
_MANUAL = {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"}


def index(call: Call) -> Any:
    return {"versions": [{**facts, "links": [_link(call, path)]} for path, facts in _VERSIONS]}


def show(call: Call) -> Any:
    """The version at whose path the request is."""
    path = call.path.strip("/")
    number = path.removeprefix("v")
    media_type = f"application/vnd.openstack.compute+json;version={number}"
    view = {
        **dict(_VERSIONS)[path],
        "links": [_link(call, path), _MANUAL],
        "media-types": [{"base": "application/json", "type": media_type}],
    }
    return {"version": view}


def _link(call: Call, path: str) -> dict[str, str]:
    return {"rel": "self", "href": f"{call.base_url}/{path}/"}
