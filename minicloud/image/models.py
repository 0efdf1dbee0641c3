"""The image service's tables. What a column means stands here; who may change it does not."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

images = sa.Table(
    "images",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255)),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("visibility", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(64)),
    sa.Column("disk_format", sa.String(20)),
    sa.Column("container_format", sa.String(20)),
    sa.Column("min_disk", sa.Integer, nullable=False),  # GiB
    sa.Column("min_ram", sa.Integer, nullable=False),  # MiB
    sa.Column("protected", sa.Boolean, nullable=False),
    sa.Column("os_hidden", sa.Boolean, nullable=False),
    sa.Column("size", sa.BigInteger),  # bytes; null before there is data
    sa.Column("virtual_size", sa.BigInteger),  # bytes of the disk a guest sees
    sa.Column("checksum", sa.String(32)),  # md5, hexadecimal
    sa.Column("os_hash_algo", sa.String(16)),
    sa.Column("os_hash_value", sa.String(128)),
    # The upload under way (status saving or importing): its name in the store ``blob_store``.
    sa.Column("blob", sa.String(64), unique=True),
    sa.Column("blob_store", sa.String(64)),
    # Until when that upload is believed alive; its writer moves it on.
    sa.Column("lease", sa.Double),
    # Bytes that are staged for an import (status uploading), and how many there will be.
    sa.Column("staged", sa.BigInteger),
    sa.Column("staged_total", sa.BigInteger),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Index(None, "owner"),
    sa.Index(None, "name"),
    sa.Index(None, "created_at"),
)

image_properties = sa.Table(
    "image_properties",
    metadata,
    sa.Column("image_id", sa.ForeignKey(images.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

image_tags = sa.Table(
    "image_tags",
    metadata,
    sa.Column("image_id", sa.ForeignKey(images.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("tag", sa.String(255), primary_key=True),
    sa.Index(None, "tag"),
)

image_members = sa.Table(
    "image_members",
    metadata,
    sa.Column("image_id", sa.ForeignKey(images.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("member", sa.String(255), primary_key=True),  # a project's id
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Index(None, "member"),
)

image_locations = sa.Table(
    "image_locations",
    metadata,
    sa.Column("image_id", sa.ForeignKey(images.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("store", sa.String(64), primary_key=True),
    # What the store knows the data by: a file's name, an object's key, a URL.
    sa.Column("name", sa.String(2048), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Index(None, "name"),
)

image_tasks = sa.Table(
    "image_tasks",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("type", sa.String(32), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(64)),  # a project's id
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("image_id", sa.String(36)),  # no foreign key: a task outlives its image
    sa.Column("input", sa.JSON, nullable=False),
    sa.Column("result", sa.JSON),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    # Until when the daemon that works on it is believed alive.
    sa.Column("lease", sa.Double),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),  # once it ended: when its row goes
    sa.Index(None, "image_id"),
    sa.Index(None, "status"),
    sa.Index(None, "created_at"),
)

image_cache = sa.Table(
    "image_cache",
    metadata,
    # The host whose directory has, or is to have, a copy.
    sa.Column("host", sa.String(255), primary_key=True),
    sa.Column("image_id", sa.ForeignKey(images.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("size", sa.BigInteger),  # null: queued, not there yet
    sa.Column("hits", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("last_accessed", sa.Double, nullable=False),
)

image_projects = sa.Table(
    "image_projects",
    metadata,
    # A row to lock while a project's images are counted.
    sa.Column("id", sa.String(64), primary_key=True),
)

# Metadata definitions: which properties mean what, for people and dashboards. They hang on a
# namespace and go with it; what a definition says is kept as the JSON that came.
metadef_namespaces = sa.Table(
    "metadef_namespaces",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("namespace", sa.String(80), nullable=False, unique=True),
    sa.Column("display_name", sa.String(80)),
    sa.Column("description", sa.Text),
    sa.Column("visibility", sa.String(16), nullable=False),
    sa.Column("protected", sa.Boolean, nullable=False),
    sa.Column("owner", sa.String(255)),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)

metadef_resource_types = sa.Table(
    "metadef_resource_types",
    metadata,
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)

metadef_associations = sa.Table(
    "metadef_associations",
    metadata,
    sa.Column(
        "namespace_id", sa.ForeignKey(metadef_namespaces.c.id, ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("name", sa.ForeignKey(metadef_resource_types.c.name), primary_key=True),
    sa.Column("prefix", sa.String(80)),
    sa.Column("properties_target", sa.String(80)),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)

metadef_items = sa.Table(
    "metadef_items",
    metadata,
    sa.Column(
        "namespace_id", sa.ForeignKey(metadef_namespaces.c.id, ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("kind", sa.String(16), primary_key=True),  # object, property, tag
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("body", sa.JSON, nullable=False),  # all that was said about it, without its name
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)
