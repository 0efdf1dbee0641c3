"""All that one host has to have, as JSON: ``hostnet/wiring.py``'s ``HostWiring``, made here.

A host reports and asks in one request. The report is its sign of life. Who asks after a gateway
host has fallen silent is told so, tries whether its routers answer, and says in the next report if
not: that gives them to another. The number of queries does not depend on how much there is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from ipaddress import ip_network

from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import group_store, host_store, port_store, router_store, store
from minicloud.network.binding import Binder, Json, port_wiring
from minicloud.network.host_store import Elsewhere, HostReport, HostRow
from minicloud.network.ipam import address_of
from minicloud.network.records import Group, Port, PortForwarding, Rule, Subnet
from minicloud.network.router_placement import moves, to_try
from minicloud.network.router_store import Routed


class HostWirings:
    """``down_after_s``: how long a gateway host may be silent before its routers move.

    ``moved``: told when some did.
    """

    def __init__(
        self,
        database: Database,
        binder: Binder,
        *,
        down_after_s: float,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._binder = binder
        self._down_after_s = down_after_s
        self._moved = moved

    def report(
        self, host: str, report: HostReport, unreachable: Collection[str] | None = None
    ) -> Json:
        """Note that the host lives, and answer what it has to have, and as ``silent`` the
        addresses of routers that it is to try. ``unreachable``: those that it has tried in vain.
        """
        now = clock.now()
        with self._database.write() as tx:
            host_store.host_seen(tx, host, now, report)
            routers, hosts = host_store.routers_placed(tx), host_store.host_list(tx)
            changes = moves(
                routers,
                hosts,
                now=now,
                down_after_s=self._down_after_s,
                unreachable=unreachable,
            )
            done = [
                host_store.router_move(tx, router.id, router.host, chosen)
                for router, chosen in changes
            ]
        if any(done):
            self._moved()
        # Early enough that the answer is there when it is needed.
        silent = to_try(routers, hosts, now=now, silent_s=self._down_after_s / 2)
        return self.show(host) | {"silent": sorted(silent.values())}

    def show(self, host: str) -> Json:
        with self._database.read() as tx:
            return self._wiring(tx, host)

    def _wiring(self, tx: Transaction, host: str) -> Json:
        hosts = {row.name: row for row in host_store.host_list(tx)}
        bound = port_store.port_list_of_host(tx, host)
        routed = router_store.routed(tx, router_store.router_ids_of_host(tx, host))
        legs = [port for each in routed for port in _legs(each)]
        networks = store.networks_of(tx, {port.network_id for port in (*bound, *legs)})
        subnets = store.subnets_of(tx, networks)
        groups = group_store.groups_of(
            tx, {name for port in bound for name in port.security_groups}
        )
        remotes = _remotes(host_store.ports_elsewhere(tx, networks, host), hosts)
        wired = self._binder.networks(tx, networks, subnets)
        return {
            "networks": [
                {**wiring, "remotes": [] if networks[name].external else remotes.get(name, [])}
                for name, wiring in sorted(wired.items())
            ],
            "ports": [
                port_wiring(port, networks[port.network_id]) | {"awaited": port.host != host}
                for port in bound
            ],
            "groups": [_group(group) for group in groups],
            "sets": _sets(tx, groups),
            "routers": [_router(each, subnets) for each in routed],
            "reach": _reach(host_store.addresses_outside(tx), hosts, host),
            "tunnel_ip": hosts[host].tunnel_address if host in hosts else "",
        }


def _legs(each: Routed) -> list[Port]:
    return [*each.interfaces, *([each.gateway] if each.gateway else [])]


def _remotes(elsewhere: Iterable[Elsewhere], hosts: Mapping[str, HostRow]) -> dict[str, list[Json]]:
    """network id -> its ports on other hosts."""
    ports: dict[str, Json] = {}
    found: dict[str, list[Json]] = {}
    for row in elsewhere:
        remote = ports.get(row.port_id)
        if remote is None:
            host = hosts.get(row.host)
            remote = ports[row.port_id] = {
                "mac": row.mac,
                "host_ip": host.tunnel_address if host else "",
                "addresses": [],
                "device_id": row.device_id,
                "project_id": row.project_id,
            }
            found.setdefault(row.network_id, []).append(remote)
        if row.number is not None:
            remote["addresses"].append(address_of(row.number))
    return found


def _group(group: Group) -> Json:
    return {
        "id": group.id,
        "stateful": group.stateful,
        "rules": [_rule(rule) for rule in group.rules],
    }


def _rule(rule: Rule) -> Json:
    return {
        "direction": rule.direction,
        "ethertype": rule.ethertype,
        "protocol": rule.protocol,
        "port_range_min": rule.port_range_min,
        "port_range_max": rule.port_range_max,
        "remote_ip_prefix": rule.remote_ip_prefix,
        "remote_set": rule.remote_group_id or rule.remote_address_group_id,
    }


def _sets(tx: Transaction, groups: Sequence[Group]) -> list[Json]:
    """The addresses behind every group that a rule names."""
    rules = [rule for group in groups for rule in group.rules]
    remote = {rule.remote_group_id for rule in rules if rule.remote_group_id}
    listed = {rule.remote_address_group_id for rule in rules if rule.remote_address_group_id}
    members = host_store.members_of(tx, remote)
    pairs = host_store.pairs_of_members(tx, remote)
    sets: dict[str, Sequence[str]] = {
        name: sorted({address_of(number) for _, number in members[name]} | set(pairs[name]))
        for name in remote
    }
    sets.update(host_store.address_groups_of(tx, listed))
    return [{"id": name, "addresses": list(sets[name])} for name in sorted(sets)]


def _router(each: Routed, subnets: Mapping[str, Sequence[Subnet]]) -> Json:
    router, gateway = each.router, each.gateway
    external = subnets.get(gateway.network_id, ()) if gateway else ()
    held = {fixed.subnet_id for fixed in gateway.fixed_ips} if gateway else set()
    return {
        "id": router.id,
        "up": router.admin_state_up,
        "legs": [_leg(port, subnets) for port in each.interfaces],
        "gateway": _leg(gateway, subnets) if gateway else None,
        "next_hops": [
            subnet.gateway_ip for subnet in external if subnet.gateway_ip and subnet.id in held
        ],
        "snat": router.enable_snat,
        "routes": [list(route) for route in router.routes],
        "floating_ips": [
            [address_of(item.floating_number), address_of(item.fixed_number)]
            for item in each.floating_ips
            if item.fixed_number is not None
        ],
        "forwardings": [
            _forwarding(item, address_of(holder.floating_number))
            for item in each.forwardings
            for holder in each.floating_ips
            if holder.id == item.floatingip_id
        ],
    }


def _leg(port: Port, subnets: Mapping[str, Sequence[Subnet]]) -> Json:
    lengths = {
        subnet.id: ip_network(subnet.cidr, strict=False).prefixlen
        for subnet in subnets.get(port.network_id, ())
    }
    return {
        "port_id": port.id,
        "network_id": port.network_id,
        "mac": port.mac_address,
        "addresses": [
            f"{address_of(fixed.number)}/{lengths[fixed.subnet_id]}" for fixed in port.fixed_ips
        ],
    }


def _forwarding(item: PortForwarding, floating_ip: str) -> Json:
    return {
        "floating_ip": floating_ip,
        "protocol": item.protocol,
        "external_port": _span(item.external_first, item.external_last),
        "internal_ip": address_of(item.internal_number),
        "internal_port": _span(item.internal_first, item.internal_last),
    }


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _reach(
    outside: Iterable[tuple[str, int, str]], hosts: Mapping[str, HostRow], own: str
) -> list[list[str]]:
    found = {
        address_of(number): hosts[host].tunnel_address
        for _, number, host in outside
        if host != own and host in hosts and hosts[host].tunnel_address
    }
    return [[address, found[address]] for address in sorted(found)]
