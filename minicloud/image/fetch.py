"""Getting bytes from a URL that a user named, without reaching what the user could not reach.

A name is resolved once, every address it has is checked, and the connection goes to an address
that was checked: a name server that answers differently the next time changes nothing. Redirects
are followed one by one under the same rules. Loopback, link-local, private and other special
addresses are refused unless an operator lists their network.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

import msgspec

from minicloud.domain.errors import Invalid, Unavailable

if TYPE_CHECKING:
    import urllib3

LOG = logging.getLogger(__name__)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_PIECE = 256 * 1024
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
LONGEST_URL = 2048


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What may be fetched."""

    schemes: Sequence[str] = ("http", "https")
    ports: Sequence[int] = (80, 443)
    networks: Sequence[Network] = ()
    """Special networks that may be reached all the same."""
    timeout_s: float = 30.0
    """Seconds without a byte."""


class Fetched:
    """An answer whose body has not been read yet. Close it."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, close: Callable[[], None]):
        self.length = _length(response.headers.get("Content-Length"))
        """Bytes that are to come, where the server says so."""
        self.status = response.status
        self._response = response
        self._url = url
        self._close = close

    def read(self, size: int, /) -> bytes:
        """The next bytes, empty at the end. Unavailable when the transfer breaks."""
        from urllib3.exceptions import HTTPError

        try:
            return self._response.read(size, decode_content=False)
        except (HTTPError, OSError) as problem:
            raise _away(self._url, type(problem).__name__) from problem

    def close(self) -> None:
        self._response.close()
        self._close()


class Fetcher:
    def __init__(
        self, rules: Rules, *, resolve: Callable[[str, int], Sequence[str]] | None = None
    ) -> None:
        self._rules = rules
        self._resolve = resolve or _resolve

    def check(self, url: str) -> SplitResult:
        """Whether ``url`` is one that may be fetched, as far as its words tell. Invalid."""
        if len(url) > LONGEST_URL or not url.isascii() or any(c <= " " for c in url):
            raise Invalid(reason=f"A URL has at most {LONGEST_URL} ASCII characters and no blanks.")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise Invalid(reason="The URL is malformed.") from None
        if parts.scheme not in self._rules.schemes:
            raise Invalid(reason=f"Only {' and '.join(self._rules.schemes)} URLs can be fetched.")
        if not parts.hostname or parts.username is not None or parts.password is not None:
            raise Invalid(reason="The URL must name a host, and no user.")
        if (port or _PORTS[parts.scheme]) not in self._rules.ports:
            raise Invalid(
                reason="The URL's port is not one of those allowed: "
                f"{', '.join(map(str, self._rules.ports))}."
            )
        with contextlib.suppress(ValueError):  # most hosts are names, which a look-up tells
            self._require_reachable(parts.hostname, parts.hostname)
        return parts

    def open(self, url: str, *, start: int = 0) -> Fetched:
        """The answer to a GET of ``url`` from byte ``start``. Invalid, Unavailable."""
        for _ in range(_MOST_REDIRECTS + 1):
            answer, target = self._get(url, start)
            if target is None:
                return answer
            answer.close()
            url = urljoin(url, target)
        raise Invalid(reason=f"The URL redirects more than {_MOST_REDIRECTS} times.")

    def pieces(self, url: str, start: int, length: int) -> Iterator[bytes]:
        """``length`` bytes of ``url`` from ``start``; EOFError when there are fewer."""
        return _pieces(self.open(url, start=start), start, length)

    def _get(self, url: str, start: int) -> tuple[Fetched, str | None]:
        """An answer, and the URL to which it redirects, if it does."""
        from urllib3.exceptions import HTTPError

        parts = self.check(url)
        pool = self._pool(parts)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Host": parts.netloc, "Accept-Encoding": "identity", "User-Agent": "minicloud"}
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            response = pool.urlopen(
                "GET", path, headers=headers, redirect=False, retries=False,
                preload_content=False, decode_content=False,
            )  # fmt: skip
        except (HTTPError, OSError) as problem:
            pool.close()
            raise _away(url, type(problem).__name__) from problem
        answer = Fetched(response, url, pool.close)
        if response.status in _REDIRECTS:
            return answer, response.headers.get("Location") or ""
        if response.status not in (200, 206) or response.headers.get("Content-Encoding"):
            answer.close()
            raise _away(url, f"it answers {response.status}, and no plain bytes")
        return answer, None

    def _pool(self, parts: SplitResult) -> urllib3.HTTPConnectionPool:
        """Connections to an address of the URL's host that was checked."""
        import urllib3

        host = parts.hostname or ""
        port = parts.port or _PORTS[parts.scheme]
        address = self._address(host, port)
        limits = urllib3.Timeout(connect=10.0, read=self._rules.timeout_s)
        if parts.scheme == "http":
            return urllib3.HTTPConnectionPool(address, port, timeout=limits)
        import certifi

        return urllib3.HTTPSConnectionPool(
            address, port, timeout=limits, server_hostname=host, assert_hostname=host,
            cert_reqs="CERT_REQUIRED", ca_certs=certifi.where(),
        )  # fmt: skip

    def _address(self, host: str, port: int) -> str:
        """One of the host's addresses, all of which are allowed. Invalid."""
        try:
            found = self._resolve(host, port)
        except OSError:
            raise Unavailable(service="The URL's host", reason="its name has no address") from None
        for text in found:
            self._require_reachable(host, text)
        return found[0]

    def _require_reachable(self, host: str, address: str) -> None:
        """Invalid for an address that must not be reached; ValueError for what is none."""
        if not self._may_reach(ipaddress.ip_address(address.partition("%")[0])):
            LOG.warning("Refused to fetch from %s, which is at %s", host, address)
            raise Invalid(reason="The URL's host has an address that must not be reached.")

    def _may_reach(self, address: Address) -> bool:
        inner = _within(address)
        if any(candidate in net for net in self._rules.networks for candidate in (address, inner)):
            return True
        return all(one.is_global and not one.is_multicast for one in (address, inner))


def _within(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)


def _resolve(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def _pieces(answer: Fetched, start: int, length: int) -> Iterator[bytes]:
    try:
        skip = start if answer.status == 200 else 0  # a server may not know of ranges
        while length > 0:
            piece = answer.read(min(_PIECE, skip or length))
            if not piece:
                raise EOFError("The data behind an image's URL is shorter than its record says.")
            if skip:
                skip -= len(piece)
                continue
            length -= len(piece)
            yield piece
    finally:
        answer.close()


def _length(header: Any) -> int | None:
    text = str(header or "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _away(url: str, reason: str) -> Unavailable:
    return Unavailable(service=f"The host of {urlsplit(url).hostname}", reason=reason)
