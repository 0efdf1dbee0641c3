"""Bodies of requests about servers, in the newest shape, and how older ones become it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from minicloud.api.schemas.fields import (
    DaemonHost,
    Flag,
    HostName,
    Key,
    Line,
    LongText,
    Name,
    Number,
    Text,
    Uuid,
    check_address,
    check_fixed_ip,
    check_user_data,
)
from minicloud.domain.errors import Invalid
from minicloud.kit.web import Body
from minicloud.kit.web.versions import Conversion, Json, Version

Tag = Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^[^,/\x00-\x1f\x7f]+\Z")]
Address = Annotated[str, Meta(max_length=64, pattern=r"^[0-9a-fA-F.:]*\Z")]
Metadata = dict[Key, Text]
Certificates = Annotated[
    list[Annotated[Text, Meta(min_length=1)]], Meta(min_length=1, max_length=50)
]
_Size = Annotated[int, Meta(ge=1)] | Annotated[str, Meta(pattern=r"^0*[1-9][0-9]{0,9}\Z")]
DiskConfig = Literal["AUTO", "MANUAL"]
ImageRef = Annotated[
    str, Meta(pattern=r"^(?:[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12})?\Z")
]


class Strict(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    pass


class Network(Strict):
    uuid: Uuid | UnsetType = UNSET
    port: Uuid | None = None
    fixed_ip: Address | UnsetType = UNSET
    tag: Tag | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.fixed_ip is not UNSET:
            check_fixed_ip(self.fixed_ip)


class File(Strict):
    """One that older versions could put into a guest."""

    path: str = ""
    contents: str = ""


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
    virtual_name: Text | UnsetType = UNSET
    volume_id: Uuid | UnsetType = UNSET
    snapshot_id: Uuid | UnsetType = UNSET
    volume_size: _Size | UnsetType = UNSET
    delete_on_termination: Flag = False
    no_device: Any = None
    connection_info: LongText | UnsetType = UNSET
    """Taken and not used."""


class Reachable(Strict):
    """Of a server: where it can be reached, and what its guest reads."""

    access_ip_v4: Address | UnsetType = msgspec.field(name="accessIPv4", default=UNSET)
    access_ip_v6: Address | UnsetType = msgspec.field(name="accessIPv6", default=UNSET)

    def __post_init__(self) -> None:
        if self.access_ip_v4 is not UNSET:
            check_address(self.access_ip_v4, 4)
        if self.access_ip_v6 is not UNSET:
            check_address(self.access_ip_v6, 6)


class ServerCreate(Reachable, kw_only=True):
    name: Name
    flavor_ref: str | int = msgspec.field(name="flavorRef")
    networks: list[Network] | Literal["auto", "none"]
    image_ref: ImageRef = msgspec.field(name="imageRef", default="")
    key_name: Name | UnsetType = UNSET
    metadata: Metadata = {}
    user_data: LongText | UnsetType = UNSET
    config_drive: Flag = False
    availability_zone: Name | UnsetType = UNSET
    security_groups: list[SecurityGroup] = []
    block_device_mapping_v2: list[BlockDeviceBody] = []
    block_device_mapping: list[LegacyDeviceBody] = []
    min_count: Number | UnsetType = UNSET
    max_count: Number | UnsetType = UNSET
    return_reservation_id: Flag = False
    disk_config: DiskConfig = msgspec.field(name="OS-DCF:diskConfig", default="MANUAL")
    admin_pass: Text | UnsetType = msgspec.field(name="adminPass", default=UNSET)
    """Answered and not used: guests get keys, not passwords."""
    personality: list[File] = []
    description: Line | None = None
    tags: Annotated[list[Tag], Meta(max_length=50)] = []
    trusted_image_certificates: Certificates | None = None
    """Refused: no image's signature is verified here, which is what they are for."""
    host: DaemonHost | UnsetType = UNSET
    hypervisor_hostname: DaemonHost | UnsetType = UNSET
    hostname: HostName | UnsetType = UNSET
    hints: Mapping[str, Any] = msgspec.field(name="os:scheduler_hints", default={})
    old_hints: Mapping[str, Any] = msgspec.field(name="OS-SCH-HNT:scheduler_hints", default={})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.user_data is not UNSET:
            check_user_data(self.user_data)


