"""Request bodies of routers, floating IPs and port forwardings, to the letter of Network v2.0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from minicloud.network.schemas import (
    Address,
    Bulk,
    Description,
    DnsLabel,
    FixedIpBody,
    HostRoute,
    Id,
    Name,
    Request,
    Tags,
    Update,
)

Flag = bool | UnsetType | None
Hints = Annotated[Sequence[Name], Meta(max_length=10)]


class GatewayBody(Request, frozen=True, kw_only=True):
    network_id: Id | None = None
    enable_snat: bool | UnsetType = UNSET
    external_fixed_ips: Annotated[Sequence[FixedIpBody], Meta(max_length=32)] | UnsetType | None = (
        UNSET
    )
    qos_policy_id: UnsetType | None = UNSET


class RouterUpdate(Update, frozen=True, kw_only=True):
    admin_state_up: bool | UnsetType = UNSET
    external_gateway_info: GatewayBody | UnsetType | None = UNSET
    routes: Annotated[Sequence[HostRoute], Meta(max_length=1000)] | UnsetType | None = UNSET
    distributed: Flag = UNSET
    ha: Flag = UNSET


class RouterCreate(RouterUpdate, frozen=True, kw_only=True):
    tags: Tags | UnsetType = UNSET
    project_id: Name | None = None
    tenant_id: Name | None = None
    availability_zone_hints: Hints | UnsetType = UNSET
    flavor_id: UnsetType | None = UNSET


class RouterPost(Request, frozen=True, kw_only=True):
    router: RouterCreate | UnsetType = UNSET
    routers: Annotated[Sequence[RouterCreate], Bulk] | UnsetType = UNSET


class InterfaceBody(Request, frozen=True, kw_only=True):
    subnet_id: Id | None = None
    port_id: Id | None = None


class RoutesBody(Request, frozen=True, kw_only=True):
    routes: Annotated[Sequence[HostRoute], Meta(max_length=1000)]


# -- floating IPs --------------------------------------------------------------------------------
class FloatingIpUpdate(Request, frozen=True, kw_only=True):
    description: Description | UnsetType = UNSET
    port_id: Id | UnsetType | None = UNSET
    fixed_ip_address: Address | UnsetType | None = UNSET
    qos_policy_id: UnsetType | None = UNSET


class FloatingIpCreate(FloatingIpUpdate, frozen=True, kw_only=True):
    tags: Tags | UnsetType = UNSET
    project_id: Name | None = None
    tenant_id: Name | None = None
    floating_network_id: Id
    floating_ip_address: Address | UnsetType | None = UNSET
    subnet_id: Id | UnsetType | None = UNSET
    dns_name: DnsLabel | UnsetType = UNSET
    dns_domain: Name | UnsetType = UNSET


class FloatingIpPost(Request, frozen=True, kw_only=True):
    floatingip: FloatingIpCreate | UnsetType = UNSET
    floatingips: Annotated[Sequence[FloatingIpCreate], Bulk] | UnsetType = UNSET


# -- port forwardings ----------------------------------------------------------------------------
PortNumber = Annotated[int, Meta(ge=1, le=65535)]
PortRange = Annotated[str, Meta(pattern=r"^[0-9]{1,5}(:[0-9]{1,5})?\Z")]


class ForwardingUpdate(Request, frozen=True, kw_only=True):
    description: Description | UnsetType = UNSET
    protocol: Literal["tcp", "udp"] | UnsetType = UNSET
    internal_port_id: Id | UnsetType = UNSET
    internal_ip_address: Address | UnsetType | None = UNSET
    internal_port: PortNumber | UnsetType | None = UNSET
    external_port: PortNumber | UnsetType | None = UNSET
    internal_port_range: PortRange | UnsetType | None = UNSET
    external_port_range: PortRange | UnsetType | None = UNSET


class ForwardingPost(Request, frozen=True, kw_only=True):
    port_forwarding: ForwardingUpdate | UnsetType = UNSET
    port_forwardings: Annotated[Sequence[ForwardingUpdate], Bulk] | UnsetType = UNSET
