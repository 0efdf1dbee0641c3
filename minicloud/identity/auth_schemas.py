"""The bodies of /auth/tokens: what a client shows and asks, and a token as it is answered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from minicloud.domain.errors import Invalid
from minicloud.identity.logins import CredentialProof, Named, PasswordProof
from minicloud.identity.oauth_signatures import Signed
from minicloud.identity.schemas import Line, Password
from minicloud.identity.service import ScopeAsked, Shown
from minicloud.identity.tokens import Token
from minicloud.kit import clock


class DomainRef(msgspec.Struct):
    id: Line | None = None
    name: Line | None = None


class UserRef(msgspec.Struct):
    password: Password
    id: Line | None = None
    name: Line | None = None
    domain: DomainRef | None = None

    def __repr__(self) -> str:  # the password must never reach a log
        return "<UserRef>"


class PasswordMethod(msgspec.Struct):
    user: UserRef


class TokenMethod(msgspec.Struct):
    id: Annotated[str, Meta(max_length=8192)]

    def __repr__(self) -> str:
        return "<TokenMethod>"


class OwnerRef(msgspec.Struct):
    id: Line | None = None
    name: Line | None = None
    domain: DomainRef | None = None


class ApplicationCredentialMethod(msgspec.Struct):
    secret: Password
    id: Line | None = None
    name: Line | None = None
    user: OwnerRef | None = None

    def __repr__(self) -> str:
        return "<ApplicationCredentialMethod>"


class IdentityPart(msgspec.Struct):
    methods: Annotated[list[str], Meta(min_length=1, max_length=8)]
    password: PasswordMethod | None = None
    token: TokenMethod | None = None
    application_credential: ApplicationCredentialMethod | None = None
    oauth1: dict[str, Any] | None = None


class ProjectRef(msgspec.Struct):
    id: Line | None = None
    name: Line | None = None
    domain: DomainRef | None = None


class SystemRef(msgspec.Struct):
    all: bool = False


class TrustRef(msgspec.Struct):
    id: Line


class ScopePart(msgspec.Struct, forbid_unknown_fields=True):
    project: ProjectRef | None = None
    domain: DomainRef | None = None
    system: SystemRef | None = None
    trust: TrustRef | None = msgspec.field(name="OS-TRUST:trust", default=None)
    unscoped: dict[str, Any] | None = None


class AuthRequest(msgspec.Struct):
    identity: IdentityPart
    scope: ScopePart | Literal["unscoped"] | None = None


def shown(part: IdentityPart, signed: Signed) -> Shown:
    """What the client shows. ``signed``: the request, which may be signed for it.

    Invalid where a method is named and not shown, or not whose.
    """
    return Shown(
        methods=part.methods,
        password=_password(part),
        token=_token(part),
        application_credential=_application_credential(part),
        signed=signed if _is_signed(part) else None,
    )


def _is_signed(part: IdentityPart) -> bool:
    if "oauth1" in part.methods and part.oauth1 is None:
        raise Invalid(reason="Expecting to find oauth1 in identity.")
    return "oauth1" in part.methods


def _application_credential(part: IdentityPart) -> CredentialProof | None:
    if "application_credential" not in part.methods:
        return None
    given = part.application_credential
    if given is None:
        raise Invalid(reason="Expecting to find application_credential in identity.")
    if given.id is not None:
        return CredentialProof(id=given.id, secret=given.secret)
    owner = given.user
    if given.name is None or owner is None:
        raise Invalid(reason="Expecting to find id, or name and user, in application_credential.")
    user = Named(id=owner.id) if owner.id is not None else _named("user", owner.name, owner.domain)
    return CredentialProof(name=given.name, user=user, secret=given.secret)


def _password(part: IdentityPart) -> PasswordProof | None:
    if "password" not in part.methods:
        return None
    if part.password is None:
        raise Invalid(reason="Expecting to find password in identity.")
    user = part.password.user
    if user.id is None and user.name is None:
        raise Invalid(reason="Expecting to find id or name in user.")
    if user.id is not None:
        return PasswordProof(user=Named(id=user.id), password=user.password)
    return PasswordProof(user=_named("user", user.name, user.domain), password=user.password)


def _token(part: IdentityPart) -> str | None:
    if "token" not in part.methods:
        return None
    if part.token is None:
        raise Invalid(reason="Expecting to find token in identity.")
    return part.token.id


def scope(part: ScopePart | str | None) -> ScopeAsked:
    """What the token shall be for. Invalid where it is not exactly one thing."""
    if part is None:
        return ScopeAsked(kind="default")
    if isinstance(part, str):
        return ScopeAsked(kind="")
    parts = [part.project, part.domain, part.system, part.unscoped, part.trust]
    if sum(each is not None for each in parts) != 1:
        raise Invalid(
            reason="The scope must be one of project, domain, system, OS-TRUST:trust or unscoped."
        )
    if part.trust is not None:
        return ScopeAsked(kind="trust", target=Named(id=part.trust.id))
    if part.project is not None:
        target = (
            Named(id=part.project.id)
            if part.project.id is not None
            else _named("project", part.project.name, part.project.domain)
        )
        return ScopeAsked(kind="project", target=target)
    if part.domain is not None:
        if part.domain.id is None and part.domain.name is None:
            raise Invalid(reason="Expecting to find id or name in domain.")
        return ScopeAsked(kind="domain", target=Named(id=part.domain.id, name=part.domain.name))
    if part.system is not None:
        if not part.system.all:
            raise Invalid(reason="The scope system must be all of it.")
        return ScopeAsked(kind="system")
    return ScopeAsked(kind="")


def _named(noun: str, name: str | None, domain: DomainRef | None) -> Named:
    if name is None:
        raise Invalid(reason=f"Expecting to find id or name in {noun}.")
    if domain is None or (domain.id is None and domain.name is None):
        raise Invalid(reason=f"Expecting to find domain in {noun}.")
    return Named(name=name, domain_id=domain.id, domain_name=domain.name)


def token_view(token: Token, *, with_catalog: bool) -> dict[str, Any]:
    """The answer to issuing and validating."""
    standing = token.standing
    shown: dict[str, Any] = {
        "methods": token.methods,
        "user": {
            "id": standing.user_id,
            "name": standing.user_name,
            "domain": {"id": standing.user_domain_id, "name": standing.user_domain_name},
            "password_expires_at": None,
        },
        "audit_ids": token.audit_ids,
        "issued_at": clock.iso_micro(token.issued_at, "Z"),
        "expires_at": clock.iso_micro(token.expires_at, "Z"),
    }
    scope_ = standing.scope
    if scope_.kind == "project":
        domain = {"id": standing.scope_domain_id, "name": standing.scope_domain_name}
        shown["project"] = {"id": scope_.id, "name": standing.scope_name, "domain": domain}
        shown["is_domain"] = False
    elif scope_.kind == "domain":
        shown["domain"] = {"id": scope_.id, "name": standing.scope_name}
    elif scope_.kind == "system":
        shown["system"] = {"all": True}
    if scope_.kind:
        shown["roles"] = [{"id": id_, "name": name} for id_, name in token.roles.items()]
        if with_catalog:
            shown["catalog"] = token.catalog
    if token.service_providers:
        shown["service_providers"] = [
            {"id": each.id, "auth_url": each.auth_url, "sp_url": each.sp_url}
            for each in token.service_providers
        ]
    return {"token": {**shown, **_delegation(token)}}


def _delegation(token: Token) -> dict[str, Any]:
    delegation, found = token.delegation, {}
    if (credential := delegation.application_credential) is not None:
        one: dict[str, Any] = {
            "id": credential.id,
            "name": credential.name,
            "restricted": not credential.unrestricted,
        }
        if delegation.access_rules is not None:
            one["access_rules"] = [
                {"id": each.id, "service": each.service, "method": each.method, "path": each.path}
                for each in delegation.access_rules
            ]
        found["application_credential"] = one
    if (access := delegation.access_token) is not None:
        found["OS-OAUTH1"] = {"access_token_id": access.id, "consumer_id": access.consumer_id}
    if (trust := delegation.trust) is not None:
        found["OS-TRUST:trust"] = {
            "id": trust.id,
            "impersonation": trust.impersonation,
            "trustor_user": {"id": trust.trustor_user_id},
            "trustee_user": {"id": trust.trustee_user_id},
        }
    return found
