"""TLS between two hosts that learn of each other by a third: no authority vouches for either.

Who listens has a certificate of its process's own; who comes was told its fingerprint, and a secret
to show, by way of the daemons that both believe.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
import tempfile
import time
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

_VALID = timedelta(days=3650)
_CONNECT_S = 5.0
_STALLED_MS = 30_000
"""After this long without taking a byte, the peer counts as gone."""


class Identity(NamedTuple):
    context: ssl.SSLContext
    """For who listens."""
    fingerprint: str


def new_identity(name: str) -> Identity:
    """``name``: what the certificate says it is for."""
    # Loaded when it is first needed: many hosts never do.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.NamedTemporaryFile(prefix="minicloud-tls-") as file:  # only ours to read
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
    return Identity(context, hashlib.sha256(der).hexdigest())


def listen(address: str) -> socket.socket:
    """On a port of the kernel's choice."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, 0), family=family, backlog=4)


def accept(raw: socket.socket, identity: Identity, speak_s: float) -> ssl.SSLSocket:
    """TLS with who has come, who has ``speak_s`` seconds for it. OSError."""
    watch(raw)
    raw.settimeout(speak_s)
    return identity.context.wrap_socket(raw, server_side=True)


def connect(host: str, port: int, fingerprint: str) -> ssl.SSLSocket:
    """OSError, also where the certificate there is another one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # No authority vouches for a host: its fingerprint does, and it is compared below.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    raw = socket.create_connection((host, port), _CONNECT_S)
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


def watch(raw: socket.socket) -> None:
    """Notice a peer that is gone without a word."""
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def line(peer: ssl.SSLSocket, speak_s: float) -> bytes:
    """What the peer says up to the end of the line; no byte more is taken. OSError, also where that
    takes longer than ``speak_s`` seconds.
    """
    said = b""
    give_up_at = time.monotonic() + speak_s
    while not said.endswith(b"\n") and len(said) < 128:
        peer.settimeout(max(give_up_at - time.monotonic(), 0.001))
        piece = peer.recv(1)
        if not piece:
            break
        said += piece
    return said.removesuffix(b"\n")
