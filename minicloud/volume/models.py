"""The tables of block storage. Columns only; queries are in the stores."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    # Only the limits that an operator set: {"volumes": 20}. The row is also the lock under which
    # a project's volumes are counted.
    sa.Column("quotas", sa.JSON, nullable=False),
)

volumes = sa.Table(
    "volumes",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False, index=True),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.String(255), nullable=False),
    sa.Column("size_gb", sa.Integer, nullable=False),
    sa.Column("status", sa.String(32), nullable=False, index=True),
    sa.Column("bootable", sa.Boolean(create_constraint=False), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False, index=True),
    sa.Column("updated_at", sa.Double, nullable=False),
    # Which of the host's backends has it.
    sa.Column("backend", sa.String(64), nullable=False),
    # No foreign keys to the type and the group: SQLite could add them to a table with rows only by
    # making it anew. Who deletes a type or a group looks under its row.
    sa.Column("type_id", sa.String(36), nullable=False),
    # What it is made of: at most one, and only facts of the past once it is made.
    sa.Column("snapshot_id", sa.String(36), index=True),
    sa.Column("source_volid", sa.String(36)),
    sa.Column("image_id", sa.String(36)),
    sa.Column("backup_id", sa.String(36)),
    sa.Column("multiattach", sa.Boolean(create_constraint=False), nullable=False),
    # Null: nobody ever said.
    sa.Column("readonly", sa.Boolean(create_constraint=False)),
    # What a passing status is about: a snapshot to revert to, a type to change to.
    sa.Column("goal", sa.JSON(none_as_null=True)),
    sa.Column("group_id", sa.String(36), index=True),
    # What backends and exports call its bytes; null: as the volume.
    sa.Column("name_id", sa.String(36), index=True),
    # As Cinder's: starting, migrating, completing; success, error, deleting; target:ID.
    sa.Column("migration_status", sa.String(64), index=True),
)

volume_metadata = sa.Table(
    "volume_metadata",
    metadata,
    sa.Column(
        "volume_id",
        sa.String(36),
        sa.ForeignKey("volumes.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("value", sa.String(255), nullable=False),
    sa.Index("ix_volume_metadata_key_value", "key", "value"),
)

attachments = sa.Table(
    "attachments",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    # No cascade: a volume with an attachment cannot go.
    sa.Column("volume_id", sa.String(36), sa.ForeignKey("volumes.id"), nullable=False, index=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    # Empty: attached to no server of this cloud.
    sa.Column("server_id", sa.String(64), nullable=False, index=True),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("mode", sa.String(8), nullable=False),
    # What the host that uses the volume told of itself; null while only reserved.
    sa.Column("connector", sa.JSON(none_as_null=True)),
    # TCP port of the export on the volume's host; null for a Unix socket.
    sa.Column("port", sa.Integer),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("attached_at", sa.Double),
    # SQL takes nulls for distinct: any number of exports have no port.
    sa.UniqueConstraint("port"),
)

volume_image_metadata = sa.Table(
    "volume_image_metadata",
    metadata,
    sa.Column(
        "volume_id",
        sa.String(36),
        sa.ForeignKey("volumes.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False, index=True),
    sa.Column("user_id", sa.String(64), nullable=False),
    # No cascade: a volume with snapshots cannot go.
    sa.Column("volume_id", sa.String(36), sa.ForeignKey("volumes.id"), nullable=False, index=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.String(255), nullable=False),
    sa.Column("size_gb", sa.Integer, nullable=False),
    sa.Column("status", sa.String(32), nullable=False, index=True),
    sa.Column("group_snapshot_id", sa.String(36), sa.ForeignKey("group_snapshots.id"), index=True),
    sa.Column("created_at", sa.Double, nullable=False, index=True),
    sa.Column("updated_at", sa.Double, nullable=False),
)

snapshot_metadata = sa.Table(
    "snapshot_metadata",
    metadata,
    sa.Column(
        "snapshot_id",
        sa.String(36),
        sa.ForeignKey("snapshots.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("value", sa.String(255), nullable=False),
    sa.Index("ix_snapshot_metadata_key_value", "key", "value"),
)

volume_types = sa.Table(
    "volume_types",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.String(255)),
    sa.Column("is_public", sa.Boolean(create_constraint=False), nullable=False),
    sa.Column("extra_specs", sa.JSON, nullable=False),
    sa.Column("qos_specs_id", sa.String(36), sa.ForeignKey("qos_specs.id"), index=True),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.UniqueConstraint("name"),
)

volume_type_access = sa.Table(
    "volume_type_access",
    metadata,
    sa.Column(
        "type_id",
        sa.String(36),
        sa.ForeignKey("volume_types.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("project_id", sa.String(64), primary_key=True),
)

default_types = sa.Table(
    "default_types",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
    sa.Column("type_id", sa.String(36), sa.ForeignKey("volume_types.id"), nullable=False),
)

qos_specs = sa.Table(
    "qos_specs",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("consumer", sa.String(16), nullable=False),
    sa.Column("specs", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.UniqueConstraint("name"),
)

backups = sa.Table(
    "backups",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False, index=True),
    sa.Column("user_id", sa.String(64), nullable=False),
    # Of a volume that may be gone: a backup outlives it.
    sa.Column("volume_id", sa.String(36), nullable=False, index=True),
    sa.Column("snapshot_id", sa.String(36)),
    # No cascade: what others build upon cannot go.
    sa.Column("parent_id", sa.String(36), sa.ForeignKey("backups.id"), index=True),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.String(255), nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("size_gb", sa.Integer, nullable=False),
    sa.Column("object_count", sa.Integer, nullable=False),
    sa.Column("status", sa.String(32), nullable=False, index=True),
    sa.Column("fail_reason", sa.String(255)),
    # The volume that a restore under way fills.
    sa.Column("restore_volume_id", sa.String(36)),
    sa.Column("created_at", sa.Double, nullable=False, index=True),
    sa.Column("updated_at", sa.Double, nullable=False),
    # When the data were as they are in it.
    sa.Column("data_at", sa.Double, nullable=False),
)

transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column(
        "volume_id",
        sa.String(36),
        sa.ForeignKey("volumes.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("project_id", sa.String(64), nullable=False, index=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("salt", sa.String(64), nullable=False),
    sa.Column("key_hash", sa.String(128), nullable=False),
    sa.Column("no_snapshots", sa.Boolean(create_constraint=False), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    # One offer at a time.
    sa.UniqueConstraint("volume_id"),
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False, index=True),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("resource_type", sa.String(36), nullable=False),
    sa.Column("resource_id", sa.String(36), nullable=False),
    sa.Column("event_id", sa.String(32), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False, index=True),
)

group_types = sa.Table(
    "group_types",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.String(255)),
    sa.Column("is_public", sa.Boolean(create_constraint=False), nullable=False),
    sa.Column("group_specs", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.UniqueConstraint("name"),
)

groups = sa.Table(
    "groups",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False, index=True),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.String(255), nullable=False),
    sa.Column("group_type_id", sa.String(36), sa.ForeignKey("group_types.id"), nullable=False),
    sa.Column("volume_types", sa.JSON, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("group_snapshot_id", sa.String(36)),
    sa.Column("source_group_id", sa.String(36)),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)

group_snapshots = sa.Table(
    "group_snapshots",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False, index=True),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("group_id", sa.String(36), sa.ForeignKey("groups.id"), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("description", sa.String(255), nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)

quota_classes = sa.Table(
    "quota_classes",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("quotas", sa.JSON, nullable=False),
)

services = sa.Table(
    "services",
    metadata,
    sa.Column("host", sa.String(255), primary_key=True),
    sa.Column("binary", sa.String(64), primary_key=True),
    sa.Column("disabled", sa.Boolean(create_constraint=False), nullable=False),
    sa.Column("disabled_reason", sa.String(255)),
    sa.Column("frozen", sa.Boolean(create_constraint=False), nullable=False),
    # The backends' capacities as the host last told them.
    sa.Column("pools", sa.JSON, nullable=False),
    sa.Column("last_seen", sa.Double, nullable=False),
)
