"""What a process remembers of roles and catalog between requests.

Every token query brings the database's generation; when it is another than the remembered one,
both are read again in the same transaction. So nothing here is ever older than the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from minicloud.identity import assignments, endpoint_filters, store
from minicloud.identity.assignments import RoleGraph
from minicloud.identity.records import Endpoint, Service, ServiceProvider
from minicloud.kit.db import Transaction


class Facts(msgspec.Struct, frozen=True):
    generation: int
    roles: RoleGraph
    services: tuple[tuple[Service, tuple[Endpoint, ...]], ...]
    """Enabled services with their enabled endpoints."""
    filters: Mapping[str, frozenset[str]]
    """Project -> ids of the endpoints that it shall see; a project that is not here sees all."""
    service_providers: tuple[ServiceProvider, ...]
    """The enabled ones."""


class Known:
    def __init__(self) -> None:
        self._facts: Facts | None = None

    def at(self, tx: Transaction, generation: int) -> Facts:
        """The facts of ``generation`` or of a later one."""
        facts = self._facts
        if facts is None or facts.generation != generation:
            facts = Facts(
                generation,
                assignments.role_graph(tx),
                _services(tx),
                endpoint_filters.seen_by_project(tx),
                tuple(store.service_providers.list(tx, {"enabled": True})),
            )
            self._facts = facts
        return facts


def _services(tx: Transaction) -> tuple[tuple[Service, tuple[Endpoint, ...]], ...]:
    endpoints: dict[str, list[Endpoint]] = {}
    for endpoint in store.endpoints.list(tx, {"enabled": True}):
        endpoints.setdefault(endpoint.service_id, []).append(endpoint)
    return tuple(
        (service, tuple(endpoints.get(service.id, ())))
        for service in store.services.list(tx, {"enabled": True})
    )


def catalog(
    facts: Facts, substitutes: Mapping[str, str], project_id: str | None = None
) -> list[dict[str, Any]]:
    """The catalog as tokens carry it.

    ``substitutes``: project_id, tenant_id, user_id as far as the token has them. An endpoint
    whose URL asks for one that it has not is left out.
    """
    entries = []
    seen = facts.filters.get(project_id) if project_id is not None else None
    for service, endpoints in facts.services:
        shown = []
        for endpoint in endpoints:
            url = _fill(endpoint.url, substitutes)
            if url is not None and (seen is None or endpoint.id in seen):
                shown.append(
                    {
                        "id": endpoint.id,
                        "interface": endpoint.interface,
                        "region": endpoint.region_id,
                        "region_id": endpoint.region_id,
                        "url": url,
                    }
                )
        entries.append(
            {"id": service.id, "type": service.type, "name": service.name, "endpoints": shown}
        )
    return entries


_PLACEHOLDERS = ("project_id", "tenant_id", "user_id")


def _fill(url: str, substitutes: Mapping[str, str]) -> str | None:
    for name in _PLACEHOLDERS:
        for form in (f"$({name})s", f"%({name})s"):
            if form in url:
                if name not in substitutes:
                    return None
                url = url.replace(form, substitutes[name])
    return url
