"""Proving who somebody is: by a password, a token, an application credential, by OAuth.

Each proof gives ``Grounds`` for a token or raises Refused. An unknown user takes as long as a
wrong password. Where a lockout is configured, an attempt is counted before the password is looked
at, so that many attempts at once are no way around it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import NotAllowed
from minicloud.identity import delegations, models, store
from minicloud.identity import standing as queries
from minicloud.identity.audit import Refused
from minicloud.identity.oauth import OAuth
from minicloud.identity.oauth_signatures import Signed
from minicloud.identity.passwords import Passwords
from minicloud.identity.records import Login, Scope
from minicloud.identity.tokens import Grounds, Tokens
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction

LOG = logging.getLogger(__name__)


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A user, project or domain as a client refers to it: by id, or by name in a domain."""

    id: str | None = None
    name: str | None = None
    domain_id: str | None = None
    domain_name: str | None = None

    def __str__(self) -> str:
        return self.id or f"{self.name} of {self.domain_id or self.domain_name}"


class PasswordProof(msgspec.Struct, frozen=True, kw_only=True):
    user: Named
    password: str

    def __repr__(self) -> str:  # the password must never reach a log
        return f"<PasswordProof {self.user}>"


class CredentialProof(msgspec.Struct, frozen=True, kw_only=True):
    """An application credential by id, or by name and user."""

    id: str | None = None
    name: str | None = None
    user: Named | None = None
    secret: str

    def __str__(self) -> str:
        return f"application credential {self.id or self.name}"

    def __repr__(self) -> str:  # nor must the secret
        return f"<CredentialProof {self.id or self.name}>"


class Lockout(msgspec.Struct, frozen=True, kw_only=True):
    """``attempts`` failures in a row lock a user out for ``duration_s``; 0 attempts: never."""

    attempts: int = 0
    duration_s: float = 1800


NO_LOCKOUT = Lockout()


class Logins:
    """Thread safe."""

    def __init__(
        self,
        database: Database,
        tokens: Tokens,
        passwords: Passwords,
        lockout: Lockout,
        oauth: OAuth,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._passwords = passwords
        self._lockout = lockout
        self._oauth = oauth

    def by_password(self, proof: PasswordProof) -> Grounds:
        login = self.prove(proof)
        return Grounds(
            user_id=login.user_id,
            token_generation=login.token_generation,
            methods=["password"],
            default_project_id=login.default_project_id,
        )

    def by_token(self, sealed: str) -> Grounds:
        """NotAllowed for a token that is less than the user's own word."""
        token = self._tokens.validate(sealed)
        if token is None:
            raise Refused(why="the token shown does not hold")
        if token.is_delegated:
            raise NotAllowed(reason="A delegated token cannot be used to create another token.")
        with self._database.read() as tx:
            user = store.users.find(tx, id=token.standing.user_id)
        if user is None:
            raise Refused(why="the user is gone")
        return Grounds(
            user_id=user.id,
            token_generation=token.standing.token_generation,
            methods=sorted({*token.methods, "token"}),
            default_project_id=user.default_project_id,
            expires_at=token.expires_at,
            parent_audit_id=token.audit_ids[-1],
            system_scoped=token.standing.scope.kind == "system",
        )

    def by_application_credential(self, proof: CredentialProof) -> Grounds:
        with self._database.read() as tx:
            user_id = None
            if proof.id is None and proof.user is not None:
                owner = _login(tx, proof.user)
                user_id = owner.user_id if owner else None
            found = delegations.application_credential_secret(
                tx, id_=proof.id, user_id=user_id, name=proof.name
            )
            now = queries.standing_get(tx, found[0].user_id, Scope()) if found else None
        if not self._passwords.proves(found[1] if found else None, proof.secret):
            raise Refused(
                why="no such application credential" if found is None else "a wrong secret",
                user_id=None if found is None else found[0].user_id,
            )
        assert found is not None
        if now is None:
            raise Refused(why="the user is gone", user_id=found[0].user_id)
        return Grounds(
            user_id=found[0].user_id,
            token_generation=now.token_generation,
            methods=["application_credential"],
            application_credential=found[0],
        )

    def by_access_token(self, signed: Signed) -> Grounds:
        """Invalid where the request is not signed as OAuth has it."""
        token = self._oauth.prove(signed)
        with self._database.read() as tx:
            now = queries.standing_get(tx, token.user_id, Scope())
        if now is None:
            raise Refused(why="the user is gone", user_id=token.user_id)
        return Grounds(
            user_id=token.user_id,
            token_generation=now.token_generation,
            methods=["oauth1"],
            access_token=token,
        )

    def check_factors(self, user_id: str, methods: Sequence[str]) -> None:
        """Refused where the user asked for more than ``methods`` by the option for it."""
        with self._database.read() as tx:
            user = store.users.find(tx, id=user_id)
        options = {} if user is None else user.options
        rules = options.get("multi_factor_auth_rules")
        if not options.get("multi_factor_auth_enabled") or not rules:
            return
        if not any(set(rule) <= set(methods) for rule in rules):
            raise Refused(why="the user's own rule asks for more factors", user_id=user_id)

    def prove(self, proof: PasswordProof) -> Login:
        """The user whose password it is."""
        with self._database.read() as tx:
            login = _login(tx, proof.user)
        counted = self._count(login)
        hashed = login.password_hash if login else None
        proved = self._passwords.proves(hashed, proof.password)
        if login is None or hashed is None:
            raise Refused(why="no such user, or one without a password")
        if not counted:
            raise Refused(why="the user is locked out", user_id=login.user_id)
        if not proved:
            raise Refused(why="a wrong password", user_id=login.user_id)
        if self._lockout.attempts:
            with self._database.write() as tx:
                store.users.update(tx, login.user_id, store.ENDS_LOCKOUT)
        if self._passwords.outdated(hashed):
            self._renew_hash(login, proof.password)
        return login

    def _count(self, login: Login | None) -> bool:
        """Count an attempt; False where the user is locked out."""
        most = self._lockout.attempts
        if not most or login is None or login.options.get("ignore_lockout_failure_attempts"):
            return True
        user, now = models.user.c, clock.now()
        over = sa.or_(user.failed_at.is_(None), user.failed_at <= now - self._lockout.duration_s)
        statement = (
            models.user.update()
            .where(user.id == login.user_id, sa.or_(user.failed_logins < most, over))
            .values(
                failed_logins=sa.case(
                    (sa.and_(user.failed_logins >= most, over), 1), else_=user.failed_logins + 1
                ),
                failed_at=now,
            )
        )
        with self._database.write() as tx:
            return tx.execute(statement).rowcount > 0

    def _renew_hash(self, login: Login, password: str) -> None:
        renewed = self._passwords.hash(password)
        with self._database.write() as tx:
            store.user_hash_replace(tx, login.user_id, login.password_hash, renewed)
        LOG.info("Hashed the password of user %s anew, at today's cost", login.user_id)


def _login(tx: Transaction, user: Named) -> Login | None:
    return queries.login_get(
        tx,
        user_id=user.id,
        name=user.name,
        domain_id=user.domain_id,
        domain_name=user.domain_name,
    )
