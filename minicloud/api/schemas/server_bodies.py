"""Bodies of requests about servers, in the newest shape, and how older ones become it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from minicloud.api.schemas.fields import Flag, HostName, Key, LongText, Name, Number, Text, Uuid
from minicloud.domain.errors import Invalid
from minicloud.kit.web import Body
from minicloud.kit.web.versions import Conversion, Json, Version

Tag = Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^[^,/\x00-\x1f\x7f]+\Z")]
Address = Annotated[str, Meta(max_length=64, pattern=r"^[0-9a-fA-F.:]*\Z")]
Metadata = dict[Key, Text]
Certificates = Annotated[
    list[Annotated[Text, Meta(min_length=1)]], Meta(min_length=1, max_length=50)
]
DiskConfig = Literal["AUTO", "MANUAL"]


class Strict(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    pass


class Network(Strict):
    uuid: Uuid | None = None
    port: Uuid | None = None
    fixed_ip: Address | None = None
    tag: Tag | None = None


class SecurityGroup(Strict):
    name: Text = "default"


class BlockDeviceBody(Strict):
    source_type: Literal["volume", "image", "snapshot", "blank"] | None = None
    destination_type: Literal["local", "volume"] | None = None
    uuid: Text | None = None
    """Of what ``source_type`` says, which may also be named by its own key:"""
    volume_id: Text | None = None
    snapshot_id: Text | None = None
    image_id: Text | None = None
    volume_size: Number | None = None
    boot_index: Number | None = None
    delete_on_termination: Flag = False
    guest_format: Text | None = None
    device_name: Text | None = None
    device_type: Text | None = None
    disk_bus: Text | None = None
    no_device: Flag | None = None
    tag: Tag | None = None
    volume_type: Text | None = None


class LegacyDeviceBody(Strict):
    device_name: Text | None = None
    virtual_name: Text | None = None
    volume_id: Text | None = None
    snapshot_id: Text | None = None
    volume_size: Number | Literal[""] | None = None
    delete_on_termination: Flag = False
    no_device: Any = None
    connection_info: LongText | None = None
    """Taken and not used."""


class ServerCreate(Strict):
    name: Name
    flavor_ref: str | int = msgspec.field(name="flavorRef")
    networks: list[Network] | Literal["auto", "none"]
    image_ref: Text = msgspec.field(name="imageRef", default="")
    key_name: Name | None = None
    metadata: Metadata = {}
    user_data: LongText | None = None
    config_drive: Flag | None = None
    availability_zone: Name | None = None
    security_groups: list[SecurityGroup] = []
    block_device_mapping_v2: list[BlockDeviceBody] = []
    block_device_mapping: list[LegacyDeviceBody] = []
    min_count: Number | None = None
    max_count: Number | None = None
    return_reservation_id: Flag = False
    access_ip_v4: Address = msgspec.field(name="accessIPv4", default="")
    access_ip_v6: Address = msgspec.field(name="accessIPv6", default="")
    disk_config: DiskConfig = msgspec.field(name="OS-DCF:diskConfig", default="MANUAL")
    admin_pass: Text | None = msgspec.field(name="adminPass", default=None)
    """Answered and not used: guests get keys, not passwords."""
    personality: list[Any] = []
    description: Text | None = None
    tags: Annotated[list[Tag], Meta(max_length=50)] = []
    trusted_image_certificates: Certificates | None = None
    """Refused: no image's signature is verified here, which is what they are for."""
    host: Name | None = None
    hypervisor_hostname: Name | None = None
    hostname: HostName | None = None
    hints: Mapping[str, Any] = msgspec.field(name="os:scheduler_hints", default={})
    old_hints: Mapping[str, Any] = msgspec.field(name="OS-SCH-HNT:scheduler_hints", default={})


class ServerUpdate(Strict):
    name: Name | UnsetType = UNSET
    access_ip_v4: Address | UnsetType = msgspec.field(name="accessIPv4", default=UNSET)
    access_ip_v6: Address | UnsetType = msgspec.field(name="accessIPv6", default=UNSET)
    disk_config: DiskConfig | UnsetType = msgspec.field(name="OS-DCF:diskConfig", default=UNSET)
    description: Text | UnsetType | None = UNSET
    hostname: HostName | UnsetType = UNSET


class MetadataBody(Strict):
    metadata: Metadata


class MetaBody(Strict):
    meta: Metadata


class TagsBody(Strict):
    tags: Annotated[list[Tag], Meta(max_length=50)]


