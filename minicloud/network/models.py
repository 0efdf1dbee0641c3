"""The network service's tables, and nothing that queries them.

What must be true under concurrency is a constraint here: no address twice in a subnet, no MAC
twice in a network, no network segment twice, one port per device and index, one rule of a kind,
one floating IP for a fixed one. An empty ``project_id`` is nobody's: the ports of gateways and
floating IPs.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class AddressNumber(sa.types.TypeDecorator[int]):
    """An IPv4 or IPv6 address as an integer, in a column that sorts and compares like one.

    128 bits fit no integer column, so it is 32 hexadecimal digits in the database.
    """

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else f"{value:032x}"

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else int(value, 16)


def _text(name: str, length: int = 255, **more: Any) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False, **more)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


def _list(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON, nullable=False)


def _reference(name: str, table: str, *, cascade: bool = False, **more: Any) -> sa.Column[str]:
    target = sa.ForeignKey(f"{table}.id", ondelete="CASCADE" if cascade else None)
    return sa.Column(name, sa.String(36), target, **more)


def _standard() -> tuple[sa.Column[Any], ...]:
    """What every resource has. Times are seconds since the epoch."""
    return (
        sa.Column("id", sa.String(36), primary_key=True),
        _text("project_id", index=True),
        _text("name"),
        _text("description"),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("revision_number", sa.Integer, nullable=False),
    )


networks = sa.Table(
    "networks",
    metadata,
    *_standard(),
    _flag("admin_state_up"),
    _flag("shared"),
    _flag("external"),
    _flag("is_default"),
    _flag("port_security_enabled"),
    sa.Column("mtu", sa.Integer, nullable=False),
    _text("dns_domain"),
    _text("network_type", 16),
    sa.Column("physical_network", sa.String(64), unique=True),
    sa.Column("segment", sa.Integer, unique=True),
)
"""``segment``: a vxlan network's identifier; ``physical_network``: what a flat one is laid on."""

address_scopes = sa.Table(
    "address_scopes",
    metadata,
    *_standard(),
    sa.Column("ip_version", sa.Integer, nullable=False),
    _flag("shared"),
)

subnet_pools = sa.Table(
    "subnet_pools",
    metadata,
    *_standard(),
    sa.Column("ip_version", sa.Integer, nullable=False),
    _reference("address_scope_id", "address_scopes", nullable=True, index=True),
    _list("prefixes"),
    sa.Column("default_prefixlen", sa.Integer, nullable=False),
    sa.Column("min_prefixlen", sa.Integer, nullable=False),
    sa.Column("max_prefixlen", sa.Integer, nullable=False),
    sa.Column("default_quota", sa.Integer),
    _flag("shared"),
    _flag("is_default"),
)

subnets = sa.Table(
    "subnets",
    metadata,
    *_standard(),
    _reference("network_id", "networks", nullable=False, index=True),
    _reference("subnetpool_id", "subnet_pools", nullable=True, index=True),
    sa.Column("ip_version", sa.Integer, nullable=False),
    _text("cidr", 64),
    sa.Column("gateway_ip", sa.String(64)),
    _flag("enable_dhcp"),
    sa.Column("ipv6_ra_mode", sa.String(20)),
    sa.Column("ipv6_address_mode", sa.String(20)),
    _list("dns_nameservers"),
    _list("host_routes"),
    _list("allocation_pools"),
    _list("service_types"),
)

ports = sa.Table(
    "ports",
    metadata,
    *_standard(),
    _reference("network_id", "networks", nullable=False, index=True),
    _text("mac_address", 17),
    _flag("admin_state_up"),
    _flag("port_security_enabled"),
    _text("device_id", index=True),
    sa.Column("device_index", sa.Integer),
    _text("device_owner"),
    _text("dns_name", 63),
    _text("host", index=True),
    _text("awaited_on", index=True),
    sa.Column("profile", sa.JSON, nullable=False),
    _text("vnic_type", 32),
    _list("allowed_address_pairs"),
    _list("extra_dhcp_opts"),
    sa.UniqueConstraint("device_id", "device_index"),
    sa.UniqueConstraint("network_id", "mac_address"),
)

addresses = sa.Table(
    "addresses",
    metadata,
    _reference("subnet_id", "subnets", primary_key=True),
    sa.Column("number", AddressNumber, primary_key=True),
    _text("text", 39),
    _reference("port_id", "ports", cascade=True, nullable=False, index=True),
    sa.Column("position", sa.Integer, nullable=False),
)

routers = sa.Table(
    "routers",
    metadata,
    *_standard(),
    _flag("admin_state_up"),
    _flag("enable_snat"),
    _reference("external_network_id", "networks", nullable=True, index=True),
    _list("routes"),
    _list("availability_zone_hints"),
    _text("host", index=True),
)
"""A router's ports have its id as ``device_id``; ``device_owner`` tells interface from gateway.
``host``: the gateway host that carries it; empty while none does.
"""

