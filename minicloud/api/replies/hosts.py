"""Hosts and their daemons, and what groups servers and hosts."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from minicloud.api.replies.shapes import Link, Shown, page, reply


class GroupView(Shown):
    id: str
    name: str
    policy: str
    rules: dict[str, int]
    members: list[str]
    project_id: str
    user_id: str


class AggregateMade(Shown):
    id: int
    uuid: str
    name: str
    availability_zone: str | None
    created_at: str
    updated_at: str | None
    deleted: bool
    deleted_at: str | None


class AggregateView(AggregateMade):
    hosts: list[str]
    metadata: dict[str, str]


class MigrationView(Shown):
    id: int
    uuid: str
    status: str
    source_compute: str | None
    source_node: str | None
    dest_compute: str | None
    dest_node: str | None
    dest_host: str | None
    user_id: str | None
    project_id: str | None
    created_at: str
    updated_at: str | None
    instance_uuid: str
    old_instance_type_id: int | None
    new_instance_type_id: int | None
    migration_type: str
    links: list[Link] | UnsetType = UNSET


class ServiceView(Shown):
    id: str
    binary: str
    host: str
    zone: str
    status: str
    state: str
    updated_at: str | None
    disabled_reason: str | None
    forced_down: bool


class ServerOfHost(Shown):
    uuid: str
    name: str


class HypervisorBrief(Shown):
    id: str
    hypervisor_hostname: str
    state: str
    status: str
    servers: list[ServerOfHost] | UnsetType = UNSET


class ServiceOfHypervisor(Shown):
    id: str
    host: str
    disabled_reason: str | None


class HypervisorView(HypervisorBrief, kw_only=True):
    hypervisor_type: str
    hypervisor_version: int
    host_ip: str
    service: ServiceOfHypervisor
    uptime: str | None


class Available(Shown):
    available: bool


class DaemonOfZone(Shown):
    available: bool
    active: bool
    updated_at: str | None


class ZoneView(Shown, rename={"name": "zoneName", "state": "zoneState"}):
    name: str
    state: Available
    hosts: dict[str, dict[str, DaemonOfZone]] | None
    """Host -> daemon -> its state."""


class ExtensionView(Shown):
    alias: str
    name: str
    description: str
    namespace: str
    updated: str
    links: list[Link]


class AuditView(Shown):
    hosts_not_run: list[str]
    log: dict[str, Any]
    num_hosts: int
    num_hosts_done: int
    num_hosts_not_run: int
    num_hosts_running: int
    overall_status: str
    period_beginning: str
    period_ending: str
    total_errors: int
    total_instances: int


class EventAnswered(Shown):
    name: str
    server_uuid: str
    status: str
    code: int
    tag: str | UnsetType = UNSET


class AssistedShown(Shown):
    id: str | None
    volumeId: str


_GROUPS, _AGGREGATES = "/os-server-groups", "/os-aggregates"
_AGGREGATE = _AGGREGATES + "/{aggregate_id}"
_GROUP = reply("ServerGroupReply", server_group=GroupView)
_ONE_AGGREGATE = reply("AggregateReply", aggregate=AggregateView)
_ZONES = reply("ZonesReply", availabilityZoneInfo=list[ZoneView])

HOSTS = {
    "GET " + _GROUPS: page("ServerGroupsReply", "server_groups", GroupView),
    "POST " + _GROUPS: _GROUP,
    "GET " + _GROUPS + "/{group_id}": _GROUP,
    "DELETE " + _GROUPS + "/{group_id}": None,
    "GET " + _AGGREGATES: reply("AggregatesReply", aggregates=list[AggregateView]),
    "POST " + _AGGREGATES: reply("AggregateMadeReply", aggregate=AggregateMade),
    "GET " + _AGGREGATE: _ONE_AGGREGATE,
    "PUT " + _AGGREGATE: _ONE_AGGREGATE,
    "DELETE " + _AGGREGATE: None,
    "POST " + _AGGREGATE + "/images": None,
    **dict.fromkeys(
        (f"POST {_AGGREGATE}/action#{name}" for name in ("add_host", "remove_host",
                                                         "set_metadata")),
        _ONE_AGGREGATE,
    ),
    "GET /os-migrations": page("MigrationsReply", "migrations", MigrationView),
    "GET /os-services": reply("ServicesReply", services=list[ServiceView]),
    "PUT /os-services/{service_id}": reply("ServiceReply", service=ServiceView),
    "DELETE /os-services/{service_id}": None,
    "GET /os-hypervisors": page("HypervisorsReply", "hypervisors", HypervisorBrief),
    "GET /os-hypervisors/detail": page("HypervisorsDetailReply", "hypervisors", HypervisorView),
    "GET /os-hypervisors/{hypervisor_id}": reply("HypervisorReply", hypervisor=HypervisorView),
    "GET /os-availability-zone": _ZONES,
    "GET /os-availability-zone/detail": _ZONES,
    "GET /extensions": reply("ExtensionsReply", extensions=list[ExtensionView]),
    "GET /extensions/{alias}": reply("ExtensionReply", extension=ExtensionView),
    "GET /os-instance_usage_audit_log": reply("AuditsReply", instance_usage_audit_logs=AuditView),
    "GET /os-instance_usage_audit_log/{before}": reply(
        "AuditReply", instance_usage_audit_log=AuditView
    ),
    "POST /os-assisted-volume-snapshots": reply("AssistedReply", snapshot=AssistedShown),
    "POST /os-server-external-events": reply("EventsReply", events=list[EventAnswered]),
}  # fmt: skip
