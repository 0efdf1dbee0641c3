"""What a route is: one row with method, path, handler, policy and types. Forgetting the policy
is a missing field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from werkzeug.datastructures import Headers, MultiDict

from minicloud.domain.errors import Invalid
from minicloud.kit.context import Context
from minicloud.kit.policy import Policy
from minicloud.kit.web.versions import Conversion, Version, Versions


class Reply(msgspec.Struct, kw_only=True):
    """An answer that needs more than a body: another status, headers, or a stream."""

    body: Any = None
    status: int | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    stream: Iterable[bytes] | None = None


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A request body: its newest type, and how older versions differ from it."""

    type: Any
    """A msgspec Struct (or any type msgspec decodes), in the newest shape."""
    shape: Any = None
    """What the handler reads the body as, where ``type`` says less: for the OpenAPI document."""
    wrapper: str = ""
    """The key around it on the wire: ``{"server": {...}}``."""
    since: Mapping[str, Version] = {}
    """Key -> first version that knows it; an older request with the key is a 400."""
    until: Mapping[str, Version] = {}
    """Key -> last version that knows it; such keys are taken out by ``up``."""
    up: Sequence[Conversion] = ()
    """Conversions of an older body to the newest shape, oldest first."""
    beside: Sequence[str] = ()
    """Keys that may stand next to the wrapper; they arrive inside it."""
    may_be_null: bool = False
    """Whether null stands for an empty object: ``{"os-start": null}``."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """The query parameters of a route. Handlers see those that the request's version knows."""

    names: frozenset[str]
    since: Mapping[str, Version] = {}
    """Parameter -> first version that knows it."""
    strict_from: Version | None
    """From here on an unknown parameter is a 400; before, it is overlooked. None: always."""
    once: frozenset[str] = frozenset()
    """Parameters that may not be given several times."""
    open: bool = False
    """Whether parameters of other names mean something too, and are handed on."""


class Call:
    """One request, as a handler sees it."""

    __slots__ = ("_policy", "arrived", "base_url", "body", "ctx", "headers", "params", "path",
                 "peer", "query", "stream", "timings")  # fmt: skip

    def __init__(
        self,
        *,
        ctx: Context,
        params: dict[str, str],
        query: MultiDict[str, str],
        headers: Headers,
        body: Any,
        stream: Any,
        path: str,
        base_url: str,
        policy: Policy,
        timings: dict[str, float],
        arrived: float,
        peer: str = "",
    ) -> None:
        self.ctx = ctx
        self.params = params
        self.query = query
        self.headers = headers
        self.body = body
        self.stream = stream
        """Raw request body (``read(size)``) for routes with ``raw=True``."""
        self.path = path
        self.base_url = base_url
        """Scheme and authority as the client wrote them, without a slash at the end."""
        self.timings = timings
        """Name -> milliseconds, answered as Server-Timing; handlers may add theirs."""
        self.arrived = arrived
        """When the request was received, seconds since the epoch."""
        self.peer = peer
        """The address the request came from: the client's, or a proxy's."""
        self._policy = policy

    def allowed(self, action: str, target: Mapping[str, Any] | None = None) -> bool:
        return self._policy.allows(self.ctx, action, target)

    def check(self, action: str, target: Mapping[str, Any] | None = None) -> None:
        """Raise Forbidden unless the caller may do ``action`` to ``target``."""
        self._policy.check(self.ctx, action, target)

    def flag(self, name: str, default: bool = False) -> bool:
        """A yes/no query parameter as OpenStack takes it. Invalid when it is neither."""
        value = self.query.get(name)
        if value is None:
            return default
        if value.lower() in ("1", "t", "true", "on", "y", "yes", ""):
            return True
        if value.lower() in ("0", "f", "false", "off", "n", "no", "none"):
            return False
        raise Invalid(reason=f"Invalid value '{value}' for '{name}': use true or false.")

    def number(self, name: str, default: int | None = None, *, least: int = 0) -> int | None:
        """A whole-number query parameter. Invalid when it is none or below ``least``."""
        value = self.query.get(name)
        if value is None:
            return default
        try:
            number = int(value)
        except ValueError:
            raise Invalid(reason=f"{name} must be a whole number, not '{value[:64]}'.") from None
        if number < least or number > 2**31:
            raise Invalid(reason=f"{name} must be at least {least}.")
        return number


Handler = Callable[[Call], Any]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint. ``path`` has ``{name}`` for its parameters."""

    method: str
    path: str
    handler: Handler
    policy: str
    """The rule asked before anything else, or ``kit.policy.PUBLIC``."""
    status: int = 200
    body: Any = None
    """None: no body is read; a type; or a Body with a wrapper and versions."""
    action: str = ""
    """For paths where the body's one key says what to do, a row per key: ``os-start``."""
    query: Query | None = None
    """None: any parameter is let through."""
    raw: bool = False
    """The handler reads ``call.stream`` itself (an upload)."""
    since: Version | None = None
    until: Version | None = None
    """First and last microversion at which the route exists; elsewhere 404."""
    down: Sequence[Conversion] = ()
    """Conversions of the newest reply to older ones, newest first."""
    old_status: Sequence[tuple[Version, int]] = ()
    """(version, status): the status for requests older than the version."""
    target: Callable[[Call], Mapping[str, Any]] | None = None
    """What ``policy`` is asked about, read from the request and what it names. None: the caller's
    own project and user, before anything else of the request is looked at."""
    summary: str = ""
    media_types: Sequence[str] = ()
    """Content types taken besides application/json."""
    alias: bool = False
    """The same endpoint as another row's, at an older path: not in the OpenAPI document."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """All that ``build_app`` needs to know of a REST service."""

    name: str
    routes: Sequence[Route]
    policy: Policy
    dialect: Any
    """A ``dialects.Dialect``: how errors are worded on the wire."""
    authenticate: Callable[[Headers, dict[str, float], str], Context]
    """(headers, timings, request id) -> Context; raises Unauthenticated."""
    versions: Versions | None = None
    max_body: int = 1024 * 1024
    """Bytes of a JSON body; larger is 413."""
    unauthenticated_headers: Mapping[str, str] = {}
    """Headers of a 401 (WWW-Authenticate)."""
    catalog_types: frozenset[str] = frozenset()
    """What the catalog calls this service: access rules of tokens that name another are not for
    it."""
    vary: str = ""
    strict: bool = True
    """Whether numbers and flags in bodies must be JSON's own; else they may come as text."""
    request_id_headers: Sequence[str] = ("X-Openstack-Request-Id",)
    replies: Callable[[], Mapping[str, Any]] | None = None
    """``METHOD path#action`` -> type of the newest reply (None: no body), for the OpenAPI
    document. None: replies are not described."""
    legacy_path: tuple[str, str] | None = None
    """A path of old, and the one below which what is asked there is served by the lowest version.
    """
    document_path: str = "/openapi.json"
    """Where the service describes itself, to anybody; empty: nowhere."""
