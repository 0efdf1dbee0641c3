"""Application credentials, trusts, EC2 keys, limits, and what else projects and roles are told."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "endpoint_group",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("filters", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoint_group")),
    )
    op.create_table(
        "policy",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=255), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy")),
    )
    op.create_table(
        "domain_config",
        sa.Column("domain_id", sa.String(length=64), nullable=False),
        sa.Column("group_name", sa.String(length=255), nullable=False),
        sa.Column("option_name", sa.String(length=255), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["domain.id"],
            name=op.f("fk_domain_config_domain_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "domain_id", "group_name", "option_name", name=op.f("pk_domain_config")
        ),
    )
    op.create_table(
        "registered_limit",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("service_id", sa.String(length=64), nullable=False),
        sa.Column("region_id", sa.String(length=255), nullable=True),
        sa.Column("resource_name", sa.String(length=255), nullable=False),
        sa.Column("default_limit", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["region_id"], ["region.id"], name=op.f("fk_registered_limit_region_id")
        ),
        sa.ForeignKeyConstraint(
            ["service_id"],
            ["service.id"],
            name=op.f("fk_registered_limit_service_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registered_limit")),
        sa.UniqueConstraint(
            "service_id",
            "region_id",
            "resource_name",
            name=op.f("uq_registered_limit_service_id_region_id_resource_name"),
        ),
    )
    op.create_index(
        op.f("ix_registered_limit_region_id"), "registered_limit", ["region_id"], unique=False
    )
    op.create_index(
        op.f("ix_registered_limit_service_id"), "registered_limit", ["service_id"], unique=False
    )
    op.create_index(
        "uq_registered_limit_no_region",
        "registered_limit",
        ["service_id", "resource_name"],
        unique=True,
        sqlite_where=sa.text("region_id IS NULL"),
        postgresql_where=sa.text("region_id IS NULL"),
    )
    op.create_table(
        "access_rule",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("service", sa.String(length=255), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_access_rule_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_rule")),
        sa.UniqueConstraint(
            "user_id",
            "service",
            "method",
            "path",
            name=op.f("uq_access_rule_user_id_service_method_path"),
        ),
    )
    op.create_index(op.f("ix_access_rule_user_id"), "access_rule", ["user_id"], unique=False)
    op.create_table(
        "application_credential",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.String(length=255), nullable=False),
        sa.Column("role_ids", sa.JSON(), nullable=False),
        sa.Column("unrestricted", sa.Boolean(), nullable=False),
        sa.Column("ruled", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
            name=op.f("fk_application_credential_project_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user.id"],
            name=op.f("fk_application_credential_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_application_credential")),
        sa.UniqueConstraint("user_id", "name", name=op.f("uq_application_credential_user_id_name")),
    )
    op.create_index(
        op.f("ix_application_credential_project_id"),
        "application_credential",
        ["project_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_application_credential_user_id"),
        "application_credential",
        ["user_id"],
        unique=False,
    )
    op.create_table(
        "credential",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=True),
        sa.Column("type", sa.String(length=255), nullable=False),
        sa.Column("sealed_blob", sa.Text(), nullable=False),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
            name=op.f("fk_credential_project_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_credential_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credential")),
    )
    op.create_index(op.f("ix_credential_project_id"), "credential", ["project_id"], unique=False)
    op.create_index(op.f("ix_credential_user_id"), "credential", ["user_id"], unique=False)
    op.create_table(
        "project_endpoint",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("endpoint_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["endpoint.id"],
            name=op.f("fk_project_endpoint_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
            name=op.f("fk_project_endpoint_project_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project_id", "endpoint_id", name=op.f("pk_project_endpoint")),
    )
    op.create_index(
        op.f("ix_project_endpoint_endpoint_id"), "project_endpoint", ["endpoint_id"], unique=False
    )
    op.create_table(
        "project_endpoint_group",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("endpoint_group_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_group_id"],
            ["endpoint_group.id"],
            name=op.f("fk_project_endpoint_group_endpoint_group_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
            name=op.f("fk_project_endpoint_group_project_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "project_id", "endpoint_group_id", name=op.f("pk_project_endpoint_group")
        ),
    )
    op.create_index(
        op.f("ix_project_endpoint_group_endpoint_group_id"),
        "project_endpoint_group",
        ["endpoint_group_id"],
        unique=False,
    )
    op.create_table(
        "project_limit",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("registered_limit_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=True),
        sa.Column("domain_id", sa.String(length=64), nullable=True),
        sa.Column("resource_limit", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["domain_id"],
            ["domain.id"],
            name=op.f("fk_project_limit_domain_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
            name=op.f("fk_project_limit_project_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["registered_limit_id"],
            ["registered_limit.id"],
            name=op.f("fk_project_limit_registered_limit_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_limit")),
        sa.UniqueConstraint(
            "registered_limit_id",
            "domain_id",
            name=op.f("uq_project_limit_registered_limit_id_domain_id"),
        ),
        sa.UniqueConstraint(
            "registered_limit_id",
            "project_id",
            name=op.f("uq_project_limit_registered_limit_id_project_id"),
        ),
    )
    op.create_index(
        op.f("ix_project_limit_domain_id"), "project_limit", ["domain_id"], unique=False
    )
    op.create_index(
        op.f("ix_project_limit_project_id"), "project_limit", ["project_id"], unique=False
    )
    op.create_index(
        op.f("ix_project_limit_registered_limit_id"),
        "project_limit",
        ["registered_limit_id"],
        unique=False,
    )
    op.create_table(
        "trust",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("trustor_user_id", sa.String(length=64), nullable=False),
        sa.Column("trustee_user_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=True),
        sa.Column("impersonation", sa.Boolean(), nullable=False),
        sa.Column("role_ids", sa.JSON(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("remaining_uses", sa.Integer(), nullable=True),
        sa.Column("redelegation_count", sa.Integer(), nullable=False),
        sa.Column("redelegated_trust_id", sa.String(length=64), nullable=True),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_trust_project_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["redelegated_trust_id"],
            ["trust.id"],
            name=op.f("fk_trust_redelegated_trust_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["trustee_user_id"],
            ["user.id"],
            name=op.f("fk_trust_trustee_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["trustor_user_id"],
            ["user.id"],
            name=op.f("fk_trust_trustor_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trust")),
    )
    op.create_index(op.f("ix_trust_project_id"), "trust", ["project_id"], unique=False)
    op.create_index(
        op.f("ix_trust_redelegated_trust_id"), "trust", ["redelegated_trust_id"], unique=False
    )
    op.create_index(op.f("ix_trust_trustee_user_id"), "trust", ["trustee_user_id"], unique=False)
    op.create_index(op.f("ix_trust_trustor_user_id"), "trust", ["trustor_user_id"], unique=False)
    op.create_table(
        "application_credential_rule",
        sa.Column("application_credential_id", sa.String(length=64), nullable=False),
        sa.Column("access_rule_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["access_rule_id"],
            ["access_rule.id"],
            name=op.f("fk_application_credential_rule_access_rule_id"),
        ),
        sa.ForeignKeyConstraint(
            ["application_credential_id"],
            ["application_credential.id"],
            name=op.f("fk_application_credential_rule_application_credential_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "application_credential_id",
            "access_rule_id",
            name=op.f("pk_application_credential_rule"),
        ),
    )
    op.create_index(
        op.f("ix_application_credential_rule_access_rule_id"),
        "application_credential_rule",
        ["access_rule_id"],
        unique=False,
    )
    op.add_column(
        "assignment",
        sa.Column("inherited", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column(
        "user", sa.Column("failed_logins", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("user", sa.Column("failed_at", sa.Double(), nullable=True))
    with op.batch_alter_table("role") as role:
        role.add_column(sa.Column("domain_id", sa.String(length=64), nullable=True))
        role.drop_constraint(op.f("uq_role_name"), type_="unique")
        role.create_unique_constraint(op.f("uq_role_domain_id_name"), ["domain_id", "name"])
        role.create_foreign_key(
            op.f("fk_role_domain_id"), "domain", ["domain_id"], ["id"], ondelete="CASCADE"
        )
    op.create_index(op.f("ix_role_domain_id"), "role", ["domain_id"], unique=False)
    op.create_index(
        "uq_role_global_name",
        "role",
        ["name"],
        unique=True,
        sqlite_where=sa.text("domain_id IS NULL"),
        postgresql_where=sa.text("domain_id IS NULL"),
    )
