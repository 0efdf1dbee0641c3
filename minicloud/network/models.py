"""The network service's tables, and nothing that queries them.

What must be true under concurrency is a constraint here: no address twice in a subnet, no MAC
twice at all, no network segment twice, one port per device and index, one rule of a kind.
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


def _text(name: str, length: int = 255, **more: Any) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False, **more)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


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
    sa.Column("segment", sa.Integer, unique=True, nullable=False),
)

subnets = sa.Table(
    "subnets",
    metadata,
    *_standard(),
    _reference("network_id", "networks", nullable=False, index=True),
    _text("cidr", 64),
    sa.Column("gateway_ip", sa.String(64)),
    _flag("enable_dhcp"),
    sa.Column("dns_nameservers", sa.JSON, nullable=False),
    sa.Column("host_routes", sa.JSON, nullable=False),
    sa.Column("allocation_pools", sa.JSON, nullable=False),
)

ports = sa.Table(
    "ports",
    metadata,
    *_standard(),
    _reference("network_id", "networks", nullable=False, index=True),
    _text("mac_address", 17, unique=True),
    _flag("admin_state_up"),
    _flag("port_security_enabled"),
    _text("device_id", index=True),
    sa.Column("device_index", sa.Integer),
    _text("device_owner"),
    _text("dns_name", 63),
    _text("host", index=True),
    sa.Column("profile", sa.JSON, nullable=False),
    sa.UniqueConstraint("device_id", "device_index"),
)

addresses = sa.Table(
    "addresses",
    metadata,
    _reference("subnet_id", "subnets", primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    _reference("port_id", "ports", cascade=True, nullable=False, index=True),
    sa.Column("position", sa.Integer, nullable=False),
)

security_groups = sa.Table(
    "security_groups",
    metadata,
    *_standard(),
    _flag("is_default"),
)

security_group_rules = sa.Table(
    "security_group_rules",
    metadata,
    *_standard(),
    _reference("security_group_id", "security_groups", cascade=True, nullable=False, index=True),
    _reference("remote_group_id", "security_groups", cascade=True, nullable=True, index=True),
    _text("direction", 8),
    _text("ethertype", 8),
    sa.Column("protocol", sa.String(32)),
    sa.Column("port_range_min", sa.Integer),
    sa.Column("port_range_max", sa.Integer),
    sa.Column("remote_ip_prefix", sa.String(64)),
    _text("fingerprint", 36, unique=True),
)

port_security_groups = sa.Table(
    "port_security_groups",
    metadata,
    _reference("port_id", "ports", cascade=True, primary_key=True),
    _reference("security_group_id", "security_groups", primary_key=True, index=True),
)

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
