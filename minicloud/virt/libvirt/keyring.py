"""Whom this host is to a Ceph cluster, and the key that proves it."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

import msgspec

from minicloud.domain.errors import HostProblem
from minicloud.domain.ids import is_uuid


class CephUser(msgspec.Struct, frozen=True, kw_only=True):
    """Without a name: nobody."""

    name: str = ""
    secret_uuid: str = ""
    """Of libvirt's secret that has the key."""
    keyring: Path = Path()


def ceph_user(name: str | None, secret_uuid: str | None, keyring: str | None) -> CephUser:
    """As the options say. ValueError: they do not go together."""
    if bool(name) != bool(secret_uuid):
        raise ValueError("rbd_user and rbd_secret_uuid are of use together only")
    if secret_uuid and not is_uuid(secret_uuid):
        raise ValueError(f"rbd_secret_uuid is no UUID: {secret_uuid!r}")
    if not name or not secret_uuid:
        return CephUser()
    file = Path(keyring or f"/etc/ceph/ceph.client.{name}.keyring")
    return CephUser(name=name, secret_uuid=secret_uuid.lower(), keyring=file)


def key_of(user: CephUser) -> bytes:
    """The user's key out of its keyring. HostProblem: it cannot be had."""
    try:
        text = user.keyring.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise HostProblem(
            reason=f"the keyring {user.keyring} of the Ceph user {user.name} cannot be read "
            f"({error.strerror}): have 'ceph auth get client.{user.name}' write it, or name "
            "another by rbd_keyring in [libvirt]"
        ) from None
    inside = False
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if line.lstrip().startswith("["):
            inside = line.strip() == f"[client.{user.name}]"
        elif inside and equals and name.strip() == "key":
            try:
                return base64.b64decode(value.strip(), validate=True)
            except (binascii.Error, ValueError):
                break
    raise HostProblem(reason=f"the keyring {user.keyring} has no key of client.{user.name}")
