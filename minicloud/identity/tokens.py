"""Tokens: sealed, short, and never believed without asking the database.

A token says who, where, until when, under which generation of the user it was issued and by which
application credential or trust, if any; what the user may do there is read afresh each time. So a
removed role, a disabled user or project, a changed password and a deleted trust take effect with
the next validation.
"""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.identity import delegations, models, store
from minicloud.identity.audit import Refused
from minicloud.identity.keys import Keys
from minicloud.identity.known import Known, catalog
from minicloud.identity.records import (
    AccessRule,
    AccessToken,
    ApplicationCredential,
    Scope,
    ServiceProvider,
    Standing,
    Trust,
)
from minicloud.identity.standing import standing_get
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction

METHODS = ("password", "token", "application_credential", "ec2credential", "oauth1")
DELEGATED = frozenset({"application_credential", "ec2credential", "oauth1"})
"""Methods that prove less than the user's own word."""
EXPIRED_WINDOW_S = 48 * 3600
"""For how long services may still validate an expired token (a long upload, say)."""
_SCOPES = ("", "project", "domain", "system")
_FORMAT = 1


class _Payload(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
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
    application_credential: bytes = b""
    trust: bytes = b""
    trustee_generation: int = 0
    """Of the trustee whom an impersonating trust lets be another user."""
    access_token: bytes = b""


class Delegation(msgspec.Struct, frozen=True, kw_only=True):
    """What narrows a token to less than its user may do."""

    application_credential: ApplicationCredential | None = None
    access_rules: Sequence[AccessRule] | None = None
    """None: any request."""
    trust: Trust | None = None
    access_token: AccessToken | None = None
    """Of OAuth's."""


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
    delegation: Delegation = Delegation()
    service_providers: Sequence[ServiceProvider] = ()
    """Other clouds that this one vouches to."""

    @property
    def is_delegated(self) -> bool:
        """Whether it was made from something narrower than the user's own word."""
        return self.delegation.trust is not None or bool(DELEGATED & set(self.methods))


class Grounds(msgspec.Struct, frozen=True, kw_only=True):
    """Why somebody gets a token: proved methods, and the token it is made from, if any."""

    user_id: str
    token_generation: int
    methods: list[str]
    default_project_id: str | None = None
    expires_at: float | None = None
    """A token made from another does not live longer than that."""
    parent_audit_id: str | None = None
    application_credential: ApplicationCredential | None = None
    access_token: AccessToken | None = None
    """Of OAuth's."""
    system_scoped: bool = False
    """Whether the token it is made from is the system's: it stays there."""


class Tokens:
    """Issues, opens and revokes tokens. Thread safe."""

    def __init__(self, database: Database, keys: Keys, *, lifetime_s: float) -> None:
        self._database = database
        self._keys = keys
        self._lifetime_s = lifetime_s
        self._known = Known()

    def issue(
        self,
        tx: Transaction,
        grounds: Grounds,
        scope: Scope,
        *,
        began: float,
        with_catalog: bool,
        trust: Trust | None = None,
    ) -> tuple[str, Token]:
        """A sealed token for ``scope`` and what it says.

        ``began``: when the request came, seconds since the epoch. ``trust``: the one to act under;
        ``scope`` is its project. Unauthenticated where the user has no enabled standing there.
        """
        issued_us = int(clock.now() * 1e6)
        ends = [(issued_us / 1e6) + self._lifetime_s if grounds.expires_at is None
                else grounds.expires_at]  # fmt: skip
        credential = grounds.application_credential
        for given in (credential, grounds.access_token):
            if given is not None and given.expires_at is not None:
                ends.append(given.expires_at)
        user_id, generation = grounds.user_id, grounds.token_generation
        trustee_generation = 0
        if trust is not None:
            if trust.expires_at is not None:
                ends.append(trust.expires_at)
            if trust.impersonation:
                trustor = standing_get(tx, trust.trustor_user_id, Scope())
                if trustor is None:
                    raise Refused(why="the trustor is gone", user_id=grounds.user_id)
                user_id, trustee_generation = trust.trustor_user_id, generation
                generation = trustor.token_generation
        payload = _Payload(
            format=_FORMAT,
            user=_pack(user_id),
            token_generation=generation,
            methods=sum(1 << METHODS.index(each) for each in grounds.methods),
            scope=_SCOPES.index(scope.kind),
            target=_pack(scope.id),
            issued_us=issued_us,
            expires_us=round(min(ends) * 1e6),
            audit=secrets.token_bytes(16),
            parent_audit=_audit_bytes(grounds.parent_audit_id),
            issue_ms=round((clock.now() - began) * 1000, 2),
            application_credential=b"" if credential is None else _pack(credential.id),
            trust=b"" if trust is None else _pack(trust.id),
            trustee_generation=trustee_generation,
            access_token=b"" if grounds.access_token is None else _pack(grounds.access_token.id),
        )
        token = self._read(tx, payload, with_catalog)
        if isinstance(token, str):
            raise Refused(why=token, user_id=grounds.user_id)
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
        with self._database.read() as tx:
            token = self._read(tx, payload, with_catalog)
        return None if isinstance(token, str) else token

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

    def catalog(self, tx: Transaction, standing: Standing) -> list[dict[str, Any]]:
        """The service catalog as this user sees it at this scope."""
        substitutes = {"user_id": standing.user_id}
        project_id = None
        if standing.scope.kind == "project":
            project_id = standing.scope.id
            substitutes |= {"project_id": project_id, "tenant_id": project_id}
        return catalog(self._known.at(tx, standing.generation), substitutes, project_id)

    def _open(self, sealed: str) -> _Payload | None:
        data = self._keys.open(sealed)
        if data is None:
            return None
        try:
            payload = msgspec.msgpack.decode(data, type=_Payload)
        except msgspec.DecodeError:
            return None
        return payload if payload.format == _FORMAT else None

    def _read(self, tx: Transaction, payload: _Payload, with_catalog: bool) -> Token | str:
        """What ``payload`` says now, or why it does not hold."""
        scope = Scope(_SCOPES[payload.scope], _unpack(payload.target))
        standing = standing_get(tx, _unpack(payload.user), scope, _audit_text(payload.audit))
        if standing is None:
            return "the user is gone"
        if standing.revoked or standing.token_generation != payload.token_generation:
            return "the token was revoked"
        if not standing.user_enabled:
            return "the user or the user's domain is disabled"
        if scope.kind and not standing.scope_enabled:
            return f"the {scope.kind} is disabled or does not exist"
        graph = self._known.at(tx, standing.generation).roles
        delegation, role_ids = Delegation(), standing.role_ids
        if payload.trust:
            found = self._trusted(tx, payload, standing)
            if isinstance(found, str):
                return found
            delegation, role_ids = found
        elif payload.application_credential:
            ruled = _by_credential(tx, _unpack(payload.application_credential), standing)
            if isinstance(ruled, str):
                return ruled
            delegation = ruled
        elif payload.access_token:
            access = _by_access_token(tx, _unpack(payload.access_token), standing)
            if isinstance(access, str):
                return access
            delegation = Delegation(access_token=access)
            held = graph.closure(role_ids)
            role_ids = frozenset(graph.closure(access.role_ids).keys() & held.keys())
        given = delegation.trust or delegation.application_credential
        if given is not None:
            held = graph.closure(role_ids)
            # A role deleted altogether is not missed; one that was taken ends what was given.
            if not {each for each in given.role_ids if each in graph.names} <= held.keys():
                return "a role that was delegated is held no more"
            role_ids = frozenset(given.role_ids)
        roles = graph.tokens(role_ids)
        if scope.kind and not roles:
            return f"the user has no role on the {scope.kind}"
        return self._token(tx, payload, standing, roles, delegation, with_catalog)

    def _trusted(
        self, tx: Transaction, payload: _Payload, standing: Standing
    ) -> tuple[Delegation, frozenset[str]] | str:
        """The trust, and the roles that its trustor has now; or why it does not hold."""
        trust = delegations.trust_find(tx, _unpack(payload.trust))
        if trust is None:
            return "the trust is gone"
        if trust.expires_at is not None and trust.expires_at <= clock.now():
            return "the trust has expired"
        if trust.impersonation:
            trustee = standing_get(tx, trust.trustee_user_id, Scope())
            if trustee is None or not trustee.user_enabled:
                return "the trustee is disabled or gone"
            if trustee.token_generation != payload.trustee_generation:
                return "the token was revoked"
        source = trust
        while source.redelegated_trust_id is not None:
            above = delegations.trust_find(tx, source.redelegated_trust_id)
            if above is None:
                return "the trust is gone"
            source = above
        trustor = standing
        if source.trustor_user_id != standing.user_id:
            other = standing_get(tx, source.trustor_user_id, standing.scope)
            if other is None or not other.user_enabled:
                return "the trustor is disabled or gone"
            trustor = other
        return Delegation(trust=trust), trustor.role_ids

    def _token(
        self,
        tx: Transaction,
        payload: _Payload,
        standing: Standing,
        roles: dict[str, str],
        delegation: Delegation,
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
            delegation=delegation,
            service_providers=self._known.at(tx, standing.generation).service_providers,
        )


def _by_credential(tx: Transaction, id_: str, standing: Standing) -> Delegation | str:
    """The application credential, or why it does not hold."""
    credential = delegations.application_credential_find(tx, id_)
    if credential is None:
        return "the application credential is gone"
    if credential.expires_at is not None and credential.expires_at <= clock.now():
        return "the application credential has expired"
    if credential.user_id != standing.user_id or credential.project_id != standing.scope.id:
        return "the application credential is another user's or another project's"
    rules = None
    if credential.ruled:
        rules = delegations.access_rules_of(tx, [id_]).get(id_, [])
    return Delegation(application_credential=credential, access_rules=rules)


def _by_access_token(tx: Transaction, id_: str, standing: Standing) -> AccessToken | str:
    """The access token of OAuth's, or why it does not hold."""
    token = store.access_tokens.find(tx, id=id_)
    if token is None:
        return "the access token is gone"
    if token.user_id != standing.user_id or token.project_id != standing.scope.id:
        return "the access token is another user's or another project's"
    return token


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
