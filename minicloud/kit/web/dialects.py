"""How each OpenStack service words an error on the wire.

A dialect turns (status, code, message) into a body and a content type. What the error is was
decided by its class; nothing here looks at messages.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from minicloud.domain.errors import MinicloudError

Rendered = tuple[int, Any, dict[str, str]]
"""(status, body: JSON value or bytes, headers)"""
Dialect = Callable[[MinicloudError, str], Rendered]
"""(error, the request's Accept header) -> answer"""

_NOVA_FAULTS: Mapping[int, str] = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}


def title(status: int) -> str:
    return HTTPStatus(status).phrase


def _middleware_401(message: str) -> Rendered:
    return 401, {"error": {"message": message, "code": 401, "title": "Unauthorized"}}, {}


def nova(error: MinicloudError, _accept: str) -> Rendered:
    """Compute: ``{"itemNotFound": {"code": 404, "message": "..."}}``."""
    if error.http == 401:
        return _middleware_401(error.message)
    fault: dict[str, Any] = {"code": error.http, "message": error.message}
    headers = {}
    if error.http in (413, 429):
        fault["retryAfter"] = "0"
        headers["Retry-After"] = "0"
    return error.http, {_NOVA_FAULTS.get(error.http, "computeFault"): fault}, headers


def cinder(error: MinicloudError, accept: str) -> Rendered:
    """Block storage: Nova's shape, but a quota is 413 and a wrong state 400."""
    if error.code == "quota_exceeded":
        return (
            413,
            {"overLimit": {"code": 413, "message": error.message, "retryAfter": "0"}},
            {"Retry-After": "0"},
        )
    if error.code in ("wrong_state", "in_use"):
        return 400, {"badRequest": {"code": 400, "message": error.message}}, {}
    return nova(error, accept)


_NEUTRON_TYPES: Mapping[str, str] = {
    "invalid": "HTTPBadRequest",
    "forbidden": "PolicyNotAuthorized",
    "not_allowed": "PolicyNotAuthorized",
    "quota_exceeded": "OverQuota",
    "no_address_left": "IpAddressGenerationFailure",
    "route_not_found": "HTTPNotFound",
    "in_use": "InUse",
    "exists": "Conflict",
    "conflict": "Conflict",
}


def neutron(error: MinicloudError, _accept: str) -> Rendered:
    """Network: ``{"NeutronError": {"type": "NetworkNotFound", "message": "...", ...}}``."""
    if error.http == 401:
        return _middleware_401(error.message)
    status = 409 if error.code == "quota_exceeded" else error.http
    kind = str(error.facts.get("type") or _NEUTRON_TYPES.get(error.code, ""))
    if error.code == "not_found" and not kind:
        kind = f"{error.facts['kind'].replace(' ', '')}NotFound"
    kind = kind or f"HTTP{title(status).replace(' ', '')}"
    body = {"NeutronError": {"type": kind, "message": error.message, "detail": ""}}
    return status, body, {}


def keystone(error: MinicloudError, _accept: str) -> Rendered:
    """Identity: ``{"error": {"code": 404, "title": "Not Found", "message": "..."}}``."""
    body = {"code": error.http, "title": title(error.http), "message": error.message}
    return error.http, {"error": body}, {}


def glance(error: MinicloudError, accept: str) -> Rendered:
    """Image: WebOb's pages: JSON, plain text or HTML, as the client accepts."""
    if error.http == 401:
        return _middleware_401(error.message)
    status = 413 if error.code == "quota_exceeded" else error.http
    name = f"{status} {title(status)}"
    if "application/json" in accept:
        body = {"message": f"{error.message}<br /><br />\n\n\n", "code": name,
                "title": title(status)}  # fmt: skip
        return status, body, {}
    # Without Accept Glance sends plain text, of which openstacksdk shows nothing; HTML it shows.
    if "html" in accept or "*/*" in accept or not accept.strip():
        safe = html.escape(error.message)
        page = (
            f"<html>\n <head>\n  <title>{name}</title>\n </head>\n <body>\n"
            f"  <h1>{name}</h1>\n  {safe}<br /><br />\n\n\n </body>\n</html>"
        )
        return status, page.encode(), {"Content-Type": "text/html; charset=UTF-8"}
    return (
        status,
        f"{name}\n\n{error.message}\n\n".encode(),
        {"Content-Type": "text/plain; charset=UTF-8"},
    )
