"""Servers that are resized, moved or shelved: their second claims, and what they go back to."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("servers", sa.Column("locked_by", sa.String(length=16), nullable=True))
    op.add_column("servers", sa.Column("resized", sa.JSON(), nullable=True))
    op.add_column("servers", sa.Column("shelved_image_id", sa.String(length=36), nullable=True))
    # SQLite cannot give a table another primary key.
    connection = op.get_bind()
    kept = [dict(row._mapping) for row in connection.execute(sa.text("SELECT * FROM claims"))]
    op.drop_table("claims")
    claims = op.create_table(
        "claims",
        sa.Column("server_id", sa.String(length=36), nullable=False),
        sa.Column("slot", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.Integer(), nullable=False),
        sa.Column("disk_gb", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("server_id", "slot", name=op.f("pk_claims")),
    )
    op.create_index(op.f("ix_claims_host"), "claims", ["host"])
    op.bulk_insert(claims, [{**row, "slot": "current"} for row in kept])
