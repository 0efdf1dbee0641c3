"""Ports that are awaited on a host, because their guest is on its way there."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("ports") as batch:
        batch.add_column(sa.Column("awaited_on", sa.String(255), nullable=False, server_default=""))
        batch.create_index(op.f("ix_ports_awaited_on"), ["awaited_on"])
    with op.batch_alter_table("ports") as batch:
        batch.alter_column("awaited_on", existing_type=sa.String(255), server_default=None)
