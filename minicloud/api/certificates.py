"""X.509 certificates as key pairs: made for a user's log-in at Windows guests, or imported.

The private key of one that is made here is answered as PKCS #12 in base64, and never kept.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from minicloud.domain.errors import Invalid
from minicloud.kit import clock

_RSA_BITS = 2048
_LIFE = timedelta(days=3650)
_NAME_LENGTH = 64
"""Characters of a common name, by X.520."""
_PRINCIPAL = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
"""A user's name at a Windows domain."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def certificate_fingerprint(certificate: str) -> str:
    """SHA-1 of a PEM certificate's DER form, as ``aa:bb:...``. Invalid when it is none."""
    try:
        if _CONTROL.search(certificate):
            raise ValueError
        found = x509.load_pem_x509_certificate(certificate.encode())
    except (ValueError, x509.InvalidVersion):
        raise Invalid(reason="Keypair data is invalid: it is not a PEM certificate.") from None
    digest = hashlib.sha1(found.public_bytes(Encoding.DER), usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


def generate_certificate(user_id: str) -> tuple[str, str]:
    """(PKCS #12 of key and certificate in base64, certificate as PEM). Invalid."""
    if len(user_id) > _NAME_LENGTH:
        raise Invalid(reason="The user's id is too long for a certificate.")
    key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user_id)])
    start = datetime.fromtimestamp(clock.now(), timezone.utc)
    principal = x509.OtherName(_PRINCIPAL, _utf8_string(f"{user_id}@localhost"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + _LIFE)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([principal]), critical=False)
        .sign(key, hashes.SHA256())
    )
    bundle = pkcs12.serialize_key_and_certificates(None, key, certificate, None, NoEncryption())
    return base64.b64encode(bundle).decode(), certificate.public_bytes(Encoding.PEM).decode()


def _utf8_string(text: str) -> bytes:
    """``text``, of less than 128 bytes, as DER's UTF8String."""
    content = text.encode()
    return bytes((0x0C, len(content))) + content
