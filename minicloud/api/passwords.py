"""Passwords of guests' administrators.

The one that replies carry is made up or given back and kept nowhere: guests get keys, not
passwords. Who needs one in the guest sets it with changePassword, where the guest's agent answers.
"""

from __future__ import annotations

import base64
import secrets
import string

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from msgspec import UnsetType

from minicloud.domain.errors import Invalid

_LENGTH = 12
_LETTERS = string.ascii_letters + string.digits


def admin_password(given: str | UnsetType) -> str:
    return given or "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def sealed_password(public_key: str | None, password: str) -> str:
    """``password`` as only the owner of the OpenSSH key can read it: base64 of RSA, PKCS #1 v1.5.

    "" where the key is none of RSA's. Invalid when the password is too long for it.
    """
    if public_key is None or not public_key.startswith("ssh-rsa"):
        return ""
    key = load_ssh_public_key(public_key.encode())
    if not isinstance(key, RSAPublicKey):
        return ""
    try:
        return base64.b64encode(key.encrypt(password.encode(), PKCS1v15())).decode()
    except ValueError:
        raise Invalid(reason="The password is too long for the server's key.") from None
