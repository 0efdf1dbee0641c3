"""Tokens: sealed, short, and never believed without asking the database.

A token says who, where, until when, and under which generation of the user it was issued; what
the user may do there is read afresh each time. So a removed role, a disabled user or project and
a changed password take effect with the next validation.
"""

from __future__ import annotations

import base64
import secrets
import uuid
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Unauthenticated
from minicloud.identity import models
from minicloud.identity.keys import Keys
from minicloud.identity.known import Known, catalog
from minicloud.identity.records import Scope, Standing
from minicloud.identity.standing import standing_get
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction

METHODS = ("password", "token")
EXPIRED_WINDOW_S = 48 * 3600
"""For how long services may still validate an expired token (a long upload, say)."""
_SCOPES = ("", "project", "domain", "system")
_FORMAT = 1


class _Payload(msgspec.Struct, frozen=True, array_like=True):
    """What is sealed. Short on purpose: a token travels with every request."""

    format: int
    user: bytes
    token_generation: int
    methods: int
    """Bit n: ``METHODS[n]``."""
    scope: int
    target: bytes
    issued_us: int
    expires_us: int
    audit: bytes
    parent_audit: bytes | None
    issue_ms: float


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token that holds now. Times are seconds since the epoch."""

    standing: Standing
    roles: dict[str, str]
    """Role id -> name, with all that is implied."""
    methods: list[str]
    audit_ids: list[str]
    """Its own, and that of the first token it was made from."""
    issued_at: float
    expires_at: float
    issue_ms: float
    """Milliseconds that issuing took, for the trace of a launch."""
    catalog: list[dict[str, Any]] = []
    """Empty unless asked for."""


class Grounds(msgspec.Struct, frozen=True, kw_only=True):
    """Why somebody gets a token: proved methods, and the token it is made from, if any."""

    user_id: str
    token_generation: int
    methods: list[str]
    default_project_id: str | None = None
    expires_at: float | None = None
    """A token made from another does not live longer than that."""
    parent_audit_id: str | None = None


class Tokens:
    """Issues, opens and revokes tokens. Thread safe."""

    def __init__(self, database: Database, keys: Keys, *, lifetime_s: float) -> None:
        self._database = database
        self._keys = keys
        self._lifetime_s = lifetime_s
        self._known = Known()

    def issue(
        self, tx: Transaction, grounds: Grounds, scope: Scope, *, began: float, with_catalog: bool
    ) -> tuple[str, Token]:
        """A sealed token for ``scope`` and what it says.

        ``began``: when the request came, seconds since the epoch. Unauthenticated where the user
        has no enabled standing there.
        """
        standing = standing_get(tx, grounds.user_id, scope)
        if standing is None or standing.token_generation != grounds.token_generation:
            raise Unauthenticated()
        roles = self._roles(tx, standing)
        if not _holds(standing, roles):
            raise Unauthenticated()
        issued_us = int(clock.now() * 1e6)
        if grounds.expires_at is None:
            expires_us = issued_us + int(self._lifetime_s * 1e6)
        else:
            expires_us = round(grounds.expires_at * 1e6)
        payload = _Payload(
            format=_FORMAT,
            user=_pack(grounds.user_id),
            token_generation=grounds.token_generation,
            methods=sum(1 << METHODS.index(each) for each in grounds.methods),
            scope=_SCOPES.index(scope.kind),
            target=_pack(scope.id),
            issued_us=issued_us,
            expires_us=expires_us,
            audit=secrets.token_bytes(16),
            parent_audit=_audit_bytes(grounds.parent_audit_id),
            issue_ms=round((clock.now() - began) * 1000, 2),
        )
        token = self._token(tx, payload, standing, roles, with_catalog)
        return self._keys.seal(msgspec.msgpack.encode(payload)), token

    def validate(
        self, sealed: str, *, allow_expired: bool = False, with_catalog: bool = False
    ) -> Token | None:
        """What ``sealed`` says now; None where it does not hold (any more)."""
        payload = self._open(sealed)
        if payload is None:
            return None
        grace = EXPIRED_WINDOW_S if allow_expired else 0
        if payload.expires_us / 1e6 + grace <= clock.now():
            return None
        scope = Scope(_SCOPES[payload.scope], _unpack(payload.target))
        audit_id = _audit_text(payload.audit)
        with self._database.read() as tx:
            standing = standing_get(tx, _unpack(payload.user), scope, audit_id)
            if (
                standing is None
                or standing.revoked
                or standing.token_generation != payload.token_generation
            ):
                return None
            roles = self._roles(tx, standing)
            if not _holds(standing, roles):
                return None
            return self._token(tx, payload, standing, roles, with_catalog)

    def revoke(self, token: Token) -> None:
        """This one token holds no more; those made from it do. Repeatable."""
        table = models.revoked_token
        row = {"audit_id": token.audit_ids[0], "keep_until": token.expires_at + EXPIRED_WINDOW_S}
        with self._database.write() as tx:
            tx.execute(table.delete().where(table.c.keep_until < clock.now()))
            try:
                with tx.begin_nested():
                    tx.execute(table.insert().values(**row))
            except sa.exc.IntegrityError:
                return  # somebody else revoked it in the same moment

    def _open(self, sealed: str) -> _Payload | None:
        data = self._keys.open(sealed)
        if data is None:
            return None
        try:
            payload = msgspec.msgpack.decode(data, type=_Payload)
        except msgspec.DecodeError:
            return None
        return payload if payload.format == _FORMAT else None

    def _roles(self, tx: Transaction, standing: Standing) -> dict[str, str]:
        return self._known.at(tx, standing.generation).roles.closure(standing.role_ids)

    def _token(
        self,
        tx: Transaction,
        payload: _Payload,
        standing: Standing,
        roles: dict[str, str],
        with_catalog: bool,
    ) -> Token:
        audits = [_audit_text(payload.audit)]
        if payload.parent_audit is not None:
            audits.append(_audit_text(payload.parent_audit))
        entries: list[dict[str, Any]] = []
        if with_catalog and standing.scope.kind:
            entries = self.catalog(tx, standing)
        return Token(
            standing=standing,
            roles=roles,
            methods=[each for n, each in enumerate(METHODS) if payload.methods & (1 << n)],
            audit_ids=audits,
            issued_at=payload.issued_us / 1e6,
            expires_at=payload.expires_us / 1e6,
            issue_ms=payload.issue_ms,
            catalog=entries,
        )

    def catalog(self, tx: Transaction, standing: Standing) -> list[dict[str, Any]]:
        """The service catalog as this user sees it at this scope."""
        substitutes = {"user_id": standing.user_id}
        if standing.scope.kind == "project":
            substitutes |= {"project_id": standing.scope.id, "tenant_id": standing.scope.id}
        return catalog(self._known.at(tx, standing.generation), substitutes)


def _holds(standing: Standing, roles: dict[str, str]) -> bool:
    if not standing.user_enabled:
        return False
    return not standing.scope.kind or (standing.scope_enabled and bool(roles))


def _pack(id_: str) -> bytes:
    """Identity's own ids are 32 hexadecimal digits, which take 16 bytes; others stay as text."""
    try:
        packed = uuid.UUID(hex=id_)
    except ValueError:
        return b"t" + id_.encode()
    return b"u" + packed.bytes if packed.hex == id_ else b"t" + id_.encode()


def _unpack(packed: bytes) -> str:
    return packed[1:].hex() if packed[:1] == b"u" else packed[1:].decode()


def _audit_text(audit: bytes) -> str:
    return base64.urlsafe_b64encode(audit).rstrip(b"=").decode()


def _audit_bytes(audit_id: str | None) -> bytes | None:
    return None if audit_id is None else base64.urlsafe_b64decode(audit_id + "==")
