"""The nouns of compute as frozen values: what the database functions return, what crosses RPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from minicloud.domain.states import Power, TaskState, VmState
from minicloud.domain.steps import StepRecord


class Flavor(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """What clients call the flavor id (``1``, or a UUID)."""
    name: str
    vcpus: int
    ram: int
    """MiB"""
    disk: int
    """Root disk, GiB; 0: as large as the image."""
    ephemeral: int = 0
    """GiB"""
    swap: int = 0
    """MiB"""
    rxtx_factor: float = 1.0
    is_public: bool = True
    disabled: bool = False
    description: str | None = None
    extra_specs: Mapping[str, str] = {}

    @property
    def total_disk_gb(self) -> int:
        return self.disk + self.ephemeral + -(-self.swap // 1024)


class Keypair(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    name: str
    type: str
    public_key: str
    fingerprint: str
    created_at: float


class RequestedNic(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A NIC that a launch or an attachment asked for: on a network, or by a port that exists."""

    number: int
    """Which of the server's NICs it is: stays the same while others come and go."""
    network_id: str = ""
    port_id: str = ""
    fixed_ip: str = ""
    tag: str = ""


class BlockDevice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A disk: an entry of block_device_mapping_v2, resolved, or a volume attached later.

    A root disk that is a file made of the server's image has no entry.
    """

    number: int
    """Which of the server's disks it is: stays the same while others come and go."""
    device: str
    """``vdb``: the guest's name for it, as far as a hypervisor can tell."""
    source_type: str
    """blank, image, snapshot or volume"""
    destination_type: str
    """local (a file on the server's host) or volume"""
    source_id: str = ""
    """The image or snapshot that the volume is made of."""
    volume_id: str = ""
    """Empty while a volume is still to be made."""
    size_gb: int = 0
    """0: as large as what it is made of."""
    swap_mb: int = 0
    """Size of a swap disk."""
    boot_index: int | None = None
    """Its place among the disks that the guest may boot from; None: not one of them."""
    delete_on_termination: bool = False
    guest_format: str = ""
    volume_type: str = ""
    device_type: str = ""
    """cdrom, or else a disk"""
    disk_bus: str = ""
    """virtio, scsi or sata; empty: the usual one"""
    tag: str = ""

    @property
    def is_volume(self) -> bool:
        return self.destination_type == "volume"

    @property
    def is_root(self) -> bool:
        return self.boot_index == 0

    @property
    def is_swap(self) -> bool:
        return not self.is_volume and self.guest_format == "swap"

    @property
    def is_ephemeral(self) -> bool:
        return not self.is_volume and self.guest_format != "swap"


class NicInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A wired NIC, as the server shows it."""

    port_id: str
    network_id: str
    network_name: str
    mac: str
    addresses: Sequence[str]
    ours: bool
    """Whether the port was made for the server (and goes with it)."""
    number: int = 0
    """That of the ``RequestedNic`` it came of."""
    tag: str = ""
    floating: Sequence[str] = ()
    """Floating IPs that lead to its addresses."""
    address: str = ""
    """On the guest's PCI bus, ``0000:01:00.0``; empty where it is not known."""


