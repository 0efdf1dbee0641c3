"""Ports: the rules of their life, from the request to the address and the binding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from minicloud.domain.errors import Conflict, Forbidden, InUse, Invalid, NotFound
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import port_options, port_store, router_store, service_ports, store
from minicloud.network.allocation import Allocator, checked_mac, kept
from minicloud.network.binding import Binder
from minicloud.network.caller import Caller
from minicloud.network.dhcp import DhcpPorts
from minicloud.network.groups import Groups
from minicloud.network.ipam import address_of
from minicloud.network.models import ports
from minicloud.network.networks import may_plug, network_seen
from minicloud.network.query import ListQuery
from minicloud.network.quotas import Quotas
from minicloud.network.records import (
    DHCP_OWNER,
    FLOATING_OWNER,
    GATEWAY_OWNER,
    INTERFACE_OWNER,
    Network,
    Port,
)
from minicloud.network.schemas import FixedIpBody, PortCreate, PortUpdate, given, owner_named
from minicloud.network.views import port_view

INDEX_KEY = "minicloud_index"
"""Key of binding:profile with the number of the device's interface: unique for a device."""
MIGRATION_KEY = "migrating_to"
"""Key of binding:profile with the host that the port's guest is on its way to."""
_PLAIN = (
    "name", "description", "admin_state_up", "port_security_enabled", "device_id",
    "device_owner", "dns_name",
)  # fmt: skip
_PROFILE_LIMIT = 4095
_HOST_LIMIT = 255
_SERVICE_OWNERS = (DHCP_OWNER, INTERFACE_OWNER, GATEWAY_OWNER, FLOATING_OWNER)


