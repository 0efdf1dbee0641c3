"""What a port is given: a row with a MAC of its own, and addresses.

``ipam.py`` proposes, the tables' constraints decide, and what lost is proposed again. The callers
hold their network's lock, so that losing is rare; nothing here relies on it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from minicloud.domain.errors import Conflict, Invalid, NoAddressLeft
from minicloud.kit import clock
from minicloud.kit.db import Transaction
from minicloud.network import ipam, port_store, store
from minicloud.network.models import ports
from minicloud.network.records import FLOATING_OWNER, INTERFACE_OWNER, FixedIp, Port, Subnet
from minicloud.network.schemas import FixedIpBody

_TRIES = 16
_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")


def pools_of(subnet: Subnet) -> list[ipam.Pool]:
    return [
        ipam.Pool(ipam.number_of(first), ipam.number_of(last))
        for first, last in subnet.allocation_pools
    ]


def checked_mac(text: str) -> str:
    """``text`` in lower case. Invalid unless it is a MAC that one interface may have."""
    mac = text.lower().replace("-", ":")
    if not _MAC.fullmatch(mac) or mac == "00:00:00:00:00:00":
        raise Invalid(
            type="InvalidInput", reason=f"'{text}' is not a valid MAC address of an interface."
        )
    return mac


class Allocator:
    """``mac_prefix``: the first three octets of the MACs it makes up."""

    def __init__(self, mac_prefix: str) -> None:
        self._mac_prefix = mac_prefix
        self._rng = random.Random()  # noqa: S311 - addresses are no secret

    def port_insert(self, tx: Transaction, values: Mapping[str, Any], mac: str | None) -> bool:
        """Insert a port with ``mac`` or a new one; False if its id exists already.

        Conflict for a MAC or a device's index in use, or a network that is gone.
        """
        for _ in range(_TRIES):
            chosen = mac or ipam.new_mac(self._mac_prefix, self._rng)
            if store.row_insert(tx, ports, {**values, "mac_address": chosen}):
                return True
            if _exists(tx, ports.c.id == values["id"]):
                return False
            index = values["device_index"]
            if index is not None and _exists(
                tx, ports.c.device_id == values["device_id"], ports.c.device_index == index
            ):
                raise Conflict(
                    type="PortInUse",
                    reason=f"Device {values['device_id']} has a port with index {index} already.",
                )
            if mac and _exists(tx, *_mac_in(values["network_id"], mac)):
                break
        raise Conflict(
            type="MacAddressInUse",
            reason=f"No port can be made on network {values['network_id']}: "
            f"the MAC address {mac or ''} is in use.",
        )

    def port_update(self, tx: Transaction, port: Port, values: Mapping[str, Any]) -> None:
        """Change a port's columns. Conflict for a MAC or a device's index in use."""
        try:
            with tx.begin_nested():
                store.row_update(tx, ports, port.id, clock.now(), values)
        except sa.exc.IntegrityError:
            mac = values.get("mac_address", port.mac_address)
            if mac != port.mac_address and _exists(tx, *_mac_in(port.network_id, mac)):
                raise Conflict(
                    type="MacAddressInUse",
                    reason=f"The MAC address {values['mac_address']} is in use.",
                ) from None
            raise Conflict(
                type="PortInUse", reason="The device has a port with this index already."
            ) from None

    def assign(
        self,
        tx: Transaction,
        port: Port,
        subnets: Sequence[Subnet],
        wanted: Sequence[FixedIpBody] | None,
    ) -> None:
        """Give ``wanted`` addresses to the port; where that is None, one of any IPv4 subnet and
        one of any IPv6 subnet. Of subnets in which addresses follow from the MAC it gets its own
        besides, unless it is a router's.

        NoAddressLeft; Conflict for one in use; Invalid for one that is in no subnet.
        """
        if wanted is None:
            position = self._assign_any(tx, port, subnets)
        else:
            for position, one in enumerate(wanted):
                self._assign_one(tx, port, subnets, one, position)
            position = len(wanted)
        if port.device_owner in (INTERFACE_OWNER, FLOATING_OWNER):
            return
        named = {_subnet_of(one, subnets).id for one in wanted or ()}
        for subnet in subnets:
            if subnet.is_automatic and subnet.id not in named:
                self._take(tx, port, subnet, position)
                position += 1

    def _assign_any(self, tx: Transaction, port: Port, subnets: Sequence[Subnet]) -> int:
        """One address of each IP version that has subnets; how many that were."""
        given = 0
        for version in (4, 6):
            fitting = [
                subnet
                for subnet in subnets
                if subnet.ip_version == version
                and not subnet.is_automatic
                and (not subnet.service_types or port.device_owner in subnet.service_types)
            ]
            if not fitting:
                continue
            if not any(self._take(tx, port, subnet, given) for subnet in fitting):
                raise NoAddressLeft(network_id=port.network_id)
            given += 1
        return given

    def _assign_one(
        self,
        tx: Transaction,
        port: Port,
        subnets: Sequence[Subnet],
        wanted: FixedIpBody,
        position: int,
    ) -> None:
        subnet = _subnet_of(wanted, subnets)
        if wanted.ip_address is None:
            if not self._take(tx, port, subnet, position):
                raise NoAddressLeft(network_id=port.network_id)
            return
        number = ipam.number_of(wanted.ip_address)
        is_router = port.device_owner == INTERFACE_OWNER
        if subnet.is_automatic and not is_router and number != _automatic(subnet, port):
            raise Invalid(
                type="AllocationOnAutoAddressSubnet",
                reason=f"IPv6 address {wanted.ip_address} cannot be directly assigned to a port "
                f"on subnet {subnet.id} as the subnet is configured for automatic addresses",
            )
        is_gateway = ipam.address_of(number) == subnet.gateway_ip
        may_be_gateway = port.device_owner.startswith("network:")
        fixed = FixedIp(subnet.id, number)
        if (is_gateway and not may_be_gateway) or not port_store.address_insert(
            tx, port.id, fixed, position
        ):
            raise Conflict(
                type="IpAddressAlreadyAllocated",
                reason=f"IP address {wanted.ip_address} already allocated in subnet {subnet.id}",
            )

    def add(self, tx: Transaction, port: Port, subnet: Subnet, wanted: FixedIpBody) -> None:
        """Give the port one address more. Conflict, Invalid, NoAddressLeft as ``assign``."""
        self._assign_one(tx, port, [subnet], wanted, len(port.fixed_ips))

    def take(self, tx: Transaction, port: Port, subnet: Subnet) -> None:
        """Give the port one address more, of ``subnet``. NoAddressLeft."""
        if not self._take(tx, port, subnet, len(port.fixed_ips)):
            raise NoAddressLeft(network_id=subnet.network_id)

    def _take(self, tx: Transaction, port: Port, subnet: Subnet, position: int) -> bool:
        port_id = port.id
        if subnet.is_automatic and port.device_owner != INTERFACE_OWNER:
            fixed = FixedIp(subnet.id, _automatic(subnet, port))
            return port_store.address_insert(tx, port_id, fixed, position)
        pools = pools_of(subnet)
        for window in ipam.windows(pools, self._rng):
            taken = port_store.addresses_taken(tx, subnet.id, window)
            number = ipam.pick(window, taken, self._rng)
            if number is not None and port_store.address_insert(
                tx, port_id, FixedIp(subnet.id, number), position
            ):
                return True
        for _ in range(_TRIES):
            number = ipam.first_gap(pools, port_store.addresses_in_order(tx, subnet.id))
            if number is None:
                return False
            if port_store.address_insert(tx, port_id, FixedIp(subnet.id, number), position):
                return True
        return False


def kept(wanted: Sequence[FixedIpBody], have: Sequence[FixedIp]) -> list[FixedIpBody]:
    """``wanted`` with the addresses filled in that the port has in the subnets it names."""
    named = {ipam.number_of(one.ip_address) for one in wanted if one.ip_address}
    spare = [fixed for fixed in have if fixed.number not in named]
    filled = []
    for one in wanted:
        match = next((fixed for fixed in spare if fixed.subnet_id == one.subnet_id), None)
        if one.ip_address is None and match is not None:
            spare.remove(match)
            one = FixedIpBody(subnet_id=one.subnet_id, ip_address=ipam.address_of(match.number))
        filled.append(one)
    return filled


def _subnet_of(wanted: FixedIpBody, subnets: Sequence[Subnet]) -> Subnet:
    """The subnet that the address is to come from. Invalid."""
    if wanted.subnet_id is None and wanted.ip_address is None:
        raise Invalid(
            type="InvalidInput", reason="An entry of fixed_ips needs subnet_id or ip_address."
        )
    for subnet in subnets:
        if wanted.subnet_id not in (None, subnet.id):
            continue
        if wanted.ip_address is None:
            return subnet
        hosts = ipam.hosts_of(ipam.parse_cidr(subnet.cidr))
        if hosts.first <= ipam.number_of(wanted.ip_address) <= hosts.last:
            return subnet
    if wanted.subnet_id is not None and all(wanted.subnet_id != one.id for one in subnets):
        raise Invalid(
            type="InvalidInput",
            reason=f"Subnet {wanted.subnet_id} does not belong to the port's network.",
        )
    kind = "InvalidIpForNetwork" if wanted.subnet_id is None else "InvalidIpForSubnet"
    raise Invalid(
        type=kind, reason=f"IP address {wanted.ip_address} is not a valid IP for the subnet."
    )


def _automatic(subnet: Subnet, port: Port) -> int:
    return ipam.eui64(ipam.parse_cidr(subnet.cidr), port.mac_address)


def _mac_in(network_id: str, mac: str) -> tuple[sa.ColumnElement[bool], ...]:
    return ports.c.network_id == network_id, ports.c.mac_address == mac


def _exists(tx: Transaction, *clauses: sa.ColumnElement[bool]) -> bool:
    return tx.execute(sa.select(ports.c.id).where(*clauses).limit(1)).first() is not None
