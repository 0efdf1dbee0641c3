"""Replies of block storage, to the letter of OpenStack's wire format; newest version first, the
conversions to older ones at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from minicloud.domain.errors import HostProblem, Unavailable
from minicloud.domain.ids import derive
from minicloud.kit.clock import iso_micro
from minicloud.kit.web.versions import Conversion
from minicloud.volume.backends.disks import Disk, DiskFile
from minicloud.volume.ceph_connection import ceph_connection
from minicloud.volume.limits import limits_of
from minicloud.volume.records import (
    Attachment,
    Backup,
    Group,
    GroupSnapshot,
    GroupType,
    Message,
    Snapshot,
    Transfer,
    Volume,
    VolumeType,
)
from minicloud.volume.states import AttachmentStatus

Json = dict[str, Any]
MESSAGES_KEPT_S = 30 * 86400.0
ZONE = "nova"
"""The one availability zone, named as every OpenStack installer names it."""


def volume_summary(volume: Volume, base_url: str) -> Json:
    path = f"{volume.project_id}/volumes/{volume.id}"
    return {
        "id": volume.id,
        "name": volume.name or None,
        "links": [
            {"rel": "self", "href": f"{base_url}/v3/{path}"},
            {"rel": "bookmark", "href": f"{base_url}/{path}"},
        ],
    }


def volume_view(volume: Volume, base_url: str, *, privileged: bool) -> Json:
    """As the answer to a create or update. ``privileged``: show which host has what."""
    touched = volume.updated_at != volume.created_at
    view: Json = {
        **volume_summary(volume, base_url),
        "status": volume.status,
        "size": volume.size_gb,
        "availability_zone": ZONE,
        "created_at": iso_micro(volume.created_at),
        "updated_at": iso_micro(volume.updated_at) if touched else None,
        "description": volume.description or None,
        "volume_type": volume.type_name,
        "volume_type_id": volume.type_id,
        "snapshot_id": volume.snapshot_id,
        "source_volid": volume.source_volid,
        "metadata": _with_readonly(volume),
        "user_id": volume.user_id,
        "bootable": "true" if volume.bootable else "false",
        "encrypted": False,
        "replication_status": None,
        "consistencygroup_id": None,
        "multiattach": volume.multiattach,
        "attachments": [
            _attached(attachment, privileged)
            for attachment in volume.attachments
            if attachment.status == AttachmentStatus.ATTACHED.value
        ],
        "group_id": volume.group_id,
        "shared_targets": False,
        "service_uuid": service_id(volume.host),
        "consumes_quota": not volume.target_of,
    }
    if volume.image_metadata:
        view["volume_image_metadata"] = dict(volume.image_metadata)
    if privileged:
        view["migration_status"] = volume.migration_status
        view["provider_id"] = None
        view["cluster_name"] = None
    return view


def _with_readonly(volume: Volume) -> Json:
    if volume.readonly is None:
        return dict(volume.metadata)
    return {**volume.metadata, "readonly": str(volume.readonly)}


def service_id(host: str) -> str:
    """The volume service of a host, by a name that stays."""
    return derive("volume-service", host)


def place(host: str, backend: str) -> str:
    """``host@backend#pool``, as Cinder names where a volume is."""
    return f"{host}@{backend}#{backend}"


def volume_detail(volume: Volume, base_url: str, *, privileged: bool) -> Json:
    """As shown and listed."""
    view = volume_view(volume, base_url, privileged=privileged)
    view["os-vol-tenant-attr:tenant_id"] = volume.project_id
    if privileged:
        view["os-vol-host-attr:host"] = place(volume.host, volume.backend)
        view["os-vol-mig-status-attr:migstat"] = volume.migration_status
        view["os-vol-mig-status-attr:name_id"] = volume.name_id
    return view


