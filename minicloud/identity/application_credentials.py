"""Application credentials: some of a user's roles on one project, for a program to use.

The secret is hashed as passwords are, and shown once. The roles are those of the token that
asks, or some of them; one that the user loses ends the credential's tokens with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from minicloud.domain.errors import Invalid, NotAllowed, NotFound
from minicloud.identity import assignments, delegations, store
from minicloud.identity.nouns import new_id
from minicloud.identity.passwords import Passwords
from minicloud.identity.records import AccessRule, ApplicationCredential, Role
from minicloud.identity.store import Match
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction

MOST = 100
"""Of one user."""


class RuleAsked(msgspec.Struct, frozen=True, kw_only=True):
    """By id, or all of the other three."""

    id: str | None = None
    service: str | None = None
    method: str | None = None
    path: str | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str = ""
    secret: str | None = None
    roles: Sequence[tuple[str | None, str | None]] = ()
    """(id, name) of each; none: all that the token has."""
    unrestricted: bool = False
    expires_at: float | None = None
    access_rules: Sequence[RuleAsked] = ()

    def __repr__(self) -> str:
        return f"<Asked {self.name}>"


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    credential: ApplicationCredential
    roles: list[Role]
    rules: list[AccessRule]


class ApplicationCredentials:
    """Thread safe."""

    def __init__(self, database: Database, passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords

    def create(self, ctx: Context, asked: Asked) -> tuple[Shown, str]:
        """(the credential, its secret), for the caller and the project of its token."""
        if asked.expires_at is not None and asked.expires_at <= clock.now():
            raise Invalid(reason="expires_at is in the past.")
        secret = asked.secret or secrets.token_urlsafe(64)
        hashed = self._passwords.hash(secret)
        with self._database.write() as tx:
            if len(delegations.application_credential_list(tx, ctx.user_id)) >= MOST:
                raise NotAllowed(reason=f"A user has at most {MOST} application credentials.")
            roles = _roles(tx, ctx, asked.roles)
            rules = [_rule(tx, ctx.user_id, each) for each in asked.access_rules]
            credential = ApplicationCredential(
                id=new_id(),
                user_id=ctx.user_id,
                project_id=ctx.project_id,
                name=asked.name,
                description=asked.description,
                role_ids=[role.id for role in roles],
                unrestricted=asked.unrestricted,
                ruled=bool(rules),
                expires_at=asked.expires_at,
            )
            delegations.application_credential_insert(tx, credential, hashed, rules)
        return Shown(credential=credential, roles=roles, rules=rules), secret

    def list(
        self, user_id: str, *, name: str | None = None, matches: Sequence[Match] = ()
    ) -> list[Shown]:
        with self._database.read() as tx:
            found = delegations.application_credential_list(tx, user_id, name=name, matches=matches)
            return _shown(tx, found)

    def get(self, user_id: str, id_: str) -> Shown:
        """NotFound where this user has none of it."""
        with self._database.read() as tx:
            return _shown(tx, [_mine(tx, user_id, id_)])[0]

    def delete(self, user_id: str, id_: str) -> None:
        with self._database.write() as tx:
            _mine(tx, user_id, id_)
            delegations.application_credential_delete(tx, id_)

    def rules(
        self, user_id: str, equal: dict[str, str], matches: Sequence[Match]
    ) -> Sequence[AccessRule]:
        with self._database.read() as tx:
            return delegations.access_rule_list(tx, user_id, equal, matches)

    def rule(self, user_id: str, id_: str) -> AccessRule:
        """NotFound."""
        with self._database.read() as tx:
            found = delegations.access_rule_find(tx, user_id, id_)
        if found is None:
            raise NotFound(kind="Access rule", id=id_)
        return found

    def delete_rule(self, user_id: str, id_: str) -> None:
        """NotFound; NotAllowed while it is in use."""
        with self._database.write() as tx:
            delegations.access_rule_delete(tx, user_id, id_)


def _mine(tx: Transaction, user_id: str, id_: str) -> ApplicationCredential:
    found = delegations.application_credential_find(tx, id_)
    if found is None or found.user_id != user_id:
        raise NotFound(kind="Application credential", id=id_)
    return found


def _shown(tx: Transaction, found: list[ApplicationCredential]) -> list[Shown]:
    roles = {role.id: role for role in store.roles.list(tx)} if found else {}
    rules = delegations.access_rules_of(tx, [each.id for each in found if each.ruled])
    return [
        Shown(
            credential=each,
            roles=[roles[id_] for id_ in each.role_ids if id_ in roles],
            rules=rules.get(each.id, []),
        )
        for each in found
    ]


def _roles(
    tx: Transaction, ctx: Context, asked: Sequence[tuple[str | None, str | None]]
) -> list[Role]:
    """The roles that are asked for with what they imply, all of them in the caller's token."""
    every: list[Role] = store.roles.list(tx, {"domain_id": None})
    mine = set(ctx.roles)
    if not asked:
        return [role for role in every if role.name in mine]
    by_id = {role.id: role for role in every}
    by_name = {role.name: role for role in every}
    wanted: set[str] = set()
    for id_, name in asked:
        found: Any = by_id.get(id_) if id_ is not None else by_name.get(name or "")
        if found is None or found.name not in mine:
            raise Invalid(reason=f"Your token has no role {(id_ or name or '')[:64]} to pass on.")
        wanted.add(found.id)
    implied = assignments.role_graph(tx).tokens(wanted)
    return [by_id[each] for each in implied if by_id[each].name in mine]


def _rule(tx: Transaction, user_id: str, asked: RuleAsked) -> AccessRule:
    if asked.service is not None and asked.method is not None and asked.path is not None:
        new = AccessRule(
            id=new_id(),
            user_id=user_id,
            service=asked.service,
            method=asked.method,
            path=asked.path,
        )
        return delegations.access_rule_ensure(tx, new)
    if asked.id is None:
        raise Invalid(reason="An access rule has service, method and path, or the id of another.")
    found = delegations.access_rule_find(tx, user_id, asked.id)
    if found is None:
        raise NotFound(kind="Access rule", id=asked.id)
    return found
