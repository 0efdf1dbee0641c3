"""Key pairs: a user's own. A private key is answered once and never kept."""

from __future__ import annotations

import base64
import binascii
import hashlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import ssh
from msgspec import UNSET

from minicloud.api.certificates import certificate_fingerprint, generate_certificate
from minicloud.api.schemas.keypairs import (
    KeypairCreate,
    KeypairImport,
    created_view,
    keypair_view,
    listed_view,
)
from minicloud.db import keypairs, quotas
from minicloud.domain.errors import Conflict, Exists, Invalid, NotAllowed
from minicloud.domain.models import Keypair
from minicloud.kit import clock
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Query, Reply
from minicloud.kit.web.paging import next_link, page

_RSA_BITS = 2048
QUERY = Query(
    names=frozenset(("user_id", "limit", "marker")),
    since={"user_id": (2, 10), "limit": (2, 35), "marker": (2, 35)},
    strict_from=(2, 75),
)


class Keypairs:
    """``limits``: the configured quota, of which key_pairs is asked."""

    def __init__(self, database: Database, limits: Mapping[str, int]) -> None:
        self._database = database
        self._limits = limits

    def index(self, call: Call) -> Any:
        user_id = _owner(call, call.query.get("user_id"), "index")
        with self._database.read() as tx:
            found = keypairs.keypair_list(tx, user_id)
        shown, more = page(
            found,
            [keypair.name for keypair in found],
            limit=call.number("limit"),
            marker=call.query.get("marker"),
        )
        body: dict[str, Any] = {"keypairs": [listed_view(keypair) for keypair in shown]}
        if more and shown:
            href = next_link(call.base_url + call.path, call.query, shown[-1].name)
            body["keypairs_links"] = [{"rel": "next", "href": href}]
        return body

    def show(self, call: Call) -> Any:
        user_id = _owner(call, call.query.get("user_id"), "show")
        with self._database.read() as tx:
            return keypair_view(keypairs.keypair_get(tx, user_id, call.params["name"]))

    def create(self, call: Call) -> Any:
        """Keep the public key given, or make a pair where none is."""
        body: KeypairImport | KeypairCreate = call.body
        user_id = _owner(call, body.user_id or None, "create")
        private_key = None
        public_key = body.public_key
        if public_key is UNSET:
            private_key, public_key = _generate(body.type, user_id)
        keypair = Keypair(
            user_id=user_id,
            name=body.name,
            type=body.type,
            public_key=public_key.strip(),
            fingerprint=_FINGERPRINTS[body.type](public_key),
            created_at=clock.now(),
        )
        with self._database.write() as tx:
            quotas.project_lock(tx, user_id)  # it is the user whose pairs are counted
            project = call.ctx.project_id
            limits = quotas.quota_limits(tx, project, self._limits, user_id=user_id)
            limit = limits["key_pairs"]
            if 0 <= limit <= len(keypairs.keypair_list(tx, user_id)):
                raise NotAllowed(reason="Quota exceeded, too many key pairs.")
            try:
                keypairs.keypair_insert(tx, keypair)
            except Exists:
                raise Conflict(reason=f"Key pair '{body.name}' already exists.") from None
        return created_view(keypair, private_key)

    def delete(self, call: Call) -> Reply:
        user_id = _owner(call, call.query.get("user_id"), "delete")
        with self._database.write() as tx:
            keypairs.keypair_delete(tx, user_id, call.params["name"])
        return Reply()


def _owner(call: Call, asked: str | None, verb: str) -> str:
    """Whose key pairs: the caller's, or for who may, another user's."""
    if not asked or asked == call.ctx.user_id:
        return call.ctx.user_id
    call.check(f"os_compute_api:os-keypairs:{verb}", {"user_id": asked})
    return asked


def fingerprint(public_key: str) -> str:
    """MD5 of an OpenSSH public key, as ``aa:bb:...``. Invalid when it is no such key."""
    words = public_key.strip().split(None, 2)
    try:
        blob = base64.b64decode(words[1], validate=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # DSA is old, not invalid
            ssh.load_ssh_public_key(" ".join(words[:2]).encode())
    except (IndexError, ValueError, binascii.Error, UnsupportedAlgorithm):
        raise Invalid(reason="Keypair data is invalid: it is not an OpenSSH public key.") from None
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in public_key.strip()):
        raise Invalid(reason="Keypair data is invalid: it must be one line.")
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, 32, 2))


_FINGERPRINTS: Mapping[str, Callable[[str], str]] = {
    "ssh": fingerprint,
    "x509": certificate_fingerprint,
}


def _generate(kind: str, user_id: str) -> tuple[str, str]:
    """(private key, public key or certificate), as clients get them of each kind."""
    return generate_certificate(user_id) if kind == "x509" else _generate_ssh()


def _generate_ssh() -> tuple[str, str]:
    """(private key as PEM, public key as OpenSSH writes it)"""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private.decode(), f"{public.decode()} Generated-by-minicloud"
