"""The version documents: what a client reads first, without a token."""

from __future__ import annotations

from typing import Any

from minicloud.kit.web import Call, Versions
from minicloud.kit.web.versions import text

VERSIONS = Versions(
    service_type="compute",
    lowest=(2, 1),
    newest=(2, 100),
    legacy_header="X-OpenStack-Nova-API-Version",
)
_UPDATED = "2013-07-23T11:33:21Z"
_MEDIA_TYPES = [
    {"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}
]


def _version(base_url: str) -> dict[str, Any]:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": text(VERSIONS.newest),
        "min_version": text(VERSIONS.lowest),
        "updated": _UPDATED,
        "links": [{"rel": "self", "href": f"{base_url}/v2.1/"}],
    }


def index(call: Call) -> Any:
    return {"versions": [_version(call.base_url)]}


def show(call: Call) -> Any:
    return {"version": {**_version(call.base_url), "media-types": _MEDIA_TYPES}}
