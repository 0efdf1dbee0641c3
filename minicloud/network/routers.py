"""Routers: the rules of their life."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicloud.domain.errors import Conflict, Invalid, NotFound
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import extra_routes, router_store, store
from minicloud.network.addressing import route_of
from minicloud.network.caller import Caller
from minicloud.network.gateways import Gateways
from minicloud.network.l3_schemas import RouterCreate, RouterUpdate, RoutesBody
from minicloud.network.l3_views import router_view
from minicloud.network.models import routers
from minicloud.network.query import ListQuery
from minicloud.network.quotas import Quotas
from minicloud.network.records import Router
from minicloud.network.schemas import given, owner_named

_PLAIN = ("name", "description", "admin_state_up")


class Routers:
    def __init__(self, database: Database, quotas: Quotas, gateways: Gateways) -> None:
        self._database = database
        self._quotas = quotas
        self._gateways = gateways

    def create(self, caller: Caller, bodies: Sequence[RouterCreate]) -> list[dict[str, Any]]:
        """All or none. NotFound and Invalid for the gateway, QuotaExceeded, Forbidden."""
        wanted = [(body, caller.owner_of(owner_named(body), "create_router")) for body in bodies]
        with self._database.write() as tx:
            for owner in sorted({owner for _, owner in wanted}):
                amount = sum(1 for _, other in wanted if other == owner)
                self._quotas.take(tx, owner, router=amount)
            made = [self.insert(tx, caller, body, owner) for body, owner in wanted]
            return _views(tx, made)

    def find(self, caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        visible = router_store.owned_visible(routers, caller.project_id, sees_all=caller.sees_all)
        with self._database.read() as tx:
            return _views(tx, router_store.router_list(tx, query, visible))

    def show(self, caller: Caller, router_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            return _views(tx, [router_seen(tx, caller, router_id)])[0]

    def update(self, caller: Caller, router_id: str, body: RouterUpdate) -> dict[str, Any]:
        """Conflict while floating IPs need the gateway; Invalid for routes to nowhere."""
        _check_supported(body)
        with self._database.write() as tx:
            router = router_seen(tx, caller, router_id)
            caller.check("update_router", {"project_id": router.project_id})
            values = given(body, *_PLAIN)
            asked = given(body, "external_gateway_info", "routes")
            gateway = asked.get("external_gateway_info")
            network = self._gateways.wanted(tx, caller, "update_router", gateway, router.project_id)
            router = router_seen(tx, caller, router_id, lock=True)
            caller.may_change("update_router", router)
            if "external_gateway_info" in asked:
                values |= self._gateways.apply(tx, router, network, gateway)
            if "routes" in asked:
                values["routes"] = extra_routes.checked(tx, router, asked["routes"] or ())
            return self._changed(tx, router, values)

    def delete(self, caller: Caller, router_id: str) -> None:
        """Takes its gateway along. Conflict while it has interfaces."""
        with self._database.write() as tx:
            router = router_seen(tx, caller, router_id, lock=True)
            caller.may_change("delete_router", router)
            in_use = Conflict(
                type="RouterInUse", reason=f"Router {router.id} still has active ports"
            )
            if router_store.interface_ports(tx, router.id):
                raise in_use
            for port in router_store.gateway_ports(tx, [router.id]).values():
                self._gateways.remove(tx, router, port)
            if not store.row_delete(tx, routers, router.id):
                raise in_use

    # -- extra routes, one by one ----------------------------------------------------------------
    def routes_add(self, caller: Caller, router_id: str, body: RoutesBody) -> dict[str, Any]:
        """Routes that are there already stay as they are."""
        with self._database.write() as tx:
            router = router_seen(tx, caller, router_id, lock=True)
            caller.check("add_extraroutes", {"project_id": router.project_id})
            new = extra_routes.checked(tx, router, body.routes)
            routes = list(dict.fromkeys([*router.routes, *new]))
            if len(routes) > extra_routes.LIMIT:
                raise Invalid(
                    type="RoutesExhausted",
                    reason=f"Unable to complete operation for {router.id}. The number of routes "
                    f"exceeds the maximum {extra_routes.LIMIT}.",
                )
            return self._changed(tx, router, {"routes": routes})

    def routes_remove(self, caller: Caller, router_id: str, body: RoutesBody) -> dict[str, Any]:
        """Routes that are not there are no mistake."""
        with self._database.write() as tx:
            router = router_seen(tx, caller, router_id, lock=True)
            caller.check("remove_extraroutes", {"project_id": router.project_id})
            gone = {route_of(one.destination, one.nexthop) for one in body.routes}
            left = [route for route in router.routes if route not in gone]
            return self._changed(tx, router, {"routes": left})

    def insert(
        self,
        tx: Transaction,
        caller: Caller,
        body: RouterCreate,
        owner: str,
        identity: str | None = None,
    ) -> Router:
        """A new router; Invalid, NotFound, NoAddressLeft."""
        _check_supported(body)
        gateway = given(body, "external_gateway_info").get("external_gateway_info")
        network = self._gateways.wanted(tx, caller, "create_router", gateway, owner)
        values = {
            **store.standard_values(owner, identity),
            "admin_state_up": True,
            "enable_snat": True,
            "external_network_id": None,
            "routes": [],
            "availability_zone_hints": [],
            "host": "",
            **given(body, *_PLAIN, "availability_zone_hints"),
        }
        _check_zones(tx, values["availability_zone_hints"])
        store.row_insert(tx, routers, values)
        store.tags_given(tx, values["id"], body)
        router = _get(tx, values["id"])
        if network is not None:
            found = self._gateways.apply(tx, router, network, gateway)
            store.row_set(tx, routers, router.id, found)
        if routes := given(body, "routes").get("routes"):
            found = {"routes": extra_routes.checked(tx, router, routes)}
            store.row_set(tx, routers, router.id, found)
        return _get(tx, router.id)

    def _changed(self, tx: Transaction, router: Router, values: dict[str, Any]) -> dict[str, Any]:
        store.row_update(tx, routers, router.id, clock.now(), values)
        return _views(tx, [_get(tx, router.id)])[0]


def router_seen(tx: Transaction, caller: Caller, router_id: str, *, lock: bool = False) -> Router:
    """The router, if the caller may see it. NotFound."""
    router = router_store.router_get(tx, router_id, lock=lock)
    if router is None or not (caller.sees_all or router.project_id == caller.project_id):
        raise NotFound(kind="Router", id=router_id)
    return router


def _check_supported(body: RouterUpdate) -> None:
    for name, value in given(body, "distributed", "ha").items():
        if value:
            raise Invalid(
                type="InvalidInput",
                reason=f"Routers here are not of the kind '{name}': leave it out.",
            )


def _check_zones(tx: Transaction, hints: Sequence[str]) -> None:
    unknown = sorted(set(hints) - store.zones_known(tx)) if hints else []
    if unknown:
        raise NotFound(kind="Availability Zone", id=unknown[0])


def _get(tx: Transaction, router_id: str) -> Router:
    router = router_store.router_get(tx, router_id)
    assert router is not None  # it was just made, or is locked
    return router


def _views(tx: Transaction, found: Sequence[Router]) -> list[dict[str, Any]]:
    names = [router.id for router in found]
    tags = store.tags_of(tx, names)
    gateways = router_store.gateway_ports(tx, names)
    return [router_view(router, gateways.get(router.id), tags[router.id]) for router in found]
