"""Routers, floating IPs, IPv6, flat networks, pools, address groups and sharing."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from minicloud.domain.ids import derive

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _networks()
    _pools()
    _subnets()
    _ports()
    _addresses()
    _routers()
    _groups()
    _sharing()


def _standard() -> list[Any]:
    return [
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("revision_number", sa.Integer(), nullable=False),
    ]


def _table(name: str, *parts: Any) -> None:
    op.create_table(name, *parts, sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")))
    _index(name, "project_id")


def _index(table: str, column: str) -> None:
    op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)


def _reference(table: str, column: str, target: str, ondelete: str | None = None) -> Any:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{target}.id"],
        name=op.f(f"fk_{table}_{column}_{target}"),
        ondelete=ondelete,
    )


def _unique(table: str, *columns: str) -> Any:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def _networks() -> None:
    with op.batch_alter_table("networks") as batch:
        batch.add_column(
            sa.Column("network_type", sa.String(16), nullable=False, server_default="vxlan")
        )
        batch.add_column(sa.Column("physical_network", sa.String(64), nullable=True))
        batch.alter_column("segment", existing_type=sa.Integer(), nullable=True)
        batch.create_unique_constraint(op.f("uq_networks_physical_network"), ["physical_network"])
    with op.batch_alter_table("networks") as batch:
        batch.alter_column("network_type", existing_type=sa.String(16), server_default=None)


def _pools() -> None:
    _table(
        "address_scopes",
        *_standard(),
        sa.Column("ip_version", sa.Integer(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
    )
    _table(
        "subnet_pools",
        *_standard(),
        sa.Column("ip_version", sa.Integer(), nullable=False),
        sa.Column("address_scope_id", sa.String(length=36), nullable=True),
        sa.Column("prefixes", sa.JSON(), nullable=False),
        sa.Column("default_prefixlen", sa.Integer(), nullable=False),
        sa.Column("min_prefixlen", sa.Integer(), nullable=False),
        sa.Column("max_prefixlen", sa.Integer(), nullable=False),
        sa.Column("default_quota", sa.Integer(), nullable=True),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        _reference("subnet_pools", "address_scope_id", "address_scopes"),
    )
    _index("subnet_pools", "address_scope_id")


def _subnets() -> None:
    with op.batch_alter_table("subnets") as batch:
        batch.add_column(sa.Column("subnetpool_id", sa.String(length=36), nullable=True))
        batch.add_column(sa.Column("ip_version", sa.Integer(), nullable=False, server_default="4"))
        batch.add_column(sa.Column("ipv6_ra_mode", sa.String(length=20), nullable=True))
        batch.add_column(sa.Column("ipv6_address_mode", sa.String(length=20), nullable=True))
        batch.add_column(sa.Column("service_types", sa.JSON(), nullable=False, server_default="[]"))
        batch.create_foreign_key(
            op.f("fk_subnets_subnetpool_id_subnet_pools"), "subnet_pools", ["subnetpool_id"], ["id"]
        )
    with op.batch_alter_table("subnets") as batch:
        batch.alter_column("ip_version", existing_type=sa.Integer(), server_default=None)
        batch.alter_column("service_types", existing_type=sa.JSON(), server_default=None)
    _index("subnets", "subnetpool_id")


def _ports() -> None:
    with op.batch_alter_table("ports") as batch:
        batch.add_column(
            sa.Column("vnic_type", sa.String(32), nullable=False, server_default="normal")
        )
        for name in ("allowed_address_pairs", "extra_dhcp_opts"):
            batch.add_column(sa.Column(name, sa.JSON(), nullable=False, server_default="[]"))
        batch.drop_constraint(op.f("uq_ports_mac_address"), type_="unique")
        batch.create_unique_constraint(
            op.f("uq_ports_network_id_mac_address"), ["network_id", "mac_address"]
        )
    with op.batch_alter_table("ports") as batch:
        batch.alter_column("vnic_type", existing_type=sa.String(32), server_default=None)
        for name in ("allowed_address_pairs", "extra_dhcp_opts"):
            batch.alter_column(name, existing_type=sa.JSON(), server_default=None)


def _addresses() -> None:
    """An address is 32 hexadecimal digits from now on: IPv6 fits no integer column."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE addresses ALTER COLUMN number TYPE VARCHAR(32) "
            "USING lpad(to_hex(number), 32, '0')"
        )
        return
    with op.batch_alter_table("addresses") as batch:
        batch.alter_column(
            "number", existing_type=sa.BigInteger(), type_=sa.String(32), existing_nullable=False
        )
    op.execute("UPDATE addresses SET number = printf('%032x', CAST(number AS INTEGER))")


