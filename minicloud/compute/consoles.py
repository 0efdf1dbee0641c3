"""Doors to guests' consoles: each lets one peer in, once, who has its key.

The console proxy may be on another host, so a door is a TLS port on the address that the hosts
have among themselves. Its certificate is this process's own, made when it is first needed; the
key names it by its fingerprint, so the peer knows whom it reached without anybody's authority.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from minicloud.domain.errors import Conflict
from minicloud.domain.models import ConsoleDoor
from minicloud.kit import tls_identity, tls_pipe

LOG = logging.getLogger(__name__)

_OPEN_S = 30.0
"""How long a door waits for its peer."""
_SPEAK_S = 5.0
"""How long whoever knocks may take to show the key."""
_MOST_DOORS = 64
_SECRET_BYTES = 24

OpenConsole = Callable[[str, str], "socket.socket | None"]
"""(server id, kind) -> a connection to the guest's console, or None where it has none now."""


class ConsoleDoors:
    """``address``: this host's among the hosts."""

    def __init__(self, open_console: OpenConsole, *, address: str) -> None:
        self._open_console = open_console
        self._address = address
        self._free = threading.BoundedSemaphore(_MOST_DOORS)
        self._lock = threading.Lock()
        self._identity: tls_identity.Identity | None = None

    def open(self, server_id: str, kind: str) -> ConsoleDoor | None:
        """A door to the guest's console; None where it has none now. Conflict, HostProblem."""
        guest = self._open_console(server_id, kind)
        if guest is None:
            return None
        with ExitStack() as undo:
            undo.callback(guest.close)
            if not self._free.acquire(blocking=False):
                raise Conflict(reason=f"{_MOST_DOORS} consoles of this host are open already")
            undo.callback(self._free.release)
            identity = self._own_identity()
            listener = undo.enter_context(tls_identity.listen(self._address))
            secret = secrets.token_urlsafe(_SECRET_BYTES)
            port = listener.getsockname()[1]
            door = _Door(listener, guest, identity, secret, undo.pop_all())
        threading.Thread(target=door.serve, name="console", daemon=True).start()
        return ConsoleDoor(address=self._address, port=port, key=f"{secret}.{identity.fingerprint}")

    def _own_identity(self) -> tls_identity.Identity:
        with self._lock:
            if self._identity is None:
                self._identity = tls_identity.new_identity("minicloud console")
            return self._identity


class _Door:
    """One listener and the guest behind it; ``end`` gives back all that the door holds."""

    def __init__(
        self,
        listener: socket.socket,
        guest: socket.socket,
        identity: tls_identity.Identity,
        secret: str,
        end: ExitStack,
    ) -> None:
        self._listener, self._guest, self._identity = listener, guest, identity
        self._secret, self._end = secret, end

    def serve(self) -> None:
        with self._end:
            peer = self._admit()
            self._listener.close()
            if peer is not None:
                with peer:
                    tls_pipe.join(peer, self._guest)

    def _admit(self) -> ssl.SSLSocket | None:
        """The first who shows the key in time; others are sent away."""
        deadline = time.monotonic() + _OPEN_S
        while (left := deadline - time.monotonic()) > 0:
            self._listener.settimeout(left)
            try:
                raw, _ = self._listener.accept()
            except OSError:
                break
            try:
                peer = tls_identity.accept(raw, self._identity, _SPEAK_S)
            except OSError:
                raw.close()
                continue
            with suppress(OSError):
                if hmac.compare_digest(tls_identity.line(peer, _SPEAK_S), self._secret.encode()):
                    return peer
            peer.close()
        LOG.info("Nobody came for a console")
        return None
