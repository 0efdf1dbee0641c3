"""Request bodies of block storage, in the shape of the newest version."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

# \Z and not $: the latter lets a newline pass. PostgreSQL stores no NUL.
Name = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Text = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*\Z")]
Key = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Id = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]
Size = Annotated[int, Meta(ge=1, le=2**31 - 1)]
SizeText = Annotated[str, Meta(pattern=r"^[0-9]{1,9}\Z")]
Metadata = Annotated[dict[Key, Text], Meta(max_length=128)]
Limit = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
LimitText = Annotated[str, Meta(pattern=r"^(-1|[0-9]{1,9})\Z")]


class VolumeCreate(msgspec.Struct, forbid_unknown_fields=True):
    size: Size | SizeText
    name: Name | None = None
    description: Text | None = None
    display_name: Name | None = None
    display_description: Text | None = None
    metadata: Metadata | None = None
    availability_zone: Name | None = None
    volume_type: Name | None = None
    imageRef: str | None = None
    snapshot_id: str | None = None
    source_volid: str | None = None
    source_replica: str | None = None
    consistencygroup_id: str | None = None
    group_id: str | None = None
    backup_id: str | None = None
    multiattach: bool | None = None


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
    status: str
    attach_status: str | None = None
    migration_status: str | None = None


class SetBootable(msgspec.Struct, forbid_unknown_fields=True):
    bootable: bool | Annotated[str, Meta(pattern=r"^(?i:true|false|0|1)\Z")]


ConnectorText = Annotated[str, Meta(max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Connector = Annotated[
    dict[Key, ConnectorText | int | float | bool | list[ConnectorText] | None],
    Meta(max_length=64),
]


class AttachmentCreate(msgspec.Struct, forbid_unknown_fields=True):
    volume_uuid: Id
    instance_uuid: Id | None = None
    connector: Connector | None = None


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
