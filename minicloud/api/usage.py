"""os-simple-tenant-usage: hours of vCPU, memory and disk, worked out from the servers' times."""

from __future__ import annotations

from typing import Any

from minicloud.db import servers
from minicloud.db.servers import ServerQuery
from minicloud.domain.errors import Invalid
from minicloud.domain.models import Server
from minicloud.kit import clock
from minicloud.kit.clock import iso_micro
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Query

QUERY = Query(
    names=frozenset(("start", "end", "detailed", "limit", "marker")),
    since={"limit": (2, 40), "marker": (2, 40)},
    strict_from=(2, 75),
)
_FOUR_WEEKS_S = 28 * 24 * 3600.0


class Usage:
    def __init__(self, database: Database) -> None:
        self._database = database

    def index(self, call: Call) -> Any:
        detailed = call.flag("detailed")
        start, end = _period(call)
        with self._database.read() as tx:
            found = servers.server_list(tx, ServerQuery(deleted=None))
        by_project: dict[str, list[Server]] = {}
        for server in found:
            if _seconds(server, start, end) > 0:
                by_project.setdefault(server.project_id, []).append(server)
        return {
            "tenant_usages": [
                _usage(project, members, start, end, detailed=detailed)
                for project, members in sorted(by_project.items())
            ]
        }

    def show(self, call: Call) -> Any:
        project = call.params["project"]
        call.check(
            "os_compute_api:os-simple-tenant-usage:show",
            {"project_id": project, "user_id": call.ctx.user_id},
        )
        start, end = _period(call)
        with self._database.read() as tx:
            found = servers.server_list(tx, ServerQuery(project_id=project, deleted=None))
        members = [server for server in found if _seconds(server, start, end) > 0]
        if not members:
            return {"tenant_usage": {}}
        return {"tenant_usage": _usage(project, members, start, end, detailed=True)}


def _period(call: Call) -> tuple[float, float]:
    try:
        end = clock.parse(call.query["end"]) if "end" in call.query else clock.now()
        start = clock.parse(call.query["start"]) if "start" in call.query else end - _FOUR_WEEKS_S
    except (ValueError, OverflowError):
        raise Invalid(reason="Invalid start or end: it must be a date and time.") from None
    if start >= end:
        raise Invalid(reason="Invalid start time. The start time cannot occur after the end time.")
    return start, end


def _seconds(server: Server, start: float, end: float) -> float:
    begun = server.launched_at or server.created_at
    ended = server.terminated_at or clock.now()
    return max(min(ended, end) - max(begun, start), 0.0)


def _usage(
    project: str, members: list[Server], start: float, end: float, *, detailed: bool
) -> dict[str, Any]:
    hours = {server.id: _seconds(server, start, end) / 3600 for server in members}
    view: dict[str, Any] = {
        "tenant_id": project,
        "start": iso_micro(start),
        "stop": iso_micro(end),
        "total_hours": sum(hours.values()),
        "total_vcpus_usage": sum(s.flavor.vcpus * hours[s.id] for s in members),
        "total_memory_mb_usage": sum(s.flavor.ram * hours[s.id] for s in members),
        "total_local_gb_usage": sum(
            (s.flavor.disk + s.flavor.ephemeral) * hours[s.id] for s in members
        ),
    }
    if detailed:
        view["server_usages"] = [_one(server, hours[server.id]) for server in members]
    return view


def _one(server: Server, hours: float) -> dict[str, Any]:
    begun = server.launched_at or server.created_at
    return {
        "instance_id": server.id,
        "name": server.name,
        "hours": hours,
        "tenant_id": server.project_id,
        "flavor": server.flavor.name,
        "vcpus": server.flavor.vcpus,
        "memory_mb": server.flavor.ram,
        "local_gb": server.flavor.disk + server.flavor.ephemeral,
        "started_at": iso_micro(begun),
        "ended_at": iso_micro(server.terminated_at),
        "state": "terminated" if server.deleted else str(server.vm_state),
        "uptime": int((server.terminated_at or clock.now()) - begun),
    }
