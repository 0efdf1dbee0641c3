"""Server groups, host aggregates, migrations, quota classes; what a launch asked of its place."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "server_groups",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("policy", sa.String(length=32), nullable=False),
        sa.Column("max_per_host", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server_groups")),
    )
    op.create_index(op.f("ix_server_groups_project_id"), "server_groups", ["project_id"])
    op.create_table(
        "aggregates",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_aggregates")),
        sa.UniqueConstraint("id", name=op.f("uq_aggregates_id")),
        sa.UniqueConstraint("name", name=op.f("uq_aggregates_name")),
    )
    op.create_table(
        "aggregate_hosts",
        sa.Column("aggregate", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["aggregate"],
            ["aggregates.number"],
            name=op.f("fk_aggregate_hosts_aggregate"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("aggregate", "host", name=op.f("pk_aggregate_hosts")),
    )
    op.create_table(
        "migrations",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("server_id", sa.String(length=36), nullable=False),
        sa.Column("operation_id", sa.String(length=36), nullable=True),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=255), nullable=True),
        sa.Column("destination", sa.String(length=255), nullable=True),
        sa.Column("old_flavor_id", sa.String(length=255), nullable=False),
        sa.Column("new_flavor_id", sa.String(length=255), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_migrations")),
        sa.UniqueConstraint("id", name=op.f("uq_migrations_id")),
    )
    op.create_index(op.f("ix_migrations_server_id"), "migrations", ["server_id"])
    op.create_index(op.f("ix_migrations_operation_id"), "migrations", ["operation_id"])
    op.create_table(
        "quota_classes",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("limit", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", "resource", name=op.f("pk_quota_classes")),
    )
    op.add_column("servers", sa.Column("group_id", sa.String(length=36), nullable=True))
    op.create_index(op.f("ix_servers_group_id"), "servers", ["group_id"])
    op.add_column("servers", sa.Column("requested_host", sa.String(length=255), nullable=True))
    op.add_column(
        "servers", sa.Column("scheduler_hints", sa.JSON(), nullable=False, server_default="{}")
    )
    for name, length in (("uptime", 255), ("address", 64)):
        op.add_column(
            "hosts", sa.Column(name, sa.String(length=length), nullable=False, server_default="")
        )
