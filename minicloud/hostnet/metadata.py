"""The metadata service's doors on the networks: tells the guests apart and passes them on.

One per process. A door is a listening socket made inside a namespace, on one network: so the
network is known by the socket and the guest by its address, which the port's rules vouch for.
What a guest says of itself is not passed on. Holds no metadata.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import logging
import re
import socket
import threading
import time
from collections.abc import Mapping
from email.message import Message
from io import BytesIO
from urllib.parse import urlsplit

import msgspec

LOG = logging.getLogger(__name__)

_REQUEST_BYTES = 16 * 1024
_UPSTREAM_SECONDS = 15.0
_REPLY_BYTES = 4 * 1024 * 1024
_METHODS = ("GET", "HEAD", "POST")
_AT_ONCE = 4
"""Requests that one network can have under way: a guest can starve its own network only."""

_PATH = re.compile(r"/[\x21-\x7e]*")
_PASSED_ON = ("Accept", "User-Agent")
_PASSED_BACK = ("Content-Type", "ETag", "Last-Modified", "Cache-Control")


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    server_id: str
    project_id: str = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class BadRequest(Exception):
    """The guest's request is not one; ``status`` is the answer to it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Request(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    path: str
    headers: Mapping[str, str] = {}
    """Only those that are passed on."""
    length: int = 0
    """Bytes of the body."""
    body: bytes = b""


