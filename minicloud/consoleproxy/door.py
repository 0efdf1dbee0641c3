"""The proxy's way through a host's door to a guest's console.

The key came from the host itself, by way of the API: it has a secret that opens the door, and
the fingerprint of the certificate that must be behind it.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
import threading

from minicloud.client.console import Console
from minicloud.domain.errors import Unavailable
from minicloud.kit import tls_pipe

_CONNECT_S = 5.0


def enter(console: Console) -> socket.socket:
    """A plain socket to the guest's console, as if it were here. Unavailable."""
    secret, _, fingerprint = console.key.partition(".")
    try:
        secure = _connect(console, fingerprint)
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


def _connect(console: Console, fingerprint: str) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # No authority vouches for a host: its fingerprint does, and it is compared below.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    raw = socket.create_connection((console.host, console.port), _CONNECT_S)
    try:
        secure = context.wrap_socket(raw)
    except OSError:
        raw.close()
        raise
    shown = hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()
    if not hmac.compare_digest(shown, fingerprint):
        secure.close()
        raise ConnectionRefusedError("another certificate than the host's own")
    return secure


def _join(secure: ssl.SSLSocket, plain: socket.socket) -> None:
    with secure, plain:
        tls_pipe.join(secure, plain)
