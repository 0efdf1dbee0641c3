"""Volumes that guests open in a Ceph cluster, as Cinder's RBD driver describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from minicloud.client.volume import Attachment
from minicloud.compute.recipes.limits import volume_limits
from minicloud.domain.errors import HostProblem
from minicloud.domain.models import BlockDevice
from minicloud.virt.driver import RbdDisk


class _Connection(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the connection that a guest needs; ``ports`` go with ``hosts``."""

    name: str
    hosts: Sequence[str] = ()
    ports: Sequence[int] = ()
    auth_enabled: bool = False
    auth_username: str | None = None
    secret_uuid: str | None = None
    discard: bool = False
    access_mode: str | None = None
    encrypted: bool | None = None
    qos_specs: Mapping[str, str] | None = None


def rbd_disk(attachment: Attachment, disk: BlockDevice) -> RbdDisk:
    """What the domain gets of an attachment of the driver type rbd. HostProblem: the connection is
    none that this host knows, or it wants the volume decrypted.
    """
    info = attachment.connection_info or {}
    try:
        found = msgspec.convert(info.get("data"), _Connection, strict=False)
    except msgspec.ValidationError as problem:
        raise HostProblem(
            reason=f"the connection of volume {attachment.volume_id} is not understood: {problem}"
        ) from None
    if found.encrypted:
        raise HostProblem(
            reason=f"volume {attachment.volume_id} is encrypted, which this host cannot open"
        )
    known = found.auth_enabled
    return RbdDisk(
        image=found.name,
        monitors=[
            (host.strip("[]"), port) for host, port in zip(found.hosts, found.ports, strict=False)
        ],
        user=(found.auth_username or "") if known else "",
        secret_uuid=(found.secret_uuid or "").lower() if known else "",
        discard=found.discard,
        target=disk.device,
        boot_index=disk.boot_index,
        serial=attachment.volume_id,
        readonly=found.access_mode == "ro",
        cdrom=disk.device_type == "cdrom",
        bus=disk.disk_bus,
        limits=volume_limits(attachment.volume_id, found.qos_specs),
    )
