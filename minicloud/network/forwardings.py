"""Port forwardings: single ports of a floating IP that lead to ports of different guests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.domain.errors import Conflict, Invalid, NotFound
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import ipam, port_store, router_store, store
from minicloud.network.caller import Caller
from minicloud.network.floating_ips import floating_seen
from minicloud.network.l3_schemas import ForwardingUpdate
from minicloud.network.l3_views import forwarding_view
from minicloud.network.models import floating_ips, port_forwardings
from minicloud.network.records import FloatingIp, Port, PortForwarding
from minicloud.network.schemas import given


class Forwardings:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, caller: Caller, floating_id: str, bodies: Sequence[ForwardingUpdate]
    ) -> list[dict[str, Any]]:
        """All or none. NotFound, Invalid; Conflict for ports of the floating IP in use."""
        with self._database.write() as tx:
            floating = _owned(tx, caller, floating_id, "create_floatingip_port_forwarding")
            if floating.port_id is not None:
                raise Conflict(
                    type="FloatingIPInUseByPort",
                    reason=f"Floating IP {floating.id} leads to port {floating.port_id} as a "
                    "whole: it takes no port forwardings.",
                )
            made = []
            for body in bodies:
                values = {
                    **store.standard_values(floating.project_id),
                    "floatingip_id": floating.id,
                    **_values(tx, caller, body, None),
                    **given(body, "description"),
                }
                _check_free(tx, floating, values)
                store.row_insert(tx, port_forwardings, values)
                _route_by(tx, floating, values)
                floating = floating_seen(tx, caller, floating_id)
                made.append(_seen(tx, floating, values["id"]))
            return [forwarding_view(each) for each in made]

    def find(self, caller: Caller, floating_id: str) -> list[PortForwarding]:
        with self._database.read() as tx:
            floating = floating_seen(tx, caller, floating_id)
            return router_store.forwardings_of(tx, [floating.id])[floating.id]

    def show(self, caller: Caller, floating_id: str, forwarding_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            floating = floating_seen(tx, caller, floating_id)
            return forwarding_view(_seen(tx, floating, forwarding_id))

    def update(
        self, caller: Caller, floating_id: str, forwarding_id: str, body: ForwardingUpdate
    ) -> dict[str, Any]:
        with self._database.write() as tx:
            floating = _owned(tx, caller, floating_id, "update_floatingip_port_forwarding")
            current = _seen(tx, floating, forwarding_id)
            values = _values(tx, caller, body, current)
            _check_free(tx, floating, values, current)
            store.row_update(
                tx,
                port_forwardings,
                current.id,
                clock.now(),
                {**values, **given(body, "description")},
            )
            _route_by(tx, floating, values)
            return forwarding_view(_seen(tx, floating, forwarding_id))

    def delete(self, caller: Caller, floating_id: str, forwarding_id: str) -> None:
        with self._database.write() as tx:
            floating = _owned(tx, caller, floating_id, "delete_floatingip_port_forwarding")
            store.row_delete(tx, port_forwardings, _seen(tx, floating, forwarding_id).id)
            router_store.floating_release_idle(tx, floating.id, clock.now())


def _owned(tx: Transaction, caller: Caller, floating_id: str, action: str) -> FloatingIp:
    """The floating IP, locked, if the caller may do ``action`` to it."""
    floating = floating_seen(tx, caller, floating_id, lock=True)
    caller.check(action, {"project_id": floating.project_id})
    return floating


def _seen(tx: Transaction, floating: FloatingIp, forwarding_id: str) -> PortForwarding:
    found = router_store.forwarding_get(tx, forwarding_id)
    if found is None or found.floatingip_id != floating.id:
        raise NotFound(kind="Port Forwarding", id=forwarding_id)
    return found


def _values(
    tx: Transaction,
    caller: Caller,
    body: ForwardingUpdate,
    current: PortForwarding | None,
) -> dict[str, Any]:
    """The checked columns, with what is ``current`` where the request is silent."""
    asked = given(body, "protocol", "internal_port_id", "internal_ip_address")
    protocol = asked.get("protocol", current.protocol if current else None)
    port_id = asked.get("internal_port_id", current.internal_port_id if current else None)
    if protocol is None or port_id is None:
        raise _bad("protocol and internal_port_id are needed")
    port = port_store.port_get(tx, port_id)
    if port is None or not (caller.sees_all or port.project_id == caller.project_id):
        raise NotFound(kind="Port", id=port_id)
    address = asked.get("internal_ip_address")
    if address is None and current is not None and "internal_port_id" not in asked:
        address = ipam.address_of(current.internal_number)
    return {
        "protocol": protocol,
        "internal_port_id": port.id,
        "internal_number": _inner_address(port, address),
        **_ranges(body, current),
    }


def _inner_address(port: Port, address: str | None) -> int:
    candidates = [fixed.number for fixed in port.fixed_ips if ipam.version_of(fixed.number) == 4]
    if address is not None:
        number = ipam.number_of(address)
        if number not in candidates:
            raise _bad(f"Port {port.id} does not have the IPv4 address {address}")
        return number
    if not candidates:
        raise _bad(f"Port {port.id} has no IPv4 address")
    return candidates[0]


def _ranges(body: ForwardingUpdate, current: PortForwarding | None) -> dict[str, int]:
    inner = _edges(body, "internal")
    outer = _edges(body, "external")
    if inner is None and current is not None:
        inner = current.internal_first, current.internal_last
    if outer is None and current is not None:
        outer = current.external_first, current.external_last
    if inner is None or outer is None:
        raise _bad("an internal and an external port, or range of ports, are needed")
    if inner[1] - inner[0] != outer[1] - outer[0]:
        raise _bad("the internal and the external range must have as many ports")
    return {
        "internal_first": inner[0],
        "internal_last": inner[1],
        "external_first": outer[0],
        "external_last": outer[1],
    }


def _edges(body: ForwardingUpdate, side: str) -> tuple[int, int] | None:
    """The first and last port that the request names for a side; None where it names none."""
    asked = given(body, f"{side}_port", f"{side}_port_range")
    single, text = asked.get(f"{side}_port"), asked.get(f"{side}_port_range")
    if single is not None and text is not None and text not in (f"{single}", f"{single}:{single}"):
        raise _bad(f"{side}_port and {side}_port_range say different things")
    if text is None:
        return None if single is None else (single, single)
    first, _, last = text.partition(":")
    edges = int(first), int(last or first)
    if not 1 <= edges[0] <= edges[1] <= 65535:
        raise _bad(f"{text} is no range of ports")
    return edges


def _check_free(
    tx: Transaction,
    floating: FloatingIp,
    values: Mapping[str, Any],
    current: PortForwarding | None = None,
) -> None:
    """Conflict where another one has a port of the floating IP, which is locked."""
    for other in router_store.forwardings_of(tx, [floating.id])[floating.id]:
        if current is not None and other.id == current.id:
            continue
        if other.protocol == values["protocol"] and (
            other.external_first <= values["external_last"]
            and values["external_first"] <= other.external_last
        ):
            raise Conflict(
                type="FloatingIPPortForwardingExternalPortInUse",
                reason=f"Port forwarding {other.id} of floating IP {floating.id} has "
                f"{other.protocol} ports {other.external_first} to {other.external_last} already.",
            )


def _route_by(tx: Transaction, floating: FloatingIp, values: Mapping[str, Any]) -> None:
    """The router on the way, which all of a floating IP's forwardings share. NotFound, Conflict."""
    port = port_store.port_get(tx, values["internal_port_id"])
    subnet_id = next(
        (
            fixed.subnet_id
            for fixed in (port.fixed_ips if port else ())
            if fixed.number == values["internal_number"]
        ),
        "",
    )
    router_id = router_store.router_of_subnet(tx, subnet_id, floating.floating_network_id)
    if router_id is not None:
        router_store.router_get(tx, router_id, lock=True)
        router_id = router_store.router_of_subnet(tx, subnet_id, floating.floating_network_id)
    if router_id is None:
        raise NotFound(
            type="ExternalGatewayForFloatingIPNotFound",
            kind=f"A router from subnet {subnet_id} to external network",
            id=floating.floating_network_id,
        )
    if floating.router_id not in (None, router_id):
        raise Conflict(
            type="FloatingIPInUseByRouter",
            reason=f"The port forwardings of floating IP {floating.id} go through router "
            f"{floating.router_id}, but port {values['internal_port_id']} is behind {router_id}.",
        )
    if floating.router_id is None:
        store.row_update(tx, floating_ips, floating.id, clock.now(), {"router_id": router_id})


def _bad(reason: str) -> Invalid:
    return Invalid(type="BadRequest", reason=f"Bad port_forwarding request: {reason}.")
