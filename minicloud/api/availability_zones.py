"""Availability zones: names of groups of hosts."""

from __future__ import annotations

from typing import Any

from minicloud.api.liveness import is_up, zone_of, zones_of
from minicloud.db import hosts, services
from minicloud.domain.models import ServiceRecord
from minicloud.kit.clock import iso_micro
from minicloud.kit.db import Database
from minicloud.kit.web import Call


class AvailabilityZones:
    """``service_down_s``: seconds without a report after which a host counts as down."""

    def __init__(self, database: Database, *, service_down_s: float) -> None:
        self._database = database
        self._service_down_s = service_down_s

    def index(self, _call: Call) -> Any:
        return self._zones(details=False)

    def detail(self, _call: Call) -> Any:
        return self._zones(details=True)

    def _zones(self, *, details: bool) -> Any:
        with self._database.read() as tx:
            zones = zones_of(list(hosts.host_list(tx)))
            found = services.service_list(tx)
        by_zone: dict[str, list[ServiceRecord]] = {}
        for service in found:
            by_zone.setdefault(zone_of(service, zones), []).append(service)
        return {
            "availabilityZoneInfo": [
                self._view(zone, members, details=details)
                for zone, members in sorted(by_zone.items())
                if details or zone != "internal"
            ]
        }

    def _view(self, zone: str, members: list[ServiceRecord], *, details: bool) -> Any:
        shown: dict[str, dict[str, Any]] = {}
        for service in members:
            shown.setdefault(service.host, {})[service.binary] = {
                "available": is_up(service, self._service_down_s),
                "active": not service.disabled,
                "updated_at": iso_micro(service.last_seen),
            }
        return {
            "zoneName": zone,
            "zoneState": {"available": any(not service.disabled for service in members)},
            "hosts": shown if details else None,
        }
