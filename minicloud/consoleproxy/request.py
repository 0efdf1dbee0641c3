"""What a WebSocket request says: its token, and whether the page it came from is ours. Pure."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

_TOKEN = re.compile(r"^[A-Za-z0-9_-]{16,128}$")


def token_of(target: str) -> str:
    """The token in the query of ``target``, a request's path; "" where there is none.

    Either ``?token=...`` itself, or inside ``?path=...``, as some pages of noVNC pass it on.
    """
    found = _parameter(target, "token") or _parameter(_parameter(target, "path"), "token")
    return found if _TOKEN.match(found) else ""


def is_same_site(origin: str | None, host: str | None, public_url: str) -> bool:
    """Whether the page that asks was served by us: browsers say where it came from.

    ``host``: the request's Host header. Programs other than browsers send no ``origin``.
    """
    if origin is None:
        return True
    asked = _authority(origin)
    allowed = {(host or "").lower(), _authority(public_url)} - {""}
    return asked in allowed


def _authority(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _parameter(target: str, name: str) -> str:
    try:
        values = parse_qs(urlsplit(target).query, max_num_fields=20).get(name, [])
    except ValueError:
        return ""
    return values[0] if len(values) == 1 else ""