class MetadataProxy:
    """``upstream``: URL of the compute API's metadata service. ``secret``: shared with it.

    ``patience``: seconds that a guest may take for its request.
    """

    def __init__(self, *, upstream: str, secret: str, patience: float = 5.0) -> None:
        self._patience = patience
        self._upstream = urlsplit(upstream)
        self._secret = secret.encode()
        self._lock = threading.Lock()
        self._listeners: dict[str, socket.socket] = {}
        self._guests: dict[str, tuple[str, Mapping[str, Guest]]] = {}

    def publish(self, door: str, network_id: str, guests: Mapping[str, Guest]) -> None:
        """Say who of a network has which address at a door; replaces what was said before."""
        with self._lock:
            self._guests[door] = (network_id, dict(guests))

    def listen(self, door: str, listener: socket.socket) -> None:
        """Serve a door on ``listener``, which becomes the proxy's, in place of any other."""
        with self._lock:
            old = self._listeners.pop(door, None)
            self._listeners[door] = listener
        _end(old)
        threading.Thread(
            target=self._accept,
            args=(door, listener),
            name=f"metadata-{door[:8]}",
            daemon=True,
        ).start()

    def forget(self, door: str) -> None:
        """Stop serving a door. Unknown ones are fine."""
        with self._lock:
            self._guests.pop(door, None)
            old = self._listeners.pop(door, None)
        _end(old)

    def close(self) -> None:
        for door in list(self._listeners):
            self.forget(door)

    def answer(self, door: str, address: str, request: Request) -> Reply:
        """What the guest with ``address`` at a door gets for a request."""
        if request.method not in _METHODS:
            return Reply(status=405, headers={"Allow": ", ".join(_METHODS)})
        with self._lock:
            network_id, guests = self._guests.get(door, ("", {}))
        guest = guests.get(address)
        if guest is None:
            return Reply(status=404)
        identity = self._identity(guest, network_id, address)
        headers = {**request.headers, **identity, "X-Forwarded-For": address}
        try:
            return self._ask(request, headers)
        except (OSError, http.client.HTTPException) as problem:
            LOG.warning("The metadata service does not answer: %s", type(problem).__name__)
            return Reply(status=503, headers={"Retry-After": "2"})

    def _identity(self, guest: Guest, network_id: str, address: str) -> dict[str, str]:
        """Who asks, as OpenStack signs it, and where from, signed along with it."""
        where = f"{guest.server_id}\n{network_id}\n{address}"
        return {
            "X-Instance-ID": guest.server_id,
            "X-Tenant-ID": guest.project_id,
            "X-Instance-ID-Signature": self._signed(guest.server_id),
            "X-Minicloud-Network-ID": network_id,
            "X-Minicloud-Place-Signature": self._signed(where),
        }

    def _signed(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def _ask(self, request: Request, headers: Mapping[str, str]) -> Reply:
        secure = self._upstream.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        host = self._upstream.hostname or "127.0.0.1"
        connection = kind(host, self._upstream.port, timeout=_UPSTREAM_SECONDS)
        with contextlib.closing(connection):
            path = self._upstream.path.rstrip("/") + request.path
            body = request.body if request.method == "POST" else None
            connection.request(request.method, path, body, dict(headers))
            response = connection.getresponse()
            answer = response.read(_REPLY_BYTES + 1)
        if len(answer) > _REPLY_BYTES:
            return Reply(status=502)
        kept = {name: response.headers[name] for name in _PASSED_BACK if name in response.headers}
        return Reply(status=response.status, headers=kept, body=answer)

    def _accept(self, door: str, listener: socket.socket) -> None:
        """Take connections until the listener is closed; more than a few wait in the kernel."""
        places = threading.BoundedSemaphore(_AT_ONCE)
        while True:
            places.acquire()
            try:
                connection, (address, *_) = listener.accept()
                address = address.partition("%")[0]  # a link-local one bears its device
            except ConnectionAbortedError:
                places.release()
                continue
            except OSError:  # closed by forget() or listen()
                return
            threading.Thread(
                target=self._serve, args=(door, address, connection, places), daemon=True
            ).start()

    def _serve(
        self,
        door: str,
        address: str,
        connection: socket.socket,
        places: threading.BoundedSemaphore,
    ) -> None:
        try:
            with connection:
                try:
                    request = read_request(connection, self._patience)
                    reply = self.answer(door, address, request)
                    with_body = request.method != "HEAD"
                except BadRequest as problem:
                    reply, with_body = Reply(status=problem.status), True
                connection.settimeout(self._patience)
                connection.sendall(render(reply, with_body=with_body))
        except OSError:
            LOG.debug("A guest at %s went away", address)
        finally:
            places.release()


def read_request(connection: socket.socket, patience: float) -> Request:
    """A request, with its body. Raises BadRequest if it is none, too long or too slow."""
    deadline = time.monotonic() + patience
    read = b""
    while b"\r\n\r\n" not in read:
        if len(read) > _REQUEST_BYTES:
            raise BadRequest(431)
        read += _receive(connection, deadline)
    head, end, body = read.partition(b"\r\n\r\n")
    request = parse_request(head + end)
    while len(body) < request.length:
        body += _receive(connection, deadline)
    return msgspec.structs.replace(request, body=body[: request.length])


def _receive(connection: socket.socket, deadline: float) -> bytes:
    """The next bytes, at least one. ``deadline``: of the monotonic clock."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise BadRequest(408)
    connection.settimeout(left)
    try:
        piece = connection.recv(4096)
    except TimeoutError as problem:
        raise BadRequest(408) from problem
    if not piece:
        raise BadRequest(400)
    return piece


def parse_request(head: bytes) -> Request:
    """A request without what the guest must not say itself. Raises BadRequest."""
    line, _, rest = head.partition(b"\r\n")
    words = line.decode("latin-1").split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
        raise BadRequest(400)
    if not _PATH.fullmatch(words[1]):
        raise BadRequest(400)
    try:
        headers: Message = http.client.parse_headers(BytesIO(rest))
    except http.client.HTTPException as problem:
        raise BadRequest(431) from problem
    passed_on = {name: str(headers[name]) for name in _PASSED_ON if name in headers}
    length = _length(headers) if words[0] == "POST" else 0
    return Request(method=words[0], path=words[1], headers=passed_on, length=length)


def _length(headers: Message) -> int:
    """Bytes of a POST's body, which has to say so."""
    length = str(headers.get("Content-Length", ""))
    if not length or "Transfer-Encoding" in headers:
        raise BadRequest(411)
    if not (length.isascii() and length.isdigit()):
        raise BadRequest(400)
    if len(length) > len(str(_REQUEST_BYTES)) or int(length) > _REQUEST_BYTES:
        raise BadRequest(413)
    return int(length)


def render(reply: Reply, *, with_body: bool) -> bytes:
    """A reply as bytes. Every connection is for one request."""
    reason = http.client.responses.get(reply.status, "")
    body = reply.body or (f"{reply.status} {reason}\n".encode() if reply.status >= 400 else b"")
    head = [f"HTTP/1.1 {reply.status} {reason}"]
    head += [f"{name}: {value}" for name, value in reply.headers.items()]
    head += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(head).encode("latin-1") + (body if with_body else b"")


def _end(listener: socket.socket | None) -> None:
    if listener is None:
        return
    # Closing alone would leave a thread that is in accept() there for ever.
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
