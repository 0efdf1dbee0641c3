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
from minicloud.kit.web.paging import next_link

QUERY = Query(
    names=frozenset(("start", "end", "detailed", "limit", "marker")),
    since={"limit": (2, 40), "marker": (2, 40)},
    strict_from=(2, 75),
)
_MOST = 1000
_FOUR_WEEKS_S = 28 * 24 * 3600.0


class Usage:
    def __init__(self, database: Database) -> None:
        self._database = database

    def index(self, call: Call) -> Any:
        detailed = call.flag("detailed")
        start, end = _period(call)
        found, following = self._page(call, None, start, end)
        by_project: dict[str, list[Server]] = {}
        for server in found:
            by_project.setdefault(server.project_id, []).append(server)
        usages = [
            _usage(project, members, start, end, detailed=detailed)
            for project, members in sorted(by_project.items())
        ]
        return {"tenant_usages": usages, **_linked("tenant_usages_links", following)}

    def show(self, call: Call) -> Any:
        project = call.params["project"]
        call.check(
            "os_compute_api:os-simple-tenant-usage:show",
            {"project_id": project, "user_id": call.ctx.user_id},
        )
        start, end = _period(call)
        found, following = self._page(call, project, start, end)
        usage = _usage(project, found, start, end, detailed=True) if found else {}
        return {"tenant_usage": usage, **_linked("tenant_usage_links", following)}

    def _page(
        self, call: Call, project: str | None, start: float, end: float
    ) -> tuple[list[Server], str]:
        """The servers that lived in the time, and the link to more of them, if there are."""
        limit = call.number("limit")
        if "marker" in call.query or limit is not None:
            limit = min(_MOST if limit is None else limit, _MOST)
        query = ServerQuery(
            project_id=project,
            deleted=None,
            lived=(start, end),
            sort=(("project_id", "asc"), ("uuid", "asc")),
            limit=limit,
            marker=call.query.get("marker"),
        )
        with self._database.read() as tx:
            found = list(servers.server_list(tx, query))
        full = limit is not None and found and len(found) == limit
        here = call.base_url + call.path
        return found, next_link(here, call.query, found[-1].id) if full else ""


def _linked(name: str, href: str) -> dict[str, Any]:
    return {name: [{"rel": "next", "href": href}]} if href else {}


def _without_links(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if not name.endswith("_links")}


DOWN = (((2, 40), _without_links),)


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
