"""What hangs on servers: NICs, volumes, consoles, their history and the state of their guests."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from minicloud.api.replies.shapes import Link, Shown, reply


class FixedIpView(Shown):
    subnet_id: str
    ip_address: str


class InterfaceView(Shown):
    port_id: str
    net_id: str
    mac_addr: str
    port_state: str
    fixed_ips: list[FixedIpView]
    tag: str | None


_VOLUME = {"volume_id": "volumeId", "server_id": "serverId"}


class AttachmentView(Shown, rename=_VOLUME):
    volume_id: str
    server_id: str
    device: str
    tag: str | None
    delete_on_termination: bool
    attachment_id: str
    bdm_uuid: str


class AttachmentMade(Shown, rename=_VOLUME):
    id: str
    volume_id: str
    server_id: str
    device: str
    tag: str | None
    delete_on_termination: bool


class GroupOfServer(Shown):
    id: str
    name: str
    description: str
    tenant_id: str
    rules: list[str]
    """Not shown here: the network service has them."""


class DiskUse(Shown):
    read_bytes: int
    read_requests: int
    write_bytes: int
    write_requests: int
    errors_count: int


class CpuUse(Shown):
    id: int
    time: int
    utilisation: int | None


class NicUse(Shown):
    mac_address: str
    rx_octets: int
    rx_errors: int
    rx_drop: int
    rx_packets: int
    rx_rate: int | None
    tx_octets: int
    tx_errors: int
    tx_drop: int
    tx_packets: int
    tx_rate: int | None


class MemoryUse(Shown):
    maximum: int
    used: int


class DiagnosticsReply(Shown):
    state: str
    driver: str
    hypervisor: str
    hypervisor_os: str
    uptime: int
    config_drive: bool
    num_cpus: int
    num_nics: int
    num_disks: int
    disk_details: list[DiskUse]
    cpu_details: list[CpuUse]
    nic_details: list[NicUse]
    memory_details: MemoryUse


class ActionView(Shown):
    action: str
    instance_uuid: str
    request_id: str
    user_id: str
    project_id: str
    start_time: str
    updated_at: str
    message: str | None


class ActionEvent(Shown, rename={"host_id": "hostId"}):
    event: str
    start_time: str
    finish_time: str | None
    result: str | None
    host_id: str
    # What only administrators see.
    traceback: str | UnsetType | None = UNSET
    host: str | UnsetType = UNSET
    details: str | UnsetType | None = UNSET


class ActionWithEvents(ActionView):
    events: list[ActionEvent]


class TracedStep(Shown):
    number: int
    name: str
    sentence: str
    where: str
    start: float | None
    duration: float | None
    service: str | None
    host: str | None
    result: str | None
    detail: str


class Trace(Shown):
    server_id: str
    request_id: str
    steps: list[TracedStep]


class ConsoleView(Shown):
    protocol: str
    type: str
    url: str


class ConsoleDoorView(Shown):
    instance_uuid: str
    host: str
    port: int | None
    internal_access_path: str | None


class ServerMigrationView(Shown):
    id: int
    uuid: str
    status: str
    source_compute: str | None
    source_node: str | None
    dest_compute: str | None
    dest_node: str | None
    dest_host: str | None
    user_id: str | None
    project_id: str | None
    created_at: str
    updated_at: str | None
    memory_total_bytes: int | None
    memory_processed_bytes: int | None
    memory_remaining_bytes: int | None
    disk_total_bytes: int | None
    disk_processed_bytes: int | None
    disk_remaining_bytes: int | None
    server_uuid: str


class TopologyReply(Shown):
    nodes: list[str]
    pagesize_kb: int | None


_ONE = "/servers/{server_id}"
_NICS, _DISKS = _ONE + "/os-interface", _ONE + "/os-volume_attachments"
_NIC = reply("InterfaceReply", interfaceAttachment=InterfaceView)
_PASSWORD, _HISTORY = _ONE + "/os-server-password", _ONE + "/os-instance-actions"
_MIGRATIONS = _ONE + "/migrations"

PARTS = {
    "GET " + _NICS: reply("InterfacesReply", interfaceAttachments=list[InterfaceView]),
    "POST " + _NICS: _NIC,
    "GET " + _NICS + "/{port_id}": _NIC,
    "DELETE " + _NICS + "/{port_id}": None,
    "GET " + _DISKS: reply("AttachmentsReply", volumeAttachments=list[AttachmentView]),
    "POST " + _DISKS: reply("AttachmentMadeReply", volumeAttachment=AttachmentMade),
    "GET " + _DISKS + "/{volume_id}": reply("AttachmentReply", volumeAttachment=AttachmentView),
    "PUT " + _DISKS + "/{volume_id}": None,
    "DELETE " + _DISKS + "/{volume_id}": None,
    "GET " + _ONE + "/os-security-groups": reply(
        "GroupsOfServerReply", security_groups=list[GroupOfServer]
    ),
    "GET " + _ONE + "/diagnostics": DiagnosticsReply,
    "GET " + _PASSWORD: reply("PasswordReply", password=str),
    "DELETE " + _PASSWORD: None,
    "GET " + _HISTORY: reply(
        "ActionsReply", {"links": list[Link]}, instanceActions=list[ActionView]
    ),
    "GET " + _HISTORY + "/{request_id}": reply("ActionReply", instanceAction=ActionWithEvents),
    "GET " + _ONE + "/minicloud-trace": reply("TraceReply", trace=Trace),
    "POST " + _ONE + "/remote-consoles": reply("ConsoleReply", remote_console=ConsoleView),
    "GET /os-console-auth-tokens/{token}": reply("ConsoleDoorReply", console=ConsoleDoorView),
    "GET " + _MIGRATIONS: reply("ServerMigrationsReply", migrations=list[ServerMigrationView]),
    "GET " + _MIGRATIONS + "/{migration_id}": reply(
        "ServerMigrationReply", migration=ServerMigrationView
    ),
    "POST " + _MIGRATIONS + "/{migration_id}/action#force_complete": None,
    "DELETE " + _MIGRATIONS + "/{migration_id}": None,
    "GET " + _ONE + "/topology": TopologyReply,
    "GET " + _ONE + "/shares": reply("SharesReply", shares=list[str]),
    "POST " + _ONE + "/shares": None,
    "GET " + _ONE + "/shares/{share_id}": None,
    "DELETE " + _ONE + "/shares/{share_id}": None,
}
