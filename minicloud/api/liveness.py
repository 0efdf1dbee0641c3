"""Whether a daemon is up: judged by its last report, and by what an operator said of it."""

from __future__ import annotations

from minicloud.db.hosts import COMPUTE
from minicloud.domain.models import Host, ServiceRecord
from minicloud.kit import clock

_INTERNAL = "internal"
"""The zone of services that run no guests."""


def is_up(service: ServiceRecord, service_down_s: float) -> bool:
    """``service_down_s``: seconds without a report after which it counts as down."""
    return not service.forced_down and clock.now() - service.last_seen <= service_down_s


def zone_of(service: ServiceRecord, zones: dict[str, str]) -> str:
    """``zones``: host -> its availability zone."""
    return zones.get(service.host, "nova") if service.binary == COMPUTE else _INTERNAL


def zones_of(hosts: list[Host]) -> dict[str, str]:
    return {host.name: host.availability_zone for host in hosts}
