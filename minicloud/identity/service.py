"""Authentication: from what a client shows to a token for the scope it asks for.

Every failure is the same 401; the audit log has the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from werkzeug.datastructures import Headers

from minicloud.domain.errors import NotAllowed, Unauthenticated
from minicloud.identity import audit, delegations, store
from minicloud.identity import standing as queries
from minicloud.identity.audit import Attempt, Refused
from minicloud.identity.logins import CredentialProof, Logins, Named, PasswordProof
from minicloud.identity.oauth_signatures import Signed
from minicloud.identity.passwords import Passwords
from minicloud.identity.records import Scope, Standing, Trust
from minicloud.identity.tokens import METHODS, Grounds, Token, Tokens
from minicloud.kit import context
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction


class ScopeAsked(msgspec.Struct, frozen=True, kw_only=True):
    """``kind`` as in Scope, or ``trust``, or ``default``: nothing was asked."""

    kind: str
    target: Named = Named()

    def __str__(self) -> str:
        if self.kind in ("project", "domain", "trust"):
            return f"{self.kind} {self.target}"
        return self.kind or "no scope"


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """All that a client shows to get a token."""

    methods: Sequence[str]
    password: PasswordProof | None = None
    token: str | None = None
    application_credential: CredentialProof | None = None
    signed: Signed | None = None
    """The request itself, signed with an access token of OAuth's."""

    def __repr__(self) -> str:  # it has a token in it
        return f"<Shown {self.methods}>"


