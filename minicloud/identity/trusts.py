"""Trusts: a user lets another act with some of its roles on a project.

A trust may be passed on where it says so; what it is passed on as is never more than it was, and
goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from minicloud.domain.errors import Invalid, NotAllowed, NotFound
from minicloud.identity import assignments, delegations, store
from minicloud.identity.nouns import new_id
from minicloud.identity.records import Role, Scope, Trust
from minicloud.identity.standing import standing_get
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction

DEEPEST = 3
"""How often a trust may be passed on at most."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    trustor_user_id: str
    trustee_user_id: str
    project_id: str | None
    impersonation: bool
    roles: Sequence[tuple[str | None, str | None]]
    """(id, name) of each."""
    expires_at: float | None
    remaining_uses: int | None
    allow_redelegation: bool
    redelegation_count: int | None
    extra: Mapping[str, Any]


class Trusts:
    """Thread safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, ctx: Context, asked: Asked) -> Trust:
        """A trust of the caller's, on the project that it asks for."""
        if asked.expires_at is not None and asked.expires_at <= clock.now():
            raise Invalid(reason="expires_at is in the past.")
        if asked.project_id is not None and not asked.roles:
            raise NotAllowed(reason="A trust on a project needs at least one role.")
        if asked.roles and asked.project_id is None:
            raise Invalid(reason="A trust with roles needs a project.")
        with self._database.write() as tx:
            store.users.get(tx, asked.trustee_user_id)
            source = None
            if ctx.trust_id:
                source = delegations.trust_find(tx, ctx.trust_id)
                if source is None:
                    raise NotFound(kind="Trust", id=ctx.trust_id)
            trust = self._new(tx, asked, source)
            delegations.trust_insert(tx, trust)
        return trust

    def _new(self, tx: Transaction, asked: Asked, source: Trust | None) -> Trust:
        expires_at = asked.expires_at
        count = asked.redelegation_count if asked.allow_redelegation else 0
        if source is None:
            count = DEEPEST if count is None else count
            if count > DEEPEST:
                raise NotAllowed(reason=f"A trust may be passed on {DEEPEST} times at most.")
        else:
            count, expires_at = _passed_on(source, asked, count)
        role_ids = self._role_ids(tx, asked, source)
        return Trust(
            id=new_id(),
            trustor_user_id=asked.trustor_user_id,
            trustee_user_id=asked.trustee_user_id,
            project_id=asked.project_id,
            impersonation=asked.impersonation,
            role_ids=role_ids,
            expires_at=expires_at,
            remaining_uses=asked.remaining_uses,
            redelegation_count=count,
            redelegated_trust_id=None if source is None else source.id,
            extra=dict(asked.extra),
        )

    def _role_ids(self, tx: Transaction, asked: Asked, source: Trust | None) -> list[str]:
        """NotFound where the trustor has not every role."""
        if asked.project_id is None:
            return []
        graph = assignments.role_graph(tx)
        if source is not None:
            has = graph.closure(source.role_ids)
        else:
            scope = Scope("project", asked.project_id)
            standing = standing_get(tx, asked.trustor_user_id, scope)
            if standing is None or not standing.scope_enabled:
                raise NotFound(kind="Project", id=asked.project_id)
            has = graph.closure(standing.role_ids)
        by_name = {name: id_ for id_, name in graph.names.items() if id_ not in graph.local}
        found = []
        for id_, name in asked.roles:
            role_id = id_ if id_ is not None else by_name.get(name or "")
            if role_id is None or role_id not in has:
                raise NotFound(kind="Role", id=str(id_ or name))
            found.append(role_id)
        return list(dict.fromkeys(found))

    def list(self, **equal: str) -> Sequence[Trust]:
        """By trustor_user_id and trustee_user_id; those that are over are left out."""
        with self._database.read() as tx:
            found = delegations.trust_list(tx, **equal)
        return [each for each in found if _holds(each)]

    def find(self, id_: str) -> Trust | None:
        with self._database.read() as tx:
            found = delegations.trust_find(tx, id_)
        return found if found is not None and _holds(found) else None

    def get(self, id_: str) -> Trust:
        """NotFound, also where it is over."""
        found = self.find(id_)
        if found is None:
            raise NotFound(kind="Trust", id=id_)
        return found

    def roles(self, trust: Trust) -> Sequence[Role]:
        with self._database.read() as tx:
            return store.roles.list(tx, ids=trust.role_ids)

    def delete(self, id_: str) -> None:
        """NotFound. What it was passed on as goes too."""
        with self._database.write() as tx:
            if delegations.trust_find(tx, id_) is None:
                raise NotFound(kind="Trust", id=id_)
            delegations.trust_delete(tx, id_)


def _passed_on(source: Trust, asked: Asked, count: int | None) -> tuple[int, float | None]:
    """(how often the new trust may be passed on, its end). NotAllowed for more than it was."""
    if source.redelegation_count < 1:
        raise NotAllowed(reason=f"Trust {source.id} cannot be passed on.")
    if asked.remaining_uses is not None:
        raise NotAllowed(reason="A trust that is passed on has no count of uses.")
    if asked.project_id != source.project_id:
        raise NotAllowed(reason="A trust is passed on for its own project.")
    if source.impersonation != asked.impersonation and asked.impersonation:
        raise NotAllowed(reason="A trust without impersonation is not passed on with it.")
    most = source.redelegation_count - 1
    if count is None:
        count = most
    if count > most:
        raise NotAllowed(reason=f"The trust may be passed on {most} more times at most.")
    ends = [each for each in (source.expires_at, asked.expires_at) if each is not None]
    if asked.expires_at is not None and min(ends) < asked.expires_at:
        raise NotAllowed(reason="A trust that is passed on ends no later than it would itself.")
    return count, min(ends) if ends else None


def _holds(trust: Trust) -> bool:
    if trust.remaining_uses is not None and trust.remaining_uses < 1:
        return False
    return trust.expires_at is None or trust.expires_at > clock.now()
