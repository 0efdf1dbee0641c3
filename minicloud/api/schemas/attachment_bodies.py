"""Bodies of requests about a server's NICs and volumes, in the newest shape."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from minicloud.api.schemas.fields import Flag, Text, Uuid, check_fixed_ip
from minicloud.api.schemas.server_bodies import Address, Strict, Tag
from minicloud.kit.web import Body

Device = Annotated[str, Meta(pattern=r"^/dev/x?[a-z]?d?[a-z]+[0-9]*\Z", max_length=255)]


class FixedIp(Strict):
    ip_address: Address

    def __post_init__(self) -> None:
        check_fixed_ip(self.ip_address)


class InterfaceAttach(Strict):
    net_id: Uuid | UnsetType = UNSET
    port_id: Uuid | UnsetType = UNSET
    fixed_ips: Annotated[list[FixedIp], Meta(min_length=1, max_length=1)] | UnsetType = UNSET
    tag: Tag | UnsetType = UNSET


class VolumeAttach(Strict):
    volume_id: Uuid = msgspec.field(name="volumeId")
    device: Device | None = None
    """Taken and not used: the hypervisor names its disks in order."""
    tag: Tag | UnsetType = UNSET
    delete_on_termination: Flag = False


class VolumeSwap(Strict):
    volume_id: Uuid = msgspec.field(name="volumeId")


class VolumeUpdate(Strict):
    volume_id: Uuid = msgspec.field(name="volumeId")
    device: Device | UnsetType | None = UNSET
    tag: Tag | UnsetType | None = UNSET
    delete_on_termination: Flag | UnsetType = UNSET
    server_id: Uuid | UnsetType = msgspec.field(name="serverId", default=UNSET)
    id: Uuid | UnsetType = UNSET


class GroupName(Strict):
    name: Annotated[Text, Meta(min_length=1)]


class ChangePassword(Strict):
    admin_pass: Annotated[str, Meta(max_length=255)] = msgspec.field(name="adminPass")


INTERFACE = Body(type=InterfaceAttach, wrapper="interfaceAttachment", since={"tag": (2, 49)})
ATTACH = Body(
    type=VolumeAttach,
    wrapper="volumeAttachment",
    since={"tag": (2, 49), "delete_on_termination": (2, 79)},
)
SWAP = Body(type=VolumeSwap, wrapper="volumeAttachment")
UPDATE = Body(type=VolumeUpdate, wrapper="volumeAttachment")