class Ports:
    def __init__(
        self,
        database: Database,
        quotas: Quotas,
        groups: Groups,
        allocator: Allocator,
        dhcp_ports: DhcpPorts,
        binder: Binder,
        *,
        dns_domain: str,
    ) -> None:
        self._database = database
        self._quotas = quotas
        self._groups = groups
        self._allocator = allocator
        self._dhcp_ports = dhcp_ports
        self._binder = binder
        self._dns_domain = dns_domain

    def create(self, caller: Caller, bodies: Sequence[PortCreate]) -> list[dict[str, Any]]:
        """All or none. NotFound for network or group, NoAddressLeft, QuotaExceeded, Conflict."""
        wanted = [(body, caller.owner_of(owner_named(body), "create_port")) for body in bodies]
        with self._database.write() as tx:
            for owner in sorted({owner for _, owner in wanted}):
                amount = sum(1 for _, other in wanted if other == owner)
                self._quotas.take(tx, owner, port=amount)
                self._groups.ensure_default(tx, owner)
            networks = {
                network_id: network_seen(tx, caller, network_id, lock=True)
                for network_id in sorted({body.network_id for body in bodies})
            }
            made = [
                self._insert(tx, caller, body, owner, networks[body.network_id])
                for body, owner in wanted
            ]
            return self._views(tx, caller, made)

    def find(self, caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        visible = port_store.port_visible(caller.project_id, sees_all=caller.sees_all)
        with self._database.read() as tx:
            return self._views(tx, caller, port_store.port_list(tx, query, visible))

    def show(self, caller: Caller, port_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            return self._views(tx, caller, [port_seen(tx, caller, port_id)[0]])[0]

    def update(self, caller: Caller, port_id: str, body: PortUpdate) -> dict[str, Any]:
        """Forbidden, NoAddressLeft, Conflict for what another port has, Invalid."""
        with self._database.write() as tx:
            port, network = port_seen(tx, caller, port_id, lock=True)
            caller.may_change("update_port", port)
            _check_attributes(caller, "update_port", body, port.project_id, network)
            if body.device_id and port.device_id not in ("", body.device_id):
                raise InUse(
                    type="PortInUse", kind="Port", id=port.id, reason="another device has it"
                )
            _check_service_port(port, body)
            values = _values(body, port)
            if "mac_address" in given(body, "mac_address"):
                values["mac_address"] = checked_mac(str(body.mac_address))
                _check_unbound(port, values["mac_address"])
            values |= port_options.checked_pairs(body, values.get("mac_address", port.mac_address))
            port_options.check_security(
                values.get("port_security_enabled", port.port_security_enabled),
                values.get("allowed_address_pairs", port.allowed_address_pairs),
            )
            self._allocator.port_update(tx, port, values)
            self._readdress(tx, port, network, body)
            self._set_groups(tx, caller, port, body, values)
            changed = port_store.port_get(tx, port.id)
            assert changed is not None  # its row is locked
            self._ensure_dhcp(tx, network, changed)
            return self._views(tx, caller, [changed])[0]

    def delete(self, caller: Caller, port_id: str) -> None:
        with self._database.write() as tx:
            port, _ = port_seen(tx, caller, port_id, lock=True)
            caller.may_change("delete_port", port)
            if port.device_owner in _SERVICE_OWNERS:
                raise Conflict(
                    type="ServicePortInUse",
                    reason=f"Port {port.id} cannot be deleted directly via the port API: has "
                    f"device owner {port.device_owner}.",
                )
            router_store.floating_release(tx, port.id, (), clock.now())
            store.row_delete(tx, ports, port.id)

    def _insert(
        self, tx: Transaction, caller: Caller, body: PortCreate, owner: str, network: Network
    ) -> Port:
        if not (caller.is_privileged or may_plug(tx, network, owner)):
            raise Forbidden(action="create_port")
        _check_attributes(caller, "create_port", body, owner, network)
        values = {
            **store.standard_values(owner),
            **service_ports.DEFAULTS,
            "network_id": network.id,
            "port_security_enabled": network.port_security_enabled,
            **_values(body, None),
        }
        mac = given(body, "mac_address").get("mac_address")
        if not self._allocator.port_insert(tx, values, checked_mac(mac) if mac else None):
            raise Conflict(reason=f"Port {values['id']} already exists.")
        store.tags_given(tx, values["id"], body)
        made = port_store.port_get(tx, values["id"])
        assert made is not None
        pairs = port_options.checked_pairs(body, made.mac_address)
        if pairs["allowed_address_pairs"] if pairs else ():
            port_options.check_security(made.port_security_enabled, pairs["allowed_address_pairs"])
            store.row_set(tx, ports, made.id, pairs)
        subnets = store.subnets_of(tx, [network.id])[network.id]
        wanted = given(body, "fixed_ips").get("fixed_ips")
        self._allocator.assign(tx, made, subnets, wanted)
        self._set_groups(tx, caller, made, body, values, is_new=True)
        found = port_store.port_get(tx, made.id)
        assert found is not None
        self._ensure_dhcp(tx, network, found)
        return found

    def _readdress(self, tx: Transaction, before: Port, network: Network, body: PortUpdate) -> None:
        """Give the port the addresses that the request wants and those that follow from a new
        MAC.
        """
        asked = given(body, "fixed_ips", "mac_address")
        subnets = store.subnets_of(tx, [network.id])[network.id]
        automatic = {subnet.id for subnet in subnets if subnet.is_automatic}
        if "fixed_ips" in asked:
            wanted = kept(asked["fixed_ips"] or (), before.fixed_ips)
        elif "mac_address" in asked and automatic:
            wanted = [
                FixedIpBody(subnet_id=fixed.subnet_id, ip_address=address_of(fixed.number))
                for fixed in before.fixed_ips
                if fixed.subnet_id not in automatic
            ]
        else:
            return
        changed = port_store.port_get(tx, before.id)
        assert changed is not None  # its row is locked
        port_store.addresses_delete(tx, before.id)
        self._allocator.assign(tx, changed, subnets, wanted)
        after = port_store.port_get(tx, before.id)
        left = [fixed.number for fixed in after.fixed_ips] if after else []
        router_store.floating_release(tx, before.id, left, clock.now())

    def _set_groups(
        self,
        tx: Transaction,
        caller: Caller,
        port: Port,
        body: PortUpdate,
        values: Mapping[str, Any],
        *,
        is_new: bool = False,
    ) -> None:
        is_secured = values.get("port_security_enabled", port.port_security_enabled)
        asked = given(body, "security_groups")
        if "security_groups" in asked:
            wanted = sorted(set(asked["security_groups"] or ()))
        elif is_new and is_secured and not port.device_owner.startswith("network:"):
            wanted = [self._groups.default_id(port.project_id)]
        else:
            wanted = list(port.security_groups)
        if wanted and not is_secured:
            raise Conflict(
                type="PortSecurityPortHasSecurityGroup",
                reason="A port without port security takes no security groups.",
            )
        if wanted == list(port.security_groups):
            return
        self._groups.check_usable(tx, caller, port.project_id, wanted)
        if not port_store.port_groups_replace(tx, port.id, wanted):
            raise Conflict(reason="A security group was deleted meanwhile.")

    def _ensure_dhcp(self, tx: Transaction, network: Network, port: Port) -> None:
        """A bound port needs its subnets' DHCP addresses."""
        if port.host:
            needed = {fixed.subnet_id for fixed in port.fixed_ips}
            members = store.subnets_of(tx, [network.id])[network.id]
            self._dhcp_ports.ensure(
                tx, network, [subnet for subnet in members if subnet.id in needed]
            )

    def _views(
        self, tx: Transaction, caller: Caller, found: Sequence[Port]
    ) -> list[dict[str, Any]]:
        tags = store.tags_of(tx, [port.id for port in found])
        details = self._binder.vif_details(tx, found) if caller.is_privileged else None
        return [
            port_view(
                port,
                tags[port.id],
                dns_domain=self._dns_domain,
                details=None if details is None else details.get(port.id, {}),
            )
            for port in found
        ]


def port_seen(
    tx: Transaction, caller: Caller, port_id: str, *, lock: bool = False
) -> tuple[Port, Network]:
    """The port and its network, locked on demand, if the caller may see the port. NotFound."""
    port = port_store.port_get(tx, port_id)
    network = store.network_get(tx, port.network_id, lock=lock) if port else None
    if lock:
        port = port_store.port_get(tx, port_id, lock=True)
    if port is None or network is None or not (
        caller.sees_all or caller.project_id in (port.project_id, network.project_id)
    ):  # fmt: skip
        raise NotFound(kind="Port", id=port_id)
    return port, network


def _check_attributes(
    caller: Caller, action: str, body: PortUpdate, project_id: str, network: Network
) -> None:
    """Policy of the attributes that not everybody may set."""
    target = {"project_id": project_id, "network_project_id": network.project_id}
    used = given(
        body, "mac_address", "fixed_ips", "port_security_enabled", "host", "profile",
        "device_owner", "allowed_address_pairs",
    )  # fmt: skip
    if used.get("allowed_address_pairs"):
        caller.check(f"{action}:allowed_address_pairs", target)
    if "mac_address" in used:
        caller.check(f"{action}:mac_address", target)
    if any(one.ip_address for one in used.get("fixed_ips") or ()):
        caller.check(f"{action}:fixed_ips:ip_address", target)
    if "port_security_enabled" in used:
        caller.check(f"{action}:port_security_enabled", target)
    if used.get("host"):
        caller.check(f"{action}:binding:host_id", target)
    if used.get("profile"):
        caller.check(f"{action}:binding:profile", target)
    if used.get("device_owner", "").startswith("network:"):
        caller.check(f"{action}:device_owner", target)


def _values(body: PortUpdate, current: Port | None) -> dict[str, Any]:
    """The columns that ``body`` sets."""
    values = given(body, *_PLAIN)
    owner = values.get("device_owner", "")
    if owner in _SERVICE_OWNERS and owner != (current.device_owner if current else ""):
        raise Invalid(
            type="InvalidInput", reason=f"A port of owner {owner} is made by what it serves."
        )
    binding = given(body, "host", "profile")
    if "host" in binding:
        values["host"] = binding["host"] or ""
    if "profile" in binding:
        values["profile"] = dict(binding["profile"] or {})
        if len(msgspec.json.encode(values["profile"])) > _PROFILE_LIMIT:
            raise Invalid(
                type="InvalidInput",
                reason=f"binding:profile is longer than {_PROFILE_LIMIT} characters.",
            )
        values["awaited_on"] = _awaited_on(values["profile"])
    values["device_index"] = _device_index(values, current)
    return values | port_options.checked_options(body, current)


def _awaited_on(profile: Mapping[str, Any]) -> str:
    host = profile.get(MIGRATION_KEY) or ""
    if not isinstance(host, str) or len(host) > _HOST_LIMIT:
        raise Invalid(type="InvalidInput", reason=f"{MIGRATION_KEY} must be the name of a host.")
    return host


def _check_service_port(port: Port, body: PortUpdate) -> None:
    """Conflict where a port would lose what the service made it for."""
    if port.device_owner not in _SERVICE_OWNERS:
        return
    kept = {
        "device_id": port.device_id,
        "device_owner": port.device_owner,
        "mac_address": port.mac_address,
        "host": port.host,
    }
    changed = [name for name, value in given(body, *kept).items() if value != kept[name]]
    if changed or "fixed_ips" in given(body, "fixed_ips"):
        raise Conflict(
            type="ServicePortInUse",
            reason=f"Port {port.id} cannot be changed so: it has device owner {port.device_owner}.",
        )


def _check_unbound(port: Port, mac: str) -> None:
    """Conflict: a guest keeps the MAC that it was started with."""
    if port.host and mac != port.mac_address:
        raise Conflict(
            type="PortBound",
            reason=f"Unable to complete operation on port {port.id}, port is already bound, port "
            f"type: bridge, old_mac {port.mac_address}, new_mac {mac}.",
        )


def _device_index(values: Mapping[str, Any], current: Port | None) -> int | None:
    profile = values.get("profile", current.profile if current else {})
    device = values.get("device_id", current.device_id if current else "")
    index = profile.get(INDEX_KEY)
    if index is None or not device:
        return None
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < 2**16:
        raise Invalid(type="InvalidInput", reason=f"{INDEX_KEY} must be a small whole number.")
    return index
