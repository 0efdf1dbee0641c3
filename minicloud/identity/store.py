"""Queries on single nouns: get, list, insert, update, delete, each one statement.

Takes a Transaction, returns records. The queries of tokens and role assignments, which join
several nouns, are in ``standing.py`` and ``assignments.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Exists, NotFound
from minicloud.identity import models, records
from minicloud.kit.db import Transaction

R = TypeVar("R", bound=records.Identified)


class Match(msgspec.Struct, frozen=True):
    """A text to be found in a column: ``name__icontains=x``."""

    column: str
    how: str
    """``contains``, ``startswith`` or ``endswith``."""
    text: str
    any_case: bool = False

    def clause(self, column: Any) -> sa.ColumnElement[bool]:
        """The condition. LIKE would not do: SQLite's knows no case."""
        text = self.text
        if self.any_case:
            column, text = sa.func.lower(column), text.lower()
        length = len(text)
        if self.how == "startswith":
            return sa.func.substr(column, 1, length) == text
        if self.how == "endswith":
            start = sa.func.length(column) - length + 1
            return sa.and_(start >= 1, sa.func.substr(column, start) == text)
        return sa.func.replace(column, text, "") != column if text else sa.true()

    def fits(self, value: str) -> bool:
        """The same, of a value at hand."""
        text = self.text
        if self.any_case:
            value, text = value.lower(), text.lower()
        if self.how == "startswith":
            return value.startswith(text)
        if self.how == "endswith":
            return value.endswith(text)
        return text in value


class Rows(Generic[R]):
    """The rows of one table as records of one type."""

    def __init__(self, table: sa.Table, record: type[R], kind: str) -> None:
        self.kind = kind
        """The noun as errors name it."""
        self._table = table
        self._record = record
        self._columns = [table.c[name] for name in record.__struct_fields__]

    def get(self, tx: Transaction, id_: str) -> R:
        """NotFound where there is none."""
        row = tx.execute(sa.select(*self._columns).where(self._table.c.id == id_)).one_or_none()
        if row is None:
            raise NotFound(kind=self.kind, id=id_)
        return self._record(**row._mapping)

    def find(self, tx: Transaction, **equal: Any) -> R | None:
        """The one record with these values."""
        row = tx.execute(
            sa.select(*self._columns).filter_by(**equal).select_from(self._table)
        ).one_or_none()
        return None if row is None else self._record(**row._mapping)

    def list(
        self,
        tx: Transaction,
        equal: Mapping[str, Any] | None = None,
        *,
        matches: Iterable[Match] = (),
        ids: Iterable[str] | sa.SelectBase | None = None,
        marker: str | None = None,
        limit: int | None = None,
    ) -> list[R]:
        """Records in the order of their ids, after ``marker``."""
        query = sa.select(*self._columns).order_by(self._table.c.id)
        for column, value in (equal or {}).items():
            query = query.where(self._table.c[column] == value)
        for match in matches:
            query = query.where(match.clause(self._table.c[match.column]))
        if ids is not None:
            query = query.where(self._table.c.id.in_(ids))
        if marker is not None:
            query = query.where(self._table.c.id > marker)
        return [self._record(**row._mapping) for row in tx.execute(query.limit(limit))]

    def insert(self, tx: Transaction, record: R, **hidden: Any) -> None:
        """``hidden``: columns the record does not show. Exists where the name is taken."""
        self._guarded(
            tx, self._table.insert().values(**msgspec.structs.asdict(record), **hidden), record.id
        )

    def update(self, tx: Transaction, id_: str, changes: Mapping[str, Any]) -> None:
        """NotFound; Exists where the new name is taken."""
        if not changes:
            return
        statement = self._table.update().where(self._table.c.id == id_).values(**changes)
        if self._guarded(tx, statement, id_) == 0:
            raise NotFound(kind=self.kind, id=id_)

    def delete(self, tx: Transaction, id_: str) -> None:
        """NotFound; sqlalchemy's IntegrityError where something still refers to it."""
        if tx.execute(self._table.delete().where(self._table.c.id == id_)).rowcount == 0:
            raise NotFound(kind=self.kind, id=id_)

    def _guarded(self, tx: Transaction, statement: Any, id_: str) -> int:
        try:
            with tx.begin_nested():
                return tx.execute(statement).rowcount
        except sa.exc.IntegrityError:
            name = statement.compile().params.get("name")
            raise Exists(kind=self.kind, id=name or id_) from None