def _routers() -> None:
    _table(
        "routers",
        *_standard(),
        sa.Column("admin_state_up", sa.Boolean(), nullable=False),
        sa.Column("enable_snat", sa.Boolean(), nullable=False),
        sa.Column("external_network_id", sa.String(length=36), nullable=True),
        sa.Column("routes", sa.JSON(), nullable=False),
        sa.Column("availability_zone_hints", sa.JSON(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        _reference("routers", "external_network_id", "networks"),
    )
    _index("routers", "external_network_id")
    _index("routers", "host")
    _table(
        "floating_ips",
        *_standard(),
        sa.Column("floating_network_id", sa.String(length=36), nullable=False),
        sa.Column("floating_port_id", sa.String(length=36), nullable=False),
        sa.Column("floating_number", sa.String(length=32), nullable=False),
        sa.Column("port_id", sa.String(length=36), nullable=True),
        sa.Column("fixed_number", sa.String(length=32), nullable=True),
        sa.Column("router_id", sa.String(length=36), nullable=True),
        sa.Column("dns_name", sa.String(length=63), nullable=False),
        sa.Column("dns_domain", sa.String(length=255), nullable=False),
        _reference("floating_ips", "floating_network_id", "networks"),
        _reference("floating_ips", "floating_port_id", "ports"),
        _reference("floating_ips", "port_id", "ports"),
        _reference("floating_ips", "router_id", "routers"),
        _unique("floating_ips", "floating_port_id"),
        _unique("floating_ips", "floating_network_id", "port_id", "fixed_number"),
    )
    for column in ("floating_network_id", "port_id", "router_id"):
        _index("floating_ips", column)
    _table(
        "port_forwardings",
        *_standard(),
        sa.Column("floatingip_id", sa.String(length=36), nullable=False),
        sa.Column("internal_port_id", sa.String(length=36), nullable=False),
        sa.Column("internal_number", sa.String(length=32), nullable=False),
        sa.Column("protocol", sa.String(length=16), nullable=False),
        sa.Column("internal_first", sa.Integer(), nullable=False),
        sa.Column("internal_last", sa.Integer(), nullable=False),
        sa.Column("external_first", sa.Integer(), nullable=False),
        sa.Column("external_last", sa.Integer(), nullable=False),
        _reference("port_forwardings", "floatingip_id", "floating_ips", "CASCADE"),
        _reference("port_forwardings", "internal_port_id", "ports", "CASCADE"),
        _unique("port_forwardings", "floatingip_id", "protocol", "external_first"),
    )
    for column in ("floatingip_id", "internal_port_id"):
        _index("port_forwardings", column)


def _groups() -> None:
    _table(
        "address_groups",
        *_standard(),
        sa.Column("addresses", sa.JSON(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
    )
    with op.batch_alter_table("security_groups") as batch:
        for name, default in (("stateful", sa.true()), ("shared", sa.false())):
            batch.add_column(sa.Column(name, sa.Boolean(), nullable=False, server_default=default))
    with op.batch_alter_table("security_groups") as batch:
        for name in ("stateful", "shared"):
            batch.alter_column(name, existing_type=sa.Boolean(), server_default=None)
    with op.batch_alter_table("security_group_rules") as batch:
        batch.add_column(sa.Column("remote_address_group_id", sa.String(length=36), nullable=True))
        batch.create_foreign_key(
            op.f("fk_security_group_rules_remote_address_group_id_address_groups"),
            "address_groups",
            ["remote_address_group_id"],
            ["id"],
        )
    _index("security_group_rules", "remote_address_group_id")


def _sharing() -> None:
    op.create_table(
        "rbac_policies",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("object_type", sa.String(length=32), nullable=False),
        sa.Column("object_id", sa.String(length=36), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("target_project", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rbac_policies")),
        _unique("rbac_policies", "object_id", "action", "target_project"),
    )
    _index("rbac_policies", "project_id")
    _index("rbac_policies", "object_id")
    op.create_table(
        "hosts",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("first_seen", sa.Double(), nullable=False),
        sa.Column("last_seen", sa.Double(), nullable=False),
        sa.Column("availability_zone", sa.String(length=255), nullable=False),
        sa.Column("admin_state_up", sa.Boolean(), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_hosts")),
    )
    _share_everywhere("networks", "shared", "access_as_shared")
    _share_everywhere("networks", "external", "access_as_external")


def _share_everywhere(table: str, flag: str, action: str) -> None:
    """A flag that was set becomes a policy for everybody, whose id is derived from the object's."""
    bind = op.get_bind()
    rows = bind.execute(sa.text(f"SELECT id, project_id FROM {table} WHERE {flag}"))  # noqa: S608
    for object_id, project_id in rows.all():
        bind.execute(
            sa.text(
                "INSERT INTO rbac_policies "
                "(id, project_id, object_type, object_id, action, target_project) "
                "VALUES (:id, :project_id, 'network', :object_id, :action, '*')"
            ),
            {
                "id": derive("rbac", object_id, action),
                "project_id": project_id,
                "object_id": object_id,
                "action": action,
            },
        )
