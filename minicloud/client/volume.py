"""Volumes over REST, as compute and api need them: make, find, attach.

Speaks the OpenStack block storage API v3 at 3.44 and nothing of ours, so Cinder can stand at the
other end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from minicloud.client.rest import Answer, RestClient, Timed
from minicloud.domain.errors import NotFound

_VERSION = {"OpenStack-API-Version": "volume 3.44"}
_REIMAGE_VERSION = {"OpenStack-API-Version": "volume 3.68"}
_BESIDE = ("driver_volume_type", "attachment_id", "status")


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    project_id: str
    """Empty where the service does not say (as in the answer to a create)."""
    name: str
    status: str
    size_gb: int
    metadata: Mapping[str, str]
    bootable: bool
    volume_type: str
    multiattach: bool = False
    image_metadata: Mapping[str, str] = {}
    """Of the image that it was made of; empty where it was not."""
    servers: Sequence[str] = ()
    """That use it; empty for a host that does without one."""
    migration_status: str = ""
    """Empty: there was no migration, or the token may not see it."""

    @property
    def migrates(self) -> bool:
        """Whether it is on its way to another backend."""
        return self.migration_status in ("starting", "migrating", "completing")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    volume_id: str
    status: str


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    volume_id: str
    server_id: str
    status: str
    """reserved, attaching, attached or detaching"""
    connection_info: Mapping[str, Any] | None
    """None while the volume is only reserved. ``driver_volume_type`` and ``data``; of an nbd:
    ``export``, ``socket`` or ``host`` and ``port``, ``volume_id``, ``size_bytes``,
    ``access_mode``; of a local file: ``device_path``, ``format``, ``direct_io``, ``access_mode``;
    of an rbd: ``name`` (``pool/image``), ``hosts`` and their ``ports``, ``auth_enabled``,
    ``auth_username``, ``secret_uuid``, ``discard``, ``access_mode``, ``encrypted``;
    ``qos_specs``, if the volume's type has any for guests.
    """


class VolumeClient:
    """``rest`` knows the endpoint as the catalog gives it: whatever project stands at its end is
    replaced by the one that a call is about, or left out.

    With a user's token (and the service's beside it) the user's volumes are there; with the
    service's token alone every project's are, and the caller says which it means.
    """

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest.below(_without_project)

    def volume_create(
        self,
        *,
        project_id: str,
        size_gb: int,
        name: str = "",
        metadata: Mapping[str, str] | None = None,
        volume_type: str = "",
        image_id: str = "",
        snapshot_id: str = "",
    ) -> Timed[Volume]:
        """A new volume for ``project_id``, which with a user's token is the token's.

        Blank, or made of an image or a snapshot: the volume is not ready yet then. A size of 0:
        as large as the snapshot. NotAllowed: the quota is used up.
        """
        wishes = {
            "size": size_gb,
            "volume_type": volume_type,
            "imageRef": image_id,
            "snapshot_id": snapshot_id,
        }
        body: dict[str, Any] = {"name": name, "metadata": dict(metadata or {})}
        body.update({key: value for key, value in wishes.items() if value})
        answer = self._call("POST", f"/{_safe(project_id)}/volumes", {"volume": body})
        return self._rest.timed(answer, _volume(answer.json["volume"], project_id))

    def volume_get(self, volume_id: str) -> Timed[Volume]:
        """NotFound: there is none, or it is not for this token to see."""
        answer = self._one("GET", "Volume", "/volumes", volume_id)
        return self._rest.timed(answer, _volume(answer.json["volume"]))

    def snapshot_size(self, snapshot_id: str) -> Timed[int]:
        """GiB. NotFound."""
        answer = self._one("GET", "Snapshot", "/snapshots", snapshot_id)
        return self._rest.timed(answer, int(answer.json["snapshot"]["size"]))

    def snapshot_create(
        self, project_id: str, volume_id: str, name: str, metadata: Mapping[str, str]
    ) -> Timed[Snapshot]:
        """Begin a snapshot of a volume, in use or not. NotFound; NotAllowed: the quota."""
        body = {
            "volume_id": volume_id, "name": name, "force": True, "metadata": dict(metadata),
        }  # fmt: skip
        answer = self._call("POST", f"/{_safe(project_id)}/snapshots", {"snapshot": body})
        return self._rest.timed(answer, _snapshot(answer.json["snapshot"]))

    def snapshots_by_metadata(self, key: str, value: str) -> Timed[list[Snapshot]]:
        """The snapshots whose metadata, which users write, has ``key`` with ``value``."""
        pair = json.dumps({key: value})
        answer, found = self._all("/snapshots/detail", "snapshots", metadata=pair)
        return self._rest.timed(answer, [_snapshot(each) for each in found])

    def snapshot_delete(self, snapshot_id: str) -> Timed[None]:
        """NotFound: it is gone already."""
        answer = self._one("DELETE", "Snapshot", "/snapshots", snapshot_id)
        return self._rest.timed(answer, None)

    def volume_types(self, project_id: str) -> Timed[dict[str, str]]:
        """Name or id of each type -> its name."""
        answer = self._call("GET", f"/{_safe(project_id)}/types")
        names: dict[str, str] = {}
        for each in answer.json["volume_types"]:
            names[each["id"]] = names[each["name"]] = each["name"]
        return self._rest.timed(answer, names)

    def volumes_by_metadata(self, key: str, value: str) -> Timed[list[Volume]]:
        """The volumes whose metadata has ``key`` with ``value``. Users write metadata: who acts
        with the service's own token must also look at ``project_id``.
        """
        pair = json.dumps({key: value})
        answer, found = self._all("/volumes/detail", "volumes", metadata=pair)
        return self._rest.timed(answer, [_volume(each) for each in found])

    def begin_detaching(self, volume_id: str) -> Timed[None]:
        """The volume shows that a server is to let it go. Invalid: no server uses it. NotFound."""
        return self._act(volume_id, "os-begin_detaching")

    def roll_detaching(self, volume_id: str) -> Timed[None]:
        """The server keeps the volume after all. Invalid: it is not being detached. NotFound."""
        return self._act(volume_id, "os-roll_detaching")

    def migration_complete(self, volume_id: str, new_id: str, *, failed: bool) -> Timed[str]:
        """The guest has the volume ``new_id`` in the place of ``volume_id``, or, if ``failed``,
        has not: the id of what it has. Invalid: the one does not migrate to the other. NotFound.
        """
        asked = {"new_volume": new_id, "error": failed}
        answer = self._action(volume_id, "os-migrate_volume_completion", asked, _VERSION)
        return self._rest.timed(answer, str(answer.json["save_volume_id"]))

    def volume_reimage(self, volume_id: str, image_id: str) -> Timed[None]:
        """Begin to replace what a volume has, which may be reserved, by the image: it is
        ``downloading``, then ``reserved`` again, or ``error``. Invalid: it is in use, or the image
        will not do. NotFound.
        """
        asked = {"image_id": image_id, "reimage_reserved": True}
        return self._act(volume_id, "os-reimage", asked, version=_REIMAGE_VERSION)

    def _act(
        self,
        volume_id: str,
        action: str,
        asked: Mapping[str, Any] | None = None,
        *,
        version: Mapping[str, str] = _VERSION,
    ) -> Timed[None]:
        return self._rest.timed(self._action(volume_id, action, asked, version), None)

    def _action(
        self, volume_id: str, action: str, asked: Any, version: Mapping[str, str]
    ) -> Answer:
        path = f"/volumes/{_safe(volume_id)}/action"
        try:
            return self._rest.request("POST", path, body={action: asked}, headers=version)
        except NotFound:
            raise NotFound(kind="Volume", id=volume_id) from None

    def volume_delete(self, volume_id: str) -> Timed[None]:
        """Begin the deletion. NotFound; Invalid while the volume is attached or busy."""
        answer = self._one("DELETE", "Volume", "/volumes", volume_id)
        return self._rest.timed(answer, None)

    def attachments_of_server(self, server_id: str) -> Timed[list[Attachment]]:
        """All of them, oldest first, with their connections."""
        answer, found = self._all("/attachments/detail", "attachments", instance_id=server_id)
        return self._rest.timed(answer, [_attachment(each) for each in found])

    def attachment_create(
        self, volume_id: str, server_id: str, connector: Mapping[str, Any] | None = None
    ) -> Timed[Attachment]:
        """Claim the volume for the server; with a ``connector`` (``host``: this host's name,
        ``mountpoint``: /dev/vdb) also export it. Invalid: the volume is not available. NotFound.
        """
        body: dict[str, Any] = {"volume_uuid": volume_id, "instance_uuid": server_id}
        if connector is not None:
            body["connector"] = dict(connector)
        try:
            answer = self._call("POST", "/attachments", {"attachment": body})
        except NotFound:
            raise NotFound(kind="Volume", id=volume_id) from None
        return self._rest.timed(answer, _attachment(answer.json["attachment"]))

    def attachment_get(self, attachment_id: str) -> Timed[Attachment]:
        answer = self._one("GET", "Volume attachment", "/attachments", attachment_id)
        return self._rest.timed(answer, _attachment(answer.json["attachment"]))

    def attachment_update(
        self, attachment_id: str, connector: Mapping[str, Any]
    ) -> Timed[Attachment]:
        """Export the volume to the connector's host; may be repeated."""
        body = {"attachment": {"connector": dict(connector)}}
        answer = self._one("PUT", "Volume attachment", "/attachments", attachment_id, body)
        return self._rest.timed(answer, _attachment(answer.json["attachment"]))

    def attachment_complete(self, attachment_id: str) -> Timed[None]:
        """The guest has the disk; may be repeated."""
        path = f"/attachments/{_safe(attachment_id)}/action"
        try:
            answer = self._call("POST", path, {"os-complete": None})
        except NotFound:
            raise NotFound(kind="Volume attachment", id=attachment_id) from None
        return self._rest.timed(answer, None)

    def attachment_delete(self, attachment_id: str) -> Timed[None]:
        """End the export and give the volume back. NotFound: it is gone already."""
        answer = self._one("DELETE", "Volume attachment", "/attachments", attachment_id)
        return self._rest.timed(answer, None)

    def _one(self, method: str, kind: str, path: str, id: str, body: Any = None) -> Answer:
        try:
            return self._call(method, f"{path}/{_safe(id)}", body)
        except NotFound:
            raise NotFound(kind=kind, id=id) from None

    def _all(self, path: str, key: str, **query: str) -> tuple[Answer, list[Any]]:
        """Every page of a list, and the last page's answer. All projects' where the token sees
        them; the wish is passed over where it does not.
        """
        found: list[Any] = []
        wanted: dict[str, str] = {**query, "all_tenants": "1"}
        while True:
            answer = self._rest.request("GET", path, query=wanted, headers=_VERSION)
            page: Sequence[Any] = answer.json[key]
            found.extend(page)
            if not page or f"{key}_links" not in answer.json:
                return answer, found
            wanted["marker"] = page[-1]["id"]

    def _call(self, method: str, path: str, body: Any = None) -> Answer:
        return self._rest.request(method, path, body=body, headers=_VERSION)


