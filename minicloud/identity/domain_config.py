"""The configuration of a domain, kept for clients: groups of options with a value each.

Identity itself takes its users from its own tables whatever a domain's configuration says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from minicloud.domain.errors import Invalid, NotAllowed, NotFound
from minicloud.identity import models, store
from minicloud.kit.db import Database, Transaction

Values = dict[str, dict[str, Any]]
"""Group -> option -> value."""
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "identity": {"driver": "sql", "list_limit": None},
    "ldap": {
        "url": "ldap://localhost",
        "user": None,
        "suffix": "cn=example,cn=com",
        "query_scope": "one",
        "page_size": 0,
        "user_tree_dn": None,
        "user_filter": None,
        "user_objectclass": "inetOrgPerson",
        "user_id_attribute": "cn",
        "user_name_attribute": "sn",
        "group_tree_dn": None,
        "group_filter": None,
        "group_objectclass": "groupOfNames",
        "group_id_attribute": "cn",
        "group_name_attribute": "ou",
        "use_tls": False,
    },
}
_SECRET = {("ldap", "password")}
"""Kept, and never shown."""
_table = models.domain_config


class DomainConfig:
    """Thread safe. Every method: NotFound for a domain that there is not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def show(self, domain_id: str, group: str | None = None, option: str | None = None) -> Values:
        """NotFound where nothing is kept there."""
        with self._database.read() as tx:
            store.domains.get(tx, domain_id)
            return self._show(tx, domain_id, group, option)

    def exists(self, domain_id: str) -> bool:
        query = sa.select(_table.c.domain_id).where(_table.c.domain_id == domain_id).limit(1)
        with self._database.read() as tx:
            return tx.execute(query).first() is not None

    def replace(self, domain_id: str, values: Values) -> Values:
        """All of it. Invalid; NotAllowed."""
        _check(values)
        with self._database.write() as tx:
            store.domains.get(tx, domain_id)
            tx.execute(_table.delete().where(_table.c.domain_id == domain_id))
            self._put(tx, domain_id, values)
            return _shown(values)

    def update(
        self, domain_id: str, values: Values, group: str | None = None, option: str | None = None
    ) -> Values:
        """Some of it; all of it as it is afterwards. NotFound where nothing is to be changed."""
        _check(values)
        if group is not None and set(values) != {group}:
            raise Invalid(reason=f"The body must be about the group {group}.")
        if option is not None and set(values[group or ""]) != {option}:
            raise Invalid(reason=f"The body must be about the option {option}.")
        with self._database.write() as tx:
            store.domains.get(tx, domain_id)
            self._show(tx, domain_id, group, option, hidden=True)
            for name, options in values.items():
                for key in options:
                    tx.execute(_table.delete().where(*_where(domain_id, name, key)))
            self._put(tx, domain_id, values)
            return self._show(tx, domain_id, None, None)

    def delete(self, domain_id: str, group: str | None = None, option: str | None = None) -> None:
        """NotFound where nothing is kept there."""
        with self._database.write() as tx:
            store.domains.get(tx, domain_id)
            gone = tx.execute(_table.delete().where(*_where(domain_id, group, option))).rowcount
            if not gone and group is not None:
                raise NotFound(kind="Domain configuration", id=_named(group, option))

    def _put(self, tx: Transaction, domain_id: str, values: Values) -> None:
        for group, options in values.items():
            for option, value in options.items():
                tx.execute(
                    _table.insert().values(
                        domain_id=domain_id, group_name=group, option_name=option, value=value
                    )
                )

    def _show(
        self,
        tx: Transaction,
        domain_id: str,
        group: str | None,
        option: str | None,
        *,
        hidden: bool = False,
    ) -> Values:
        found: Values = {}
        query = sa.select(_table).where(*_where(domain_id, group, option))
        for row in tx.execute(query.order_by(_table.c.group_name, _table.c.option_name)):
            if hidden or (row.group_name, row.option_name) not in _SECRET:
                found.setdefault(row.group_name, {})[row.option_name] = row.value
        if not found:
            raise NotFound(kind="Domain configuration", id=_named(group, option))
        return found


def default(group: str | None = None, option: str | None = None) -> Any:
    """What holds where a domain has nothing of its own. NotFound."""
    if group is None:
        return DEFAULTS
    if group not in DEFAULTS or (option is not None and option not in DEFAULTS[group]):
        raise NotFound(kind="Domain configuration", id=_named(group, option))
    return DEFAULTS[group] if option is None else DEFAULTS[group][option]


def _named(group: str | None, option: str | None) -> str:
    return "/".join(each for each in (group, option) if each) or "of this domain"


def _where(domain_id: str, group: str | None, option: str | None) -> list[sa.ColumnElement[bool]]:
    where = [_table.c.domain_id == domain_id]
    if group is not None:
        where.append(_table.c.group_name == group)
    if option is not None:
        where.append(_table.c.option_name == option)
    return where


def _check(values: Values) -> None:
    if not values or not all(values.values()):
        raise Invalid(reason="No options are given.")
    for group, options in values.items():
        if group not in DEFAULTS:
            raise NotAllowed(reason=f"A domain has no configuration {group[:64]} of its own.")
        for option, value in options.items():
            if not 0 < len(option) <= 255 or not option.isprintable():
                raise Invalid(reason="The name of an option is a short text.")
            if isinstance(value, dict | list) or (isinstance(value, str) and "\0" in value):
                raise Invalid(reason=f"The value of {group}.{option} is a text, a number or null.")


def _shown(values: Values) -> Values:
    return {
        group: {k: v for k, v in options.items() if (group, k) not in _SECRET}
        for group, options in values.items()
    }
