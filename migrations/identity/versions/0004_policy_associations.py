"""Which policy is for which endpoints."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TARGETS = {"policy": 64, "endpoint": 64, "service": 64, "region": 255}
"""Table -> length of its ids."""


def upgrade() -> None:
    op.create_table(
        "policy_association",
        sa.Column("id", sa.String(length=64), nullable=False),
        *(
            sa.Column(f"{noun}_id", sa.String(length=length), nullable=noun != "policy")
            for noun, length in _TARGETS.items()
        ),
        *(
            sa.ForeignKeyConstraint(
                [f"{noun}_id"],
                [f"{noun}.id"],
                name=op.f(f"fk_policy_association_{noun}_id"),
                ondelete="CASCADE",
            )
            for noun in _TARGETS
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_association")),
    )
    for noun in _TARGETS:
        op.create_index(
            op.f(f"ix_policy_association_{noun}_id"),
            "policy_association",
            [f"{noun}_id"],
            unique=False,
        )
