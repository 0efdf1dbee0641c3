"""Who there is: domains, users, groups and roles. Projects are in ``projects.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minicloud.domain.errors import Invalid, NotAllowed, NotFound
from minicloud.identity import options, records, store
from minicloud.identity.nouns import Noun, Values, new_id
from minicloud.identity.passwords import Passwords
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction

DEFAULT_DOMAIN = "default"


def asked_domain(ctx: Context, values: Values) -> str:
    """The domain of something new: as asked, or the caller's."""
    domain_id: str = (
        values.get("domain_id") or ctx.domain_id or ctx.project_domain_id or DEFAULT_DOMAIN
    )
    return domain_id


def home(tx: Transaction, ctx: Context, values: Values) -> str:
    """The same. NotFound where there is none of it."""
    domain_id = asked_domain(ctx, values)
    store.domains.get(tx, domain_id)
    return domain_id


def stays(values: Values, key: str, now: str | None) -> None:
    """``key`` can be given, but not changed."""
    asked = values.pop(key, now)
    if asked != now:
        raise Invalid(reason=f"{key} cannot be changed.")


def _new_options(known: Mapping[str, options.Check], values: Values) -> None:
    if "options" in values:
        values["options"] = options.changed(known, {}, values["options"])


def _changed_options(known: Mapping[str, options.Check], record: Any, values: Values) -> Values:
    if "options" in values:
        values["options"] = options.changed(known, record.options, values["options"])
    return values


class Domains(Noun[records.Domain]):
    rows = store.domains

    def new(self, tx: Transaction, ctx: Context, values: Values) -> records.Domain:
        _new_options(options.OF_PLACES, values)
        return records.Domain(**{"id": new_id(), **values})

    def changing(self, tx: Transaction, record: records.Domain, values: Values) -> None:
        options.check_changeable("Domain", record.id, record.options, values)

    def changes(self, tx: Transaction, record: records.Domain, values: Values) -> Values:
        return _changed_options(options.OF_PLACES, record, values)

    def ending(self, tx: Transaction, record: records.Domain) -> None:
        options.check_changeable("Domain", record.id, record.options, None)
        if record.enabled:
            raise NotAllowed(reason="An enabled domain cannot be deleted: disable it first.")


class Users(Noun[records.User]):
    rows = store.users

    def __init__(self, database: Database, passwords: Passwords) -> None:
        super().__init__(database)
        self._passwords = passwords

    def home(self, tx: Transaction, ctx: Context, values: Values) -> str | None:
        return asked_domain(ctx, values)

    def hidden(self, values: Values) -> Values:
        return {"password_hash": None, **self.changed_hidden(values), "token_generation": 0}

    def changed_hidden(self, values: Values) -> Values:
        """A new password or disabling ends all tokens of the user, in the same transaction."""
        hidden: Values = {}
        if "password" in values:
            password = values.pop("password")
            hashed = None if password is None else self._passwords.hash(password)
            hidden = {"password_hash": hashed, **store.END_TOKENS, **store.ENDS_LOCKOUT}
        if values.get("enabled") is False:
            hidden |= store.END_TOKENS
        elif values.get("enabled"):
            hidden |= store.ENDS_LOCKOUT
        return hidden

    def new(self, tx: Transaction, ctx: Context, values: Values) -> records.User:
        values["domain_id"] = home(tx, ctx, values)
        _new_options(options.OF_USERS, values)
        return records.User(id=new_id(), **values)

    def changes(self, tx: Transaction, record: records.User, values: Values) -> Values:
        stays(values, "domain_id", record.domain_id)
        return _changed_options(options.OF_USERS, record, values)

    def end_tokens(self, user_id: str) -> None:
        """No token issued to the user so far holds any more. NotFound."""
        with self._database.write() as tx:
            store.users.update(tx, user_id, store.END_TOKENS)

    def groups(self, user_id: str) -> list[records.Group]:
        with self._database.read() as tx:
            store.users.get(tx, user_id)
            return store.groups_of_user(tx, user_id)


class Groups(Noun[records.Group]):
    rows = store.groups

    def home(self, tx: Transaction, ctx: Context, values: Values) -> str | None:
        return asked_domain(ctx, values)

    def new(self, tx: Transaction, ctx: Context, values: Values) -> records.Group:
        values["domain_id"] = home(tx, ctx, values)
        return records.Group(id=new_id(), **values)

    def changes(self, tx: Transaction, record: records.Group, values: Values) -> Values:
        stays(values, "domain_id", record.domain_id)
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
        domain_id = values.get("domain_id")
        if domain_id is not None and store.domains.find(tx, id=domain_id) is None:
            raise Invalid(reason=f"There is no domain {domain_id}.")
        _new_options(options.OF_PLACES, values)
        return records.Role(id=new_id(), **values)

    def changing(self, tx: Transaction, record: records.Role, values: Values) -> None:
        options.check_changeable("Role", record.id, record.options, values)

    def changes(self, tx: Transaction, record: records.Role, values: Values) -> Values:
        stays(values, "domain_id", record.domain_id)
        return _changed_options(options.OF_PLACES, record, values)

    def ending(self, tx: Transaction, record: records.Role) -> None:
        options.check_changeable("Role", record.id, record.options, None)
