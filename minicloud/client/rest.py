"""One HTTP conversation with one service: headers, time limits, errors as classes.

Every method raises ``domain.errors``: a status the service answered becomes NotFound, Conflict,
Invalid and so on with the service's own words; no answer becomes Unavailable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import IO, Any, Generic, TypeVar

import requests
from requests.adapters import HTTPAdapter

from minicloud.domain import errors

Json = Any
T = TypeVar("T")
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
        session: requests.Session | None = None,
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
        response = self._send(method, path, json=body, params=query or None, headers=headers)
        with response:
            try:
                decoded = response.json() if response.content else None
            except ValueError:
                decoded = None
            return Answer(response.status_code, decoded, response.headers)

    def upload(self, path: str, data: IO[bytes], *, timeout_s: float | None = None) -> Answer:
        """PUT a file's bytes as they are read; ``timeout_s`` is for the answer behind them."""
        headers = {"Content-Type": "application/octet-stream"}
        more = {} if timeout_s is None else {"timeout": timeout_s}
        with self._send("PUT", path, data=data, headers=headers, **more) as response:
            return Answer(response.status_code, None, response.headers)

    def stream(self, path: str) -> requests.Response:
        """A GET whose body is read by the caller with ``iter_content``; close it."""
        return self._send("GET", path, stream=True)

    def timed(self, answer: Answer, value: T) -> Timed[T]:
        """``value``, made of ``answer``, with the callee's times."""
        return Timed(value, answer.timing_ms("token"), answer.timing_ms("total"))

    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        extra = arguments.pop("headers", None) or {}
        headers = {"Accept": "application/json", **self._headers(), **extra}
        url = self._endpoint().rstrip("/") + path
        response = self._answer(method, url, headers=headers, **arguments)
        if response.status_code >= 400:
            with response:
                raise self._error(response, path)
        return response

    def _answer(self, method: str, url: str, **arguments: Any) -> requests.Response:
        tries = 2 if method in ("GET", "DELETE") else 1
        while True:
            tries -= 1
            try:
                return self._session.request(
                    method, url, **{"timeout": self._timeout_s, **arguments}
                )
            except requests.RequestException as problem:
                # An idle connection may have been closed just when it was used again.
                broken = isinstance(problem, requests.ConnectionError)
                if broken and tries and not isinstance(problem, requests.Timeout):
                    continue
                raise errors.Unavailable(
                    service=self.service, reason=type(problem).__name__
                ) from problem

    def _error(self, response: requests.Response, path: str) -> errors.MinicloudError:
        reason = message_of(response)
        status = response.status_code
        if status == 401:
            return errors.Unauthenticated()
        if status == 404:
            return errors.NotFound(kind=self.service.capitalize() + " resource", id=path)
        if status in _BY_STATUS:
            return _BY_STATUS[status](reason=reason, **_type_of(response))
        if status in (429, 502, 503, 504):
            return errors.Unavailable(service=self.service, reason=reason)
        return errors.Remote(service=self.service, status=status, reason=reason)


def message_of(response: requests.Response) -> str:
    """The service's own sentence, whichever dialect it speaks; at most 400 characters."""
    try:
        body = response.json()
    except ValueError:
        return response.reason or str(response.status_code)
    if isinstance(body, dict):
        for value in (body, *body.values()):
            if isinstance(value, dict) and isinstance(value.get("message"), str):
                return str(value["message"]).replace("<br />", "").strip()[:400]
    return response.reason or str(response.status_code)


def _type_of(response: requests.Response) -> dict[str, str]:
    """The fact ``type`` where the service names the kind of its error, as Neutron does."""
    try:
        return {"type": str(response.json()["NeutronError"]["type"])}
    except (ValueError, KeyError, TypeError):
        return {}


def new_session() -> requests.Session:
    """A session that keeps connections open for many threads and ignores proxies and .netrc."""
    session = requests.Session()
    session.trust_env = False
    adapter = HTTPAdapter(pool_connections=8, pool_maxsize=32)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session
