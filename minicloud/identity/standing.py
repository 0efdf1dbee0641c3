"""The queries behind tokens: who has this name, what does this user stand for at this scope.

Each is one statement, composed once. They read; they decide nothing.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from minicloud.identity import models
from minicloud.identity.records import Login, Scope, Standing
from minicloud.kit.db import Transaction

_user, _project, _assignment = models.user, models.project, models.assignment
_user_domain = models.domain.alias("user_domain")
_scope_domain = models.domain.alias("scope_domain")


def login_get(
    tx: Transaction,
    *,
    user_id: str | None,
    name: str | None,
    domain_id: str | None,
    domain_name: str | None,
) -> Login | None:
    """The user with this id, or with this name in the domain of this id or name."""
    query = sa.select(
        _user.c.id,
        _user.c.password_hash,
        _user.c.token_generation,
        _user.c.default_project_id,
        _user.c.options,
    )
    if user_id is not None:
        query = query.where(_user.c.id == user_id)
    else:
        query = query.where(_user.c.name == name)
    if domain_id is not None:
        query = query.where(_user.c.domain_id == domain_id)
    elif domain_name is not None:
        query = query.join(_user_domain, _user_domain.c.id == _user.c.domain_id).where(
            _user_domain.c.name == domain_name
        )
    row = tx.execute(query).one_or_none()
    if row is None:
        return None
    return Login(
        user_id=row.id,
        password_hash=row.password_hash,
        token_generation=row.token_generation,
        default_project_id=row.default_project_id,
        options=row.options,
    )


def project_named(
    tx: Transaction, name: str, *, domain_id: str | None, domain_name: str | None
) -> str | None:
    """The id of the project with this name in the domain of this id or name."""
    query = sa.select(_project.c.id).where(_project.c.name == name)
    if domain_id is not None:
        query = query.where(_project.c.domain_id == domain_id)
    else:
        query = query.join(_scope_domain, _scope_domain.c.id == _project.c.domain_id).where(
            _scope_domain.c.name == domain_name
        )
    found: str | None = tx.execute(query).scalar_one_or_none()
    return found


def domain_named(tx: Transaction, name: str) -> str | None:
    found: str | None = tx.execute(
        sa.select(models.domain.c.id).where(models.domain.c.name == name)
    ).scalar_one_or_none()
    return found


def _given_to_user() -> sa.ColumnElement[bool]:
    groups = sa.select(models.membership.c.group_id).where(
        models.membership.c.user_id == sa.bindparam("user_id")
    )
    return sa.or_(
        _assignment.c.user_id == sa.bindparam("user_id"), _assignment.c.group_id.in_(groups)
    )


def ancestors(project_id: Any) -> sa.CTE:
    """``id`` of every project above ``project_id``, and of itself."""
    above = (
        sa.select(_project.c.id, _project.c.parent_id)
        .where(_project.c.id == project_id)
        .cte("above", recursive=True)
    )
    parent = _project.alias("parent")
    return above.union_all(
        sa.select(parent.c.id, parent.c.parent_id).join(above, parent.c.id == above.c.parent_id)
    )


def _in_project(target: Any) -> sa.ColumnElement[bool]:
    """Given on the project, or to be inherited from one above it or from its domain."""
    above = ancestors(target)
    higher = sa.select(above.c.id).where(above.c.id != target)
    return sa.or_(
        sa.and_(_assignment.c.project_id == target, sa.not_(_assignment.c.inherited)),
        sa.and_(
            _assignment.c.inherited,
            sa.or_(
                _assignment.c.project_id.in_(higher),
                _assignment.c.domain_id == _project.c.domain_id,
            ),
        ),
    )


def _standing_query(kind: str) -> sa.Select[Any]:
    """A row for each direct role, or one without a role; no row where there is no such user."""
    source = _user.join(_user_domain, _user_domain.c.id == _user.c.domain_id).join(
        models.generation, sa.true()
    )
    source = source.outerjoin(
        models.revoked_token, models.revoked_token.c.audit_id == sa.bindparam("audit_id")
    )
    enabled: Any = sa.true()
    id_: Any = sa.literal("")
    name: Any = sa.literal("")
    domain_id: Any = sa.literal("")
    domain_name: Any = sa.literal("")
    here: Any = sa.false()
    target = sa.bindparam("target", type_=sa.String)
    if kind == "project":
        source = source.outerjoin(_project, _project.c.id == target)
        source = source.outerjoin(_scope_domain, _scope_domain.c.id == _project.c.domain_id)
        enabled = sa.and_(_project.c.enabled, _scope_domain.c.enabled)
        id_, name = _project.c.id, _project.c.name
        domain_id, domain_name = _scope_domain.c.id, _scope_domain.c.name
        here = _in_project(target)
    elif kind == "domain":
        source = source.outerjoin(_scope_domain, _scope_domain.c.id == target)
        enabled, id_, name = _scope_domain.c.enabled, _scope_domain.c.id, _scope_domain.c.name
        here = sa.and_(_assignment.c.domain_id == target, sa.not_(_assignment.c.inherited))
    elif kind == "system":
        here = _assignment.c.system
    role_id: Any = sa.null()
    if kind:
        source = source.outerjoin(_assignment, sa.and_(here, _given_to_user()))
        role_id = _assignment.c.role_id
    return (
        sa.select(
            _user.c.name.label("user_name"),
            _user.c.domain_id.label("user_domain_id"),
            _user_domain.c.name.label("user_domain_name"),
            sa.and_(_user.c.enabled, _user_domain.c.enabled).label("user_enabled"),
            _user.c.token_generation,
            models.revoked_token.c.audit_id.label("revoked"),
            models.generation.c.value.label("generation"),
            id_.label("scope_id"),
            enabled.label("scope_enabled"),
            name.label("scope_name"),
            domain_id.label("scope_domain_id"),
            domain_name.label("scope_domain_name"),
            role_id.label("role_id"),
        )
        .select_from(source)
        .where(_user.c.id == sa.bindparam("user_id"))
    )


_QUERIES = {kind: _standing_query(kind) for kind in ("", "project", "domain", "system")}


def standing_get(
    tx: Transaction, user_id: str, scope: Scope, audit_id: str = ""
) -> Standing | None:
    """The user at ``scope`` now, and whether the token ``audit_id`` is revoked. None: no user."""
    values = {"user_id": user_id, "audit_id": audit_id}
    if scope.kind in ("project", "domain"):
        values["target"] = scope.id
    rows = tx.execute(_QUERIES[scope.kind], values).all()
    if not rows:
        return None
    row = rows[0]
    return Standing(
        user_id=user_id,
        user_name=row.user_name,
        user_domain_id=row.user_domain_id,
        user_domain_name=row.user_domain_name,
        user_enabled=bool(row.user_enabled),
        token_generation=row.token_generation,
        revoked=row.revoked is not None,
        generation=row.generation,
        scope=scope,
        scope_enabled=bool(row.scope_enabled),
        scope_name=row.scope_name or "",
        scope_domain_id=row.scope_domain_id or "",
        scope_domain_name=row.scope_domain_name or "",
        role_ids=frozenset(each.role_id for each in rows if each.role_id is not None),
    )
