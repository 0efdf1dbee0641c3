"""Several stores, staging, tasks, the cache and metadata definitions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("blob_store", sa.String(length=64), nullable=True),
        sa.Column("lease", sa.Double(), nullable=True),
        sa.Column("staged", sa.BigInteger(), nullable=True),
        sa.Column("staged_total", sa.BigInteger(), nullable=True),
    ):
        op.add_column("images", column)
    _image_tables()
    _metadef_tables()
    # What lay in files lies in the store of that name; an upload under way keeps its blob.
    op.execute(
        "INSERT INTO image_locations (image_id, store, name, created_at) "
        "SELECT id, 'file', blob, updated_at FROM images "
        "WHERE blob IS NOT NULL AND status != 'saving'"
    )
    op.execute("UPDATE images SET blob = NULL WHERE status != 'saving'")
    op.execute("UPDATE images SET blob_store = 'file' WHERE status = 'saving'")


def _image_tables() -> None:
    op.create_table(
        "image_locations",
        sa.Column("image_id", sa.String(length=36), nullable=False),
        sa.Column("store", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=2048), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"],
            ["images.id"],
            name=op.f("fk_image_locations_image_id_images"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("image_id", "store", name=op.f("pk_image_locations")),
    )
    op.create_index(op.f("ix_image_locations_name"), "image_locations", ["name"])
    op.create_table(
        "image_tasks",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("image_id", sa.String(length=36), nullable=True),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_tasks")),
    )
    for column in ("image_id", "status", "created_at"):
        op.create_index(op.f(f"ix_image_tasks_{column}"), "image_tasks", [column])
    op.create_table(
        "image_cache",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("image_id", sa.String(length=36), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("last_accessed", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"],
            ["images.id"],
            name=op.f("fk_image_cache_image_id_images"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("host", "image_id", name=op.f("pk_image_cache")),
    )
    op.create_table(
        "image_projects",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_projects")),
    )


def _metadef_tables() -> None:
    op.create_table(
        "metadef_namespaces",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("namespace", sa.String(length=80), nullable=False),
        sa.Column("display_name", sa.String(length=80), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("visibility", sa.String(length=16), nullable=False),
        sa.Column("protected", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metadef_namespaces")),
        sa.UniqueConstraint("namespace", name=op.f("uq_metadef_namespaces_namespace")),
    )
    op.create_table(
        "metadef_resource_types",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_metadef_resource_types")),
    )
    op.create_table(
        "metadef_associations",
        sa.Column("namespace_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("prefix", sa.String(length=80), nullable=True),
        sa.Column("properties_target", sa.String(length=80), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace_id"],
            ["metadef_namespaces.id"],
            name=op.f("fk_metadef_associations_namespace_id_metadef_namespaces"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["name"],
            ["metadef_resource_types.name"],
            name=op.f("fk_metadef_associations_name_metadef_resource_types"),
        ),
        sa.PrimaryKeyConstraint("namespace_id", "name", name=op.f("pk_metadef_associations")),
    )
    op.create_table(
        "metadef_items",
        sa.Column("namespace_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace_id"],
            ["metadef_namespaces.id"],
            name=op.f("fk_metadef_items_namespace_id_metadef_namespaces"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("namespace_id", "kind", "name", name=op.f("pk_metadef_items")),
    )


def downgrade() -> None:
    op.execute(
        "UPDATE images SET blob = (SELECT name FROM image_locations "
        "WHERE image_id = images.id AND store = 'file') WHERE status != 'saving'"
    )
    for table in (
        "metadef_items",
        "metadef_associations",
        "metadef_resource_types",
        "metadef_namespaces",
        "image_projects",
        "image_cache",
        "image_tasks",
        "image_locations",
    ):
        op.drop_table(table)
    with op.batch_alter_table("images") as images:
        for column in ("staged_total", "staged", "lease", "blob_store"):
            images.drop_column(column)
