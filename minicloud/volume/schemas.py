"""Request bodies of block storage, in the shape of the newest version."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

# \Z and not $: the latter lets a newline pass. PostgreSQL stores no NUL.
Name = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Text = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*\Z")]
Key = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Uuid = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\Z")]
Id = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]
Size = Annotated[int, Meta(ge=1, le=2**31 - 1)]
SizeText = Annotated[str, Meta(pattern=r"^[0-9]{1,9}\Z")]
Metadata = Annotated[dict[Key, Text], Meta(max_length=128)]
Flag = bool | Annotated[str, Meta(pattern=r"^(?i:true|false|0|1|t|f|yes|no|on|off|y|n)\Z")]
Limit = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
LimitText = Annotated[str, Meta(pattern=r"^(-1|[0-9]{1,9})\Z")]


ConnectorText = Annotated[str, Meta(max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Connector = Annotated[
    dict[Key, ConnectorText | int | float | bool | list[ConnectorText] | None],
    Meta(max_length=64),
]


class VolumeCreate(msgspec.Struct, forbid_unknown_fields=True):
    size: Size | SizeText | None = None
    name: Name | None = None
    description: Text | None = None
    display_name: Name | None = None
    display_description: Text | None = None
    metadata: Metadata | None = None
    availability_zone: Name | None = None
    volume_type: Name | None = None
    imageRef: str | None = None
    image_id: str | None = None
    snapshot_id: str | None = None
    source_volid: str | None = None
    source_replica: str | None = None
    consistencygroup_id: str | None = None
    group_id: str | None = None
    backup_id: str | None = None
    multiattach: Flag | None = None
    project_id: str | None = None
    user_id: str | None = None
    status: str | None = None
    attach_status: str | None = None


class VolumeCreateBody(msgspec.Struct, forbid_unknown_fields=True):
    volume: VolumeCreate
    hints: dict[str, Any] | None = msgspec.field(name="OS-SCH-HNT:scheduler_hints", default=None)


class VolumeUpdate(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET
    display_name: Name | UnsetType | None = UNSET
    display_description: Text | UnsetType | None = UNSET
    metadata: Metadata | None = None


class MetadataBody(msgspec.Struct, forbid_unknown_fields=True):
    metadata: Metadata


class MetaBody(msgspec.Struct, forbid_unknown_fields=True):
    meta: Annotated[dict[Key, Text], Meta(min_length=1, max_length=1)]


Argumentless = dict[str, Any]
"""An action without arguments: clients send null, {}, or an id again as its value."""


class Extend(msgspec.Struct, forbid_unknown_fields=True):
    new_size: Size | SizeText


class ResetStatus(msgspec.Struct, forbid_unknown_fields=True):
    status: str | None = None
    attach_status: str | None = None
    migration_status: str | None = None


class SetBootable(msgspec.Struct, forbid_unknown_fields=True):
    bootable: Flag


class SetReadonly(msgspec.Struct, forbid_unknown_fields=True):
    readonly: Flag


class Attach(msgspec.Struct, forbid_unknown_fields=True):
    mountpoint: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
    instance_uuid: Id | None = None
    host_name: Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")] | None = None
    mode: Literal["rw", "ro"] | None = None


class Detach(msgspec.Struct, forbid_unknown_fields=True):
    attachment_id: Id | None = None


class ForceDetach(msgspec.Struct, forbid_unknown_fields=True):
    attachment_id: Id | None = None
    connector: Connector | None = None


class WithConnector(msgspec.Struct, forbid_unknown_fields=True):
    connector: Connector


class ImageMetadata(msgspec.Struct, forbid_unknown_fields=True):
    metadata: Metadata


class ImageMetadataKey(msgspec.Struct, forbid_unknown_fields=True):
    key: Key


class UploadImage(msgspec.Struct, forbid_unknown_fields=True):
    image_name: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
    force: Flag | None = False
    disk_format: str | None = None
    container_format: str | None = None
    visibility: Literal["public", "private", "shared", "community"] | None = None
    protected: Flag | None = None


class Reimage(msgspec.Struct, forbid_unknown_fields=True):
    image_id: str
    reimage_reserved: Flag | None = False


class Retype(msgspec.Struct, forbid_unknown_fields=True):
    new_type: Name
    migration_policy: Literal["never", "on-demand"] | None = None


class Migrate(msgspec.Struct, forbid_unknown_fields=True):
    host: Annotated[str, Meta(max_length=255)] | None = None
    force_host_copy: Flag | None = False
    lock_volume: Flag | None = False
    cluster: str | None = None


class MigrateCompletion(msgspec.Struct, forbid_unknown_fields=True):
    new_volume: Uuid
    error: Flag | None = None


class ExtendCompletion(msgspec.Struct, forbid_unknown_fields=True):
    error: Flag | None = False


class Revert(msgspec.Struct, forbid_unknown_fields=True):
    snapshot_id: str


class AttachmentCreate(msgspec.Struct, forbid_unknown_fields=True):
    volume_uuid: Id
    instance_uuid: Id | None = None
    connector: Connector | None = None
    mode: Literal["rw", "ro"] | None = None


class AttachmentUpdate(msgspec.Struct, forbid_unknown_fields=True):
    connector: Connector


class QuotaSet(msgspec.Struct, forbid_unknown_fields=True):
    volumes: Limit | LimitText | None = None
    gigabytes: Limit | LimitText | None = None
    per_volume_gigabytes: Limit | LimitText | None = None
    snapshots: Limit | LimitText | None = None
    backups: Limit | LimitText | None = None
    backup_gigabytes: Limit | LimitText | None = None
    groups: Limit | LimitText | None = None
    force: bool | None = None
    tenant_id: str | None = None


class QuotaClass(msgspec.Struct, forbid_unknown_fields=True):
    volumes: Limit | LimitText | None = None
    gigabytes: Limit | LimitText | None = None
    per_volume_gigabytes: Limit | LimitText | None = None
    snapshots: Limit | LimitText | None = None
    backups: Limit | LimitText | None = None
    backup_gigabytes: Limit | LimitText | None = None
    groups: Limit | LimitText | None = None
    class_name: str | None = None


class SnapshotCreate(msgspec.Struct, forbid_unknown_fields=True):
    volume_id: Id
    name: Name | None = None
    description: Text | None = None
    display_name: Name | None = None
    display_description: Text | None = None
    force: Flag | None = None
    metadata: Metadata | None = None


class SnapshotStatus(msgspec.Struct, forbid_unknown_fields=True):
    status: str
    progress: Annotated[str, Meta(max_length=10)] | None = None


class TypeCreate(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
    description: Text | None = None
    extra_specs: Metadata | None = None
    is_public: Flag = msgspec.field(name="os-volume-type-access:is_public", default=True)
    public: Flag | None = msgspec.field(name="is_public", default=None)


class TypeUpdate(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET
    is_public: Flag | UnsetType = UNSET
    access_public: Flag | UnsetType = msgspec.field(
        name="os-volume-type-access:is_public", default=UNSET
    )
    id: str | UnsetType = UNSET


class ExtraSpecs(msgspec.Struct, forbid_unknown_fields=True):
    extra_specs: Metadata


class ProjectAccess(msgspec.Struct, forbid_unknown_fields=True):
    project: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]


class DefaultType(msgspec.Struct, forbid_unknown_fields=True):
    volume_type: Name


QosValue = str | int | float | bool


class QosKeys(msgspec.Struct, forbid_unknown_fields=True):
    keys: Annotated[list[Key], Meta(max_length=128)]


Host = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class ServiceHost(msgspec.Struct, forbid_unknown_fields=True):
    host: Host
    cluster: str | None = None


class ServiceOrder(msgspec.Struct, forbid_unknown_fields=True):
    host: Host
    binary: str | None = None
    service: str | None = None


class ClusterOrder(msgspec.Struct, forbid_unknown_fields=True):
    name: Key
    binary: str | None = None
    disabled_reason: str | None = None


class ServiceReason(msgspec.Struct, forbid_unknown_fields=True):
    host: Host
    disabled_reason: Annotated[
        str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")
    ]
    binary: str | None = None
    service: str | None = None


class SetLog(msgspec.Struct, forbid_unknown_fields=True):
    level: Annotated[str, Meta(min_length=1, max_length=16)]
    binary: str | None = None
    server: str | None = None
    prefix: str | None = None


class GetLog(msgspec.Struct, forbid_unknown_fields=True):
    binary: str | None = None
    server: str | None = None
    prefix: str | None = None


class BackupCreate(msgspec.Struct, forbid_unknown_fields=True):
    volume_id: Id
    container: Name | None = None
    name: Name | None = None
    description: Text | None = None
    incremental: Flag | None = False
    force: Flag | None = False
    snapshot_id: str | None = None
    metadata: Metadata | None = None
    availability_zone: Name | None = None


class BackupUpdate(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET
    metadata: Metadata | None = None


class BackupRestore(msgspec.Struct, forbid_unknown_fields=True):
    volume_id: str | None = None
    name: Name | None = None


class BackupRecord(msgspec.Struct, forbid_unknown_fields=True):
    backup_service: Annotated[str, Meta(min_length=1, max_length=255)]
    backup_url: Annotated[str, Meta(min_length=1, max_length=65536)]


class BackupStatus(msgspec.Struct, forbid_unknown_fields=True):
    status: str


class TransferCreate(msgspec.Struct, forbid_unknown_fields=True):
    volume_id: Id
    name: Name | None = None
    no_snapshots: Flag | None = False


class TransferAccept(msgspec.Struct, forbid_unknown_fields=True):
    auth_key: Annotated[str, Meta(min_length=1, max_length=255)]


class GroupTypeCreate(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
    description: Text | None = None
    group_specs: Metadata | None = None
    is_public: Flag = True


class GroupTypeUpdate(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET
    is_public: Flag | UnsetType = UNSET


class GroupSpecs(msgspec.Struct, forbid_unknown_fields=True):
    group_specs: Metadata


class GroupCreate(msgspec.Struct, forbid_unknown_fields=True):
    group_type: Name
    volume_types: Annotated[list[Name], Meta(min_length=1, max_length=128)]
    name: Name | None = None
    description: Text | None = None
    availability_zone: Name | None = None


class GroupFromSource(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | None = None
    description: Text | None = None
    source_group_id: str | None = None
    group_snapshot_id: str | None = None


class GroupUpdate(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET
    add_volumes: Annotated[str, Meta(max_length=65536)] | None = None
    remove_volumes: Annotated[str, Meta(max_length=65536)] | None = None


class GroupDelete(msgspec.Struct, forbid_unknown_fields=True):
    delete_volumes: Flag | None = msgspec.field(name="delete-volumes", default=False)


class GroupStatus(msgspec.Struct, forbid_unknown_fields=True):
    status: str


class GroupSnapshotCreate(msgspec.Struct, forbid_unknown_fields=True):
    group_id: Id
    name: Name | None = None
    description: Text | None = None


class ManageVolume(msgspec.Struct, forbid_unknown_fields=True):
    ref: dict[Key, Text]
    host: Host | None = None
    cluster: str | None = None
    name: Name | None = None
    description: Text | None = None
    volume_type: Name | None = None
    availability_zone: Name | None = None
    metadata: Metadata | None = None
    bootable: Flag | None = False
