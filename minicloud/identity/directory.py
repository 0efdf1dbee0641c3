"""Who there is: domains, projects, users, groups and roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.domain.errors import Invalid, NotAllowed, NotFound, NotImplementedHere
from minicloud.identity import assignments, records, store
from minicloud.identity.nouns import Noun, Values, new_id
from minicloud.identity.passwords import Passwords
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction

DEFAULT_DOMAIN = "default"


def _home(tx: Transaction, ctx: Context, values: Values) -> str:
    """The domain of something new: as asked, or the caller's. Invalid where there is none."""
    asked = values.get("domain_id")
    domain_id: str = asked or ctx.domain_id or ctx.project_domain_id or DEFAULT_DOMAIN
    if store.domains.find(tx, id=domain_id) is None:
        raise Invalid(reason=f"There is no domain {domain_id}.")
    return domain_id


def _stays(values: Values, key: str, now: str | None) -> None:
    """``key`` can be given, but not changed."""
    asked = values.pop(key, now)
    if asked != now:
        raise Invalid(reason=f"{key} cannot be changed.")


class Domains(Noun[records.Domain]):
    rows = store.domains

    def new(self, tx: Transaction, ctx: Context, values: Values) -> records.Domain:
        return records.Domain(**{"id": new_id(), **values})

    def ending(self, tx: Transaction, record: records.Domain) -> None:
        if record.enabled:
            raise NotAllowed(reason="An enabled domain cannot be deleted: disable it first.")


class Projects(Noun[records.Project]):
    rows = store.projects
    in_use = "it has projects below it"

    def new(self, tx: Transaction, ctx: Context, values: Values) -> records.Project:
        if values.pop("is_domain", False):
            raise NotImplementedHere(reason="A domain is created at /v3/domains.")
        parent_id = values.pop("parent_id", None)
        parent = None if parent_id is None else store.projects.find(tx, id=parent_id)
        if parent is not None:
            values["domain_id"] = values.get("domain_id") or parent.domain_id
        elif parent_id is not None:
            values["domain_id"] = values.get("domain_id") or parent_id
        domain_id = _home(tx, ctx, values)
        above = domain_id if parent_id is None else parent.domain_id if parent else parent_id
        if above != domain_id:
            raise Invalid(reason=f"{parent_id} is no project of domain {domain_id}.")
        values["domain_id"] = domain_id
        return records.Project(id=new_id(), parent_id=parent.id if parent else None, **values)

    def changes(self, tx: Transaction, record: records.Project, values: Values) -> Values:
        _stays(values, "domain_id", record.domain_id)
        _stays(values, "parent_id", record.parent_id or record.domain_id)
        if values.pop("is_domain", False):
            raise Invalid(reason="is_domain cannot be changed.")
        return values

    def page(
        self,
        equal: Mapping[str, Any],
        *,
        name_contains: str = "",
        marker: str | None = None,
        limit: int | None = None,
    ) -> tuple[Sequence[records.Project], bool]:
        """As for any noun; the parent of a project directly below its domain is the domain."""
        with self._database.read() as tx:
            above = equal.get("parent_id")
            if above is not None and store.domains.find(tx, id=above) is not None:
                equal = {"domain_id": above, **equal, "parent_id": None}
        return super().page(equal, name_contains=name_contains, marker=marker, limit=limit)

    def of_user(self, user_id: str, *, only_enabled: bool) -> list[records.Project]:
        """The projects on which a user has a role, directly or through a group."""
        with self._database.read() as tx:
            places = assignments.places_of_user(user_id, "project_id")
            found = self.rows.list(tx, {"enabled": True} if only_enabled else None, ids=places)
            if not only_enabled:
                return found
            open_domains = {each.id for each in store.domains.list(tx, {"enabled": True})}
            return [each for each in found if each.domain_id in open_domains]


class Users(Noun[records.User]):
    rows = store.users

    def __init__(self, database: Database, passwords: Passwords) -> None:
        super().__init__(database)
        self._passwords = passwords

    def hidden(self, values: Values) -> Values:
        return {"password_hash": None, **self.changed_hidden(values), "token_generation": 0}

    def changed_hidden(self, values: Values) -> Values:
        """A new password or disabling ends all tokens of the user, in the same transaction."""
        hidden: Values = {}
        if "password" in values:
            password = values.pop("password")
            hashed = None if password is None else self._passwords.hash(password)
            hidden = {"password_hash": hashed, **store.END_TOKENS}
        if values.get("enabled") is False:
            hidden |= store.END_TOKENS
        return hidden

    def new(self, tx: Transaction, ctx: Context, values: Values) -> records.User:
        values["domain_id"] = _home(tx, ctx, values)
        return records.User(id=new_id(), **values)

    def changes(self, tx: Transaction, record: records.User, values: Values) -> Values:
        _stays(values, "domain_id", record.domain_id)
        return values

    def groups(self, user_id: str) -> list[records.Group]:
        with self._database.read() as tx:
            store.users.get(tx, user_id)
            return store.groups_of_user(tx, user_id)


class Groups(Noun[records.Group]):
    rows = store.groups

    def new(self, tx: Transaction, ctx: Context, values: Values) -> records.Group:
        values["domain_id"] = _home(tx, ctx, values)
        return records.Group(id=new_id(), **values)

    def changes(self, tx: Transaction, record: records.Group, values: Values) -> Values:
        _stays(values, "domain_id", record.domain_id)
        return values

    def users(self, group_id: str) -> list[records.User]:
        with self._database.read() as tx:
            store.groups.get(tx, group_id)
            return store.users_of_group(tx, group_id)

    def add(self, group_id: str, user_id: str) -> None:
        with self._database.write() as tx:
            store.groups.get(tx, group_id)
            store.users.get(tx, user_id)
            store.membership_add(tx, group_id, user_id)

    def remove(self, group_id: str, user_id: str) -> None:
        """NotFound where the user is not in the group."""
        with self._database.write() as tx:
            if not store.membership_remove(tx, group_id, user_id):
                raise NotFound(kind="User", id=user_id)

    def check(self, group_id: str, user_id: str) -> None:
        """NotFound where the user is not in the group."""
        with self._database.read() as tx:
            if not store.membership_has(tx, group_id, user_id):
                raise NotFound(kind="User", id=user_id)


class Roles(Noun[records.Role]):
    rows = store.roles
    raises_generation = True

    def new(self, tx: Transaction, ctx: Context, values: Values) -> records.Role:
        if values.pop("domain_id", None) is not None:
            raise NotImplementedHere(reason="A role belongs to no domain here.")
        return records.Role(id=new_id(), **values)

    def changes(self, tx: Transaction, record: records.Role, values: Values) -> Values:
        _stays(values, "domain_id", None)
        return values
