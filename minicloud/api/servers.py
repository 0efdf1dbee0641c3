"""Servers: lists, one, changes, the end. Reads come from the compute database alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET

from minicloud.api.liveness import is_up
from minicloud.api.operations import Operator
from minicloud.api.schemas.server_bodies import ServerUpdate
from minicloud.api.schemas.server_views import Viewer, brief_view, server_view
from minicloud.api.scope import server_of
from minicloud.api.server_queries import Rules, Wish, wish_of
from minicloud.db import aggregates, servers, services
from minicloud.db.hosts import COMPUTE
from minicloud.db.servers import ServerName
from minicloud.domain.models import Server, ServiceRecord
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call, Reply
from minicloud.kit.web.paging import next_link
from minicloud.kit.web.route import Handler


class Servers:
    """``service_down_s``: seconds without a report after which a host counts as down."""

    def __init__(self, database: Database, operator: Operator, *, service_down_s: float) -> None:
        self._database = database
        self._operator = operator
        self._service_down_s = service_down_s

    # -- lists -------------------------------------------------------------------------------------
    def index(self, rules: Rules) -> Handler:
        """The list, by the rules of some microversions."""

        def handle(call: Call) -> Any:
            wish = wish_of(call, rules, policy="os_compute_api:servers:index:get_all_tenants")
            with self._database.read() as tx:
                found, more = (_page if wish.filters else _names)(tx, wish)
            views = [brief_view(server, call.base_url) for server in found]
            return _with_link(call, {"servers": views}, found, more)

        return handle

    def detail(self, rules: Rules) -> Handler:
        """The list in full."""

        def handle(call: Call) -> Any:
            wish = wish_of(call, rules, policy="os_compute_api:servers:detail:get_all_tenants")
            with self._database.read() as tx:
                viewer = self._viewer(call, tx)
                found, more = _page(tx, wish)
            views = [server_view(server, viewer) for server in found]
            return _with_link(call, {"servers": views}, found, more)

        return handle

    # -- one ---------------------------------------------------------------------------------------
    def show(self, call: Call) -> Any:
        with self._database.read() as tx:
            viewer = self._viewer(call, tx)
            server = server_of(tx, call)
        return _one(server, viewer)

    def update(self, call: Call) -> Any:
        body: ServerUpdate = call.body
        values: dict[str, Any] = {
            field: value
            for field in body.__struct_fields__
            if (value := getattr(body, field)) is not UNSET
        }
        with self._database.write() as tx:
            viewer = self._viewer(call, tx)
            server = server_of(tx, call)
            servers.server_update(tx, server.id, **values)
            server = server_of(tx, call)
        return _one(server, viewer)

    def delete(self, call: Call) -> Reply:
        self._operator.delete(call)
        return Reply(status=204)

    def _viewer(self, call: Call, tx: Transaction) -> Viewer:
        attributes = call.allowed("os_compute_api:os-extended-server-attributes")
        host_status: Mapping[str, str] | None = None
        if call.allowed("os_compute_api:servers:show:host_status"):
            known = services.service_list(tx, binary=COMPUTE)
            host_status = {service.host: self._word(service) for service in known}
        return Viewer(
            base_url=call.base_url,
            attributes=attributes,
            details=call.ctx.is_admin,
            extra_specs=call.allowed("os_compute_api:os-flavor-extra-specs:index"),
            host_status=host_status,
            zones=aggregates.zones_of_hosts(tx),
        )

    def _word(self, service: ServiceRecord) -> str:
        if service.disabled:
            return "MAINTENANCE"
        return "UP" if is_up(service, self._service_down_s) else "DOWN"


def _page(tx: Transaction, wish: Wish) -> tuple[Sequence[Server], bool]:
    """The page, and whether more follow."""
    if wish.nothing or wish.limit == 0:
        return [], False
    found = list(servers.server_list(tx, wish.query))
    for keeps in wish.filters:
        found = [server for server in found if keeps(server)]
    return found[: wish.limit], len(found) > wish.limit


def _names(tx: Transaction, wish: Wish) -> tuple[Sequence[ServerName], bool]:
    """As ``_page``, where the rows need not be looked at."""
    if wish.nothing or wish.limit == 0:
        return [], False
    found = servers.server_names(tx, wish.query)
    return found[: wish.limit], len(found) > wish.limit


def _with_link(
    call: Call, body: dict[str, Any], found: Sequence[Server | ServerName], more: bool
) -> dict[str, Any]:
    if more:
        href = next_link(call.base_url + call.path, call.query, found[-1].id)
        body["servers_links"] = [{"rel": "next", "href": href}]
    return body


def _one(server: Server, viewer: Viewer) -> dict[str, Any]:
    # A list does not show groups; one server does.
    groups = [server.group_id] if server.group_id else []
    return {"server": {**server_view(server, viewer), "server_groups": groups}}
