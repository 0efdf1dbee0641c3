"""Hosts that run guests, as hypervisors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from minicloud.api.liveness import is_up
from minicloud.api.schemas.hosts import brief_hypervisor, hypervisor_view, statistics
from minicloud.db import hosts, servers, services
from minicloud.db.hosts import COMPUTE
from minicloud.db.servers import ServerQuery
from minicloud.domain.errors import Invalid, NotFound
from minicloud.domain.ids import is_uuid
from minicloud.domain.models import Host, ServiceRecord
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call, Query
from minicloud.kit.web.paging import next_link, page

_MOST = 1000
QUERY = Query(
    names=frozenset(("limit", "marker", "hypervisor_hostname_pattern", "with_servers")),
    once=frozenset(("hypervisor_hostname_pattern", "with_servers")),
    since={
        "limit": (2, 33),
        "marker": (2, 33),
        "hypervisor_hostname_pattern": (2, 53),
        "with_servers": (2, 53),
    },
    strict_from=(2, 53),
)
SHOW_QUERY = Query(
    names=frozenset(("with_servers",)), since={"with_servers": (2, 53)}, strict_from=(2, 53)
)
_NAME = re.compile(r"[a-zA-Z0-9-._]{1,255}", re.ASCII)
Known = tuple[Host, ServiceRecord]


class Hypervisors:
    """``service_down_s``: seconds without a report after which a host counts as down."""

    def __init__(self, database: Database, *, service_down_s: float) -> None:
        self._database = database
        self._service_down_s = service_down_s

    def index(self, call: Call) -> Any:
        return self._list(call, details=False)

    def detail(self, call: Call) -> Any:
        return self._list(call, details=True)

    def _list(self, call: Call, *, details: bool) -> Any:
        pattern = call.query.get("hypervisor_hostname_pattern")
        if pattern is not None and _NAME.fullmatch(pattern) is None:
            raise Invalid(reason="Invalid input for query parameters hypervisor_hostname_pattern.")
        if call.query.get("with_servers") == "":
            raise Invalid(reason="Invalid input for query parameters with_servers: it is empty.")
        if pattern is not None and ("limit" in call.query or "marker" in call.query):
            raise Invalid(reason="Paging over hypervisors with hypervisor_hostname_pattern is "
                          "not supported.")  # fmt: skip
        with self._database.read() as tx:
            known = _known(tx)
            if pattern is not None:
                known = [pair for pair in known if pattern in pair[0].name]
                if not known:
                    raise NotFound(kind="Hypervisor matching", id=pattern)
            shown, more = page(
                known,
                [host.id for host, _ in known],
                limit=min(call.number("limit", _MOST) or 0, _MOST),
                marker=call.query.get("marker"),
            )
            views = [self._view(host, service, details=details) for host, service in shown]
            if call.flag("with_servers"):
                _add_servers(tx, views)
        body: dict[str, Any] = {"hypervisors": views}
        if more and shown:
            href = next_link(call.base_url + call.path, call.query, shown[-1][0].id)
            body["hypervisors_links"] = [{"rel": "next", "href": href}]
        return body

    def show(self, call: Call) -> Any:
        """From 2.53 on: by UUID."""
        host, service = self._by_uuid(call)
        views = [self._view(host, service, details=True)]
        if call.flag("with_servers"):
            with self._database.read() as tx:
                _add_servers(tx, views)
        return {"hypervisor": views[0]}

    def show_by_number(self, call: Call) -> Any:
        host, service = self._numbered(call)
        return {"hypervisor": self._view(host, service, details=True)}

    def uptime(self, call: Call) -> Any:
        """From 2.53 on: by UUID."""
        return self._uptime(*self._by_uuid(call))

    def uptime_by_number(self, call: Call) -> Any:
        return self._uptime(*self._numbered(call))

    def _uptime(self, host: Host, service: ServiceRecord) -> Any:
        view = self._view(host, service, details=False)
        if view["state"] != "up":
            raise Invalid(reason=f"Compute host {host.name} is down: its uptime is not known.")
        view["uptime"] = host.uptime
        return {"hypervisor": view}

    def statistics(self, _call: Call) -> Any:
        with self._database.read() as tx:
            found = [host for host, service in _known(tx) if not service.disabled]
        return {"hypervisor_statistics": statistics(found)}

    def search(self, call: Call) -> Any:
        """Before 2.53: by a part of the name."""
        return {"hypervisors": self._matching(call, with_servers=False)}

    def servers(self, call: Call) -> Any:
        return {"hypervisors": self._matching(call, with_servers=True)}

    def _matching(self, call: Call, *, with_servers: bool) -> list[dict[str, Any]]:
        pattern = call.params["hypervisor_id"]
        with self._database.read() as tx:
            views = [
                self._view(host, service, details=False)
                for host, service in _known(tx)
                if pattern in host.name
            ]
            if with_servers:
                _add_servers(tx, views)
        if not views:
            raise NotFound(kind="No hypervisor matching", id=pattern)
        return views

    def _by_uuid(self, call: Call) -> Known:
        wanted = call.params["hypervisor_id"]
        if not is_uuid(wanted):
            raise Invalid(reason=f"Invalid uuid {wanted[:64]}")
        with self._database.read() as tx:
            for host, service in _known(tx):
                if host.id == wanted:
                    return host, service
        raise NotFound(kind="Hypervisor with ID", id=wanted)

    def _numbered(self, call: Call) -> Known:
        wanted = call.params["hypervisor_id"]
        with self._database.read() as tx:
            for host, service in _known(tx):
                if str(service.number) == wanted:
                    return host, service
        raise NotFound(kind="Hypervisor with ID", id=wanted)

    def _view(self, host: Host, service: ServiceRecord, *, details: bool) -> dict[str, Any]:
        up = is_up(service, self._service_down_s)
        view = hypervisor_view if details else brief_hypervisor
        return view(host, service, up=up)


def _known(tx: Transaction) -> Sequence[Known]:
    """Hosts and the services that report for them, in a constant number of queries."""
    reporting = {service.host: service for service in services.service_list(tx, binary=COMPUTE)}
    return [(host, reporting[host.name]) for host in hosts.host_list(tx)]


def _add_servers(tx: Transaction, views: list[dict[str, Any]]) -> None:
    names = [view["hypervisor_hostname"] for view in views]
    found = servers.server_list(tx, ServerQuery(equal={"host": names}))
    for view in views:
        view["servers"] = [
            {"uuid": server.id, "name": server.name}
            for server in found
            if server.host == view["hypervisor_hostname"]
        ]
