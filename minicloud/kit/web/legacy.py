"""A path of old, served by the lowest version of today's: without version numbers in headers, and
with keys in bodies that nobody knows overlooked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.wsgi import get_current_url

OVERLOOKS = "minicloud.overlooks"
"""Key of a WSGI environment: whether unknown keys in the request's body are overlooked."""

_Headers = list[tuple[str, str]]


class LegacyPath:
    """WSGI: what is asked below ``old`` is answered by ``app`` as if it were asked below ``new``.

    ``version_headers``: what requests and replies carry a version in.
    """

    def __init__(self, app: Any, *, old: str, new: str, version_headers: Iterable[str]) -> None:
        self._app = app
        self._old, self._new = old, new
        self._headers = frozenset(name.lower() for name in version_headers)
        self._keys = {f"HTTP_{name.upper().replace('-', '_')}" for name in version_headers}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        rest = environ.get("PATH_INFO", "").removeprefix(self._old)
        if rest == environ.get("PATH_INFO") or not rest.startswith("/") or rest == "/":
            answer: Iterable[bytes] = self._app(environ, start_response)
            return answer
        asked = {key: value for key, value in environ.items() if key not in self._keys}
        asked |= {"PATH_INFO": self._new + rest, OVERLOOKS: True}
        base = get_current_url(environ, host_only=True).rstrip("/")
        answered = _Answer()
        pieces = self._app(asked, answered.start)
        try:
            body = b"".join(pieces)
        finally:
            close: Callable[[], None] = getattr(pieces, "close", lambda: None)
            close()
        old, new = f"{base}{self._old}/", f"{base}{self._new}/"
        if answered.header("content-type") == "application/json":
            body = body.replace(new.encode(), old.encode())
        headers = [
            (name, value.replace(new, old))
            for name, value in answered.headers
            if name.lower() not in (*self._headers, "vary", "content-length")
        ]
        start_response(answered.status, [*headers, ("Content-Length", str(len(body)))])
        return [body]


class _Answer:
    """The head of a reply."""

    def __init__(self) -> None:
        self.status, self.headers = "", _Headers()

    def start(self, status: str, headers: _Headers, exc_info: Any = None) -> Any:
        self.status, self.headers = status, headers
        return lambda _data: None

    def header(self, name: str) -> str:
        found: Mapping[str, str] = {key.lower(): value for key, value in self.headers}
        return found.get(name, "")
