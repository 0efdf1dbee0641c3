"""Who asks, and under which request id: carried through REST, RPC, logs and operations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

import msgspec

from minicloud.domain.ids import new_request_id


class AccessRule(msgspec.Struct, frozen=True):
    """One kind of request that a token is good for. ``service``: a type of the catalog."""

    service: str
    method: str
    path: str
    """As on the wire, ``/v2.1/servers``; ``*`` or ``{name}`` is one segment, ``**`` any number."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The caller of one request. ``token`` is used while the request is fresh, never stored."""

    request_id: str = msgspec.field(default_factory=new_request_id)
    user_id: str = ""
    user_name: str = ""
    user_domain_id: str = ""
    project_id: str = ""
    project_name: str = ""
    project_domain_id: str = ""
    domain_id: str = ""
    """Set instead of ``project_id`` when the token is scoped to a domain."""
    system_scope: str = ""
    roles: Sequence[str] = ()
    service_roles: Sequence[str] = ()
    """Roles of the service that passes the request on (X-Service-Token)."""
    token: str = ""
    trust_id: str = ""
    """The trust that the token acts under."""
    delegated: bool = False
    """Whether the token was made from something narrower than the user's own word: a trust, an
    application credential, an EC2 key. Such a token makes no further ones."""
    unrestricted: bool = False
    """Whether it came from an application credential that may make others nevertheless."""
    access_rules: Sequence[AccessRule] | None = None
    """The only requests the token is good for; None: all."""

    @property
    def scope(self) -> str:
        """``project``, ``domain``, ``system``, or empty for a token that is for nowhere."""
        if self.project_id:
            return "project"
        if self.domain_id:
            return "domain"
        return "system" if self.system_scope else ""

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles

    @property
    def is_service(self) -> bool:
        """Whether a minicloud service asks, for itself or for a user."""
        return "service" in self.roles or "service" in self.service_roles

    def __repr__(self) -> str:  # a token must never reach a log
        return f"<Context {self.request_id} user={self.user_id} project={self.project_id}>"


_current: ContextVar[Context | None] = ContextVar("minicloud_context", default=None)


def current() -> Context | None:
    """The context of the request this thread works on; only logging may ask."""
    return _current.get()


@contextlib.contextmanager
def working_for(ctx: Context) -> Iterator[None]:
    """Name ``ctx`` in every log line of the block."""
    mark = _current.set(ctx)
    try:
        yield
    finally:
        _current.reset(mark)
