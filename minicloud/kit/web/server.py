"""The HTTP server of a REST daemon: cheroot, one process, a pool of threads.

cheroot hands the request body to the application as it arrives (image uploads are not spooled)
and keeps connections open.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from cheroot import wsgi

LOG = logging.getLogger(__name__)


class WebServer:
    """Serves one WSGI application. ``port`` 0 takes a free one, see ``address``."""

    def __init__(self, app: Any, *, host: str, port: int, threads: int = 10) -> None:
        self._server = wsgi.Server(
            (host, port), app, numthreads=threads, request_queue_size=128, server_name="minicloud"
        )
        self._server.max_request_header_size = 64 * 1024
        self._server.timeout = 60
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


def _log_error(msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
    LOG.log(logging.DEBUG if level < logging.ERROR else level, "%s", msg, exc_info=traceback)
