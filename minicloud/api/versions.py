"""The version documents: what a client reads first, without a token.

v2.0 is listed because clients look for it first; what there is below it is v2.1 without
microversions, which overlooks what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.domain.errors import RouteNotFound
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
    return _document(call, path, path)


def show_named(call: Call) -> Any:
    """The version of an id, below v2.1. RouteNotFound."""
    for path, facts in _VERSIONS:
        if facts["id"] == call.params["version_id"]:
            return _document(call, path, "v2.1")
    raise RouteNotFound()


def _document(call: Call, path: str, at: str) -> Any:
    number = path.removeprefix("v")
    media_type = f"application/vnd.openstack.compute+json;version={number}"
    view = {
        **dict(_VERSIONS)[path],
        "links": [_link(call, at), _MANUAL],
        "media-types": [{"base": "application/json", "type": media_type}],
    }
    return {"version": view}


def _link(call: Call, path: str) -> dict[str, str]:
    return {"rel": "self", "href": f"{call.base_url}/{path}/"}
