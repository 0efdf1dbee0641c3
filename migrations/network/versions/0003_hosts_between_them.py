"""How hosts reach one another, and which of them carry routers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("hosts") as table:
        table.add_column(
            sa.Column("tunnel_address", sa.String(45), nullable=False, server_default="")
        )
        table.add_column(
            sa.Column("is_gateway", sa.Boolean, nullable=False, server_default=sa.false())
        )
        table.add_column(
            sa.Column("physical_networks", sa.JSON, nullable=False, server_default="[]")
        )