def _attached(attachment: Attachment, privileged: bool) -> Json:
    connector = attachment.connector or {}
    return {
        "id": attachment.volume_id,
        "attachment_id": attachment.id,
        "volume_id": attachment.volume_id,
        "server_id": attachment.server_id,
        "host_name": attachment.host if privileged else None,
        "device": connector.get("mountpoint"),
        "attached_at": iso_micro(attachment.attached_at),
    }


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How hosts reach the exports of this one."""

    socket: Callable[[str], Path]
    """What a volume's bytes are called -> the Unix socket of its exports."""
    disk: Callable[[Volume], Disk]
    """What a guest opens that opens the volume for itself. HostProblem: it is not here."""
    address: str
    tls: bool
    reconnect_s: int
    """How long a guest should wait for an exporter that is away."""


def attachment_summary(attachment: Attachment) -> Json:
    return {
        "id": attachment.id,
        "status": attachment.status,
        "instance": attachment.server_id or None,
        "volume_id": attachment.volume_id,
    }


def attachment_view(
    attachment: Attachment, volume: Volume, way: Way, qos: Mapping[str, str] | None
) -> Json:
    return {
        **attachment_summary(attachment),
        "attached_at": iso_micro(attachment.attached_at) or "",
        "detached_at": "",
        "attach_mode": attachment.mode,
        "connection_info": connection(attachment, volume, way, qos),
    }


def connection(
    attachment: Attachment, volume: Volume, way: Way, qos: Mapping[str, str] | None
) -> Json:
    """The data of ``driver_volume_type`` stand beside it, as in every attachment of Cinder's."""
    if attachment.connector is None:
        return {}
    limits = limits_of(qos, volume.size_gb) if qos else None
    if attachment.opens_file:
        return _own_connection(attachment, volume, way, limits)
    where: Json = {"socket": str(way.socket(volume.bytes_id))}
    if attachment.port is not None:
        where = {"host": way.address, "port": attachment.port, "tls": way.tls}
    return {
        "driver_volume_type": "nbd",
        "attachment_id": attachment.id,
        "volume_id": volume.id,
        "export": attachment.id,
        "size_bytes": volume.size_bytes,
        "access_mode": attachment.mode,
        "encrypted": False,
        "discard": True,
        "cacheable": False,
        "reconnect_delay": way.reconnect_s,
        "qos_specs": limits,
        **({"multiattach": True} if volume.multiattach else {}),
        **where,
    }


def _own_connection(attachment: Attachment, volume: Volume, way: Way, limits: Json | None) -> Json:
    """Of a guest that opens the volume for itself."""
    try:
        disk = way.disk(volume)
    except (HostProblem, Unavailable):
        return {}
    return {
        **(_file_connection(disk) if isinstance(disk, DiskFile) else ceph_connection(disk)),
        "attachment_id": attachment.id,
        "volume_id": volume.id,
        "access_mode": attachment.mode,
        "encrypted": False,
        "discard": True,
        "cacheable": False,
        "qos_specs": limits,
    }


def _file_connection(disk: DiskFile) -> Json:
    return {
        "driver_volume_type": "local",
        "device_path": str(disk.path),
        "format": disk.format,
        "direct_io": disk.takes_direct(),
    }


def snapshot_view(snapshot: Snapshot) -> Json:
    """As created, and in the short list."""
    touched = snapshot.updated_at != snapshot.created_at
    return {
        "id": snapshot.id,
        "name": snapshot.name or None,
        "description": snapshot.description or None,
        "status": snapshot.status,
        "size": snapshot.size_gb,
        "volume_id": snapshot.volume_id,
        "created_at": iso_micro(snapshot.created_at),
        "updated_at": iso_micro(snapshot.updated_at) if touched else None,
        "metadata": dict(snapshot.metadata),
        "user_id": snapshot.user_id,
        "group_snapshot_id": snapshot.group_snapshot_id,
        "consumes_quota": True,
    }


def snapshot_detail(snapshot: Snapshot) -> Json:
    done = snapshot.status not in ("creating", "error")
    return {
        **snapshot_view(snapshot),
        "os-extended-snapshot-attributes:project_id": snapshot.project_id,
        "os-extended-snapshot-attributes:progress": "100%" if done else "0%",
    }