class AttachedVolume(msgspec.Struct, frozen=True, kw_only=True):
    volume_id: str
    attachment_id: str
    device: str
    """``/dev/vdb``"""
    delete_on_termination: bool
    tag: str = ""
    floating: Sequence[str] = ()
    """Floating IPs that lead to its addresses."""
    address: str = ""
    """On the guest's PCI bus, ``0000:01:00.0``; empty where it is not known."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    code: int
    message: str
    details: str
    created_at: float


class Resized(msgspec.Struct, frozen=True, kw_only=True):
    """What a resize or migration keeps until it is confirmed or reverted."""

    host: str
    """Where the server was."""
    flavor: Flavor
    """What it was."""
    prior_state: VmState
    """Whether it ran: active or stopped."""
    local_disks: Sequence[BlockDevice] | None = None
    """Those that it had; None: those that it has."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    project_id: str
    user_id: str
    name: str
    hostname: str
    vm_state: VmState
    task_state: TaskState | None
    power_state: Power
    operation_id: str | None
    """The operation that owns the server now."""
    host: str | None
    availability_zone: str | None
    flavor: Flavor
    image_id: str
    """Empty for a server that boots from a volume."""
    image_properties: Mapping[str, str]
    key_name: str | None
    public_key: str | None
    user_data: str | None
    """base64"""
    config_drive: bool
    metadata: Mapping[str, str]
    description: str | None
    tags: Sequence[str]
    requested_nics: Sequence[RequestedNic]
    block_devices: Sequence[BlockDevice]
    security_groups: Sequence[str]
    nics: Sequence[NicInfo]
    volumes: Sequence[AttachedVolume]
    access_ip_v4: str
    access_ip_v6: str
    disk_config: str
    """AUTO or MANUAL"""
    group_id: str | None = None
    """The server group it was launched into."""
    requested_host: str | None = None
    """The only host it may be launched on; None: any."""
    scheduler_hints: Mapping[str, Any] = {}
    """As they were given."""
    reservation_id: str
    launch_index: int
    locked: bool
    locked_reason: str | None
    locked_by: str | None = None
    """``owner`` or ``admin``: who may unlock it."""
    resized: Resized | None = None
    shelved_image_id: str | None = None
    fault: Fault | None
    created_at: float
    updated_at: float
    launched_at: float | None
    terminated_at: float | None
    deleted: bool

    @property
    def root_volume(self) -> BlockDevice | None:
        """The root disk, where that is a volume."""
        return next((disk for disk in self.block_devices if disk.is_root), None)

    @property
    def root_device(self) -> str:
        """``vda``: the guest's name for its root disk."""
        root = self.root_volume
        return "vda" if root is None else root.device


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A hypervisor host: what it has, what is claimed, when it was last heard of."""

    id: str
    name: str
    vcpus: int
    memory_mb: int
    disk_gb: int
    vcpus_used: int
    memory_mb_used: int
    disk_gb_used: int
    disk_free_gb: int
    """GiB really free on the disk now."""
    servers: int
    """Claims on the host."""
    hypervisor_type: str
    hypervisor_version: int
    virt_type: str
    virt_type_reason: str
    cpu_arch: str
    cpu_model: str
    epoch: int
    last_seen: float
    disabled: bool = False
    forced_down: bool = False
    availability_zone: str = "nova"
    aggregates: Sequence[Mapping[str, str]] = ()
    """The metadata of each aggregate it is in."""
    uptime: str = ""
    address: str = ""

    def is_up(self, down_s: float, now: float) -> bool:
        """``down_s``: after how long without a word a host counts as down."""
        return not self.forced_down and now - self.last_seen <= down_s


class ServerGroup(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    project_id: str
    user_id: str
    name: str
    policy: str
    """affinity, anti-affinity, soft-affinity or soft-anti-affinity"""
    max_per_host: int
    """Servers of an anti-affinity group that one host may have."""
    created_at: float


class Aggregate(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts that have something in common: its metadata, among it their availability zone."""

    number: int
    """The id that clients use."""
    id: str
    name: str
    metadata: Mapping[str, str]
    hosts: Sequence[str]
    created_at: float
    updated_at: float | None

    @property
    def zone(self) -> str | None:
        return self.metadata.get("availability_zone")


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """A server's move between hosts or flavors, as operators see it."""

    number: int
    """The id that clients use."""
    id: str
    kind: str
    """migration, resize, live-migration or evacuation"""
    status: str
    """Nova's words: queued, preparing, running, pre-migrating, migrating, post-migrating,
    finished, confirming, confirmed, reverting, reverted, completed, done, cancelled, error,
    failed."""
    server_id: str
    operation_id: str | None
    """The operation that carries it out."""
    project_id: str
    user_id: str
    source: str | None
    destination: str | None
    old_flavor_id: str
    new_flavor_id: str
    progress: Mapping[str, int]
    """Of a live one: ``memory_total_bytes`` and the like, as far as known."""
    created_at: float
    updated_at: float


