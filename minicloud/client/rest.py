"""One HTTP conversation with one service: headers, time limits, errors as classes.

Every method raises ``domain.errors``: a status the service answered becomes NotFound, Conflict,
Invalid and so on with the service's own words; no answer becomes Unavailable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, TimeoutError

from minicloud.domain import errors

Json = Any
T = TypeVar("T")
_REDIRECTIONS = 5
_BY_STATUS: Mapping[int, type[errors.MinicloudError]] = {
    400: errors.Invalid,
    403: errors.NotAllowed,
    409: errors.Conflict,
    413: errors.NotAllowed,
    415: errors.Invalid,
    501: errors.NotImplementedHere,
}


class Answer:
    """A reply: decoded JSON (None where there is none), headers, status."""

    __slots__ = ("headers", "json", "status")

    def __init__(self, status: int, json: Json, headers: Mapping[str, str]) -> None:
        self.status, self.json, self.headers = status, json, headers

    def timing_ms(self, name: str) -> float | None:
        """Milliseconds that the callee's Server-Timing gives for ``name``."""
        for part in self.headers.get("Server-Timing", "").split(","):
            label, _, value = part.strip().partition(";dur=")
            if label == name and value:
                return float(value)
        return None


class Timed(Generic[T]):
    """What a call gave, and what the callee's Server-Timing says of its own time, for the trace."""

    __slots__ = ("token_ms", "total_ms", "value")

    def __init__(self, value: T, token_ms: float | None, total_ms: float | None) -> None:
        self.value = value
        self.token_ms = token_ms
        """Milliseconds it took to validate our token; None where it does not say."""
        self.total_ms = total_ms
        """Milliseconds it took in all, up to the first byte of the answer."""


class RestClient:
    """Calls to one endpoint. ``headers`` is asked for each request (tokens change)."""

    def __init__(
        self,
        service: str,
        endpoint: Callable[[], str],
        headers: Callable[[], Mapping[str, str]],
        *,
        session: urllib3.PoolManager | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self.service = service
        self._endpoint = endpoint
        self._headers = headers
        self._session = session or new_session()
        self._timeout_s = timeout_s

    def below(self, change: Callable[[str], str]) -> RestClient:
        """The same conversation at the URL that ``change`` makes of this one's."""
        return RestClient(
            self.service,
            lambda: change(self._endpoint()),
            self._headers,
            session=self._session,
            timeout_s=self._timeout_s,
        )

    def get(self, path: str, **query: Any) -> Answer:
        return self.request("GET", path, query=query)

    def post(self, path: str, body: Json = None) -> Answer:
        return self.request("POST", path, body=body)

    def put(self, path: str, body: Json = None) -> Answer:
        return self.request("PUT", path, body=body)

    def delete(self, path: str) -> Answer:
        return self.request("DELETE", path)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Json = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. GET and DELETE are tried again once when the connection breaks."""
        if query:
            path += "?" + urlencode(list(_pairs(query)))
        extra, data = dict(headers or {}), None
        if body is not None:
            data = msgspec.json.encode(body)
            extra.setdefault("Content-Type", "application/json")
        response = self._send(method, path, data=data, headers=extra)
        return Answer(response.status, _decoded(response.data), response.headers)

    def upload(self, path: str, data: IO[bytes], *, timeout_s: float | None = None) -> Answer:
        """PUT a file's bytes as they are read; ``timeout_s`` is for the answer behind them."""
        here = data.tell()
        size = data.seek(0, os.SEEK_END) - here
        data.seek(here)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        response = self._send("PUT", path, data=data, headers=headers, timeout_s=timeout_s)
        return Answer(response.status, None, response.headers)

    def stream(self, path: str) -> urllib3.BaseHTTPResponse:
        """A GET whose body is read by the caller with ``stream``; close it."""
        return self._send("GET", path, whole=False)

    def timed(self, answer: Answer, value: T) -> Timed[T]:
        """``value``, made of ``answer``, with the callee's times."""
        return Timed(value, answer.timing_ms("token"), answer.timing_ms("total"))

    def _send(
        self,
        method: str,
        path: str,
        *,
        data: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        whole: bool = True,
    ) -> urllib3.BaseHTTPResponse:
        """The answer; an error of it is raised. ``whole``: its body has been read, too."""
        said = {"Accept": "application/json", **self._headers(), **(headers or {})}
        url = self._endpoint().rstrip("/") + path
        tries = 2 if method in ("GET", "DELETE") else 1
        while True:
            tries -= 1
            try:
                response = self._session.request(
                    method,
                    url,
                    body=data,
                    headers=said,
                    timeout=self._timeout_s if timeout_s is None else timeout_s,
                    preload_content=whole,
                )
                if response.status >= 400:
                    raise self._error(response, path.partition("?")[0])
                return response
            except HTTPError as problem:
                # An idle connection may have been closed just when it was used again.
                if tries and not isinstance(problem, TimeoutError):
                    continue
                raise errors.Unavailable(
                    service=self.service, reason=type(problem).__name__
                ) from problem

    def _error(self, response: urllib3.BaseHTTPResponse, path: str) -> errors.MinicloudError:
        body = _decoded(response.data)
        status = response.status
        reason = message_of(body) or response.reason or str(status)
        if status == 401:
            return errors.Unauthenticated()
        if status == 404:
            return errors.NotFound(kind=self.service.capitalize() + " resource", id=path)
        if status in _BY_STATUS:
            return _BY_STATUS[status](reason=reason, **_type_of(body))
        if status in (429, 502, 503, 504):
            return errors.Unavailable(service=self.service, reason=reason)
        return errors.Remote(service=self.service, status=status, reason=reason)


def message_of(body: Json) -> str:
    """The service's own sentence, whichever dialect it speaks; at most 400 characters. Empty where
    there is none.
    """
    if isinstance(body, dict):
        for value in (body, *body.values()):
            if isinstance(value, dict) and isinstance(value.get("message"), str):
                return str(value["message"]).replace("<br />", "").strip()[:400]
    return ""


def _type_of(body: Json) -> dict[str, str]:
    """The fact ``type`` where the service names the kind of its error, as Neutron does."""
    try:
        return {"type": str(body["NeutronError"]["type"])}
    except (KeyError, TypeError):
        return {}


def _decoded(data: bytes) -> Json:
    """JSON, or None where it is none."""
    try:
        return msgspec.json.decode(data) if data else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _pairs(query: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """A pair for each value; none for None."""
    for name, value in query.items():
        for each in value if isinstance(value, (list, tuple, set, frozenset)) else [value]:
            if each is not None:
                yield name, each


def new_session() -> urllib3.PoolManager:
    """Connections that are kept open, for many threads; proxies and .netrc are ignored.

    A redirection is followed, but without the token where it leads to another host.
    """
    tokens = ("X-Auth-Token", "X-Subject-Token", "X-Service-Token")
    redirected = urllib3.Retry(
        total=_REDIRECTIONS,
        connect=False,
        read=False,
        other=False,
        respect_retry_after_header=False,
        remove_headers_on_redirect=[*urllib3.Retry.DEFAULT_REMOVE_HEADERS_ON_REDIRECT, *tokens],
    )
    return urllib3.PoolManager(num_pools=8, maxsize=32, retries=redirected)
