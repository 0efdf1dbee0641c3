"""Networks: the rules of their life. Knows policy and rows, no HTTP."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.domain.errors import Conflict, InUse, Invalid, NotFound
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import store
from minicloud.network.caller import Caller
from minicloud.network.models import networks, ports
from minicloud.network.query import ListQuery
from minicloud.network.quotas import Quotas
from minicloud.network.records import DHCP_OWNER, Network
from minicloud.network.schemas import NetworkCreate, NetworkUpdate, given, owner_named
from minicloud.network.views import network_view

_SEGMENTS = 2**24
_PLAIN = (
    "name", "description", "admin_state_up", "shared", "external", "is_default",
    "port_security_enabled", "mtu", "dns_domain",
)  # fmt: skip
_ADMIN_ATTRIBUTES: Mapping[str, str] = {
    "shared": "shared",
    "external": "router:external",
    "is_default": "is_default",
    "network_type": "provider:network_type",
    "physical_network": "provider:physical_network",
    "segment": "provider:segmentation_id",
}
"""Field -> attribute whose use has a policy of its own."""


class Networks:
    def __init__(self, database: Database, quotas: Quotas, *, default_mtu: int) -> None:
        self._database = database
        self._quotas = quotas
        self._default_mtu = default_mtu
        self._rng = random.Random()  # noqa: S311 - segment numbers are no secret

    def create(self, caller: Caller, bodies: Sequence[NetworkCreate]) -> list[dict[str, Any]]:
        """All or none. QuotaExceeded, Forbidden, Invalid, Conflict for a segment in use."""
        wanted = [(body, caller.owner_of(owner_named(body), "create_network")) for body in bodies]
        for body, owner in wanted:
            _check_admin_attributes(caller, "create_network", body, None, owner)
            _check_provider(body)
        with self._database.write() as tx:
            for owner in sorted({owner for _, owner in wanted}):
                amount = sum(1 for _, other in wanted if other == owner)
                self._quotas.take(tx, owner, network=amount)
            made = [self._insert(tx, body, owner) for body, owner in wanted]
            return _views(tx, caller, made)

    def find(self, caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        visible = store.network_visible(caller.project_id, sees_all=caller.sees_all)
        with self._database.read() as tx:
            return _views(tx, caller, store.network_list(tx, query, visible))

    def show(self, caller: Caller, network_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            return _views(tx, caller, [network_seen(tx, caller, network_id)])[0]

    def update(self, caller: Caller, network_id: str, body: NetworkUpdate) -> dict[str, Any]:
        with self._database.write() as tx:
            network = network_seen(tx, caller, network_id, lock=True)
            caller.check("update_network", {"project_id": network.project_id})
            _check_admin_attributes(caller, "update_network", body, network, network.project_id)
            values = given(body, *_PLAIN)
            if (
                network.shared
                and values.get("shared") is False
                and store.network_has_strangers(tx, network)
            ):
                raise Conflict(
                    type="InvalidSharedSetting",
                    reason=f"Other projects have ports on network {network.id}.",
                )
            store.row_update(tx, networks, network.id, clock.now(), values)
            return _views(tx, caller, [network_seen(tx, caller, network_id)])[0]

    def delete(self, caller: Caller, network_id: str) -> None:
        """Takes the subnets and DHCP ports along. InUse while it has other ports."""
        with self._database.write() as tx:
            network = network_seen(tx, caller, network_id, lock=True)
            caller.check("delete_network", {"project_id": network.project_id})
            members = store.network_ports(tx, network.id)
            in_use = InUse(
                type="NetworkInUse", kind="Network", id=network.id, reason="it has ports"
            )
            if any(owner != DHCP_OWNER for _, owner in members):
                raise in_use
            for port_id, _ in members:
                store.row_delete(tx, ports, port_id)
            for subnet in store.subnets_of(tx, [network.id])[network.id]:
                if not store.subnet_delete(tx, subnet.id):
                    raise in_use
            if not store.row_delete(tx, networks, network.id):
                raise in_use

    def _insert(self, tx: Transaction, body: NetworkCreate, owner: str) -> Network:
        values: dict[str, Any] = {
            **store.standard_values(owner),
            "admin_state_up": True,
            "shared": False,
            "external": False,
            "is_default": False,
            "port_security_enabled": True,
            "mtu": self._default_mtu,
            "dns_domain": "",
            "network_type": "vxlan",
            "physical_network": None,
            **given(body, *_PLAIN),
        }
        asked = given(body, "segment").get("segment")
        for _ in range(16):
            segment = asked or self._rng.randrange(1, _SEGMENTS)
            if store.row_insert(tx, networks, {**values, "segment": segment}):
                found = store.network_get(tx, values["id"])
                assert found is not None
                return found
            if asked:
                break
        raise Conflict(
            type="TunnelIdInUse", reason=f"The network segment {asked or ''} is not available."
        )


def network_seen(
    tx: Transaction, caller: Caller, network_id: str, *, lock: bool = False
) -> Network:
    """The network, if the caller may see it. NotFound."""
    network = store.network_get(tx, network_id, lock=lock)
    if network is None or not (
        caller.sees_all
        or network.project_id == caller.project_id
        or network.shared
        or network.external
    ):
        raise NotFound(kind="Network", id=network_id)
    return network


def _views(tx: Transaction, caller: Caller, found: Sequence[Network]) -> list[dict[str, Any]]:
    names = [network.id for network in found]
    subnets = store.subnets_of(tx, names)
    tags = store.tags_of(tx, names)
    return [
        network_view(
            network,
            [subnet.id for subnet in subnets[network.id]],
            tags[network.id],
            privileged=caller.is_privileged,
        )
        for network in found
    ]


def _check_admin_attributes(
    caller: Caller, action: str, body: NetworkUpdate, current: Network | None, project_id: str
) -> None:
    """Repeating what an attribute is anyway, or its default, takes no privilege."""
    for name, value in given(body, *_ADMIN_ATTRIBUTES.keys() & set(body.__struct_fields__)).items():
        if value not in (None, getattr(current, name, False)):
            caller.check(f"{action}:{_ADMIN_ATTRIBUTES[name]}", {"project_id": project_id})


def _check_provider(body: NetworkCreate) -> None:
    kind = given(body, "network_type").get("network_type", "vxlan")
    if kind != "vxlan":
        raise Invalid(
            type="InvalidInput",
            reason=f"provider:network_type is {kind!r}; every network here is a vxlan one.",
        )
    if given(body, "physical_network").get("physical_network"):
        raise Invalid(
            type="InvalidInput", reason="A vxlan network has no provider:physical_network."
        )
