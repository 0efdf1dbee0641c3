"""OAuth 1.0: a consumer acts for a user, with the roles on one project that the user lets it have.

A consumer asks for a request token, somebody authorizes that with roles and hands the consumer
the verifier, and for both the consumer gets an access token, with which it logs in until that
expires. A request token is good for one access token, and both end with their consumer.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import NotFound, Unauthenticated
from minicloud.identity import assignments, models, oauth_signatures, sealing, store
from minicloud.identity.audit import Refused
from minicloud.identity.keys import Keys
from minicloud.identity.nouns import new_id
from minicloud.identity.oauth_signatures import Parties, Signed
from minicloud.identity.records import AccessToken, Consumer, RequestToken, Role, Scope
from minicloud.identity.standing import standing_get
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction

_consumer, _request = models.oauth_consumer, models.oauth_request_token
_access = models.oauth_access_token
_VERIFIER = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Lifetimes(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that tokens are good for; 0: until they are deleted."""

    request_s: float = 8 * 3600
    access_s: float = 24 * 3600


LIFETIMES = Lifetimes()


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A new token of OAuth's, whose secret is told once."""

    id: str
    secret: str
    expires_at: float | None

    def __repr__(self) -> str:
        return f"<Issued {self.id}>"


class OAuth:
    """Thread safe."""

    def __init__(self, database: Database, keys: Keys, lifetimes: Lifetimes) -> None:
        self._database = database
        self._keys = keys
        self._lifetimes = lifetimes

    # -- consumers --------------------------------------------------------------------------------
    def consumer_create(self, values: Mapping[str, Any]) -> tuple[Consumer, str]:
        """(consumer, its secret)"""
        consumer, secret = Consumer(id=new_id(), **values), new_id()
        with self._database.write() as tx:
            store.consumers.insert(tx, consumer, sealed_secret=self._keys.seal(secret.encode()))
        return consumer, secret

    def consumers(self) -> Sequence[Consumer]:
        with self._database.read() as tx:
            return store.consumers.list(tx)

    def consumer(self, id_: str) -> Consumer:
        """NotFound."""
        with self._database.read() as tx:
            return store.consumers.get(tx, id_)

    def consumer_update(self, id_: str, changes: Mapping[str, Any]) -> Consumer:
        """NotFound."""
        with self._database.write() as tx:
            now = store.consumers.get(tx, id_)
            extra = {**now.extra, **changes["extra"]}
            store.consumers.update(tx, id_, {**changes, "extra": extra})
            return store.consumers.get(tx, id_)

    def consumer_delete(self, id_: str) -> None:
        """NotFound. Its tokens go too."""
        with self._database.write() as tx:
            store.consumers.delete(tx, id_)

    # -- the three steps to an access token -------------------------------------------------------
    def request_token(self, signed: Signed, project_id: str) -> Issued:
        """For a consumer that wants to act on the project. Invalid; NotFound; Refused."""
        said = oauth_signatures.parameters(signed, "oauth_consumer_key")
        consumer_id = said["oauth_consumer_key"]
        with self._database.read() as tx:
            store.projects.get(tx, project_id)
            store.consumers.get(tx, consumer_id)
            parties = self._parties(tx, consumer_id)
        oauth_signatures.check_request(signed, parties)
        token = RequestToken(
            id=new_id(),
            consumer_id=consumer_id,
            project_id=project_id,
            expires_at=_end(self._lifetimes.request_s),
        )
        return self._insert(_request, token)

    def authorize(
        self, id_: str, user_id: str, roles: Sequence[tuple[str | None, str | None]]
    ) -> str:
        """Let a consumer have ``roles``, (id, name) each, of the user's; the verifier.

        NotFound; Unauthenticated where the token has expired or the user has not every role.
        """
        verifier = "".join(secrets.choice(_VERIFIER) for _ in range(8))
        with self._database.write() as tx:
            token = store.request_tokens.get(tx, id_)
            _check_current(token)
            values = {
                "user_id": user_id,
                "role_ids": _role_ids(tx, user_id, token.project_id, roles),
                "sealed_verifier": self._keys.seal(verifier.encode()),
            }
            try:
                with tx.begin_nested():
                    tx.execute(_request.update().where(_request.c.id == id_).values(**values))
            except sa.exc.IntegrityError:  # the user went in the same moment
                raise Unauthenticated() from None
        return verifier

    def access_token(self, signed: Signed) -> Issued:
        """For a request token that was authorized. Invalid; NotFound; Refused."""
        said = oauth_signatures.parameters(
            signed, "oauth_consumer_key", "oauth_token", "oauth_verifier"
        )
        with self._database.read() as tx:
            token = store.request_tokens.get(tx, said["oauth_token"])
            _check_current(token)
            if token.consumer_id != said["oauth_consumer_key"]:
                raise Refused(why="a request token of another consumer")
            parties = self._parties(tx, token.consumer_id, _request, token.id)
        oauth_signatures.check_exchange(signed, parties)
        if token.user_id is None or token.role_ids is None:
            raise Refused(why="a request token that nobody authorized")
        access = AccessToken(
            id=new_id(),
            consumer_id=token.consumer_id,
            user_id=token.user_id,
            project_id=token.project_id,
            role_ids=token.role_ids,
            expires_at=_end(self._lifetimes.access_s),
        )
        return self._insert(_access, access, used=token.id)

    def prove(self, signed: Signed) -> AccessToken:
        """The access token that a login is signed with. Invalid; Refused."""
        said = oauth_signatures.parameters(signed, "oauth_token")
        with self._database.read() as tx:
            token = store.access_tokens.find(tx, id=said["oauth_token"])
            if token is None:
                raise Refused(why="no such access token")
            _check_current(token)
            try:
                parties = self._parties(tx, token.consumer_id, _access, token.id)
            except NotFound:
                raise Refused(why="an access token that goes in this moment") from None
        oauth_signatures.check_access(signed, parties)
        return token

    # -- access tokens ----------------------------------------------------------------------------
    def access_tokens(self, user_id: str) -> Sequence[AccessToken]:
        with self._database.read() as tx:
            return store.access_tokens.list(tx, {"user_id": user_id})

    def access_token_get(self, id_: str) -> AccessToken:
        """NotFound."""
        with self._database.read() as tx:
            return store.access_tokens.get(tx, id_)

    def access_token_roles(self, token: AccessToken) -> Sequence[Role]:
        with self._database.read() as tx:
            return store.roles.list(tx, ids=token.role_ids)

    def access_token_delete(self, id_: str) -> None:
        """NotFound. What was issued for it holds no more."""
        with self._database.write() as tx:
            store.access_tokens.delete(tx, id_)

    def _parties(
        self, tx: Transaction, consumer_id: str, table: sa.Table | None = None, token_id: str = ""
    ) -> Parties:
        """``table``: that of the token, if there is one. NotFound for what goes meanwhile."""
        secret = _secrets(tx, _consumer, consumer_id)["sealed_secret"]
        parties = Parties(
            consumer_id=consumer_id,
            consumer_secret=sealing.opened(self._keys, consumer_id, secret),
        )
        if table is None:
            return parties
        row = _secrets(tx, table, token_id)
        verifier = row.get("sealed_verifier")
        return msgspec.structs.replace(
            parties,
            token_id=token_id,
            token_secret=sealing.opened(self._keys, token_id, row["sealed_secret"]),
            verifier=sealing.opened(self._keys, token_id, verifier) if verifier else "",
        )

    def _insert(
        self, table: sa.Table, token: RequestToken | AccessToken, used: str | None = None
    ) -> Issued:
        """``used``: the request token that it costs. Refused where that is gone meanwhile."""
        secret = new_id()
        values = {
            **msgspec.structs.asdict(token),
            "sealed_secret": self._keys.seal(secret.encode()),
        }
        # First the consumer's row, as who deletes the consumer does: else each waits for the other.
        lock = sa.select(_consumer.c.id).where(_consumer.c.id == token.consumer_id)
        with self._database.write() as tx:
            tx.execute(lock.with_for_update(read=True))
            tx.execute(table.delete().where(table.c.expires_at < clock.now()))
            if used is not None:
                gone = tx.execute(_request.delete().where(_request.c.id == used))
                if not gone.rowcount:
                    raise Refused(why="a request token that was used in the same moment")
            try:
                with tx.begin_nested():
                    tx.execute(table.insert().values(**values))
            except sa.exc.IntegrityError:  # its consumer, user or project went in the same moment
                raise NotFound(kind="Consumer", id=token.consumer_id) from None
        return Issued(id=token.id, secret=secret, expires_at=token.expires_at)


