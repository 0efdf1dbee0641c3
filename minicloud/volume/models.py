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
    # What the host that uses the volume told of itself; null while only reserved.
    sa.Column("connector", sa.JSON(none_as_null=True)),
    # TCP port of the export on the volume's host; null for a Unix socket.
    sa.Column("port", sa.Integer),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("attached_at", sa.Double),
    # SQL takes nulls for distinct: any number of exports have no port.
    sa.UniqueConstraint("port"),
)
