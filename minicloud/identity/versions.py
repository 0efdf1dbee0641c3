"""The version documents: what a client reads before it has a token."""

from __future__ import annotations

from typing import Any

from minicloud.identity.links import Links
from minicloud.kit.policy import PUBLIC
from minicloud.kit.web import Call, Reply, Route


def routes(links: Links) -> list[Route]:
    def version(call: Call) -> dict[str, Any]:
        return {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": f"{links.base(call)}/"}],
            "media-types": [
                {
                    "base": "application/json",
                    "type": "application/vnd.openstack.identity-v3+json",
                }
            ],
        }

    def every(call: Call) -> Reply:
        return Reply(
            body={"versions": {"values": [version(call)]}},
            headers={"Location": f"{links.base(call)}/"},
        )

    def one(call: Call) -> dict[str, Any]:
        return {"version": version(call)}

    return [
        Route(method="GET", path="/", handler=every, policy=PUBLIC, status=300),
        Route(method="GET", path="/v3", handler=one, policy=PUBLIC),
    ]
