"""Queries on what users delegate: application credentials with their access rules, and trusts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Exists, NotAllowed, NotFound
from minicloud.identity import models
from minicloud.identity.records import AccessRule, ApplicationCredential, Trust
from minicloud.identity.store import Match
from minicloud.kit.db import Transaction

_credential, _rule = models.application_credential, models.access_rule
_uses, _trust = models.application_credential_rule, models.trust
R = TypeVar("R", ApplicationCredential, AccessRule, Trust)


def _columns(table: sa.Table, record: type[Any]) -> list[sa.Column[Any]]:
    return [table.c[name] for name in record.__struct_fields__]


def _read(
    tx: Transaction, table: sa.Table, record: type[R], *where: sa.ColumnElement[bool]
) -> list[R]:
    query = sa.select(*_columns(table, record)).where(*where).order_by(table.c.id)
    return [record(**row._mapping) for row in tx.execute(query)]


# -- application credentials ----------------------------------------------------------------------
def application_credential_find(tx: Transaction, id_: str) -> ApplicationCredential | None:
    found = _read(tx, _credential, ApplicationCredential, _credential.c.id == id_)
    return found[0] if found else None


def application_credential_secret(
    tx: Transaction, *, id_: str | None, user_id: str | None, name: str | None
) -> tuple[ApplicationCredential, str] | None:
    """(credential, hash of its secret), by id, or by a user and a name."""
    query = sa.select(
        *_columns(_credential, ApplicationCredential), _credential.c.secret_hash.label("hashed")
    )
    if id_ is not None:
        query = query.where(_credential.c.id == id_)
    else:
        query = query.where(_credential.c.user_id == user_id, _credential.c.name == name)
    row = tx.execute(query).one_or_none()
    if row is None:
        return None
    values = dict(row._mapping)
    hashed: str = values.pop("hashed")
    return ApplicationCredential(**values), hashed


def application_credential_list(
    tx: Transaction, user_id: str, *, name: str | None = None, matches: Sequence[Match] = ()
) -> list[ApplicationCredential]:
    where = [_credential.c.user_id == user_id]
    if name is not None:
        where.append(_credential.c.name == name)
    where += [match.clause(_credential.c[match.column]) for match in matches]
    return _read(tx, _credential, ApplicationCredential, *where)


def application_credential_insert(
    tx: Transaction,
    credential: ApplicationCredential,
    secret_hash: str,
    rules: Sequence[AccessRule],
) -> None:
    """Exists where the user has one of this name."""
    values = {**msgspec.structs.asdict(credential), "secret_hash": secret_hash}
    try:
        with tx.begin_nested():
            tx.execute(_credential.insert().values(**values))
    except sa.exc.IntegrityError:
        raise Exists(kind="Application credential", id=credential.name) from None
    for rule in {each.id: each for each in rules}.values():
        tx.execute(
            _uses.insert().values(application_credential_id=credential.id, access_rule_id=rule.id)
        )


def application_credential_delete(tx: Transaction, id_: str) -> None:
    tx.execute(_credential.delete().where(_credential.c.id == id_))


# -- access rules ---------------------------------------------------------------------------------
def access_rules_of(tx: Transaction, credential_ids: Sequence[str]) -> dict[str, list[AccessRule]]:
    """Application credential -> its rules."""
    query = (
        sa.select(*_columns(_rule, AccessRule), _uses.c.application_credential_id.label("owner"))
        .join(_uses, _uses.c.access_rule_id == _rule.c.id)
        .where(_uses.c.application_credential_id.in_(credential_ids))
        .order_by(_rule.c.id)
    )
    found: dict[str, list[AccessRule]] = {}
    for row in tx.execute(query):
        values = dict(row._mapping)
        found.setdefault(values.pop("owner"), []).append(AccessRule(**values))
    return found


def access_rule_find(tx: Transaction, user_id: str, id_: str) -> AccessRule | None:
    found = _read(tx, _rule, AccessRule, _rule.c.id == id_, _rule.c.user_id == user_id)
    return found[0] if found else None


def access_rule_list(
    tx: Transaction, user_id: str, equal: dict[str, str], matches: Sequence[Match] = ()
) -> list[AccessRule]:
    where = [_rule.c.user_id == user_id, *(_rule.c[key] == equal[key] for key in equal)]
    where += [match.clause(_rule.c[match.column]) for match in matches]
    return _read(tx, _rule, AccessRule, *where)


def access_rule_ensure(tx: Transaction, rule: AccessRule) -> AccessRule:
    """The user's rule that says this: an earlier one, or ``rule`` itself."""
    same = {"service": rule.service, "method": rule.method, "path": rule.path}
    for each in access_rule_list(tx, rule.user_id, same):
        return each
    try:
        with tx.begin_nested():
            tx.execute(_rule.insert().values(**msgspec.structs.asdict(rule)))
    except sa.exc.IntegrityError:
        return access_rule_list(tx, rule.user_id, same)[0]
    return rule


def access_rule_delete(tx: Transaction, user_id: str, id_: str) -> None:
    """NotFound; NotAllowed while an application credential has it."""
    where = (_rule.c.id == id_, _rule.c.user_id == user_id)
    try:
        with tx.begin_nested():
            gone = tx.execute(_rule.delete().where(*where)).rowcount
    except sa.exc.IntegrityError:
        raise NotAllowed(
            reason=f"Access rule {id_} is in use: delete the application credential that has it."
        ) from None
    if not gone:
        raise NotFound(kind="Access rule", id=id_)


# -- trusts ---------------------------------------------------------------------------------------
def trust_find(tx: Transaction, id_: str) -> Trust | None:
    found = _read(tx, _trust, Trust, _trust.c.id == id_)
    return found[0] if found else None


def trust_list(tx: Transaction, **equal: str) -> list[Trust]:
    return _read(tx, _trust, Trust, *(_trust.c[key] == equal[key] for key in equal))


def trust_insert(tx: Transaction, trust: Trust) -> None:
    tx.execute(_trust.insert().values(**msgspec.structs.asdict(trust)))


def trust_delete(tx: Transaction, id_: str) -> None:
    """And with it every trust that was made from it."""
    tx.execute(_trust.delete().where(_trust.c.id == id_))


def trust_use(tx: Transaction, id_: str) -> bool:
    """Count one use; False where none is left."""
    statement = (
        _trust.update()
        .where(_trust.c.id == id_, _trust.c.remaining_uses > 0)
        .values(remaining_uses=_trust.c.remaining_uses - 1)
    )
    return tx.execute(statement).rowcount > 0