domains = Rows(models.domain, records.Domain, "Domain")
projects = Rows(models.project, records.Project, "Project")
users = Rows(models.user, records.User, "User")
groups = Rows(models.group, records.Group, "Group")
roles = Rows(models.role, records.Role, "Role")
regions = Rows(models.region, records.Region, "Region")
services = Rows(models.service, records.Service, "Service")
endpoints = Rows(models.endpoint, records.Endpoint, "Endpoint")
policies = Rows(models.policy, records.PolicyBlob, "Policy")
consumers = Rows(models.oauth_consumer, records.Consumer, "Consumer")
request_tokens = Rows(models.oauth_request_token, records.RequestToken, "Request token")
access_tokens = Rows(models.oauth_access_token, records.AccessToken, "Access token")
identity_providers = Rows(models.identity_provider, records.IdentityProvider, "Identity Provider")
mappings = Rows(models.mapping, records.AttributeMapping, "Mapping")
service_providers = Rows(models.service_provider, records.ServiceProvider, "Service Provider")


def generation_raise(tx: Transaction) -> None:
    """Tell every process that roles or catalog changed."""
    tx.execute(models.generation.update().values(value=models.generation.c.value + 1))


ENDS_LOCKOUT: Mapping[str, Any] = {"failed_logins": 0, "failed_at": None}
"""The change to a user after which earlier failures to log in count no more."""

END_TOKENS: Mapping[str, Any] = {"token_generation": models.user.c.token_generation + 1}
"""The change to a user after which no token issued so far is valid any more."""


def membership_add(tx: Transaction, group_id: str, user_id: str) -> None:
    """Repeatable. sqlalchemy's IntegrityError never leaves: both ends were looked up before."""
    row = {"group_id": group_id, "user_id": user_id}
    if not membership_has(tx, group_id, user_id):
        try:
            with tx.begin_nested():
                tx.execute(models.membership.insert().values(**row))
        except sa.exc.IntegrityError:
            if not membership_has(tx, group_id, user_id):
                raise NotFound(kind="User", id=user_id) from None


def membership_has(tx: Transaction, group_id: str, user_id: str) -> bool:
    table = models.membership
    query = sa.select(table.c.user_id).where(
        table.c.group_id == group_id, table.c.user_id == user_id
    )
    return tx.execute(query).first() is not None


def membership_remove(tx: Transaction, group_id: str, user_id: str) -> bool:
    table = models.membership
    statement = table.delete().where(table.c.group_id == group_id, table.c.user_id == user_id)
    return tx.execute(statement).rowcount > 0


def users_of_group(tx: Transaction, group_id: str) -> list[records.User]:
    table = models.membership
    return users.list(tx, ids=sa.select(table.c.user_id).where(table.c.group_id == group_id))


def groups_of_user(tx: Transaction, user_id: str) -> list[records.Group]:
    table = models.membership
    return groups.list(tx, ids=sa.select(table.c.group_id).where(table.c.user_id == user_id))


def user_hash_replace(tx: Transaction, user_id: str, old: str | None, new: str) -> bool:
    """Compare-and-set of the password's hash; tokens stay valid."""
    table = models.user
    statement = (
        table.update()
        .where(table.c.id == user_id, table.c.password_hash == old)
        .values(password_hash=new)
    )
    return tx.execute(statement).rowcount > 0
