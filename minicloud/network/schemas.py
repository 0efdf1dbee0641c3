"""Request bodies, to the letter of Network v2.0. What is absent is UNSET, never a default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import UNSET, Meta, UnsetType

_PRINTABLE = r"^[^\x00-\x1f\x7f]*\Z"
_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z"
Name = Annotated[str, Meta(max_length=255, pattern=_PRINTABLE)]
Description = Annotated[str, Meta(max_length=255, pattern=_LINES)]
Id = Annotated[str, Meta(max_length=36, pattern=_PRINTABLE)]
Address = Annotated[str, Meta(max_length=64, pattern=_PRINTABLE)]
DnsLabel = Annotated[
    str, Meta(max_length=63, pattern=r"^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)?\Z")
]
Tag = Annotated[str, Meta(min_length=1, max_length=60, pattern=_PRINTABLE)]
Tags = Annotated[Sequence[Tag], Meta(max_length=50)]
Mtu = Annotated[int, Meta(ge=68, le=65535)]
Limit = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
Nothing = Annotated[Sequence[Any], Meta(max_length=0)]
"""An attribute whose only value here is the empty list."""
PortNumber = Annotated[int, Meta(ge=0, le=65535)]


Ipv6Mode = Literal["slaac", "dhcpv6-stateful", "dhcpv6-stateless"]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Update(Request, frozen=True, kw_only=True):
    """What every resource takes, at creation and later."""

    name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET


def given(body: msgspec.Struct, *names: str) -> dict[str, Any]:
    """name -> value of those of ``names`` that the request gave."""
    values = ((name, getattr(body, name)) for name in names)
    return {name: value for name, value in values if value is not UNSET}


# -- networks ------------------------------------------------------------------------------------
class NetworkUpdate(Update, frozen=True, kw_only=True):
    admin_state_up: bool | UnsetType = UNSET
    shared: bool | UnsetType = UNSET
    external: bool | UnsetType = msgspec.field(name="router:external", default=UNSET)
    is_default: bool | UnsetType = UNSET
    port_security_enabled: bool | UnsetType = UNSET
    mtu: Mtu | UnsetType = UNSET
    dns_domain: Name | UnsetType = UNSET
    qos_policy_id: UnsetType | None = UNSET


class NetworkCreate(NetworkUpdate, frozen=True, kw_only=True):
    tags: Tags | UnsetType = UNSET
    project_id: Name | None = None
    tenant_id: Name | None = None
    network_type: Name | UnsetType = msgspec.field(name="provider:network_type", default=UNSET)
    physical_network: Name | UnsetType | None = msgspec.field(
        name="provider:physical_network", default=UNSET
    )
    segment: Annotated[int, Meta(ge=1, le=2**24 - 1)] | UnsetType | None = msgspec.field(
        name="provider:segmentation_id", default=UNSET
    )
    availability_zone_hints: Nothing | UnsetType = UNSET


# -- subnets -------------------------------------------------------------------------------------
class PoolBody(Request, frozen=True, kw_only=True):
    start: Address
    end: Address


class HostRoute(Request, frozen=True, kw_only=True):
    destination: Address
    nexthop: Address


class SubnetUpdate(Update, frozen=True, kw_only=True):
    gateway_ip: Address | UnsetType | None = UNSET
    enable_dhcp: bool | UnsetType = UNSET
    allocation_pools: Annotated[Sequence[PoolBody], Meta(max_length=32)] | UnsetType | None = UNSET
    dns_nameservers: Annotated[Sequence[Address], Meta(max_length=5)] | UnsetType | None = UNSET
    host_routes: Annotated[Sequence[HostRoute], Meta(max_length=20)] | UnsetType | None = UNSET
    service_types: Annotated[Sequence[Name], Meta(max_length=20)] | UnsetType = UNSET
    segment_id: UnsetType | None = UNSET


class SubnetCreate(SubnetUpdate, frozen=True, kw_only=True):
    tags: Tags | UnsetType = UNSET
    project_id: Name | None = None
    tenant_id: Name | None = None
    network_id: Id
    cidr: Address | UnsetType = UNSET
    ip_version: Literal[4, 6] = 4
    ipv6_address_mode: Ipv6Mode | UnsetType | None = UNSET
    ipv6_ra_mode: Ipv6Mode | UnsetType | None = UNSET
    subnetpool_id: Id | UnsetType | None = UNSET
    use_default_subnetpool: bool | UnsetType = UNSET
    prefixlen: Annotated[int, Meta(ge=0, le=128)] | UnsetType | None = UNSET


# -- ports ---------------------------------------------------------------------------------------
class FixedIpBody(Request, frozen=True, kw_only=True):
    subnet_id: Id | None = None
    ip_address: Address | None = None


class AddressPair(Request, frozen=True, kw_only=True):
    ip_address: Address
    mac_address: Address | None = None


class DhcpOption(Request, frozen=True, kw_only=True):
    opt_name: Annotated[str, Meta(min_length=1, max_length=64, pattern=_PRINTABLE)]
    opt_value: Name | None = None
    ip_version: Literal[4, 6] | None = None


class PortUpdate(Update, frozen=True, kw_only=True):
    admin_state_up: bool | UnsetType = UNSET
    port_security_enabled: bool | UnsetType = UNSET
    mac_address: Address | UnsetType = UNSET
    fixed_ips: Annotated[Sequence[FixedIpBody], Meta(max_length=32)] | UnsetType | None = UNSET
    device_id: Name | UnsetType = UNSET
    device_owner: Name | UnsetType = UNSET
    security_groups: Annotated[Sequence[Id], Meta(max_length=64)] | UnsetType | None = UNSET
    dns_name: DnsLabel | UnsetType = UNSET
    host: Name | UnsetType | None = msgspec.field(name="binding:host_id", default=UNSET)
    profile: Mapping[str, Any] | UnsetType | None = msgspec.field(
        name="binding:profile", default=UNSET
    )
    vnic_type: Literal["normal"] | UnsetType = msgspec.field(
        name="binding:vnic_type", default=UNSET
    )
    allowed_address_pairs: (
        Annotated[Sequence[AddressPair], Meta(max_length=64)] | UnsetType | None
    ) = UNSET
    extra_dhcp_opts: Annotated[Sequence[DhcpOption], Meta(max_length=64)] | UnsetType | None = UNSET
    qos_policy_id: UnsetType | None = UNSET


class PortCreate(PortUpdate, frozen=True, kw_only=True):
    tags: Tags | UnsetType = UNSET
    project_id: Name | None = None
    tenant_id: Name | None = None
    network_id: Id


# -- security groups -----------------------------------------------------------------------------
class GroupUpdate(Update, frozen=True, kw_only=True):
    stateful: bool | UnsetType = UNSET


class GroupCreate(GroupUpdate, frozen=True, kw_only=True):
    tags: Tags | UnsetType = UNSET
    project_id: Name | None = None
    tenant_id: Name | None = None


class RuleCreate(Request, frozen=True, kw_only=True):
    project_id: Name | None = None
    tenant_id: Name | None = None
    description: Description | UnsetType = UNSET
    security_group_id: Id
    direction: Literal["ingress", "egress"]
    ethertype: Name | None = None
    protocol: Name | int | None = None
    port_range_min: PortNumber | None = None
    port_range_max: PortNumber | None = None
    remote_ip_prefix: Address | None = None
    remote_group_id: Id | None = None
    remote_address_group_id: Id | None = None


class DefaultRuleCreate(Request, frozen=True, kw_only=True):
    project_id: Name | None = None
    tenant_id: Name | None = None
    description: Description | UnsetType = UNSET
    direction: Literal["ingress", "egress"]
    ethertype: Name | None = None
    protocol: Name | int | None = None
    port_range_min: PortNumber | None = None
    port_range_max: PortNumber | None = None
    remote_ip_prefix: Address | None = None
    remote_group_id: Id | None = None
    remote_address_group_id: Id | None = None
    used_in_default_sg: bool = False
    used_in_non_default_sg: bool = True


class Owned(Protocol):
    @property
    def project_id(self) -> str | None: ...

    @property
    def tenant_id(self) -> str | None: ...


def owner_named(body: Owned) -> str | None:
    """The project that the request wants the new resource for, by either of its names."""
    return body.project_id or body.tenant_id


# -- whole bodies: one resource, or a list of them that is made as a whole -----------------------
Bulk = Meta(min_length=1, max_length=1000)


class NetworkPost(Request, frozen=True, kw_only=True):
    network: NetworkCreate | UnsetType = UNSET
    networks: Annotated[Sequence[NetworkCreate], Bulk] | UnsetType = UNSET


class SubnetPost(Request, frozen=True, kw_only=True):
    subnet: SubnetCreate | UnsetType = UNSET
    subnets: Annotated[Sequence[SubnetCreate], Bulk] | UnsetType = UNSET


class PortPost(Request, frozen=True, kw_only=True):
    port: PortCreate | UnsetType = UNSET
    ports: Annotated[Sequence[PortCreate], Bulk] | UnsetType = UNSET


class GroupPost(Request, frozen=True, kw_only=True):
    security_group: GroupCreate | UnsetType = UNSET
    security_groups: Annotated[Sequence[GroupCreate], Bulk] | UnsetType = UNSET


class RulePost(Request, frozen=True, kw_only=True):
    security_group_rule: RuleCreate | UnsetType = UNSET
    security_group_rules: Annotated[Sequence[RuleCreate], Bulk] | UnsetType = UNSET


class AgentUpdate(Request, frozen=True, kw_only=True):
    admin_state_up: bool | UnsetType = UNSET
    description: Description | UnsetType = UNSET


class AgentRouter(Request, frozen=True, kw_only=True):
    router_id: Id


class DefaultRulePost(Request, frozen=True, kw_only=True):
    default_security_group_rule: DefaultRuleCreate | UnsetType = UNSET
    default_security_group_rules: Annotated[Sequence[DefaultRuleCreate], Bulk] | UnsetType = UNSET


class TagsBody(Request, frozen=True, kw_only=True):
    tags: Tags


class QuotaBody(Request, frozen=True, kw_only=True):
    quota: Mapping[str, Limit | bool]
    """Limits by resource; besides, ``check_limit`` or ``force`` as true or false."""
