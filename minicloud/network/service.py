"""The network service's logic as one object with a part for each noun. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from minicloud.kit.db import Database
from minicloud.network.address_groups import AddressGroups
from minicloud.network.address_scopes import AddressScopes
from minicloud.network.agents import Agents
from minicloud.network.allocation import Allocator
from minicloud.network.auto_topology import AutoTopology
from minicloud.network.binding import Binder
from minicloud.network.default_rules import DefaultRules
from minicloud.network.dhcp import DhcpPorts
from minicloud.network.floating_ips import FloatingIps
from minicloud.network.forwardings import Forwardings
from minicloud.network.gateways import Gateways
from minicloud.network.groups import Groups
from minicloud.network.host_wiring import HostWirings
from minicloud.network.ip_availability import IpAvailability
from minicloud.network.networks import Networks
from minicloud.network.ports import Ports
from minicloud.network.quotas import Quotas
from minicloud.network.rbac import Rbac
from minicloud.network.router_interfaces import RouterInterfaces
from minicloud.network.routers import Routers
from minicloud.network.service_ports import ServicePorts
from minicloud.network.subnet_pools import SubnetPools
from minicloud.network.subnets import Subnets
from minicloud.network.tagged import Tags


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator decides; the fields are those of the [network] options."""

    quota: Mapping[str, int]
    """Resource as ``quotas.TABLES`` calls it -> limit; -1, or absent: none."""
    mtu: int = 1450
    physical_networks: Sequence[str] = ("public",)
    mac_prefix: str = "fa:16:3e"
    dns_domain: str = "minicloud.local"
    dns_servers: Sequence[str] = ()
    host_down_s: float = 15.0


class NetworkService:
    """``routers_moved``: called when routers went from one host to another; ``servers_changed``:
    told the ids of servers whose floating IPs changed.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        routers_moved: Callable[[], None] = lambda: None,
        servers_changed: Callable[[Collection[str]], None] = lambda _ids: None,
    ) -> None:
        self._database = database
        allocator = Allocator(settings.mac_prefix.lower())
        service_ports = ServicePorts(allocator)
        dhcp_ports = DhcpPorts(service_ports)
        self.quotas = Quotas(database, settings.quota)
        self.tags = Tags(database)
        self.networks = Networks(
            database,
            self.quotas,
            mtu=settings.mtu,
            physical_networks=settings.physical_networks,
        )
        self.subnets = Subnets(database, self.quotas, service_ports, dhcp_ports)
        self.groups = Groups(database, self.quotas)
        self.rbac = Rbac(database, self.quotas)
        self.address_scopes = AddressScopes(database)
        self.subnet_pools = SubnetPools(database, self.quotas)
        self.default_rules = DefaultRules(database)
        self.address_groups = AddressGroups(database)
        self.routers = Routers(database, self.quotas, Gateways(service_ports))
        self.router_interfaces = RouterInterfaces(database, service_ports)
        self.floating_ips = FloatingIps(database, self.quotas, service_ports, servers_changed)
        self.forwardings = Forwardings(database)
        self.agents = Agents(database, alive_s=settings.host_down_s)
        self.ip_availability = IpAvailability(database)
        self.auto_topology = AutoTopology(
            database,
            self.quotas,
            self.networks,
            self.subnets,
            self.routers,
            self.router_interfaces,
        )
        binder = Binder(settings.dns_servers)
        self.host_wirings = HostWirings(
            database, binder, down_after_s=settings.host_down_s, moved=routers_moved
        )
        self.ports = Ports(
            database,
            self.quotas,
            self.groups,
            allocator,
            dhcp_ports,
            binder,
            dns_domain=settings.dns_domain,
        )
