"""Identity providers with their protocols, mappings and service providers."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_provider",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("domain_id", sa.String(length=64), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("authorization_ttl", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["domain.id"],
            name=op.f("fk_identity_provider_domain_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_provider")),
    )
    op.create_index(
        op.f("ix_identity_provider_domain_id"), "identity_provider", ["domain_id"], unique=False
    )
    op.create_table(
        "identity_provider_remote_id",
        sa.Column("remote_id", sa.String(length=255), nullable=False),
        sa.Column("identity_provider_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["identity_provider_id"],
            ["identity_provider.id"],
            name=op.f("fk_identity_provider_remote_id_identity_provider_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("remote_id", name=op.f("pk_identity_provider_remote_id")),
    )
    op.create_index(
        op.f("ix_identity_provider_remote_id_identity_provider_id"),
        "identity_provider_remote_id",
        ["identity_provider_id"],
        unique=False,
    )
    op.create_table(
        "federation_protocol",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("identity_provider_id", sa.String(length=64), nullable=False),
        sa.Column("mapping_id", sa.String(length=64), nullable=False),
        sa.Column("remote_id_attribute", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["identity_provider_id"],
            ["identity_provider.id"],
            name=op.f("fk_federation_protocol_identity_provider_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", "identity_provider_id", name=op.f("pk_federation_protocol")),
    )
    op.create_index(
        op.f("ix_federation_protocol_identity_provider_id"),
        "federation_protocol",
        ["identity_provider_id"],
        unique=False,
    )
    op.create_table(
        "mapping",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("schema_version", sa.String(length=5), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mapping")),
    )
    op.create_table(
        "service_provider",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("auth_url", sa.Text(), nullable=False),
        sa.Column("sp_url", sa.Text(), nullable=False),
        sa.Column("relay_state_prefix", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_provider")),
    )
