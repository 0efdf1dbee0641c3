"""A server's security groups, which are its ports' at the network service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minicloud.api.lookups import Lookups
from minicloud.api.scope import check_unlocked, server_of
from minicloud.db import servers
from minicloud.domain.errors import Conflict, NotFound
from minicloud.domain.models import Server
from minicloud.kit.context import Context
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Reply


class SecurityGroups:
    """Adds to and takes from all ports of a server; its row keeps the names for lists."""

    def __init__(self, database: Database, lookups: Lookups) -> None:
        self._database = database
        self._lookups = lookups

    def index(self, call: Call) -> Any:
        with self._database.read() as tx:
            server = server_of(tx, call)
        ports = self._lookups.ports_of_server(call.ctx, server.id)
        ids = sorted({group for port in ports for group in port.security_groups})
        groups = self._lookups.security_groups(call.ctx, ids) if ids else []
        views = [
            {
                "id": group["id"],
                "name": group["name"],
                "description": group.get("description") or "",
                "tenant_id": group.get("project_id") or group["tenant_id"],
                "rules": [],
            }
            for group in groups
        ]
        return {"security_groups": views}

    def add(self, call: Call) -> Reply:
        server, group = self._asked(call)
        ports = self._lookups.ports_of_server(call.ctx, server.id)
        if not ports:
            raise NotFound(kind="A port of instance", id=server.id)
        for port in ports:
            if group["id"] not in port.security_groups:
                wanted = [*port.security_groups, group["id"]]
                self._lookups.change_groups(call.ctx, port.id, wanted)
        name = group["name"]
        self._keep(call, lambda known: known if name in known else [*known, name])
        return Reply()

    def remove(self, call: Call) -> Reply:
        server, group = self._asked(call)
        ports = self._lookups.ports_of_server(call.ctx, server.id)
        having = [port for port in ports if group["id"] in port.security_groups]
        if not having:
            raise NotFound(
                kind=f"Among those of instance {server.id}, security group", id=group["name"]
            )
        for port in having:
            left = [each for each in port.security_groups if each != group["id"]]
            self._lookups.change_groups(call.ctx, port.id, left)
        gone = (group["id"], group["name"])
        self._keep(call, lambda known: [each for each in known if each not in gone])
        return Reply()

    def _asked(self, call: Call) -> tuple[Server, Mapping[str, Any]]:
        with self._database.read() as tx:
            server = server_of(tx, call)
        check_unlocked(call.ctx, server)
        return server, _group(self._lookups, call.ctx, call.body.name)

    def _keep(self, call: Call, change: Any) -> None:
        with self._database.write() as tx:
            server = server_of(tx, call, lock=True)
            servers.server_update(tx, server.id, security_groups=change(server.security_groups))


def _group(lookups: Lookups, ctx: Context, name: str) -> Mapping[str, Any]:
    """The group of the caller's project with that id or name. NotFound, Conflict."""
    fitting = [g for g in lookups.groups_of_project(ctx) if name in (g["id"], g["name"])]
    by_id = [group for group in fitting if group["id"] == name]
    if not fitting:
        raise NotFound(kind="Security group", id=name)
    if len(fitting) > 1 and not by_id:
        raise Conflict(
            reason=f"Multiple security_group matches found for name '{name}', use an ID to be "
            "more specific."
        )
    return (by_id or fitting)[0]