def _secrets(tx: Transaction, table: sa.Table, id_: str) -> Mapping[Any, Any]:
    """The row of a consumer or a token, which no record shows. NotFound."""
    row = tx.execute(sa.select(table).where(table.c.id == id_)).one_or_none()
    if row is None:
        raise NotFound(kind="Consumer or token", id=id_)
    return row._mapping


def _end(lifetime_s: float) -> float | None:
    return clock.now() + lifetime_s if lifetime_s else None


def _check_current(token: RequestToken | AccessToken) -> None:
    if token.expires_at is not None and token.expires_at <= clock.now():
        raise Refused(why="a token of OAuth's that has expired", user_id=token.user_id)


def _role_ids(
    tx: Transaction,
    user_id: str,
    project_id: str,
    roles: Sequence[tuple[str | None, str | None]],
) -> list[str]:
    """NotFound for a name that is no role's; Unauthenticated where the user has not every role."""
    graph = assignments.role_graph(tx)
    by_name = {name: id_ for id_, name in graph.names.items() if id_ not in graph.local}
    standing = standing_get(tx, user_id, Scope("project", project_id))
    has = graph.closure(standing.role_ids) if standing and standing.scope_enabled else {}
    found = []
    for id_, name in roles:
        role_id = id_ or by_name.get(name or "")
        if role_id is None:
            raise NotFound(kind="Role", id=str(name))
        if role_id not in has:
            raise Unauthenticated()
        found.append(role_id)
    return sorted(set(found))
