"""The console proxy's server: pages by HTTP, consoles by WebSocket.

A console's token opens one connection: the API has the guest's host open a door to the console,
says where that is, and forgets the token. Tokens are never logged, and neither are paths, which
have them.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import WebSocketException
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from minicloud.client.console import Console, ConsoleClient
from minicloud.consoleproxy.door import enter
from minicloud.consoleproxy.pages import page
from minicloud.consoleproxy.relay import relay
from minicloud.consoleproxy.request import is_same_site, token_of
from minicloud.domain.errors import MinicloudError, NotFound

LOG = logging.getLogger(__name__)
_LIBRARY_LOG = logging.getLogger(f"{__name__}.websockets")
_LIBRARY_LOG.setLevel(logging.WARNING)  # below, it writes requests down, and those have tokens
_BINARY = Subprotocol("binary")
_OPEN_S, _CLOSE_S = 5.0, 2.0
_LARGEST_MESSAGE = 1 << 20
"""Bytes; what is pasted into a guest comes in one message."""


class ConsoleProxy:
    """``public_url``: the URL browsers use, where it is not that of this server.

    ``connections`` are served at the same time, a further one is closed at once. ``port`` 0 takes
    a free one.
    """

    def __init__(
        self,
        consoles: ConsoleClient,
        *,
        listen: str,
        port: int,
        novnc_dir: Path,
        public_url: str = "",
        connections: int = 100,
        idle_s: float = 3600.0,
    ) -> None:
        self._consoles = consoles
        self._listen = (listen, port)
        self._novnc_dir = novnc_dir
        self._public_url = public_url
        self._slots = threading.BoundedSemaphore(connections)
        self._idle_s = idle_s
        self._server: Server | None = None

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        assert self._server is not None
        return int(self._server.socket.getsockname()[1])

    def start(self) -> None:
        """Serve in threads; the socket is open when this returns. OSError."""
        listen, port = self._listen
        self._server = serve(
            self._console,
            listen,
            port,
            family=socket.AF_INET6 if ":" in listen else socket.AF_INET,
            select_subprotocol=_subprotocol,
            compression=None,
            process_request=self._answer,
            server_header="minicloud",
            open_timeout=_OPEN_S,
            close_timeout=_CLOSE_S,
            max_size=_LARGEST_MESSAGE,
            logger=_LIBRARY_LOG,
        )
        self._bound_threads(self._server)
        threading.Thread(target=self._server.serve_forever, name="web", daemon=True).start()

    def stop(self) -> None:
        """End every console and serve no more."""
        if self._server is not None:
            self._server.shutdown()

    def _bound_threads(self, server: Server) -> None:
        serve_one = server.handler

        def bounded(client: socket.socket, address: Any) -> None:
            free = self._slots.acquire(blocking=False)
            if not free:
                LOG.warning("All connections are taken; one more is closed")
                client.close()  # which the library finds at once, and ends its thread
            try:
                serve_one(client, address)
            finally:
                if free:
                    self._slots.release()

        server.handler = bounded

    # -- HTTP ------------------------------------------------------------------------------------
    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """A page, a refusal, or None: open the WebSocket."""
        if "Upgrade" not in request.headers:
            found = page(self._novnc_dir, request.path)
            return _response(found.status, found.content_type, found.body)
        origins = request.headers.get_all("Origin")
        hosts = request.headers.get_all("Host")
        same = len(origins) <= 1 and len(hosts) == 1
        if same and is_same_site(next(iter(origins), None), hosts[0], self._public_url):
            return None
        return connection.respond(403, "The page that asks is not this console's.\n")

    # -- WebSocket -------------------------------------------------------------------------------
    def _console(self, browser: ServerConnection) -> None:
        assert browser.request is not None
        try:
            console, guest = self._guest_of(token_of(browser.request.path))
        except MinicloudError as problem:
            LOG.info("A console is refused: %s", problem.message)
            refused = isinstance(problem, NotFound)
            code = CloseCode.POLICY_VIOLATION if refused else CloseCode.INTERNAL_ERROR
            browser.close(code, _short(problem.message))
            return
        LOG.info("A console of server %s is open", console.server_id)
        with guest, suppress(OSError, WebSocketException):
            relay(browser, guest, idle_s=self._idle_s)
        LOG.info("A console of server %s is closed", console.server_id)

    def _guest_of(self, token: str) -> tuple[Console, socket.socket]:
        """What ``token`` opens, with a connection to it. NotFound, Unavailable and others."""
        if not token:
            raise NotFound(kind="The console", id="of this token")
        console = self._consoles.console_open(token)
        return console, enter(console)


def _subprotocol(
    _connection: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """Older noVNC insists on the word, newer offers none."""
    return _BINARY if _BINARY in offered else None


def _response(status: HTTPStatus, content_type: str, body: bytes) -> Response:
    headers = Headers(
        {
            "Date": formatdate(usegmt=True),
            "Connection": "close",
            "Content-Length": str(len(body)),
            "Content-Type": content_type,
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            # A page's own address has the token.
            "Referrer-Policy": "no-referrer",
        }
    )
    return Response(int(status), status.phrase, headers, body)


def _short(reason: str) -> str:
    """``reason`` within the 123 bytes that a close frame has for it."""
    return reason.encode()[:123].decode(errors="ignore")