def _safe(text: str) -> str:
    return quote(text, safe="")


def _without_project(endpoint: str) -> str:
    """``http://h:8776/v3/PROJECT`` without the project."""
    return re.sub(r"(/v3)(/[^/]*)?/?$", r"\1", endpoint)


def _volume(body: Mapping[str, Any], project_id: str = "") -> Volume:
    return Volume(
        id=body["id"],
        project_id=body.get("os-vol-tenant-attr:tenant_id") or project_id,
        name=body.get("name") or "",
        status=body["status"],
        size_gb=body["size"],
        metadata=body.get("metadata") or {},
        bootable=body.get("bootable") == "true",
        volume_type=body.get("volume_type") or "",
        multiattach=bool(body.get("multiattach")),
        image_metadata=body.get("volume_image_metadata") or {},
        servers=[each["server_id"] for each in body.get("attachments") or ()],
        migration_status=body.get("migration_status") or "",
    )


def _snapshot(body: Mapping[str, Any]) -> Snapshot:
    return Snapshot(id=body["id"], volume_id=body["volume_id"], status=body["status"])


def _attachment(body: Mapping[str, Any]) -> Attachment:
    return Attachment(
        id=body["id"],
        volume_id=body["volume_id"],
        server_id=body.get("instance") or "",
        status=body["status"],
        connection_info=_connection(body.get("connection_info") or {}),
    )


def _connection(flat: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """On the wire the driver's data stand beside its name; here they are apart."""
    if not flat.get("driver_volume_type"):
        return None
    data = {key: value for key, value in flat.items() if key not in _BESIDE}
    return {"driver_volume_type": flat["driver_volume_type"], "data": data}