def _links(base_url: str, path: str) -> list[Json]:
    return [
        {"rel": "self", "href": f"{base_url}/v3/{path}"},
        {"rel": "bookmark", "href": f"{base_url}/{path}"},
    ]


def backup_summary(backup: Backup, base_url: str) -> Json:
    path = f"{backup.project_id}/backups/{backup.id}"
    return {"id": backup.id, "name": backup.name or None, "links": _links(base_url, path)}


def backup_view(backup: Backup, built_upon: int, base_url: str, *, shows_project: bool) -> Json:
    touched = backup.updated_at != backup.created_at
    view: Json = {
        **backup_summary(backup, base_url),
        "status": backup.status,
        "size": backup.size_gb,
        "object_count": backup.object_count,
        "availability_zone": ZONE,
        "container": None,
        "created_at": iso_micro(backup.created_at),
        "updated_at": iso_micro(backup.updated_at) if touched else None,
        "description": backup.description or None,
        "fail_reason": backup.fail_reason,
        "volume_id": backup.volume_id,
        "snapshot_id": backup.snapshot_id,
        "is_incremental": backup.parent_id is not None,
        "has_dependent_backups": built_upon > 0,
        "data_timestamp": iso_micro(backup.data_at),
        "metadata": dict(backup.metadata),
        "user_id": backup.user_id,
    }
    if shows_project:
        view["os-backup-project-attr:project_id"] = backup.project_id
    return view


def transfer_view(transfer: Transfer, base_url: str) -> Json:
    path = f"{transfer.project_id}/volume-transfers/{transfer.id}"
    return {
        "id": transfer.id,
        "name": transfer.name or None,
        "volume_id": transfer.volume_id,
        "links": _links(base_url, path),
    }


def transfer_detail(transfer: Transfer, base_url: str) -> Json:
    return {
        **transfer_view(transfer, base_url),
        "created_at": iso_micro(transfer.created_at),
        "no_snapshots": transfer.no_snapshots,
        "source_project_id": transfer.project_id,
        "destination_project_id": None,
        "accepted": False,
    }


def message_view(message: Message, base_url: str) -> Json:
    path = f"{message.project_id}/messages/{message.id}"
    return {
        "id": message.id,
        "event_id": message.event_id,
        "user_message": message.text,
        "message_level": "ERROR",
        "created_at": iso_micro(message.created_at),
        "guaranteed_until": iso_micro(message.created_at + MESSAGES_KEPT_S),
        "request_id": message.request_id,
        "resource_type": message.resource_type,
        "resource_uuid": message.resource_id,
        "links": _links(base_url, path),
    }


def group_type_view(kind: GroupType, *, specs: bool) -> Json:
    view: Json = {
        "id": kind.id,
        "name": kind.name,
        "description": kind.description,
        "is_public": kind.is_public,
    }
    return {**view, "group_specs": dict(kind.group_specs)} if specs else view


def group_view(group: Group, volumes: Sequence[str] | None) -> Json:
    """``volumes``: the ids of what is in it, where they were asked for."""
    view: Json = {
        "id": group.id,
        "name": group.name or None,
        "description": group.description or None,
        "status": group.status,
        "availability_zone": ZONE,
        "created_at": iso_micro(group.created_at),
        "group_type": group.group_type_id,
        "volume_types": list(group.volume_types),
        "group_snapshot_id": group.group_snapshot_id,
        "source_group_id": group.source_group_id,
        "replication_status": "disabled",
        "project_id": group.project_id,
    }
    return view if volumes is None else {**view, "volumes": list(volumes)}


def group_snapshot_view(found: GroupSnapshot) -> Json:
    return {
        "id": found.id,
        "group_id": found.group_id,
        "name": found.name or None,
        "description": found.description or None,
        "status": found.status,
        "created_at": iso_micro(found.created_at),
        "group_type_id": found.group_type_id,
        "project_id": found.project_id,
    }