class ServerUpdate(Reachable):
    name: Name | UnsetType = UNSET
    disk_config: DiskConfig | UnsetType = msgspec.field(name="OS-DCF:diskConfig", default=UNSET)
    description: Line | UnsetType | None = UNSET
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
    locked_reason: Annotated[Text, Meta(min_length=1)] | UnsetType = UNSET


class Rescue(Strict):
    admin_pass: Text | UnsetType = msgspec.field(name="adminPass", default=UNSET)
    rescue_image_ref: Uuid | UnsetType = UNSET


class CrashDump(Strict):
    trigger_crash_dump: None


class ResetState(Strict):
    state: Literal["active", "error"]


class Rebuild(Reachable, kw_only=True):
    image_ref: Uuid = msgspec.field(name="imageRef")
    name: Name | UnsetType = UNSET
    admin_pass: Text | UnsetType = msgspec.field(name="adminPass", default=UNSET)
    metadata: Metadata | UnsetType = UNSET
    preserve_ephemeral: Flag = False
    """Taken without effect, as for every hypervisor but bare metal."""
    personality: list[File] = []
    disk_config: DiskConfig | UnsetType = msgspec.field(name="OS-DCF:diskConfig", default=UNSET)
    description: Line | UnsetType | None = UNSET
    key_name: Name | UnsetType | None = UNSET
    user_data: LongText | UnsetType | None = UNSET
    trusted_image_certificates: Certificates | None = None
    hostname: HostName | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.user_data, str):
            check_user_data(self.user_data)


class Resize(Strict):
    flavor_ref: str | int = msgspec.field(name="flavorRef")
    disk_config: DiskConfig | UnsetType = msgspec.field(name="OS-DCF:diskConfig", default=UNSET)


class Migrate(Strict):
    host: Name | None = None


class MigrateLive(Strict):
    host: Name | None
    block_migration: Flag | Literal["auto"]
    force: Flag = False


class MigrateLiveFirst(Strict):
    host: Name | None
    block_migration: Flag
    disk_over_commit: Flag


class Evacuate(Strict):
    host: DaemonHost | UnsetType = UNSET
    admin_pass: Text | UnsetType = msgspec.field(name="adminPass", default=UNSET)
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
    availability_zone: Name | UnsetType | None = UNSET
    """None: any zone, from now on."""
    host: Name | UnsetType = UNSET


class UnshelveToZone(Strict):
    availability_zone: Name


class UnshelveBefore291(Strict):
    unshelve: UnshelveToZone | None


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
    if isinstance(hostname, str) and ("." in hostname or not 2 <= len(hostname) <= 63):
        raise Invalid(
            reason="Invalid input for field/attribute hostname: it must have 2 to 63 characters; "
            "a domain is taken from 2.94 on."
        )
    return body


def _shared_storage_or_not(body: Json) -> Json:
    if "onSharedStorage" not in body:
        raise Invalid(reason="'onSharedStorage' is a required property")
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
    up=(((2, 14), _shared_storage_or_not),),
)
UNSHELVE = Body(type=Unshelve, wrapper="unshelve", may_be_null=True)
MIGRATE = Body(type=Migrate, wrapper="migrate", may_be_null=True)
MIGRATE_LIVE = Body(
    type=MigrateLive,
    wrapper="os-migrateLive",
    since={"force": (2, 30)},
    until={"force": (2, 67)},
)
MIGRATE_LIVE_FIRST = Body(type=MigrateLiveFirst, wrapper="os-migrateLive")
"""Before 2.25."""