class Reboot(Strict):
    type: Literal["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]


class ConsoleOutput(Strict):
    length: Number | None = None


class Lock(Strict):
    locked_reason: Annotated[Text, Meta(min_length=1)] | None = None


class Rescue(Strict):
    admin_pass: Text | None = msgspec.field(name="adminPass", default=None)
    rescue_image_ref: Uuid | None = None


class ResetState(Strict):
    state: Literal["active", "error"]


class Rebuild(Strict):
    image_ref: Text = msgspec.field(name="imageRef")
    name: Name | UnsetType = UNSET
    admin_pass: Text | None = msgspec.field(name="adminPass", default=None)
    metadata: Metadata | UnsetType = UNSET
    preserve_ephemeral: Flag = False
    """Taken without effect, as for every hypervisor but bare metal."""
    access_ip_v4: Address | UnsetType = msgspec.field(name="accessIPv4", default=UNSET)
    access_ip_v6: Address | UnsetType = msgspec.field(name="accessIPv6", default=UNSET)
    disk_config: DiskConfig | UnsetType = msgspec.field(name="OS-DCF:diskConfig", default=UNSET)
    description: Text | UnsetType | None = UNSET
    key_name: Name | UnsetType | None = UNSET
    user_data: LongText | UnsetType | None = UNSET
    trusted_image_certificates: Certificates | None = None
    hostname: HostName | UnsetType = UNSET


class Resize(Strict):
    flavor_ref: str | int = msgspec.field(name="flavorRef")
    disk_config: DiskConfig | None = msgspec.field(name="OS-DCF:diskConfig", default=None)


class Migrate(Strict):
    host: Name | None = None


class MigrateLive(Strict):
    host: Name | None = None
    block_migration: bool | str = False
    disk_over_commit: Flag = False
    force: Flag = False


class Evacuate(Strict):
    host: Name | None = None
    admin_pass: Text | None = msgspec.field(name="adminPass", default=None)
    on_shared_storage: Flag = msgspec.field(name="onSharedStorage", default=False)
    force: Flag = False


class CreateImage(Strict):
    name: Name
    metadata: Metadata = {}


class CreateBackup(Strict):
    name: Name
    backup_type: Text
    rotation: Annotated[int, Meta(ge=0)] | Annotated[str, Meta(pattern=r"^[0-9]{1,9}\Z")]
    metadata: Metadata = {}


class Unshelve(Strict):
    availability_zone: Name | None = None
    host: Name | None = None


# -- older shapes ----------------------------------------------------------------------------------
def _refuse(key: str) -> Invalid:
    return Invalid(reason=f"Additional properties are not allowed ('{key}' was unexpected)")


def _networks_may_be_absent(body: Json) -> Json:
    networks = body.get("networks", [])
    if not isinstance(networks, list):
        raise Invalid(reason="Invalid input for field/attribute networks: it must be a list.")
    # Without a word on networks, and with an empty list alike, the choice was the cloud's.
    return {**body, "networks": networks or "auto"}


def _no_nic_tags(body: Json) -> Json:
    _refuse_inside(body, "networks", "tag")
    return body


def _no_disk_tags(body: Json) -> Json:
    _refuse_inside(body, "block_device_mapping_v2", "tag")
    return body


def _no_volume_type(body: Json) -> Json:
    _refuse_inside(body, "block_device_mapping_v2", "volume_type")
    return body


def _hostname_without_domain(body: Json) -> Json:
    hostname = body.get("hostname")
    if isinstance(hostname, str) and (len(hostname) > 63 or "." in hostname):
        raise Invalid(
            reason="Invalid input for field/attribute hostname: a domain is taken from 2.94 on."
        )
    return body


def _refuse_inside(body: Json, key: str, word: str) -> None:
    items = body.get(key)
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and word in item:
            raise _refuse(word)


CREATE = Body(
    type=ServerCreate,
    wrapper="server",
    beside=("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"),
    since={
        "description": (2, 19),
        "tags": (2, 52),
        "trusted_image_certificates": (2, 63),
        "host": (2, 74),
        "hypervisor_hostname": (2, 74),
        "hostname": (2, 90),
    },
    until={"personality": (2, 56)},
    up=(
        ((2, 37), _networks_may_be_absent),
        ((2, 67), _no_volume_type),
        ((2, 94), _hostname_without_domain),
    ),
)
_LATER = (2, 10**6)
_NO_NIC_TAGS, _NO_DISK_TAGS = (_LATER, _no_nic_tags), (_LATER, _no_disk_tags)


def _create(*refusals: Conversion) -> Body:
    return msgspec.structs.replace(CREATE, up=(*refusals, *CREATE.up))


CREATES: Sequence[tuple[Version | None, Body]] = (
    ((2, 60), CREATE),
    ((2, 42), CREATE),
    ((2, 37), _create(_NO_NIC_TAGS, _NO_DISK_TAGS)),
    ((2, 33), _create(_NO_DISK_TAGS)),
    ((2, 32), CREATE),
    (None, _create(_NO_NIC_TAGS, _NO_DISK_TAGS)),
)
"""Since when which body: tags of devices came, went by mistake, and came back. Since the first of
them, volumes that several servers can have may be named."""
UPDATE = Body(
    type=ServerUpdate,
    wrapper="server",
    since={"description": (2, 19), "hostname": (2, 90)},
    up=(((2, 94), _hostname_without_domain),),
)
REBUILD = Body(
    type=Rebuild,
    wrapper="rebuild",
    since={
        "description": (2, 19),
        "key_name": (2, 54),
        "user_data": (2, 57),
        "trusted_image_certificates": (2, 63),
        "hostname": (2, 90),
    },
    until={"personality": (2, 56)},
    up=(((2, 94), _hostname_without_domain),),
)
EVACUATE = Body(
    type=Evacuate,
    wrapper="evacuate",
    since={"force": (2, 29)},
    until={"onSharedStorage": (2, 13), "force": (2, 67)},
)
UNSHELVE = Body(
    type=Unshelve,
    wrapper="unshelve",
    since={"availability_zone": (2, 77), "host": (2, 91)},
    may_be_null=True,
)
MIGRATE = Body(type=Migrate, wrapper="migrate", may_be_null=True)
MIGRATE_LIVE = Body(
    type=MigrateLive,
    wrapper="os-migrateLive",
    since={"force": (2, 30)},
    until={"disk_over_commit": (2, 24), "force": (2, 67)},
)