def type_view(kind: VolumeType, *, specs: bool, qos: bool) -> Json:
    """``specs`` and ``qos``: whether the caller may see them."""
    view: Json = {
        "id": kind.id,
        "name": kind.name,
        "description": kind.description,
        "is_public": kind.is_public,
        "os-volume-type-access:is_public": kind.is_public,
    }
    if specs:
        view["extra_specs"] = dict(kind.extra_specs)
    if qos:
        view["qos_specs_id"] = kind.qos_specs_id
    return view


def version_document(base_url: str, newest: str, lowest: str) -> Json:
    return {
        "versions": [
            {
                "id": "v3.0",
                "status": "CURRENT",
                "version": newest,
                "min_version": lowest,
                "updated": "2017-09-15T00:00:00Z",
                "links": [{"rel": "self", "href": f"{base_url}/v3/"}],
                "media-types": [
                    {
                        "base": "application/json",
                        "type": "application/vnd.openstack.volume+json;version=3",
                    }
                ],
            }
        ]
    }


def _without(*names: str) -> Callable[[Json], Json]:
    def strip(volume: Json) -> Json:
        return {key: value for key, value in volume.items() if key not in names}

    return strip


def _each(one: str, change: Callable[[Json], Json]) -> Callable[[Json], Json]:
    """``change`` for the noun in the body, alone or in a list."""

    def convert(body: Json) -> Json:
        found = dict(body)
        if isinstance(found.get(one), dict):
            found[one] = change(found[one])
        if isinstance(found.get(f"{one}s"), list):
            found[f"{one}s"] = [change(each) for each in found[f"{one}s"]]
        return found

    return convert


VOLUME_DOWN: Sequence[Conversion] = (
    ((3, 65), _each("volume", _without("consumes_quota"))),
    ((3, 63), _each("volume", _without("volume_type_id"))),
    ((3, 61), _each("volume", _without("cluster_name"))),
    ((3, 48), _each("volume", _without("shared_targets", "service_uuid"))),
    ((3, 21), _each("volume", _without("provider_id"))),
    ((3, 13), _each("volume", _without("group_id"))),
)
SNAPSHOT_DOWN: Sequence[Conversion] = (
    ((3, 65), _each("snapshot", _without("consumes_quota"))),
    ((3, 41), _each("snapshot", _without("user_id"))),
    ((3, 14), _each("snapshot", _without("group_snapshot_id"))),
)
SUMMARY_DOWN: Sequence[Conversion] = (
    (
        (3, 36),
        lambda body: {
            "volume-summary": {
                key: value for key, value in body["volume-summary"].items() if key != "metadata"
            }
        },
    ),
)
SERVICE_DOWN: Sequence[Conversion] = (
    ((3, 49), _each("service", _without("backend_state"))),
    ((3, 7), _each("service", _without("cluster"))),
)
BACKUP_DOWN: Sequence[Conversion] = (
    ((3, 56), _each("backup", _without("user_id"))),
    ((3, 43), _each("backup", _without("metadata"))),
    ((3, 18), _each("backup", _without("os-backup-project-attr:project_id"))),
)
TRANSFER_DOWN: Sequence[Conversion] = (
    (
        (3, 57),
        _each("transfer", _without("source_project_id", "destination_project_id", "accepted")),
    ),
    ((3, 55), _each("transfer", _without("no_snapshots"))),
)
GROUP_DOWN: Sequence[Conversion] = (
    ((3, 58), _each("group", _without("project_id"))),
    ((3, 38), _each("group", _without("replication_status"))),
    ((3, 25), _each("group", _without("volumes"))),
    ((3, 14), _each("group", _without("group_snapshot_id", "source_group_id"))),
)
GROUP_SNAPSHOT_DOWN: Sequence[Conversion] = (
    ((3, 58), _each("group_snapshot", _without("project_id"))),
)
