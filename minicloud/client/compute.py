"""The compute API over REST, as other services need it: to be told of what happened elsewhere."""

from __future__ import annotations

from collections.abc import Collection

from minicloud.client.rest import RestClient


class ComputeClient:
    """``rest``: a client of the catalog's compute endpoint."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    def network_changed(self, server_ids: Collection[str]) -> None:
        """The servers' addresses are to be read again; servers that are gone are no mistake."""
        events = [{"name": "network-changed", "server_uuid": name} for name in server_ids]
        self._rest.post("/os-server-external-events", {"events": events})
