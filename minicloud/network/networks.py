"""Networks: the rules of their life. Knows policy and rows, no HTTP."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.domain.errors import Conflict, InUse, Invalid, NotFound
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import sharing, store
from minicloud.network.caller import Caller
from minicloud.network.models import networks, ports
from minicloud.network.provider import checked_provider
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
_VXLAN_HEADERS = 50


class Networks:
    """``mtu``: of networks in VXLAN; a flat one has what these headers take besides.
    ``physical_networks``: what flat networks can be laid on.
    """

    def __init__(
        self, database: Database, quotas: Quotas, *, mtu: int, physical_networks: Sequence[str]
    ) -> None:
        self._database = database
        self._quotas = quotas
        self._mtus = {"vxlan": mtu, "flat": mtu + _VXLAN_HEADERS}
        self._physical_networks = physical_networks
        self._rng = random.Random()  # noqa: S311 - segment numbers are no secret

    def create(self, caller: Caller, bodies: Sequence[NetworkCreate]) -> list[dict[str, Any]]:
        """All or none. QuotaExceeded, Forbidden, Invalid, Conflict for a segment in use."""
        wanted = [(body, caller.owner_of(owner_named(body), "create_network")) for body in bodies]
        for body, owner in wanted:
            _check_admin_attributes(caller, "create_network", body, None, owner)
        with self._database.write() as tx:
            for owner in sorted({owner for _, owner in wanted}):
                amount = sum(1 for _, other in wanted if other == owner)
                self._quotas.take(tx, owner, network=amount)
            made = [self.insert(tx, body, owner) for body, owner in wanted]
            return _views(tx, caller, made)

    def find(self, caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        visible = sharing.visible(networks, caller.project_id, sees_all=caller.sees_all)
        with self._database.read() as tx:
            return _views(tx, caller, store.network_list(tx, query, visible))

    def show(self, caller: Caller, network_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            return _views(tx, caller, [network_seen(tx, caller, network_id)])[0]

    def update(self, caller: Caller, network_id: str, body: NetworkUpdate) -> dict[str, Any]:
        with self._database.write() as tx:
            network = network_seen(tx, caller, network_id, lock=True)
            caller.may_change("update_network", network)
            _check_admin_attributes(caller, "update_network", body, network, network.project_id)
            values = given(body, *_PLAIN)
            self._check_mtu(values, network.network_type)
            _check_flags(tx, network, values)
            _check_default(tx, network.id, {"external": network.external, **values})
            store.row_update(tx, networks, network.id, clock.now(), values)
            _share(tx, network, values)
            return _views(tx, caller, [network_seen(tx, caller, network_id)])[0]

    def delete(self, caller: Caller, network_id: str) -> None:
        """Takes the subnets and DHCP ports along. InUse while it has other ports."""
        with self._database.write() as tx:
            network = network_seen(tx, caller, network_id, lock=True)
            caller.may_change("delete_network", network)
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

    def insert(
        self, tx: Transaction, body: NetworkCreate, owner: str, identity: str | None = None
    ) -> Network:
        """A new network; Invalid, Conflict."""
        place = checked_provider(body, self._physical_networks)
        plain = given(body, *_PLAIN)
        self._check_mtu(plain, place["network_type"])
        values: dict[str, Any] = {
            **store.standard_values(owner, identity),
            "admin_state_up": True,
            "shared": False,
            "external": False,
            "is_default": False,
            "port_security_enabled": True,
            "mtu": self._mtus[place["network_type"]],
            "dns_domain": "",
            **place,
            **plain,
        }
        _check_default(tx, values["id"], values)
        asked = place["segment"]
        for _ in range(16):
            if place["network_type"] == "vxlan":
                values["segment"] = asked or self._rng.randrange(1, _SEGMENTS)
            if store.row_insert(tx, networks, values):
                found = store.network_get(tx, values["id"])
                assert found is not None
                _share(tx, found, plain)
                store.tags_given(tx, found.id, body)
                return found
            if asked or place["network_type"] == "flat":
                break
        if place["network_type"] == "flat":
            raise Conflict(
                type="FlatNetworkInUse",
                reason=f"The flat network is in use on physical network "
                f"{place['physical_network']}.",
            )
        raise Conflict(
            type="TunnelIdInUse", reason=f"The network segment {asked or ''} is not available."
        )

    def _check_mtu(self, values: Mapping[str, Any], network_type: str) -> None:
        most = self._mtus[network_type]
        if values.get("mtu", 0) > most:
            raise Invalid(
                type="InvalidInput", reason=f"Requested MTU is too big, maximum is {most}."
            )
        if "mtu" in values and values["mtu"] == 0:
            raise Invalid(type="InvalidInput", reason="The MTU of a network cannot be 0.")


def network_seen(
    tx: Transaction, caller: Caller, network_id: str, *, lock: bool = False
) -> Network:
    """The network, if the caller may see it. NotFound."""
    network = store.network_get(tx, network_id, lock=lock)
    if network is None or not (
        caller.sees_all
        or network.project_id == caller.project_id
        or sharing.actions_for(tx, network.id, caller.project_id)
    ):
        raise NotFound(kind="Network", id=network_id)
    return network


def may_plug(tx: Transaction, network: Network, *project_ids: str) -> bool:
    """Whether one of the projects may have ports on the network: to see an external one is not to
    plug into it.
    """
    return network.project_id in project_ids or sharing.SHARED in sharing.actions_for(
        tx, network.id, *project_ids
    )


def _views(tx: Transaction, caller: Caller, found: Sequence[Network]) -> list[dict[str, Any]]:
    names = [network.id for network in found]
    subnets = store.subnets_of(tx, names)
    tags = store.tags_of(tx, names)
    shared = sharing.shared_ids(tx, names, caller.project_id)
    scopes = store.scopes_of(tx, subnets)
    return [
        network_view(
            network,
            [subnet.id for subnet in subnets[network.id]],
            tags[network.id],
            shared=network.id in shared,
            scopes=scopes[network.id],
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


def _check_flags(tx: Transaction, network: Network, values: Mapping[str, Any]) -> None:
    """Conflict where others use what is to be no longer shared or external."""
    if network.shared and values.get("shared") is False:
        left = sharing.targets_of(tx, network.id, sharing.SHARED) - {sharing.EVERYBODY}
        if sharing.strangers(tx, "network", sharing.SHARED, network.id, left):
            raise Conflict(
                type="InvalidSharedSetting",
                reason=f"Unable to reconfigure sharing settings for network {network.id}. "
                "Multiple tenants are using it.",
            )
    if network.external and values.get("external") is False and store.network_is_gateway(
        tx, network.id
    ):  # fmt: skip
        raise Conflict(
            type="ExternalNetworkInUse",
            reason=f"External network {network.id} cannot be updated to be made non-external, "
            "since it has existing gateway ports.",
        )


def _check_default(tx: Transaction, network_id: str, values: Mapping[str, Any]) -> None:
    """Invalid for a default network that is not external, Conflict for a second one."""
    if not values.get("is_default"):
        return
    if not values.get("external"):
        raise Invalid(
            type="InvalidInput", reason="Only an external network can be the default one."
        )
    other = store.network_default(tx)
    if other not in (None, network_id):
        raise Conflict(
            type="DefaultExternalNetworkExists",
            reason=f"A default external network already exists: {other}.",
        )


def _share(tx: Transaction, network: Network, values: Mapping[str, Any]) -> None:
    """Let the policies say what the flags in ``values`` do."""
    for name, action in (("shared", sharing.SHARED), ("external", sharing.EXTERNAL)):
        if name in values:
            sharing.with_everybody(
                tx, "network", network.id, network.project_id, action, on=values[name]
            )
    if values.get("external") is False:
        sharing.forget_action(tx, network.id, sharing.EXTERNAL)
