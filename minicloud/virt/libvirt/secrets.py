"""Users of Ceph as libvirt knows them: a secret has the key with which QEMU opens a volume.

The secret of this host's own user is made of the host's keyring, in libvirtd's memory alone: it is
looked for, and made again, whenever a guest is to get a disk. A secret that an operator defined is
left as it is. No key is in a message, a command line or a definition.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import libvirt
import msgspec

from minicloud.domain.errors import HostProblem
from minicloud.virt.driver import Disk, RbdDisk
from minicloud.virt.libvirt import monitors
from minicloud.virt.libvirt.connection import Connection
from minicloud.virt.libvirt.keyring import CephUser, key_of

_WHERE = "in [libvirt] of this host's compute.conf and start minicloud-compute anew"


class Secrets:
    def __init__(self, connection: Connection, own: CephUser) -> None:
        self._connection, self._own = connection, own

    def ready(self, disk: Disk) -> Disk:
        """``disk`` with a user and a secret that libvirt has, where it needs them. HostProblem: the
        key cannot be had, or the cluster does not answer.
        """
        if not isinstance(disk, RbdDisk):
            return disk
        monitors.check(disk.monitors)
        uuid = disk.secret_uuid or self._own.secret_uuid
        user = disk.user or self._own.name
        if not uuid and not user:
            return disk
        self._ensure(user, uuid)
        return msgspec.structs.replace(disk, user=user, secret_uuid=uuid)

    def _ensure(self, user: str, uuid: str) -> None:
        """libvirt has the secret, with the user's key. HostProblem: it cannot be had here."""
        if not uuid:
            raise HostProblem(
                reason=f"the volume needs the key of the Ceph user {user}: set rbd_user = {user} "
                f"and rbd_secret_uuid {_WHERE}"
            )
        if not self._is_kept(uuid):
            self._check_own(user, uuid)
            self._define(uuid, key_of(self._own))

    def _is_kept(self, uuid: str) -> bool:
        """Whether libvirt has the secret from an operator."""

        def look(connection: Any) -> bool:
            try:
                found = connection.secretLookupByUUIDString(uuid)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_SECRET:
                    raise
                return False
            return bool(found.usageID() != _usage(uuid))

        return self._connection.run(f"look up secret {uuid}", look)

    def _check_own(self, user: str, uuid: str) -> None:
        own = self._own
        if (user, uuid) != (own.name, own.secret_uuid):
            raise HostProblem(
                reason=f"libvirt has no secret {uuid} of the Ceph user {user}, which the volume "
                f"needs: set rbd_user = {user} and rbd_secret_uuid = {uuid} {_WHERE}, or define "
                "the secret by virsh"
            )

    def _define(self, uuid: str, key: bytes) -> None:
        """May be repeated: libvirt takes a secret of the same name and UUID as the same."""
        definition = _secret_xml(uuid)
        self._connection.run(
            f"define secret {uuid}",
            lambda connection: connection.secretDefineXML(definition).setValue(key),
        )


def _secret_xml(uuid: str) -> str:
    root = ET.Element("secret", ephemeral="yes", private="yes")
    ET.SubElement(root, "uuid").text = uuid
    ET.SubElement(ET.SubElement(root, "usage", type="ceph"), "name").text = _usage(uuid)
    return ET.tostring(root, encoding="unicode")


def _usage(uuid: str) -> str:
    return f"minicloud {uuid}"
