"""Servers, and what is done to them."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from minicloud.api.replies.shapes import Link, Shown, page, reply


class ServerBrief(Shown):
    id: str
    name: str
    links: list[Link]


class ServerImage(Shown):
    id: str
    links: list[Link]
    properties: dict[str, str]


class ServerFlavor(Shown):
    vcpus: int
    ram: int
    disk: int
    ephemeral: int
    swap: int
    original_name: str
    extra_specs: dict[str, str] | UnsetType = UNSET


class ServerAddress(
    Shown, rename={"kind": "OS-EXT-IPS:type", "mac": "OS-EXT-IPS-MAC:mac_addr"}
):  # fmt: skip
    version: int
    addr: str
    kind: str
    mac: str


class Named(Shown):
    name: str


class ServerVolume(Shown):
    id: str
    delete_on_termination: bool


class ServerFault(Shown):
    code: int
    created: str
    message: str
    details: str | UnsetType = UNSET


_NAMES = {
    "tenant": "tenant_id",
    "host_id": "hostId",
    "access_ip_v4": "accessIPv4",
    "access_ip_v6": "accessIPv6",
    "disk_config": "OS-DCF:diskConfig",
    "availability_zone": "OS-EXT-AZ:availability_zone",
    "launched_at": "OS-SRV-USG:launched_at",
    "terminated_at": "OS-SRV-USG:terminated_at",
    "task_state": "OS-EXT-STS:task_state",
    "vm_state": "OS-EXT-STS:vm_state",
    "power_state": "OS-EXT-STS:power_state",
    "volumes_attached": "os-extended-volumes:volumes_attached",
    **{
        name: f"OS-EXT-SRV-ATTR:{name}"
        for name in (
            "host", "hostname", "hypervisor_hostname", "instance_name", "kernel_id",
            "launch_index", "ramdisk_id", "reservation_id", "root_device_name",
        )
    },
    "sealed_user_data": "OS-EXT-SRV-ATTR:user_data",
}  # fmt: skip


class ServerView(Shown, rename=_NAMES):
    id: str
    name: str
    status: str
    tenant: str
    user_id: str
    metadata: dict[str, str]
    host_id: str
    image: ServerImage | str
    """"" where the root disk is a volume."""
    flavor: ServerFlavor
    created: str
    updated: str
    addresses: dict[str, list[ServerAddress]]
    """Network name -> its addresses."""
    access_ip_v4: str
    access_ip_v6: str
    links: list[Link]
    disk_config: str
    availability_zone: str
    config_drive: str
    key_name: str | None
    launched_at: str | None
    terminated_at: str | None
    security_groups: list[Named]
    task_state: str | None
    vm_state: str
    power_state: int
    volumes_attached: list[ServerVolume]
    hostname: str
    locked: bool
    locked_reason: str | None
    description: str | None
    tags: list[str]
    trusted_image_certificates: list[str] | None
    pinned_availability_zone: str | None
    scheduler_hints: dict[str, Any]
    progress: int | UnsetType = UNSET
    fault: ServerFault | UnsetType = UNSET
    # What only some callers see.
    host: str | UnsetType | None = UNSET
    hypervisor_hostname: str | UnsetType | None = UNSET
    instance_name: str | UnsetType = UNSET
    kernel_id: str | UnsetType = UNSET
    ramdisk_id: str | UnsetType = UNSET
    launch_index: int | UnsetType = UNSET
    reservation_id: str | UnsetType = UNSET
    root_device_name: str | UnsetType = UNSET
    sealed_user_data: str | UnsetType | None = UNSET
    host_status: str | UnsetType = UNSET


class ServerOne(ServerView, kw_only=True, rename=_NAMES):
    server_groups: list[str]


class ServerRebuilt(ServerOne, kw_only=True, rename={**_NAMES, "admin_pass": "adminPass"}):
    admin_pass: str
    user_data: str | None


class ServerMade(Shown, rename={"disk_config": "OS-DCF:diskConfig", "admin_pass": "adminPass"}):
    id: str
    links: list[Link]
    disk_config: str
    security_groups: list[Named]
    admin_pass: str


class ServerIp(Shown):
    version: int
    addr: str


_ACTION, _ONE = "POST /servers/{server_id}/action#", "/servers/{server_id}"
_SERVER = reply("ServerReply", server=ServerOne)
_METADATA = reply("MetadataReply", metadata=dict[str, str])
_META = reply("MetaReply", meta=dict[str, str])
_TAGS = reply("TagsReply", tags=list[str])
_WITHOUT_ANSWER = (
    "os-start", "os-stop", "reboot", "lock", "unlock", "pause", "unpause", "suspend", "resume",
    "unrescue", "forceDelete", "restore", "os-resetState", "shelve", "shelveOffload", "unshelve",
    "resize", "confirmResize", "revertResize", "migrate", "os-migrateLive", "evacuate",
    "addSecurityGroup", "removeSecurityGroup", "changePassword", "trigger_crash_dump",
    "injectNetworkInfo", "resetNetwork",
)  # fmt: skip
_IMAGE = reply("ImageMadeReply", image_id=str)

SERVERS = {
    "GET /servers": page("ServersReply", "servers", ServerBrief),
    "POST /servers": reply("LaunchReply", {"server": ServerMade, "reservation_id": str}),
    "GET /servers/detail": page("ServersDetailReply", "servers", ServerView),
    "GET " + _ONE: _SERVER,
    "PUT " + _ONE: _SERVER,
    "DELETE " + _ONE: None,
    **dict.fromkeys((_ACTION + name for name in _WITHOUT_ANSWER), None),
    _ACTION + "os-getConsoleOutput": reply("ConsoleOutputReply", output=str),
    _ACTION + "rescue": reply("RescueReply", adminPass=str),
    _ACTION + "createImage": _IMAGE,
    _ACTION + "createBackup": _IMAGE,
    _ACTION + "rebuild": reply("RebuildReply", server=ServerRebuilt),
    "GET " + _ONE + "/metadata": _METADATA,
    "POST " + _ONE + "/metadata": _METADATA,
    "PUT " + _ONE + "/metadata": _METADATA,
    "GET " + _ONE + "/metadata/{key}": _META,
    "PUT " + _ONE + "/metadata/{key}": _META,
    "DELETE " + _ONE + "/metadata/{key}": None,
    "GET " + _ONE + "/tags": _TAGS,
    "PUT " + _ONE + "/tags": _TAGS,
    "DELETE " + _ONE + "/tags": None,
    "GET " + _ONE + "/tags/{tag}": None,
    "PUT " + _ONE + "/tags/{tag}": None,
    "DELETE " + _ONE + "/tags/{tag}": None,
    "GET " + _ONE + "/ips": reply("AddressesReply", addresses=dict[str, list[ServerIp]]),
    "GET " + _ONE + "/ips/{network}": dict[str, list[ServerIp]],
}