class ServiceRecord(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    number: int
    """The integer id shown below microversion 2.53."""
    binary: str
    host: str
    disabled: bool
    disabled_reason: str | None
    forced_down: bool
    last_seen: float
    created_at: float


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error of ``domain.errors`` on its way to who waits: ``errors.rebuilt`` makes it again."""

    code: str
    facts: Mapping[str, Any]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One verb under way, or done: also what clients see as an instance action."""

    id: str
    request_id: str
    verb: str
    server_id: str
    project_id: str
    user_id: str
    state: str
    """queued, running, stuck, done, failed or cancelled."""
    host: str | None
    attempt: int
    excluded: Sequence[str]
    """Hosts that failed this launch already."""
    params: Mapping[str, Any]
    """What the verb was given, and how far it is when it has several stages: ``recipe`` (the
    present one; absent: the verb's own), ``then`` (a list of [recipe, host] that follow),
    ``back`` ([recipe, host] that puts things back when a stage fails), ``back_then`` (what follows
    that) and ``found`` (what earlier stages have told the later ones)."""
    prior_state: VmState
    message: str | None
    problem: Problem | None = None
    """Why it failed, where that has a meaning for who asked."""
    created_at: float
    updated_at: float
    deadline_at: float

    @property
    def live(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def recipe(self) -> str:
        """The recipe that its host works on now."""
        return str(self.params.get("recipe", self.verb))

    @property
    def goes_back(self) -> bool:
        """Whether a stage has failed, and what was done before is being put back."""
        back = self.params.get("back")
        return back is not None and self.recipe == back[0]


class OperationEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a recipe, as the journal keeps it."""

    operation_id: str
    attempt: int
    step: str
    """``ports`` or, when undone, ``undo:ports``."""
    started_at: float
    finished_at: float | None
    result: str | None
    """Success, Error or None while it runs."""
    message: str = ""
    host: str = ""


class DiskUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a guest has done with a disk since it was started."""

    target: str
    read_bytes: int = 0
    read_requests: int = 0
    write_bytes: int = 0
    write_requests: int = 0
    errors: int = -1
    """-1: not counted."""


class NicUse(msgspec.Struct, frozen=True, kw_only=True):
    """What went through a NIC, as the guest sees it."""

    tap: str
    mac: str
    rx_octets: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_drop: int = 0
    tx_octets: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_drop: int = 0


class Diagnostics(msgspec.Struct, frozen=True, kw_only=True):
    """What a running guest uses."""

    virt_type: str
    """``kvm`` or ``qemu``."""

    cpu_times_ns: Sequence[int]
    """One a virtual CPU."""
    memory_mb: int
    memory_used_mb: int
    memory_stats: Mapping[str, int]
    """What the guest's balloon driver tells, KiB, by the hypervisor's names."""
    disks: Sequence[DiskUse]
    nics: Sequence[NicUse]


class HostReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a compute host says of itself every few seconds."""

    host: str
    epoch: int
    vcpus: int
    memory_mb: int
    disk_gb: int
    disk_free_gb: int
    hypervisor_type: str
    hypervisor_version: int
    virt_type: str
    virt_type_reason: str
    cpu_arch: str
    cpu_model: str
    domains: Mapping[str, int]
    """Server id -> power state, of every server that has a domain or files here."""
    uptime: str = ""
    """As ``uptime`` prints it."""
    address: str = ""
    """At which other hosts reach it."""


class HostOrders(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a report: what the host should look at."""

    operations: Sequence[tuple[str, str]] = ()
    """(operation id, server id) of live and stuck operations of this host, oldest first."""
    reap: Sequence[Server] = ()
    """Servers that were deleted, or live elsewhere: remove what is left of them here."""
    still: Sequence[str] = ()
    """Servers at rest whose guests were reported to stand still, and are not to."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """All that a host needs to carry out an operation: the answer to step 14."""

    operation: Operation
    server: Server
    received_at: float
    read_s: float
    """Seconds the conductor spent in the database."""
    conductor_host: str


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """What happened of one operation on a host, oldest first."""

    operation_id: str
    server_id: str
    request_id: str
    events: Sequence[OperationEvent] = ()
    steps: Sequence[StepRecord] = ()
    task_state: TaskState | None = None

    @property
    def says_anything(self) -> bool:
        return bool(self.events or self.steps or self.task_state)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an operation ended on its host."""

    operation_id: str
    host: str
    epoch: int
    result: str
    """done, failed, elsewhere (undone, another host may try) or stuck (could not be undone)."""
    message: str = ""
    problem: Problem | None = None
    power_state: Power = Power.NOSTATE
    nics: Sequence[NicInfo] | None = None
    volumes: Sequence[AttachedVolume] | None = None
    found: Mapping[str, Any] = {}
    """What the stages that follow have to know."""
    journal: Journal | None = None


class MigrationDoor(msgspec.Struct, frozen=True, kw_only=True):
    """Where the streams of a guest that moves while it runs are let in, on the host it goes to."""

    address: str
    port: int
    key: str
    """Opens it, and says whom the peer has to find there. A secret."""


class ConsoleDoor(msgspec.Struct, frozen=True, kw_only=True):
    """Where a guest's console can be entered once, for a short while."""

    address: str
    """Of the guest's host, among the hosts."""
    port: int
    key: str
    """Opens it, and says whom the peer has to find there. A secret."""
