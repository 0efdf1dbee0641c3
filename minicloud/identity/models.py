"""The tables of identity. Queries are in ``store.py``; nothing else names a table.

Times are seconds since the epoch. ``extra`` holds the properties that Identity v3 keeps for its
clients without knowing what they mean (a user's email, say).
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ID = sa.String(64)
_NAME = sa.String(255)


def _key() -> sa.Column[str]:
    return sa.Column("id", _ID, primary_key=True)


def _ref(name: str, table: str, *, null: bool = False, cascade: bool = True) -> sa.Column[str]:
    target = sa.ForeignKey(f"{table}.id", ondelete="CASCADE" if cascade else None)
    return sa.Column(name, _ID, target, nullable=null, index=True)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null)


def _document(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON, nullable=False)


domain = sa.Table(
    "domain",
    metadata,
    _key(),
    sa.Column("name", _NAME, nullable=False, unique=True),
    _text("description"),
    _flag("enabled"),
    _document("tags"),
    _document("options"),
    _document("extra"),
)

project = sa.Table(
    "project",
    metadata,
    _key(),
    _ref("domain_id", "domain"),
    _ref("parent_id", "project", null=True, cascade=False),
    sa.Column("name", _NAME, nullable=False),
    _text("description"),
    _flag("enabled"),
    _document("tags"),
    _document("options"),
    _document("extra"),
    sa.UniqueConstraint("domain_id", "name"),
)

user = sa.Table(
    "user",
    metadata,
    _key(),
    _ref("domain_id", "domain"),
    sa.Column("name", _NAME, nullable=False),
    _flag("enabled"),
    sa.Column("default_project_id", _ID),
    _document("options"),
    _document("extra"),
    sa.Column("password_hash", sa.String(255)),
    # Attempts since the last good one, counted before the password is looked at.
    sa.Column("failed_logins", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failed_at", sa.Double),
    # Tokens carry the number they were issued under; raising it ends them all. Unlike a time it
    # needs no agreement between clocks, and a login that overlaps the change cannot slip through.
    sa.Column("token_generation", sa.Integer, nullable=False),
    sa.UniqueConstraint("domain_id", "name"),
)

group = sa.Table(
    "user_group",
    metadata,
    _key(),
    _ref("domain_id", "domain"),
    sa.Column("name", _NAME, nullable=False),
    _text("description"),
    _document("extra"),
    sa.UniqueConstraint("domain_id", "name"),
)

membership = sa.Table(
    "group_membership",
    metadata,
    sa.Column(
        "group_id", _ID, sa.ForeignKey("user_group.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column(
        "user_id",
        _ID,
        sa.ForeignKey("user.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
)

role = sa.Table(
    "role",
    metadata,
    _key(),
    # A role of one domain says what it implies there, and is in no token itself.
    _ref("domain_id", "domain", null=True),
    sa.Column("name", _NAME, nullable=False),
    _text("description", null=True),
    _document("options"),
    _document("extra"),
    sa.UniqueConstraint("domain_id", "name"),
    sa.Index(
        "uq_role_global_name",
        "name",
        unique=True,
        sqlite_where=sa.text("domain_id IS NULL"),
        postgresql_where=sa.text("domain_id IS NULL"),
    ),
)

implied_role = sa.Table(
    "implied_role",
    metadata,
    sa.Column("prior_role_id", _ID, sa.ForeignKey("role.id", ondelete="CASCADE"), primary_key=True),
    sa.Column(
        "implied_role_id",
        _ID,
        sa.ForeignKey("role.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
)

assignment = sa.Table(
    "assignment",
    metadata,
    # Computed from who, where and which role: giving a role twice is one row.
    _key(),
    _ref("role_id", "role"),
    _ref("user_id", "user", null=True),
    _ref("group_id", "user_group", null=True),
    _ref("project_id", "project", null=True),
    _ref("domain_id", "domain", null=True),
    # Neither project nor domain: the whole system.
    _flag("system"),
    # Holds in what is below the project or domain, and not there.
    sa.Column("inherited", sa.Boolean, nullable=False, server_default=sa.false()),
)

region = sa.Table(
    "region",
    metadata,
    sa.Column("id", _NAME, primary_key=True),
    sa.Column(
        "parent_region_id", _NAME, sa.ForeignKey("region.id", ondelete="CASCADE"), index=True
    ),
    _text("description"),
    _document("extra"),
)

service = sa.Table(
    "service",
    metadata,
    _key(),
    sa.Column("type", _NAME, nullable=False),
    sa.Column("name", _NAME, nullable=False),
    _text("description"),
    _flag("enabled"),
    _document("extra"),
)

endpoint = sa.Table(
    "endpoint",
    metadata,
    _key(),
    _ref("service_id", "service"),
    sa.Column("region_id", _NAME, sa.ForeignKey("region.id"), index=True),
    sa.Column("interface", sa.String(8), nullable=False),
    _text("url"),
    _flag("enabled"),
    _document("extra"),
)

revoked_token = sa.Table(
    "revoked_token",
    metadata,
    sa.Column("audit_id", sa.String(32), primary_key=True),
    # When the row is no longer needed, because the token has expired for everybody.
    sa.Column("keep_until", sa.Double, nullable=False, index=True),
)

generation = sa.Table(
    "generation",
    metadata,
    # One row. Its value rises with every change to roles, services, endpoints and regions, so
    # that every process knows when what it remembers of them is out of date.
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Integer, nullable=False),
)

application_credential = sa.Table(
    "application_credential",
    metadata,
    _key(),
    _ref("user_id", "user"),
    _ref("project_id", "project"),
    sa.Column("name", _NAME, nullable=False),
    _text("description"),
    sa.Column("secret_hash", sa.String(255), nullable=False),
    _document("role_ids"),
    _flag("unrestricted"),
    # Whether only requests that match one of its access rules are allowed.
    _flag("ruled"),
    sa.Column("expires_at", sa.Double),
    sa.UniqueConstraint("user_id", "name"),
)

access_rule = sa.Table(
    "access_rule",
    metadata,
    _key(),
    _ref("user_id", "user"),
    sa.Column("service", _NAME, nullable=False),
    sa.Column("method", sa.String(16), nullable=False),
    sa.Column("path", _NAME, nullable=False),
    sa.UniqueConstraint("user_id", "service", "method", "path"),
)

application_credential_rule = sa.Table(
    "application_credential_rule",
    metadata,
    sa.Column(
        "application_credential_id",
        _ID,
        sa.ForeignKey("application_credential.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    # A rule that is in use stays.
    sa.Column("access_rule_id", _ID, sa.ForeignKey("access_rule.id"), primary_key=True, index=True),
)

trust = sa.Table(
    "trust",
    metadata,
    _key(),
    sa.Column(
        "trustor_user_id",
        _ID,
        sa.ForeignKey("user.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column(
        "trustee_user_id",
        _ID,
        sa.ForeignKey("user.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    _ref("project_id", "project", null=True),
    _flag("impersonation"),
    _document("role_ids"),
    sa.Column("expires_at", sa.Double),
    # How many tokens it is still good for; null: any number.
    sa.Column("remaining_uses", sa.Integer),
    sa.Column("redelegation_count", sa.Integer, nullable=False),
    # The trust it was made from goes: it goes too.
    _ref("redelegated_trust_id", "trust", null=True),
    _document("extra"),
)

credential = sa.Table(
    "credential",
    metadata,
    _key(),
    _ref("user_id", "user"),
    _ref("project_id", "project", null=True),
    sa.Column("type", _NAME, nullable=False),
    # Sealed with the keys of ``credential_key_dir``: EC2 signatures need the secret itself.
    _text("sealed_blob"),
    _document("extra"),
)

oauth_consumer = sa.Table(
    "oauth_consumer",
    metadata,
    _key(),
    _text("description", null=True),
    # Sealed as ``credential`` is, and for the same reason.
    _text("sealed_secret"),
    _document("extra"),
)

oauth_request_token = sa.Table(
    "oauth_request_token",
    metadata,
    _key(),
    _ref("consumer_id", "oauth_consumer"),
    _ref("project_id", "project"),
    _text("sealed_secret"),
    sa.Column("expires_at", sa.Double),
    # Null until a user authorizes it.
    _ref("user_id", "user", null=True),
    sa.Column("role_ids", sa.JSON(none_as_null=True)),
    _text("sealed_verifier", null=True),
)

oauth_access_token = sa.Table(
    "oauth_access_token",
    metadata,
    _key(),
    _ref("consumer_id", "oauth_consumer"),
    _ref("user_id", "user"),
    _ref("project_id", "project"),
    _document("role_ids"),
    _text("sealed_secret"),
    sa.Column("expires_at", sa.Double),
)

policy = sa.Table(
    "policy",
    metadata,
    _key(),
    sa.Column("type", _NAME, nullable=False),
    _text("blob"),
    _document("extra"),
)

policy_association = sa.Table(
    "policy_association",
    metadata,
    # Computed from endpoint, service and region, of which some are not there.
    _key(),
    _ref("policy_id", "policy"),
    _ref("endpoint_id", "endpoint", null=True),
    _ref("service_id", "service", null=True),
    sa.Column("region_id", _NAME, sa.ForeignKey("region.id", ondelete="CASCADE"), index=True),
)

domain_config = sa.Table(
    "domain_config",
    metadata,
    sa.Column("domain_id", _ID, sa.ForeignKey("domain.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("group_name", _NAME, primary_key=True),
    sa.Column("option_name", _NAME, primary_key=True),
    _document("value"),
)

registered_limit = sa.Table(
    "registered_limit",
    metadata,
    _key(),
    _ref("service_id", "service"),
    sa.Column("region_id", _NAME, sa.ForeignKey("region.id"), index=True),
    sa.Column("resource_name", _NAME, nullable=False),
    sa.Column("default_limit", sa.Integer, nullable=False),
    _text("description", null=True),
    sa.UniqueConstraint("service_id", "region_id", "resource_name"),
    sa.Index(
        "uq_registered_limit_no_region",
        "service_id",
        "resource_name",
        unique=True,
        sqlite_where=sa.text("region_id IS NULL"),
        postgresql_where=sa.text("region_id IS NULL"),
    ),
)

limit = sa.Table(
    "project_limit",
    metadata,
    _key(),
    # A registered limit that others refine stays.
    _ref("registered_limit_id", "registered_limit", cascade=False),
    _ref("project_id", "project", null=True),
    _ref("domain_id", "domain", null=True),
    sa.Column("resource_limit", sa.Integer, nullable=False),
    _text("description", null=True),
    sa.UniqueConstraint("registered_limit_id", "project_id"),
    sa.UniqueConstraint("registered_limit_id", "domain_id"),
)

endpoint_group = sa.Table(
    "endpoint_group",
    metadata,
    _key(),
    sa.Column("name", _NAME, nullable=False),
    _text("description", null=True),
    # Endpoint property -> value that its endpoints have.
    _document("filters"),
)

project_endpoint = sa.Table(
    "project_endpoint",
    metadata,
    sa.Column("project_id", _ID, sa.ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    sa.Column(
        "endpoint_id",
        _ID,
        sa.ForeignKey("endpoint.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
)

project_endpoint_group = sa.Table(
    "project_endpoint_group",
    metadata,
    sa.Column("project_id", _ID, sa.ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    sa.Column(
        "endpoint_group_id",
        _ID,
        sa.ForeignKey("endpoint_group.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
)

identity_provider = sa.Table(
    "identity_provider",
    metadata,
    _key(),
    _ref("domain_id", "domain"),
    _flag("enabled"),
    _text("description", null=True),
    sa.Column("authorization_ttl", sa.Integer),
)

identity_provider_remote_id = sa.Table(
    "identity_provider_remote_id",
    metadata,
    # Who somebody comes from is told by one of these, so it is one provider's alone.
    sa.Column("remote_id", _NAME, primary_key=True),
    _ref("identity_provider_id", "identity_provider"),
)

federation_protocol = sa.Table(
    "federation_protocol",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column(
        "identity_provider_id",
        _ID,
        sa.ForeignKey("identity_provider.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    # A mapping may go before the protocols that name it.
    sa.Column("mapping_id", _ID, nullable=False),
    sa.Column("remote_id_attribute", _ID),
)

mapping = sa.Table(
    "mapping",
    metadata,
    _key(),
    _document("rules"),
    sa.Column("schema_version", sa.String(5), nullable=False),
)

service_provider = sa.Table(
    "service_provider",
    metadata,
    _key(),
    _flag("enabled"),
    _text("description", null=True),
    _text("auth_url"),
    _text("sp_url"),
    _text("relay_state_prefix"),
)
