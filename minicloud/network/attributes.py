"""The attributes that each collection can be filtered and sorted by, as one table a noun.

An attribute of the wire is a column or, where minicloud has but one value for it, that value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.network.models import networks, ports, security_group_rules, security_groups, subnets
from minicloud.network.query import Kind
from minicloud.network.records import SERVED_OWNERS


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """``column`` or ``constant``; ``kind`` is how a query spells its values."""

    column: Any = None
    constant: Any = None
    kind: Kind = "text"
    is_sharing: bool = False
    """Whether the row is shared with the caller."""
    privileged: bool = False
    """Only administrators and services may filter by it."""


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    plural: str
    table: sa.Table
    source: sa.FromClause
    attributes: Mapping[str, Attribute]

    def kinds(self, *, privileged: bool) -> dict[str, Kind]:
        """What ``query.parse`` takes, for this caller."""
        return {
            name: attribute.kind
            for name, attribute in self.attributes.items()
            if privileged or not attribute.privileged
        }


def columns(table: sa.Table, *names: str, kind: Kind = "text") -> dict[str, Attribute]:
    return {name: Attribute(column=table.c[name], kind=kind) for name in names}


def sharing_of(table: sa.Table) -> Attribute:
    return Attribute(column=table.c.shared, kind="flag", is_sharing=True)


def standard(table: sa.Table) -> dict[str, Attribute]:
    return {
        **columns(table, "id", "project_id", "name", "description"),
        "tenant_id": Attribute(column=table.c.project_id),
        **columns(table, "created_at", "updated_at", kind="time"),
        "revision_number": Attribute(column=table.c.revision_number, kind="number"),
    }


NETWORKS = Collection(
    plural="networks",
    table=networks,
    source=networks,
    attributes={
        **standard(networks),
        **columns(networks, "admin_state_up", "is_default", kind="flag"),
        "shared": sharing_of(networks),
        **columns(networks, "port_security_enabled", kind="flag"),
        **columns(networks, "mtu", kind="number"),
        **columns(networks, "dns_domain"),
        "router:external": Attribute(column=networks.c.external, kind="flag"),
        "status": Attribute(constant="ACTIVE"),
        "provider:network_type": Attribute(column=networks.c.network_type, privileged=True),
        "provider:physical_network": Attribute(column=networks.c.physical_network, privileged=True),
        "provider:segmentation_id": Attribute(
            column=networks.c.segment, kind="number", privileged=True
        ),
    },
)

SUBNETS = Collection(
    plural="subnets",
    table=subnets,
    source=subnets.join(networks, subnets.c.network_id == networks.c.id),
    attributes={
        **standard(subnets),
        **columns(subnets, "network_id", "cidr", "gateway_ip"),
        **columns(subnets, "enable_dhcp", kind="flag"),
        "shared": sharing_of(networks),
        **columns(subnets, "ip_version", kind="number"),
        **columns(subnets, "ipv6_address_mode", "ipv6_ra_mode", "subnetpool_id"),
        "segment_id": Attribute(constant=None),
    },
)

PORTS = Collection(
    plural="ports",
    table=ports,
    source=ports.join(networks, ports.c.network_id == networks.c.id),
    attributes={
        **standard(ports),
        **columns(ports, "network_id", "mac_address", "device_id", "device_owner", "dns_name"),
        **columns(ports, "admin_state_up", "port_security_enabled", kind="flag"),
        "status": Attribute(
            column=sa.case(
                (
                    sa.and_(
                        ports.c.admin_state_up,
                        sa.or_(ports.c.host != "", ports.c.device_owner.in_(SERVED_OWNERS)),
                    ),
                    "ACTIVE",
                ),
                else_="DOWN",
            )
        ),
        "binding:vnic_type": Attribute(column=ports.c.vnic_type),
        "binding:host_id": Attribute(column=ports.c.host, privileged=True),
        "security_groups": Attribute(),
    },
)

GROUPS = Collection(
    plural="security_groups",
    table=security_groups,
    source=security_groups,
    attributes={
        **standard(security_groups),
        **columns(security_groups, "stateful", kind="flag"),
        "shared": sharing_of(security_groups),
    },
)

RULES = Collection(
    plural="security_group_rules",
    table=security_group_rules,
    source=security_group_rules.join(
        security_groups, security_group_rules.c.security_group_id == security_groups.c.id
    ),
    attributes={
        **standard(security_group_rules),
        **columns(
            security_group_rules,
            "security_group_id",
            "remote_group_id",
            "direction",
            "ethertype",
            "protocol",
            "remote_ip_prefix",
            "remote_address_group_id",
        ),
        **columns(security_group_rules, "port_range_min", "port_range_max", kind="number"),
        "belongs_to_default_sg": Attribute(column=security_groups.c.is_default, kind="flag"),
    },
)
