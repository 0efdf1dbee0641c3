"""Access rules: tokens that are good for some requests only, wherever they are shown."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection

from minicloud.domain.errors import Unauthenticated
from minicloud.kit.context import Context

_MOST_OPEN = 4
"""Of ``**`` in a path: each more makes a long path that does not fit take longer to refuse."""
_PART = re.compile(r"\{[^}]*\}|\*\*|\*|[^{*]+|\{")


def check(ctx: Context, types: Collection[str], method: str, path: str) -> None:
    """Unauthenticated where the caller's token is not good for this request.

    ``types``: what the catalog calls the service that is asked. A service that passes a user's
    request on is let through: the rules were for what the user asks.
    """
    if ctx.access_rules is None or "service" in ctx.service_roles:
        return
    if "identity" in types and method == "GET" and path == "/v3/auth/tokens":
        return  # any token may be validated
    for rule in ctx.access_rules:
        if rule.service in types and rule.method == method and _pattern(rule.path).match(path):
            return
    raise Unauthenticated()


@functools.lru_cache(maxsize=1024)
def _pattern(path: str) -> re.Pattern[str]:
    if path.count("**") > _MOST_OPEN:
        return re.compile(r"(?!)")
    pieces = []
    for part in _PART.findall(path):
        if part == "**":
            pieces.append(".*")
        elif part == "*" or (part.startswith("{") and part.endswith("}")):
            pieces.append("[^/]+")
        else:
            pieces.append(re.escape(part))
    return re.compile(rf"\A{''.join(pieces)}\Z")
