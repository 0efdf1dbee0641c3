"""An authenticator for tests of one service without identity: a token is a well-known word."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from werkzeug.datastructures import Headers

from minicloud.domain.errors import Unauthenticated
from minicloud.kit.context import Context

ADMIN, DEMO, ALT, SERVICE = (f"{letter * 32}" for letter in "adef")
"""The projects' ids."""


def _caller(name: str, project_id: str, *roles: str) -> Context:
    return Context(
        user_id=f"user-{name}",
        user_name=name,
        user_domain_id="default",
        project_id=project_id,
        project_name=name,
        project_domain_id="default",
        roles=roles,
        token=name,
    )


CALLERS: Mapping[str, Context] = {
    "admin": _caller("admin", ADMIN, "admin", "member", "reader"),
    "demo": _caller("demo", DEMO, "member", "reader"),
    "alt": _caller("alt", ALT, "member", "reader"),
    "reader": _caller("reader", DEMO, "reader"),
    "service": _caller("service", SERVICE, "service"),
}
"""Token -> whose it is. ``reader`` may only look at what is demo's."""


def authenticate(headers: Headers, timings: dict[str, float], request_id: str) -> Context:
    """As ``TokenValidator.authenticate``, for CALLERS. Unauthenticated."""
    caller = CALLERS.get(headers.get("X-Auth-Token", ""))
    if caller is None:
        raise Unauthenticated()
    service = CALLERS.get(headers.get("X-Service-Token", ""))
    timings["token"] = 0.1
    return msgspec.structs.replace(
        caller, request_id=request_id, service_roles=service.roles if service else ()
    )
