"""The proxy's way through a host's door to a guest's console.

The key came from the host itself, by way of the API: it has a secret that opens the door, and
the fingerprint of the certificate that must be behind it.
"""

from __future__ import annotations

import socket
import ssl
import threading

from minicloud.client.console import Console
from minicloud.domain.errors import Unavailable
from minicloud.kit import tls_identity, tls_pipe


def enter(console: Console) -> socket.socket:
    """A plain socket to the guest's console, as if it were here. Unavailable."""
    secret, _, fingerprint = console.key.partition(".")
    try:
        secure = tls_identity.connect(console.host, console.port, fingerprint)
        try:
            secure.sendall(f"{secret}\n".encode())
        except OSError:
            secure.close()
            raise
    except OSError as problem:
        raise Unavailable(
            service=f"The console on host {console.host}", reason=type(problem).__name__
        ) from problem
    ours, theirs = socket.socketpair()
    threading.Thread(target=_join, args=(secure, theirs), name="console", daemon=True).start()
    return ours


def _join(secure: ssl.SSLSocket, plain: socket.socket) -> None:
    with secure, plain:
        tls_pipe.join(secure, plain)
