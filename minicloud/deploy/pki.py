"""Certificates by which hosts and the volume service know each other, from an authority of ours.

Volumes go to other hosts over the network: encrypted, and only to the host that their server is on,
which its certificate names.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from minicloud.deploy import files
from minicloud.deploy.places import USER, Places

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

PEER = "CN={host}"
"""The name in a host's certificate, as the volume service is told it."""

_VALID = timedelta(days=3650)
_CA, _CERT, _KEY = "ca-cert.pem", "{}-cert.pem", "{}-key.pem"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """One party's certificate and key, with the authority's certificate. PEM."""

    authority: str
    certificate: str
    key: str


def ensure_server(places: Places, address: str) -> Path:
    """The directory with the volume service's credentials, for ``address``."""
    directory, mark = places.config / "tls", places.config / "tls" / "address"
    _, gid = files.ids(USER, USER)
    files.directory(directory, mode=0o750, gid=gid)
    if not mark.exists() or mark.read_text(encoding="utf-8") != address:
        write(issue(places, "minicloud-volume", address=address), directory, "server", gid=gid)
        files.write(mark, address, mode=0o640, gid=gid)
    return directory


def issue(places: Places, name: str, *, address: str = "") -> Credentials:
    """New credentials for the host ``name``, or where ``address`` is given for a server there."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    ca, ca_key = _authority(places)
    key = ec.generate_private_key(ec.SECP256R1())
    purpose = x509.oid.ExtendedKeyUsageOID
    usage = purpose.SERVER_AUTH if address else purpose.CLIENT_AUTH
    builder = _builder(name, ca.subject, key.public_key()).add_extension(
        x509.ExtendedKeyUsage([usage]), critical=False
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), True)
    if address:
        names = [x509.IPAddress(ipaddress.ip_address(address))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Credentials(
        authority=_pem(ca), certificate=_pem(_signed(builder, ca_key)), key=_pem_key(key)
    )


def write(
    credentials: Credentials, directory: Path, role: str, *, uid: int = -1, gid: int = -1
) -> None:
    """Put them where QEMU looks for them; ``role`` is ``client`` or ``server``."""
    contents: Sequence[tuple[str, str]] = (
        (_CA, credentials.authority),
        (_CERT.format(role), credentials.certificate),
        (_KEY.format(role), credentials.key),
    )
    for name, text in contents:
        files.write(directory / name, text, mode=0o640, uid=uid, gid=gid)


def _authority(places: Places) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Made once; its key stays with root on this machine."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    file = places.state / "deploy" / "authority.pem"
    if not file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = "minicloud hosts"
        builder = _builder(name, None, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), True)
        files.directory(file.parent, mode=0o700)
        files.write(file, _pem_key(key) + _pem(_signed(builder, key)), mode=0o600)
    pem = file.read_bytes()
    loaded = serialization.load_pem_private_key(pem, None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate(pem), loaded


def _builder(
    name: str, issuer: x509.Name | None, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    from cryptography import x509

    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID)
    )


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256())


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _pem_key(key: ec.EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
