"""Block storage's nouns as frozen values: what the stores return. No behaviour beyond facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

GIB = 1024**3
MIGRATING = ("starting", "migrating", "completing")
"""Migration statuses of a volume on its way. ``completing``: its guest has, or is about to have,
the new place, where all bytes are.
"""
SETTLED = ("success", "error", "deleting")
TARGET = "target"
"""``target:ID``: the place where volume ID goes."""
OPENS_FILE = "opens_file"
"""What this service adds to an attachment's connector."""


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    volume_id: str
    project_id: str
    server_id: str
    """Empty: no server of this cloud."""
    status: str
    mode: str = "rw"
    """rw or ro"""
    connector: Mapping[str, Any] | None
    """Null while only reserved. ``host``: the name of the host that uses the volume."""
    port: int | None
    created_at: float
    attached_at: float | None

    @property
    def host(self) -> str:
        return str((self.connector or {}).get("host", ""))

    @property
    def opens_file(self) -> bool:
        """Whether its guest opens the volume's file; else it comes by an export."""
        return bool((self.connector or {}).get(OPENS_FILE))


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    project_id: str
    user_id: str
    host: str
    """The host that has its file."""
    name: str
    description: str
    size_gb: int
    status: str
    bootable: bool
    created_at: float
    updated_at: float
    backend: str = "files"
    type_id: str
    snapshot_id: str | None = None
    source_volid: str | None = None
    image_id: str | None = None
    backup_id: str | None = None
    multiattach: bool = False
    readonly: bool | None = None
    goal: Mapping[str, Any] | None = None
    """What a passing status is about."""
    group_id: str | None = None
    name_id: str | None = None
    migration_status: str | None = None
    metadata: Mapping[str, str]
    image_metadata: Mapping[str, str] = {}
    attachments: Sequence[Attachment]
    type_name: str = ""

    @property
    def size_bytes(self) -> int:
        return self.size_gb * GIB

    @property
    def bytes_id(self) -> str:
        """What its backend and its exports call it: another volume's id once it went, in use, to
        the place that was made as that volume.
        """
        return self.name_id or self.id

    @property
    def migrates(self) -> bool:
        return self.migration_status in MIGRATING

    @property
    def target_of(self) -> str:
        """The volume that is to be moved to this one's place; empty: none."""
        word, _, source_id = (self.migration_status or "").partition(":")
        return source_id if word == TARGET else ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    project_id: str
    user_id: str
    volume_id: str
    name: str
    description: str
    size_gb: int
    status: str
    group_snapshot_id: str | None = None
    created_at: float
    updated_at: float
    metadata: Mapping[str, str]
    host: str = ""
    backend: str = "files"
    volume_bytes_id: str = ""
    """Of its volume, as ``host`` and ``backend``."""

    @property
    def size_bytes(self) -> int:
        return self.size_gb * GIB


class VolumeType(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    description: str | None
    is_public: bool
    extra_specs: Mapping[str, str]
    qos_specs_id: str | None
    created_at: float


class QosSpecs(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    consumer: str
    specs: Mapping[str, str]
    created_at: float


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    project_id: str
    user_id: str
    volume_id: str
    snapshot_id: str | None
    parent_id: str | None
    host: str
    name: str
    description: str
    metadata: Mapping[str, str]
    size_gb: int
    object_count: int
    status: str
    fail_reason: str | None
    restore_volume_id: str | None
    created_at: float
    updated_at: float
    data_at: float


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    volume_id: str
    project_id: str
    name: str
    salt: str
    key_hash: str
    no_snapshots: bool
    created_at: float


class Message(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    project_id: str
    request_id: str
    resource_type: str
    resource_id: str
    event_id: str
    text: str
    created_at: float


class GroupType(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    description: str | None
    is_public: bool
    group_specs: Mapping[str, str]
    created_at: float


class Group(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    project_id: str
    user_id: str
    name: str
    description: str
    group_type_id: str
    volume_types: Sequence[str]
    status: str
    group_snapshot_id: str | None
    source_group_id: str | None
    created_at: float
    updated_at: float


class GroupSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    project_id: str
    user_id: str
    group_id: str
    name: str
    description: str
    status: str
    created_at: float
    updated_at: float
    group_type_id: str = ""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a project has: counts and GiB."""

    volumes: int = 0
    gigabytes: int = 0
    """Of volumes and snapshots together."""
    volume_gigabytes: int = 0
    snapshots: int = 0
    backups: int = 0
    backup_gigabytes: int = 0
    groups: int = 0
