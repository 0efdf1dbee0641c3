"""Authentication: from what a client shows to a token for the scope it asks for.

Every failure is the same 401, and an unknown user takes as long as a wrong password.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec
from werkzeug.datastructures import Headers

from minicloud.domain.errors import Unauthenticated
from minicloud.identity import standing as queries
from minicloud.identity import store
from minicloud.identity.passwords import Passwords
from minicloud.identity.records import Login, Scope, Standing
from minicloud.identity.tokens import Grounds, Token, Tokens
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction

LOG = logging.getLogger(__name__)


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A user, project or domain as a client refers to it: by id, or by name in a domain."""

    id: str | None = None
    name: str | None = None
    domain_id: str | None = None
    domain_name: str | None = None


class PasswordProof(msgspec.Struct, frozen=True, kw_only=True):
    user: Named
    password: str

    def __repr__(self) -> str:  # the password must never reach a log
        return f"<PasswordProof {self.user}>"


class ScopeAsked(msgspec.Struct, frozen=True, kw_only=True):
    """``kind`` as in Scope, or ``default``: nothing was asked."""

    kind: str
    target: Named = Named()


class Authentication:
    """Logins, and the callers of identity's own routes."""

    def __init__(self, database: Database, tokens: Tokens, passwords: Passwords) -> None:
        self._database = database
        self._tokens = tokens
        self._passwords = passwords

    def token(
        self,
        *,
        methods: Sequence[str],
        password: PasswordProof | None,
        token: str | None,
        scope: ScopeAsked,
        began: float,
        with_catalog: bool,
    ) -> tuple[str, Token]:
        """(sealed token, what it says). Unauthenticated where any method or the scope fails."""
        grounds = self._grounds(methods, password, token)
        with self._database.read() as tx:
            if scope.kind != "default":
                wanted = _resolve(tx, scope)
            elif grounds.default_project_id:
                wanted = Scope("project", grounds.default_project_id)
            else:
                wanted = Scope()
            try:
                return self._tokens.issue(
                    tx, grounds, wanted, began=began, with_catalog=with_catalog
                )
            except Unauthenticated:
                if scope.kind != "default" or not wanted.kind:
                    raise
                # A default project that is gone or closed to the user asks for no scope at all.
                return self._tokens.issue(
                    tx, grounds, Scope(), began=began, with_catalog=with_catalog
                )

    def change_password(self, user_id: str, original: str, password: str) -> None:
        """A user changes the own password; all tokens of the user end. Unauthenticated."""
        login = self._prove(PasswordProof(user=Named(id=user_id), password=original))
        hashed = self._passwords.hash(password)
        with self._database.write() as tx:
            now = queries.standing_get(tx, user_id, Scope())
            if now is None or not now.user_enabled:
                raise Unauthenticated()
            if now.token_generation != login.token_generation:
                raise Unauthenticated()  # the password was changed meanwhile
            store.users.update(tx, user_id, {"password_hash": hashed, **store.END_TOKENS})

    def authenticate(
        self, headers: Headers, _timings: dict[str, float], request_id: str
    ) -> Context:
        """The caller of a route, by X-Auth-Token. Unauthenticated."""
        sealed = headers.get("X-Auth-Token", "")
        token = self._tokens.validate(sealed) if sealed else None
        if token is None:
            raise Unauthenticated()
        service_roles: list[str] = []
        if service_token := headers.get("X-Service-Token", ""):
            service = self._tokens.validate(service_token)
            if service is None:
                raise Unauthenticated()
            service_roles = list(service.roles.values())
        return _context(token, service_roles, sealed, request_id)

    def _grounds(
        self, methods: Sequence[str], password: PasswordProof | None, token: str | None
    ) -> Grounds:
        """Prove every method; all must be of one user."""
        found: list[Grounds] = []
        if "password" in methods and password is not None:
            login = self._prove(password)
            found.append(
                Grounds(
                    user_id=login.user_id,
                    token_generation=login.token_generation,
                    methods=["password"],
                    default_project_id=login.default_project_id,
                )
            )
        if "token" in methods and token is not None:
            found.append(self._from_token(token))
        if not found or len({each.user_id for each in found}) != 1:
            raise Unauthenticated()
        last = found[-1]
        names = {method for each in found for method in each.methods}
        return msgspec.structs.replace(last, methods=sorted(names))

    def _from_token(self, sealed: str) -> Grounds:
        token = self._tokens.validate(sealed)
        if token is None:
            raise Unauthenticated()
        with self._database.read() as tx:
            user = store.users.find(tx, id=token.standing.user_id)
        if user is None:
            raise Unauthenticated()
        return Grounds(
            user_id=user.id,
            token_generation=token.standing.token_generation,
            methods=sorted({*token.methods, "token"}),
            default_project_id=user.default_project_id,
            expires_at=token.expires_at,
            parent_audit_id=token.audit_ids[-1],
        )

    def _prove(self, proof: PasswordProof) -> Login:
        user = proof.user
        with self._database.read() as tx:
            login = queries.login_get(
                tx,
                user_id=user.id,
                name=user.name,
                domain_id=user.domain_id,
                domain_name=user.domain_name,
            )
        hashed = login.password_hash if login else None
        if not self._passwords.proves(hashed, proof.password) or login is None or hashed is None:
            raise Unauthenticated()
        if self._passwords.outdated(hashed):
            self._renew_hash(login, proof.password)
        return login

    def _renew_hash(self, login: Login, password: str) -> None:
        renewed = self._passwords.hash(password)
        with self._database.write() as tx:
            store.user_hash_replace(tx, login.user_id, login.password_hash, renewed)
        LOG.info("Hashed the password of user %s anew, at today's cost", login.user_id)


def _resolve(tx: Transaction, asked: ScopeAsked) -> Scope:
    target = asked.target
    found = target.id
    if found is None and asked.kind == "project":
        found = queries.project_named(
            tx, target.name or "", domain_id=target.domain_id, domain_name=target.domain_name
        )
    elif found is None and asked.kind == "domain":
        found = queries.domain_named(tx, target.name or "")
    if found is None and asked.kind in ("project", "domain"):
        raise Unauthenticated()
    return Scope(asked.kind, found or "")


def _context(token: Token, service_roles: list[str], sealed: str, request_id: str) -> Context:
    standing: Standing = token.standing
    scope = standing.scope
    in_project = scope.kind == "project"
    return Context(
        request_id=request_id,
        user_id=standing.user_id,
        user_name=standing.user_name,
        user_domain_id=standing.user_domain_id,
        project_id=scope.id if in_project else "",
        project_name=standing.scope_name if in_project else "",
        project_domain_id=standing.scope_domain_id if in_project else "",
        domain_id=scope.id if scope.kind == "domain" else "",
        system_scope="all" if scope.kind == "system" else "",
        roles=list(token.roles.values()),
        service_roles=service_roles,
        token=sealed,
    )
