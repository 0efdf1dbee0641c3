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
    sa.Column("name", _NAME, nullable=False, unique=True),
    _text("description", null=True),
    _document("options"),
    _document("extra"),
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
