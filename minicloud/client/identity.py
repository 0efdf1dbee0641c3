"""Tokens: a service's own, and the validation of its callers'. Speaks Keystone's API only, so a
real Keystone can take identity's place.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import urllib3

from minicloud.client.rest import Answer, RestClient, new_session
from minicloud.domain import errors
from minicloud.kit import clock
from minicloud.kit.context import AccessRule, Context

if TYPE_CHECKING:
    # Only services that are asked over HTTP have these headers; others need not load werkzeug.
    from werkzeug.datastructures import Headers

_RENEW_BEFORE_S = 120
_CACHE_SIZE = 4096


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    """``http://host:5000/v3``"""
    username: str
    password: str
    project_name: str
    domain_name: str
    region: str = ""
    interface: str = "public"

    def __repr__(self) -> str:
        return f"<Credentials {self.username}@{self.url}>"


class ServiceSession:
    """This service's own token and catalog, renewed before they expire. Thread safe."""

    def __init__(
        self, credentials: Credentials, *, http: urllib3.PoolManager | None = None
    ) -> None:
        self._credentials = credentials
        self.http = http or new_session()
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = 0.0
        self._catalog: list[dict[str, Any]] = []

    def token(self) -> str:
        """The service's token. Unavailable when identity does not answer."""
        with self._lock:
            if clock.now() >= self._renew_at:
                self._renew()
            return self._token

    def forget(self) -> None:
        """The token was refused: get another next time."""
        with self._lock:
            self._renew_at = 0.0

    def endpoint(self, service_type: str) -> str:
        """URL of a service by catalog. ``block-storage`` is also found as volumev3."""
        self.token()
        wanted = {service_type} | (
            {"volumev3", "volume"} if service_type == "block-storage" else set()
        )
        for entry in self._catalog:
            if entry["type"] not in wanted:
                continue
            for endpoint in entry["endpoints"]:
                if endpoint["interface"] == self._credentials.interface and (
                    not self._credentials.region or endpoint["region"] == self._credentials.region
                ):
                    return str(endpoint["url"])
        raise errors.Unavailable(service=service_type, reason="it is not in the service catalog")

    def service_id(self, service_type: str) -> str:
        """Id of a service by catalog."""
        self.token()
        for entry in self._catalog:
            if entry["type"] == service_type:
                return str(entry["id"])
        raise errors.Unavailable(service=service_type, reason="it is not in the service catalog")

    def _renew(self) -> None:
        mine = self._credentials
        domain = {"name": mine.domain_name}
        answer = RestClient("identity", lambda: mine.url, dict, session=self.http).post(
            "/auth/tokens",
            {
                "auth": {
                    "identity": {
                        "methods": ["password"],
                        "password": {
                            "user": {
                                "name": mine.username,
                                "domain": domain,
                                "password": mine.password,
                            }
                        },
                    },
                    "scope": {"project": {"name": mine.project_name, "domain": domain}},
                }
            },
        )
        token = answer.json["token"]
        self._token = answer.headers["X-Subject-Token"]
        self._catalog = token["catalog"]
        self._renew_at = clock.parse(token["expires_at"]) - _RENEW_BEFORE_S


class TokenFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A validated token: the caller it names, and times for the launch trace."""

    context: Context
    issued_at: float
    issue_ms: float | None
    """How long identity took to issue it, where it says so."""
    validate_ms: float | None
    """How long identity took to validate it; None when it came from the cache."""
    expires_at: float


class TokenValidator:
    """Callers' tokens, asked of identity and believed for a short while. Thread safe."""

    def __init__(self, session: ServiceSession, url: str, *, cache_s: float) -> None:
        self._session = session
        self._client = RestClient(
            "identity",
            lambda: url,
            lambda: {"X-Auth-Token": session.token()},
            session=session.http,
        )
        self._cache_s = cache_s
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, tuple[float, TokenFacts]] = OrderedDict()

    def authenticate(self, headers: Headers, timings: dict[str, float], request_id: str) -> Context:
        """The Context of a request's X-Auth-Token and X-Service-Token. Unauthenticated.

        ``timings`` gets ``token``, the whole check, and ``identity``, identity's own part of it,
        where identity was asked.
        """
        started = time.perf_counter()
        token = headers.get("X-Auth-Token", "")
        if not token:
            raise errors.Unauthenticated()
        facts = self.validate(token)
        service_roles: list[str] = []
        service_token = headers.get("X-Service-Token", "")
        if service_token:
            service_roles = list(self.validate(service_token).context.roles)
        timings["token"] = (time.perf_counter() - started) * 1000
        if facts.validate_ms is not None:
            timings["identity"] = facts.validate_ms
        return msgspec.structs.replace(
            facts.context, request_id=request_id, service_roles=service_roles, token=token
        )

    def validate(self, token: str) -> TokenFacts:
        """What ``token`` says, from identity or from the cache. Unauthenticated."""
        key = hashlib.sha256(token.encode()).hexdigest()
        now = clock.now()
        with self._lock:
            hit = self._cache.get(key)
            if hit and hit[0] > now and hit[1].expires_at > now:
                return msgspec.structs.replace(hit[1], validate_ms=None)
        answer = self._ask(token)
        facts = _facts(answer)
        with self._lock:
            self._cache[key] = (now + self._cache_s, facts)
            self._cache.move_to_end(key)
            while len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        return facts

    def _ask(self, token: str) -> Answer:
        for attempt in (1, 2):
            try:
                return self._client.request(
                    "GET", "/auth/tokens", query={"nocatalog": "1"},
                    headers={"X-Subject-Token": token, "OpenStack-Identity-Access-Rules": "1.0"},
                )  # fmt: skip
            except errors.NotFound:
                raise errors.Unauthenticated() from None
            except errors.Unauthenticated:
                # Our own token was refused: identity lost its keys or was set up anew.
                if attempt == 2:
                    raise errors.Unavailable(
                        service="identity", reason="this service's own token was refused"
                    ) from None
                self._session.forget()
        raise AssertionError("unreachable")


def _facts(answer: Answer) -> TokenFacts:
    token: Mapping[str, Any] = answer.json["token"]
    user = token["user"]
    project = token.get("project") or {}
    credential, trust = token.get("application_credential") or {}, token.get("OS-TRUST:trust") or {}
    return TokenFacts(
        context=Context(
            user_id=user["id"],
            user_name=user["name"],
            user_domain_id=user["domain"]["id"],
            project_id=project.get("id", ""),
            project_name=project.get("name", ""),
            project_domain_id=(project.get("domain") or {}).get("id", ""),
            domain_id=(token.get("domain") or {}).get("id", ""),
            system_scope="all" if token.get("system") else "",
            roles=[role["name"] for role in token.get("roles", ())],
            trust_id=trust.get("id", ""),
            delegated=bool(trust or credential or token.get("OS-OAUTH1")),
            unrestricted=credential.get("restricted") is False,
            access_rules=None
            if credential.get("access_rules") is None
            else [
                AccessRule(rule["service"], rule["method"], rule["path"])
                for rule in credential["access_rules"]
            ],
        ),
        issued_at=clock.parse(token["issued_at"]),
        issue_ms=answer.timing_ms("issue"),
        validate_ms=answer.timing_ms("total"),
        expires_at=clock.parse(token["expires_at"]),
    )
