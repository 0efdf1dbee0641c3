"""Addresses as text, to find them by a part; rules that new security groups begin with."""

import time
from ipaddress import ip_address

import sqlalchemy as sa
from alembic import op

from minicloud.domain.ids import derive

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("addresses") as batch:
        batch.add_column(sa.Column("text", sa.String(39), nullable=False, server_default=""))
    bind = op.get_bind()
    update = sa.text("UPDATE addresses SET text = :text WHERE number = :number")
    for (number,) in bind.execute(sa.text("SELECT DISTINCT number FROM addresses")).all():
        bind.execute(update, {"text": str(ip_address(int(number, 16))), "number": number})
    with op.batch_alter_table("addresses") as batch:
        batch.alter_column("text", existing_type=sa.String(39), server_default=None)
    op.create_table(
        "default_rules",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("revision_number", sa.Integer(), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("ethertype", sa.String(length=8), nullable=False),
        sa.Column("protocol", sa.String(length=32), nullable=True),
        sa.Column("port_range_min", sa.Integer(), nullable=True),
        sa.Column("port_range_max", sa.Integer(), nullable=True),
        sa.Column("remote_ip_prefix", sa.String(length=64), nullable=True),
        sa.Column("remote_group_id", sa.String(length=36), nullable=True),
        sa.Column("remote_address_group_id", sa.String(length=36), nullable=True),
        sa.Column("used_in_default_sg", sa.Boolean(), nullable=False),
        sa.Column("used_in_non_default_sg", sa.Boolean(), nullable=False),
        sa.Column("fingerprint", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["remote_address_group_id"],
            ["address_groups.id"],
            name=op.f("fk_default_rules_remote_address_group_id_address_groups"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_default_rules")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_default_rules_fingerprint")),
    )
    op.create_index(op.f("ix_default_rules_project_id"), "default_rules", ["project_id"])
    op.create_index(
        op.f("ix_default_rules_remote_address_group_id"),
        "default_rules",
        ["remote_address_group_id"],
    )
    _insert_usual_rules()


def _insert_usual_rules() -> None:
    """Everything out; in from the group itself, where it is the project's default one."""
    now = time.time()
    statement = sa.text(
        "INSERT INTO default_rules (id, project_id, name, description, created_at, updated_at,"
        " revision_number, direction, ethertype, remote_group_id, used_in_default_sg,"
        " used_in_non_default_sg, fingerprint) VALUES (:id, '', '', :description, :now, :now, 1,"
        " :direction, :ethertype, :remote, :used, :used_elsewhere, :fingerprint)"
    )
    for ethertype in ("IPv4", "IPv6"):
        for direction, remote in (("egress", None), ("ingress", "PARENT")):
            values = {
                "id": derive("default-rule", direction, ethertype),
                "description": "Legacy default SG rule for "
                f"{'egress' if remote is None else 'ingress'} traffic",
                "now": now,
                "direction": direction,
                "ethertype": ethertype,
                "remote": remote,
                "used": True,
                "used_elsewhere": remote is None,
                "fingerprint": derive(
                    "rule", "", direction, ethertype, "None", "None", "None", "None", str(remote)
                ),
            }
            op.get_bind().execute(statement, values)