floating_ips = sa.Table(
    "floating_ips",
    metadata,
    *_standard(),
    _reference("floating_network_id", "networks", nullable=False, index=True),
    _reference("floating_port_id", "ports", nullable=False, unique=True),
    sa.Column("floating_number", AddressNumber, nullable=False),
    _reference("port_id", "ports", nullable=True, index=True),
    sa.Column("fixed_number", AddressNumber),
    _reference("router_id", "routers", nullable=True, index=True),
    _text("dns_name", 63),
    _text("dns_domain"),
    sa.UniqueConstraint("floating_network_id", "port_id", "fixed_number"),
)
"""``floating_port_id`` holds the address on the external network. ``port_id``, ``fixed_number``:
whose traffic it is; ``router_id`` without them: it has port forwardings.
"""

port_forwardings = sa.Table(
    "port_forwardings",
    metadata,
    *_standard(),
    _reference("floatingip_id", "floating_ips", cascade=True, nullable=False, index=True),
    _reference("internal_port_id", "ports", cascade=True, nullable=False, index=True),
    sa.Column("internal_number", AddressNumber, nullable=False),
    _text("protocol", 16),
    sa.Column("internal_first", sa.Integer, nullable=False),
    sa.Column("internal_last", sa.Integer, nullable=False),
    sa.Column("external_first", sa.Integer, nullable=False),
    sa.Column("external_last", sa.Integer, nullable=False),
    sa.UniqueConstraint("floatingip_id", "protocol", "external_first"),
)
"""Ports ``external_first`` to ``external_last`` of the floating IP go to as many inner ones."""

security_groups = sa.Table(
    "security_groups",
    metadata,
    *_standard(),
    _flag("is_default"),
    _flag("stateful"),
    _flag("shared"),
)

address_groups = sa.Table(
    "address_groups",
    metadata,
    *_standard(),
    _list("addresses"),
    _flag("shared"),
)

security_group_rules = sa.Table(
    "security_group_rules",
    metadata,
    *_standard(),
    _reference("security_group_id", "security_groups", cascade=True, nullable=False, index=True),
    _reference("remote_group_id", "security_groups", cascade=True, nullable=True, index=True),
    _reference("remote_address_group_id", "address_groups", nullable=True, index=True),
    _text("direction", 8),
    _text("ethertype", 8),
    sa.Column("protocol", sa.String(32)),
    sa.Column("port_range_min", sa.Integer),
    sa.Column("port_range_max", sa.Integer),
    sa.Column("remote_ip_prefix", sa.String(64)),
    _text("fingerprint", 36, unique=True),
)

default_rules = sa.Table(
    "default_rules",
    metadata,
    *_standard(),
    _text("direction", 8),
    _text("ethertype", 8),
    sa.Column("protocol", sa.String(32)),
    sa.Column("port_range_min", sa.Integer),
    sa.Column("port_range_max", sa.Integer),
    sa.Column("remote_ip_prefix", sa.String(64)),
    sa.Column("remote_group_id", sa.String(36)),
    _reference("remote_address_group_id", "address_groups", nullable=True, index=True),
    _flag("used_in_default_sg"),
    _flag("used_in_non_default_sg"),
    _text("fingerprint", 36, unique=True),
)
"""What new groups begin with. ``remote_group_id`` may be ``PARENT``: the new group itself."""

port_security_groups = sa.Table(
    "port_security_groups",
    metadata,
    _reference("port_id", "ports", cascade=True, primary_key=True),
    _reference("security_group_id", "security_groups", primary_key=True, index=True),
)

rbac_policies = sa.Table(
    "rbac_policies",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    _text("project_id", index=True),
    _text("object_type", 32),
    _text("object_id", 36, index=True),
    _text("action", 32),
    _text("target_project"),
    sa.UniqueConstraint("object_id", "action", "target_project"),
)
"""Whom an object is shared with; ``*`` is everybody, which its ``shared`` flag repeats."""

hosts = sa.Table(
    "hosts",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("first_seen", sa.Double, nullable=False),
    sa.Column("last_seen", sa.Double, nullable=False),
    _text("availability_zone"),
    _flag("admin_state_up"),
    _text("description"),
    _text("tunnel_address", 45),
    _flag("is_gateway"),
    _list("physical_networks"),
)
"""The hosts that ask for their wiring, and when each last did. ``tunnel_address``: where their
tunnels end; ``is_gateway``: routers may be there; ``physical_networks``: those it is on.
"""

tags = sa.Table(
    "tags",
    metadata,
    sa.Column("resource_id", sa.String(36), primary_key=True),
    sa.Column("tag", sa.String(255), primary_key=True),
)

quotas = sa.Table(
    "quotas",
    metadata,
    sa.Column("project_id", sa.String(255), primary_key=True),
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("maximum", sa.Integer, nullable=False),
)

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("id", sa.String(255), primary_key=True),
)
"""A row to lock for each project that ever made something: its quota is counted under it."""
