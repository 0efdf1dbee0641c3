"""Networks, ports and groups for tests of a host's networking; the fixtures are in conftest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from private_host import Guest

from minicloud.domain import ids
from minicloud.hostnet.wiring import (
    GroupWiring,
    HostWiring,
    NetworkWiring,
    PortWiring,
    RuleWiring,
    SubnetWiring,
)

Plug = Callable[..., Guest]

OPEN = GroupWiring(
    id=ids.derive("group", "open"),
    rules=[
        RuleWiring(direction=direction, ethertype=ethertype)
        for direction in ("ingress", "egress")
        for ethertype in ("IPv4", "IPv6")
    ],
)
"""A security group that lets everything pass."""


def a_network(number: int, cidr: str = "", **subnet: object) -> NetworkWiring:
    cidr = cidr or f"10.20.{number}.0/24"
    prefix = cidr.rpartition(".")[0]
    values = {"gateway_ip": f"{prefix}.1", "dhcp_ip": f"{prefix}.2", **subnet}
    return NetworkWiring(
        id=ids.derive("network", number),
        mtu=1450,
        subnets=[
            msgspec.convert(
                {"id": ids.derive("subnet", number), "cidr": cidr, **values}, SubnetWiring
            )
        ],
    )


def a_port(
    network: NetworkWiring,
    host: int,
    name: str = "",
    mac: int = 0,
    groups: Sequence[str] = (OPEN.id,),
) -> PortWiring:
    subnet = network.subnets[0]
    return PortWiring(
        id=ids.derive("port", network.id, host, mac),
        mac=f"fa:16:3e:00:{int(network.id[:2], 16):02x}:{mac or host:02x}",
        network_id=network.id,
        device_id=ids.derive("server", network.id, host),
        project_id="a-project",
        fixed_ips=[(subnet.id, f"{subnet.cidr.rpartition('.')[0]}.{host}")],
        hostname=name,
        groups=list(groups),
    )


def wiring(*ports: tuple[NetworkWiring, PortWiring]) -> HostWiring:
    networks = {network.id: network for network, _ in ports}
    return HostWiring(
        networks=list(networks.values()), ports=[port for _, port in ports], groups=[OPEN]
    )


def group(name: str, *rules: RuleWiring) -> GroupWiring:
    return GroupWiring(id=ids.derive("group", name), rules=list(rules))


def rule(
    direction: str, protocol: str | None = None, first: int | None = None, last: int | None = None
) -> RuleWiring:
    return RuleWiring(
        direction=direction,
        ethertype="IPv4",
        protocol=protocol,
        port_range_min=first,
        port_range_max=last if last is not None else first,
    )


def ingress(
    protocol: str | None = None, port: int | None = None, remote_set: str | None = None
) -> RuleWiring:
    return msgspec.structs.replace(rule("ingress", protocol, port), remote_set=remote_set)
