"""Volumes that move while a guest writes."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("volumes", sa.Column("name_id", sa.String(length=36), nullable=True))
    op.add_column("volumes", sa.Column("migration_status", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_volumes_name_id"), "volumes", ["name_id"])
    op.create_index(op.f("ix_volumes_migration_status"), "volumes", ["migration_status"])


def downgrade() -> None:
    op.drop_index(op.f("ix_volumes_migration_status"), "volumes")
    op.drop_index(op.f("ix_volumes_name_id"), "volumes")
    op.drop_column("volumes", "migration_status")
    op.drop_column("volumes", "name_id")
