"""What identity has as limits of a service's resources: registered for all, refined for a project.

Speaks Keystone's API only. A service that enforces them does it as oslo.limit would: of what is
not registered nobody may have anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.client.identity import ServiceSession
from minicloud.client.rest import RestClient
from minicloud.domain import errors


class ServiceLimits:
    """The limits of one service, asked each time, so that changes hold at once. Thread safe.

    ``url``: ``http://host:5000/v3``; ``resources``: their names.
    """

    def __init__(
        self,
        session: ServiceSession,
        url: str,
        *,
        service_type: str,
        region: str,
        resources: Sequence[str],
    ) -> None:
        self._session = session
        self._client = RestClient(
            "identity",
            lambda: url,
            lambda: {"X-Auth-Token": session.token()},
            session=session.http,
        )
        self._service_type = service_type
        self._region = region
        self._resources = resources

    def of(self, project_id: str) -> Mapping[str, int]:
        """Resource -> limit, -1 for none. Unavailable where identity does not say."""
        service = {"service_id": self._session.service_id(self._service_type)}
        limits = dict.fromkeys(self._resources, 0)
        limits |= self._read("registered_limits", "default_limit", service)
        limits |= self._read("limits", "resource_limit", {**service, "project_id": project_id})
        return limits

    def _read(self, noun: str, value: str, query: Mapping[str, str]) -> dict[str, int]:
        """Those of this region, and where it has none, those of no region."""
        found: dict[str, int] = {}
        entries = self._list(noun, query)
        for region in (None, self._region):
            for entry in entries:
                if entry["region_id"] == region and entry["resource_name"] in self._resources:
                    found[entry["resource_name"]] = entry[value]
        return found

    def _list(self, noun: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        for _ in range(2):
            try:
                entries: list[dict[str, Any]] = self._client.get(f"/{noun}", **query).json[noun]
                return entries
            except errors.Unauthenticated:
                self._session.forget()  # identity lost its keys or was set up anew
        raise errors.Unavailable(service="identity", reason="this service's own token was refused")
