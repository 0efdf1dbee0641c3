"""The HTTP server of a REST daemon: cheroot, one process, a pool of threads.

cheroot hands the request body to the application as it arrives (image uploads are not spooled)
and keeps connections open.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from cheroot import wsgi

from minicloud.kit.web.chunked import ChunkedBody

LOG = logging.getLogger(__name__)
_UNREAD = 1024 * 1024
_PIECE = 64 * 1024


class WebServer:
    """Serves one WSGI application. ``port`` 0 takes a free one, see ``address``."""

    def __init__(self, app: Any, *, host: str, port: int, threads: int = 10) -> None:
        self._server = wsgi.Server(
            (host, port), app, numthreads=threads, request_queue_size=128, server_name="minicloud"
        )
        self._server.max_request_header_size = 64 * 1024
        self._server.timeout = 60
        self._server.gateway = _Gateway
        setattr(self._server, "error_log", _log_error)  # noqa: B010 - it is a method to the type checker
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        return self._server.bind_addr  # type: ignore[no-any-return]  # cheroot has no types

    def serve_forever(self) -> None:
        """Serve until ``stop``."""
        self._server.prepare()
        self._server.serve()

    def start(self) -> None:
        """Serve in a thread; the socket is open when this returns."""
        self._server.prepare()
        self._thread = threading.Thread(target=self._server.serve, name="web", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.stop()


class _Gateway(wsgi.Gateway_10):
    """One request's way into the application, with a body that cannot fill the memory.

    What the application leaves unread, cheroot would read in one piece, or take a chunked body's
    rest for the next request. Here a little is read and forgotten, so that a client that is still
    sending sees its answer; with more to come the connection ends instead.
    """

    def __init__(self, req: Any) -> None:
        if req.chunked_read:
            req.rfile = ChunkedBody(req.conn.rfile)
        super().__init__(req)

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        if not _read_to_end(self.req.rfile):
            self.req.close_connection = True
        return super().start_response(status, headers, exc_info)


def _read_to_end(body: Any) -> bool:
    """Whether nothing of the request is left, after reading a bounded rest of it."""
    try:
        left = _UNREAD
        while left > 0 and (piece := body.read(_PIECE)):
            left -= len(piece)
    except (OSError, ValueError):  # the client went away, or never spoke HTTP
        return False
    return bool(body.ended if isinstance(body, ChunkedBody) else body.remaining == 0)


def _log_error(msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
    LOG.log(logging.DEBUG if level < logging.ERROR else level, "%s", msg, exc_info=traceback)
