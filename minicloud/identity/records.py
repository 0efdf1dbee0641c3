"""What the store hands out: one frozen Struct a noun, never rows. No secret is in any of them
except ``Login``, which hides its own.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Identified(msgspec.Struct, frozen=True, kw_only=True):
    id: str


class Record(Identified, frozen=True, kw_only=True):
    extra: dict[str, Any] = {}
    """Properties kept for clients and shown among the others."""


class Domain(Record, frozen=True, kw_only=True):
    name: str
    description: str = ""
    enabled: bool = True
    tags: list[str] = []
    options: dict[str, Any] = {}


class Project(Record, frozen=True, kw_only=True):
    domain_id: str
    name: str
    parent_id: str | None = None
    """The project above it; None directly below its domain."""
    description: str = ""
    enabled: bool = True
    tags: list[str] = []
    options: dict[str, Any] = {}


class User(Record, frozen=True, kw_only=True):
    domain_id: str
    name: str
    enabled: bool = True
    default_project_id: str | None = None
    options: dict[str, Any] = {}


class Group(Record, frozen=True, kw_only=True):
    domain_id: str
    name: str
    description: str = ""


class Role(Record, frozen=True, kw_only=True):
    name: str
    domain_id: str | None = None
    """Of a role that is one domain's: it counts for what it implies."""
    description: str | None = None
    options: dict[str, Any] = {}


class Region(Record, frozen=True, kw_only=True):
    description: str = ""
    parent_region_id: str | None = None


class Service(Record, frozen=True, kw_only=True):
    type: str
    name: str = ""
    description: str = ""
    enabled: bool = True


class Endpoint(Record, frozen=True, kw_only=True):
    service_id: str
    interface: str
    url: str
    region_id: str | None = None
    enabled: bool = True


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """One role for one user or group on one project, one domain or the system."""

    role_id: str
    user_id: str | None = None
    group_id: str | None = None
    project_id: str | None = None
    domain_id: str | None = None
    system: bool = False
    inherited: bool = False
    """Holds in the projects below, not at the project or domain itself."""


class PolicyBlob(Record, frozen=True, kw_only=True):
    """A policy kept for clients: identity does not read it."""

    type: str
    blob: str


class AccessRule(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    user_id: str
    service: str
    method: str
    path: str


class ApplicationCredential(msgspec.Struct, frozen=True, kw_only=True):
    """Some of a user's roles on one project, for a program. Its secret is shown once."""

    id: str
    user_id: str
    project_id: str
    name: str
    description: str
    role_ids: list[str]
    unrestricted: bool
    ruled: bool
    """Whether it is good only for the requests that its access rules name."""
    expires_at: float | None


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the trustor's roles on a project, for the trustee to use."""

    id: str
    trustor_user_id: str
    trustee_user_id: str
    project_id: str | None
    impersonation: bool
    role_ids: list[str]
    expires_at: float | None
    remaining_uses: int | None
    redelegation_count: int
    redelegated_trust_id: str | None
    extra: dict[str, Any]


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A secret kept for a user: an EC2 key, say. ``blob`` is as the client gave it."""

    id: str
    user_id: str
    project_id: str | None
    type: str
    blob: str
    extra: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Credential {self.id}>"


class Consumer(Record, frozen=True, kw_only=True):
    """A program that users may let act for them by OAuth."""

    description: str | None = None


class RequestToken(Identified, frozen=True, kw_only=True):
    """A consumer's question whether it may act on a project."""

    consumer_id: str
    project_id: str
    expires_at: float | None
    user_id: str | None = None
    """Who said yes."""
    role_ids: list[str] | None = None
    """What it may act with."""


class AccessToken(Identified, frozen=True, kw_only=True):
    """What a consumer acts with: some of a user's roles on a project."""

    consumer_id: str
    user_id: str
    project_id: str
    role_ids: list[str]
    expires_at: float | None


class RegisteredLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What every project may have of a resource, unless a Limit says otherwise."""

    id: str
    service_id: str
    region_id: str | None = None
    resource_name: str
    default_limit: int
    description: str | None = None


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """What one project or domain may have of a resource."""

    id: str
    registered_limit_id: str
    project_id: str | None = None
    domain_id: str | None = None
    resource_limit: int
    description: str | None = None


class EndpointGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Endpoints by what they have in common. ``filters``: property -> value."""

    id: str
    name: str
    description: str | None = None
    filters: dict[str, Any]


class IdentityProvider(Identified, frozen=True, kw_only=True):
    """Who vouches for users that are not in the directory."""

    domain_id: str
    """Where its users would be."""
    enabled: bool = False
    description: str | None = None
    authorization_ttl: int | None = None
    """Minutes that memberships of groups hold which a mapping gave."""


class Protocol(msgspec.Struct, frozen=True, kw_only=True):
    """How users of an identity provider log in. ``id``: saml2, openid, ..."""

    id: str
    identity_provider_id: str
    mapping_id: str
    remote_id_attribute: str | None = None


class AttributeMapping(Identified, frozen=True, kw_only=True):
    """What the attributes of somebody who logs in stand for here."""

    rules: list[Any]
    schema_version: str


class ServiceProvider(Identified, frozen=True, kw_only=True):
    """Another cloud, which trusts this one to vouch for users."""

    auth_url: str
    sp_url: str
    relay_state_prefix: str
    enabled: bool = False
    description: str | None = None


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """What proving a password needs."""

    user_id: str
    password_hash: str | None
    token_generation: int
    default_project_id: str | None
    options: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Login {self.user_id}>"


class Scope(msgspec.Struct, frozen=True):
    """Where a token holds. ``kind``: project, domain, system, or empty for nowhere."""

    kind: str = ""
    id: str = ""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A user at a scope, as the database has it now."""

    user_id: str
    user_name: str
    user_domain_id: str
    user_domain_name: str
    user_enabled: bool
    """Of the user and of its domain."""
    token_generation: int
    revoked: bool
    """Whether the token that was asked about is revoked."""
    generation: int
    """Of roles and catalog."""
    scope: Scope
    scope_enabled: bool
    """False too where the project or the domain does not exist."""
    scope_name: str
    scope_domain_id: str
    scope_domain_name: str
    role_ids: frozenset[str]
    """Given directly or through groups, without what they imply."""
