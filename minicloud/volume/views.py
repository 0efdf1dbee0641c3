"""Replies of block storage, to the letter of OpenStack's wire format; newest version first, the
conversions to older ones at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minicloud.domain.ids import derive
from minicloud.kit.clock import iso_micro
from minicloud.kit.web.versions import Conversion
from minicloud.volume.records import Attachment, Volume
from minicloud.volume.states import AttachmentStatus

Json = dict[str, Any]
ZONE = "nova"
"""The one availability zone, named as every OpenStack installer names it."""
TYPE_NAME = "__DEFAULT__"
TYPE_ID = derive("volume-type", TYPE_NAME)
BACKEND = "files"


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
        "volume_type": TYPE_NAME,
        "snapshot_id": None,
        "source_volid": None,
        "metadata": dict(volume.metadata),
        "user_id": volume.user_id,
        "bootable": "true" if volume.bootable else "false",
        "encrypted": False,
        "replication_status": None,
        "consistencygroup_id": None,
        "multiattach": False,
        "attachments": [
            _attached(attachment, privileged)
            for attachment in volume.attachments
            if attachment.status == AttachmentStatus.ATTACHED.value
        ],
        "group_id": None,
    }
    if privileged:
        view["migration_status"] = None
        view["provider_id"] = None
    return view


def volume_detail(volume: Volume, base_url: str, *, privileged: bool) -> Json:
    """As shown and listed."""
    view = volume_view(volume, base_url, privileged=privileged)
    view["os-vol-tenant-attr:tenant_id"] = volume.project_id
    if privileged:
        view["os-vol-host-attr:host"] = f"{volume.host}@{BACKEND}#{BACKEND}"
        view["os-vol-mig-status-attr:migstat"] = None
        view["os-vol-mig-status-attr:name_id"] = None
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


SocketPath = Callable[[str], Path]
"""Attachment id -> the Unix socket of its export."""


def attachment_summary(attachment: Attachment) -> Json:
    return {
        "id": attachment.id,
        "status": attachment.status,
        "instance": attachment.server_id or None,
        "volume_id": attachment.volume_id,
    }


def attachment_view(
    attachment: Attachment, volume: Volume, *, socket: SocketPath, address: str
) -> Json:
    return {
        **attachment_summary(attachment),
        "attached_at": iso_micro(attachment.attached_at) or "",
        "detached_at": "",
        "attach_mode": "rw",
        "connection_info": _connection(attachment, volume, socket, address),
    }


def _connection(attachment: Attachment, volume: Volume, socket: SocketPath, address: str) -> Json:
    """The data of ``driver_volume_type`` stand beside it, as in every attachment of Cinder's."""
    if attachment.connector is None:
        return {}
    where: Json = {"socket": str(socket(attachment.id))}
    if attachment.port is not None:
        where = {"host": address, "port": attachment.port}
    return {
        "driver_volume_type": "nbd",
        "attachment_id": attachment.id,
        "volume_id": volume.id,
        "export": attachment.id,
        "size_bytes": volume.size_bytes,
        "access_mode": "rw",
        "encrypted": False,
        **where,
    }


def type_view() -> Json:
    return {
        "id": TYPE_ID,
        "name": TYPE_NAME,
        "description": "Sparse files on the volume host",
        "is_public": True,
        "os-volume-type-access:is_public": True,
        "extra_specs": {},
        "qos_specs_id": None,
    }


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


def _each_volume(change: Callable[[Json], Json]) -> Callable[[Json], Json]:
    def convert(body: Json) -> Json:
        if "volume" in body:
            return {**body, "volume": change(body["volume"])}
        return {**body, "volumes": [change(volume) for volume in body["volumes"]]}

    return convert


VOLUME_DOWN: Sequence[Conversion] = (
    ((3, 21), _each_volume(_without("provider_id"))),
    ((3, 13), _each_volume(_without("group_id"))),
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
