"""Doors to guests' consoles: each lets one peer in, once, who has its key.

The console proxy may be on another host, so a door is a TLS port on the address that the hosts
have among themselves. Its certificate is this process's own, made when it is first needed; the
key names it by its fingerprint, so the peer knows whom it reached without anybody's authority.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from minicloud.domain.errors import Conflict
from minicloud.domain.models import ConsoleDoor
from minicloud.kit import tls_pipe

LOG = logging.getLogger(__name__)

_OPEN_S = 30.0
"""How long a door waits for its peer."""
_SPEAK_S = 5.0
"""How long whoever knocks may take to show the key."""
_STALLED_MS = 30_000
"""After this long without taking a byte, the peer counts as gone."""
_MOST_DOORS = 64
_SECRET_BYTES = 24
_VALID = timedelta(days=3650)

OpenConsole = Callable[[str, str], "socket.socket | None"]
"""(server id, kind) -> a connection to the guest's console, or None where it has none now."""


class _Identity(NamedTuple):
    context: ssl.SSLContext
    fingerprint: str


class ConsoleDoors:
    """``address``: this host's among the hosts."""

    def __init__(self, open_console: OpenConsole, *, address: str) -> None:
        self._open_console = open_console
        self._address = address
        self._free = threading.BoundedSemaphore(_MOST_DOORS)
        self._lock = threading.Lock()
        self._identity: _Identity | None = None

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
            family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
            listener = undo.enter_context(
                socket.create_server((self._address, 0), family=family, backlog=4)
            )
            secret = secrets.token_urlsafe(_SECRET_BYTES)
            port = listener.getsockname()[1]
            door = _Door(listener, guest, identity.context, secret, undo.pop_all())
        threading.Thread(target=door.serve, name="console", daemon=True).start()
        return ConsoleDoor(address=self._address, port=port, key=f"{secret}.{identity.fingerprint}")

    def _own_identity(self) -> _Identity:
        with self._lock:
            if self._identity is None:
                self._identity = _new_identity()
            return self._identity


class _Door:
    """One listener and the guest behind it; ``end`` gives back all that the door holds."""

    def __init__(
        self,
        listener: socket.socket,
        guest: socket.socket,
        context: ssl.SSLContext,
        secret: str,
        end: ExitStack,
    ) -> None:
        self._listener, self._guest, self._context = listener, guest, context
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
            raw.settimeout(_SPEAK_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            try:
                peer = self._context.wrap_socket(raw, server_side=True)
            except OSError:
                raw.close()
                continue
            with suppress(OSError):
                if hmac.compare_digest(_line(peer), self._secret.encode()):
                    return peer
            peer.close()
        LOG.info("Nobody came for a console")
        return None


def _line(peer: ssl.SSLSocket) -> bytes:
    """What the peer says up to the end of the line; no byte more is taken."""
    said = b""
    while not said.endswith(b"\n") and len(said) < 128:
        piece = peer.recv(1)
        if not piece:
            break
        said += piece
    return said.removesuffix(b"\n")


def _new_identity() -> _Identity:
    # Loaded by the first console: most hosts never need them.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "minicloud console")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.NamedTemporaryFile(prefix="minicloud-console-") as file:  # only ours to read
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
        file.flush()
        context.load_cert_chain(file.name)
    der = certificate.public_bytes(serialization.Encoding.DER)
    return _Identity(context, hashlib.sha256(der).hexdigest())
