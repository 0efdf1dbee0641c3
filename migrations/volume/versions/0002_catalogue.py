"""Snapshots, types, quality of service, backups, transfers, groups and messages."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DEFAULT_TYPE = "9c19051a-5bd4-57cc-b92f-cf18fcc6eaba"
"""The type of all volumes there were: the id is computed from the name."""


def upgrade() -> None:
    op.create_table(
        "backups",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("volume_id", sa.String(length=36), nullable=False),
        sa.Column("snapshot_id", sa.String(length=36), nullable=True),
        sa.Column("parent_id", sa.String(length=36), nullable=True),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("size_gb", sa.Integer(), nullable=False),
        sa.Column("object_count", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("fail_reason", sa.String(length=255), nullable=True),
        sa.Column("restore_volume_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("data_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["backups.id"], name=op.f("fk_backups_parent_id_backups")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backups")),
    )
    op.create_index(op.f("ix_backups_created_at"), "backups", ["created_at"], unique=False)
    op.create_index(op.f("ix_backups_parent_id"), "backups", ["parent_id"], unique=False)
    op.create_index(op.f("ix_backups_project_id"), "backups", ["project_id"], unique=False)
    op.create_index(op.f("ix_backups_status"), "backups", ["status"], unique=False)
    op.create_index(op.f("ix_backups_volume_id"), "backups", ["volume_id"], unique=False)

    op.create_table(
        "group_types",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=True),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("group_specs", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_group_types")),
        sa.UniqueConstraint("name", name=op.f("uq_group_types_name")),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("resource_type", sa.String(length=36), nullable=False),
        sa.Column("resource_id", sa.String(length=36), nullable=False),
        sa.Column("event_id", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
    )
    op.create_index(op.f("ix_messages_created_at"), "messages", ["created_at"], unique=False)
    op.create_index(op.f("ix_messages_project_id"), "messages", ["project_id"], unique=False)

    op.create_table(
        "qos_specs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("consumer", sa.String(length=16), nullable=False),
        sa.Column("specs", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_qos_specs")),
        sa.UniqueConstraint("name", name=op.f("uq_qos_specs_name")),
    )
    op.create_table(
        "quota_classes",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("quotas", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_quota_classes")),
    )
    op.create_table(
        "services",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("binary", sa.String(length=64), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.String(length=255), nullable=True),
        sa.Column("frozen", sa.Boolean(), nullable=False),
        sa.Column("pools", sa.JSON(), nullable=False),
        sa.Column("last_seen", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("host", "binary", name=op.f("pk_services")),
    )
    op.create_table(
        "groups",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("group_type_id", sa.String(length=36), nullable=False),
        sa.Column("volume_types", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("group_snapshot_id", sa.String(length=36), nullable=True),
        sa.Column("source_group_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_type_id"], ["group_types.id"], name=op.f("fk_groups_group_type_id_group_types")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
    )
    op.create_index(op.f("ix_groups_project_id"), "groups", ["project_id"], unique=False)

    op.create_table(
        "transfers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("volume_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("key_hash", sa.String(length=128), nullable=False),
        sa.Column("no_snapshots", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["volume_id"],
            ["volumes.id"],
            name=op.f("fk_transfers_volume_id_volumes"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfers")),
        sa.UniqueConstraint("volume_id", name=op.f("uq_transfers_volume_id")),
    )
    op.create_index(op.f("ix_transfers_project_id"), "transfers", ["project_id"], unique=False)

    op.create_table(
        "volume_image_metadata",
        sa.Column("volume_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["volume_id"],
            ["volumes.id"],
            name=op.f("fk_volume_image_metadata_volume_id_volumes"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("volume_id", "key", name=op.f("pk_volume_image_metadata")),
    )
    op.create_table(
        "volume_types",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=True),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("extra_specs", sa.JSON(), nullable=False),
        sa.Column("qos_specs_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["qos_specs_id"], ["qos_specs.id"], name=op.f("fk_volume_types_qos_specs_id_qos_specs")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volume_types")),
        sa.UniqueConstraint("name", name=op.f("uq_volume_types_name")),
    )
    op.create_index(
        op.f("ix_volume_types_qos_specs_id"), "volume_types", ["qos_specs_id"], unique=False
    )

    op.create_table(
        "default_types",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("type_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["type_id"], ["volume_types.id"], name=op.f("fk_default_types_type_id_volume_types")
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_default_types")),
    )
    op.create_table(
        "group_snapshots",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.id"], name=op.f("fk_group_snapshots_group_id_groups")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_group_snapshots")),
    )
    op.create_index(
        op.f("ix_group_snapshots_project_id"), "group_snapshots", ["project_id"], unique=False
    )

    op.create_table(
        "volume_type_access",
        sa.Column("type_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["type_id"],
            ["volume_types.id"],
            name=op.f("fk_volume_type_access_type_id_volume_types"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("type_id", "project_id", name=op.f("pk_volume_type_access")),
    )
    op.create_table(
        "snapshots",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("volume_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("size_gb", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("group_snapshot_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_snapshot_id"],
            ["group_snapshots.id"],
            name=op.f("fk_snapshots_group_snapshot_id_group_snapshots"),
        ),
        sa.ForeignKeyConstraint(
            ["volume_id"], ["volumes.id"], name=op.f("fk_snapshots_volume_id_volumes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
    )
    op.create_index(op.f("ix_snapshots_created_at"), "snapshots", ["created_at"], unique=False)
    op.create_index(
        op.f("ix_snapshots_group_snapshot_id"), "snapshots", ["group_snapshot_id"], unique=False
    )
    op.create_index(op.f("ix_snapshots_project_id"), "snapshots", ["project_id"], unique=False)
    op.create_index(op.f("ix_snapshots_status"), "snapshots", ["status"], unique=False)
    op.create_index(op.f("ix_snapshots_volume_id"), "snapshots", ["volume_id"], unique=False)

    op.create_table(
        "snapshot_metadata",
        sa.Column("snapshot_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["snapshot_id"],
            ["snapshots.id"],
            name=op.f("fk_snapshot_metadata_snapshot_id_snapshots"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("snapshot_id", "key", name=op.f("pk_snapshot_metadata")),
    )
    op.create_index(
        "ix_snapshot_metadata_key_value", "snapshot_metadata", ["key", "value"], unique=False
    )

    op.add_column(
        "attachments", sa.Column("mode", sa.String(length=8), nullable=False, server_default="rw")
    )

    op.add_column(
        "volumes",
        sa.Column("backend", sa.String(length=64), nullable=False, server_default="files"),
    )
    op.add_column(
        "volumes",
        sa.Column("type_id", sa.String(length=36), nullable=False, server_default=DEFAULT_TYPE),
    )
    op.add_column("volumes", sa.Column("snapshot_id", sa.String(length=36), nullable=True))
    op.add_column("volumes", sa.Column("source_volid", sa.String(length=36), nullable=True))
    op.add_column("volumes", sa.Column("image_id", sa.String(length=36), nullable=True))
    op.add_column("volumes", sa.Column("backup_id", sa.String(length=36), nullable=True))
    op.add_column(
        "volumes", sa.Column("multiattach", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("volumes", sa.Column("readonly", sa.Boolean(), nullable=True))
    op.add_column("volumes", sa.Column("goal", sa.JSON(), nullable=True))
    op.add_column("volumes", sa.Column("group_id", sa.String(length=36), nullable=True))
    op.create_index(op.f("ix_volumes_group_id"), "volumes", ["group_id"], unique=False)
    op.create_index(op.f("ix_volumes_snapshot_id"), "volumes", ["snapshot_id"], unique=False)
    types = sa.table(
        "volume_types",
        *(sa.column(name) for name in ("id", "name", "description", "is_public", "created_at")),
        sa.column("extra_specs", sa.JSON()),
    )
    op.execute(
        types.insert().values(
            id=DEFAULT_TYPE,
            name="__DEFAULT__",
            description="Files on the volume host",
            is_public=sa.true(),
            extra_specs={},
            created_at=time.time(),
        )
    )


def downgrade() -> None:
    op.drop_index("ix_volumes_group_id", "volumes")
    op.drop_index("ix_volumes_snapshot_id", "volumes")
    op.drop_column("volumes", "group_id")
    op.drop_column("volumes", "snapshot_id")
    for name in (
        "goal",
        "readonly",
        "multiattach",
        "backup_id",
        "image_id",
        "source_volid",
        "type_id",
        "backend",
    ):
        op.drop_column("volumes", name)
    op.drop_column("attachments", "mode")
    op.drop_table("snapshot_metadata")
    op.drop_table("snapshots")
    op.drop_table("volume_type_access")
    op.drop_table("group_snapshots")
    op.drop_table("default_types")
    op.drop_table("volume_types")
    op.drop_table("volume_image_metadata")
    op.drop_table("transfers")
    op.drop_table("groups")
    op.drop_table("services")
    op.drop_table("quota_classes")
    op.drop_table("qos_specs")
    op.drop_table("messages")
    op.drop_table("group_types")
    op.drop_table("backups")