class Authentication:
    """Logins, and the callers of identity's own routes."""

    def __init__(
        self, database: Database, tokens: Tokens, passwords: Passwords, logins: Logins
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._passwords = passwords
        self._logins = logins

    def token(
        self, shown: Shown, scope: ScopeAsked, *, began: float, with_catalog: bool, peer: str
    ) -> tuple[str, Token]:
        """(sealed token, what it says). Unauthenticated where any method or the scope fails."""
        attempt = Attempt(
            peer=peer,
            methods="+".join(each for each in shown.methods if each in METHODS) or "nothing known",
            claimed=_claimed(shown),
            scope=str(scope),
        )
        try:
            grounds = self._grounds(shown)
            if grounds.application_credential is not None and scope.kind != "default":
                raise Refused(
                    why="an application credential has its own scope", user_id=grounds.user_id
                )
            if grounds.access_token is not None:
                # An access token is good for its own project, whatever is asked for.
                scope = ScopeAsked(kind="project", target=Named(id=grounds.access_token.project_id))
            if grounds.system_scoped and scope.kind in ("project", "domain", "trust"):
                raise NotAllowed(reason="A token of the system stays the system's.")
            sealed, token = self._issue(grounds, scope, began=began, with_catalog=with_catalog)
        except Unauthenticated as problem:
            audit.refused(attempt, problem)
            raise
        audit.granted(attempt, token.standing.user_id, token.audit_ids[0])
        return sealed, token

    def by_key(
        self, user_id: str, project_id: str, *, began: float, peer: str, access: str
    ) -> tuple[str, Token]:
        """A token for who signed a request with an EC2 key, on the key's project."""
        attempt = Attempt(
            peer=peer, methods="ec2credential", claimed=access, scope=f"project {project_id}"
        )
        try:
            with self._database.read() as tx:
                now = queries.standing_get(tx, user_id, Scope())
                if now is None:
                    raise Refused(why="the user is gone", user_id=user_id)
                grounds = Grounds(
                    user_id=user_id,
                    token_generation=now.token_generation,
                    methods=["ec2credential"],
                )
                sealed, token = self._tokens.issue(
                    tx, grounds, Scope("project", project_id), began=began, with_catalog=True
                )
        except Unauthenticated as problem:
            audit.refused(attempt, problem)
            raise
        audit.granted(attempt, user_id, token.audit_ids[0])
        return sealed, token

    def change_password(self, user_id: str, original: str, password: str, *, peer: str) -> None:
        """A user changes the own password; all tokens of the user end. Unauthenticated."""
        attempt = Attempt(peer=peer, methods="password", claimed=user_id, scope="a new password")
        try:
            login = self._logins.prove(PasswordProof(user=Named(id=user_id), password=original))
        except Unauthenticated as problem:
            audit.refused(attempt, problem)
            raise
        if login.options.get("lock_password"):
            raise NotAllowed(reason="This user's password is locked: ask an administrator.")
        hashed = self._passwords.hash(password)
        with self._database.write() as tx:
            now = queries.standing_get(tx, user_id, Scope())
            if now is None or not now.user_enabled:
                raise Unauthenticated()
            if now.token_generation != login.token_generation:
                raise Unauthenticated()  # the password was changed meanwhile
            store.users.update(tx, user_id, {"password_hash": hashed, **store.END_TOKENS})
        audit.granted(attempt, user_id, "none")

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

    def _issue(
        self, grounds: Grounds, scope: ScopeAsked, *, began: float, with_catalog: bool
    ) -> tuple[str, Token]:
        if scope.kind == "trust":
            return self._under_trust(grounds, scope, began=began, with_catalog=with_catalog)
        with self._database.read() as tx:
            if grounds.application_credential is not None:
                wanted = Scope("project", grounds.application_credential.project_id)
            elif scope.kind != "default":
                wanted = _resolve(tx, scope, grounds)
            elif grounds.default_project_id:
                wanted = Scope("project", grounds.default_project_id)
            else:
                wanted = Scope()
            try:
                return self._tokens.issue(
                    tx, grounds, wanted, began=began, with_catalog=with_catalog
                )
            except Unauthenticated:
                told = scope.kind != "default" or grounds.application_credential is not None
                if told or not wanted.kind:
                    raise
                # A default project that is gone or closed to the user asks for no scope at all.
                return self._tokens.issue(
                    tx, grounds, Scope(), began=began, with_catalog=with_catalog
                )

    def _under_trust(
        self, grounds: Grounds, scope: ScopeAsked, *, began: float, with_catalog: bool
    ) -> tuple[str, Token]:
        """A token of the trustee, who is named by ``grounds``; uses up one of the trust's uses."""
        with self._database.write() as tx:
            trust = delegations.trust_find(tx, scope.target.id or "")
            if trust is None:
                raise Refused(why="no such trust", user_id=grounds.user_id)
            _check_trustee(trust, grounds)
            if trust.remaining_uses is not None and not delegations.trust_use(tx, trust.id):
                raise NotAllowed(reason=f"Trust {trust.id} has no uses left.")
            return self._tokens.issue(
                tx,
                grounds,
                Scope("project", trust.project_id) if trust.project_id else Scope(),
                began=began,
                with_catalog=with_catalog,
                trust=trust,
            )

    def _grounds(self, shown: Shown) -> Grounds:
        """Prove every method; all must be of one user."""
        found: list[Grounds] = []
        if set(shown.methods) - {"password", "token", "application_credential", "oauth1"}:
            raise Refused(why="a method that is not known here")
        if shown.password is not None:
            found.append(self._logins.by_password(shown.password))
        if shown.application_credential is not None:
            found.append(self._logins.by_application_credential(shown.application_credential))
        if shown.signed is not None:
            found.append(self._logins.by_access_token(shown.signed))
        if shown.token is not None:
            found.append(self._logins.by_token(shown.token))
        if not found or len({each.user_id for each in found}) != 1:
            raise Refused(why="the proofs are of several users")
        last = found[-1]
        names = sorted({method for each in found for method in each.methods})
        if "application_credential" not in names:
            self._logins.check_factors(last.user_id, names)
        credential = next((each.application_credential for each in found
                           if each.application_credential is not None), None)  # fmt: skip
        access = next((each.access_token for each in found if each.access_token is not None), None)
        if credential is not None and access is not None:
            raise Refused(why="two proofs that each have their own scope", user_id=last.user_id)
        return msgspec.structs.replace(
            last, methods=names, application_credential=credential, access_token=access
        )


def _claimed(shown: Shown) -> str:
    if shown.password is not None:
        return f"user {shown.password.user}"
    if shown.application_credential is not None:
        return str(shown.application_credential)
    return "the owner of a token" if shown.signed is None else "the user of an access token"


def _check_trustee(trust: Trust, grounds: Grounds) -> None:
    if trust.trustee_user_id != grounds.user_id:
        raise NotAllowed(reason="The trust is for another user.")


def _resolve(tx: Transaction, asked: ScopeAsked, grounds: Grounds) -> Scope:
    target = asked.target
    found = target.id
    if found is None and asked.kind == "project":
        found = queries.project_named(
            tx, target.name or "", domain_id=target.domain_id, domain_name=target.domain_name
        )
    elif found is None and asked.kind == "domain":
        found = queries.domain_named(tx, target.name or "")
    if found is None and asked.kind in ("project", "domain"):
        raise Refused(why=f"no such {asked.kind}", user_id=grounds.user_id)
    return Scope(asked.kind, found or "")


def _context(token: Token, service_roles: list[str], sealed: str, request_id: str) -> Context:
    standing: Standing = token.standing
    scope, delegation = standing.scope, token.delegation
    in_project = scope.kind == "project"
    rules = delegation.access_rules
    credential = delegation.application_credential
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
        trust_id=delegation.trust.id if delegation.trust else "",
        delegated=token.is_delegated,
        unrestricted=credential is not None and credential.unrestricted,
        access_rules=None
        if rules is None
        else [context.AccessRule(each.service, each.method, each.path) for each in rules],
    )
