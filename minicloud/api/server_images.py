"""Images made of servers: createImage, createBackup, and the one that a shelved server becomes.

The host makes the image, record and bytes, so that no more than the operation has to outlive this
request; its id is chosen here and answered when the record is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from minicloud.api.lookups import Lookups
from minicloud.api.operations import Operator
from minicloud.api.schemas.server_bodies import Unshelve, UnshelveToZone
from minicloud.domain.errors import Conflict, Invalid, MinicloudError
from minicloud.domain.ids import new_id
from minicloud.domain.models import Server
from minicloud.domain.states import VmState
from minicloud.kit.web import Call, Reply

_INHERITED = ("architecture", "os_distro", "os_type", "os_version", "os_admin_user")
_INHERITED_PREFIXES = ("hw_",)


class ServerImages:
    """``offload``: whether a shelved server leaves its host at once."""

    def __init__(self, operator: Operator, lookups: Lookups, *, offload: bool) -> None:
        self._operator = operator
        self._lookups = lookups
        self._offload = offload

    def create(self, call: Call) -> Reply:
        return Reply(body={"image_id": self._snapshot(call)})

    def create_before_2_45(self, call: Call) -> Reply:
        """The image's id was the end of a Location."""
        return self._located(call, self._snapshot(call))

    def backup(self, call: Call) -> Reply:
        image_id = self._backup(call)
        return Reply(body={"image_id": image_id} if image_id else None)

    def backup_before_2_45(self, call: Call) -> Reply:
        image_id = self._backup(call)
        return self._located(call, image_id) if image_id else Reply()

    def shelve(self, call: Call) -> Reply:
        server = self._operator.check(call, "shelve")
        params: dict[str, Any] = {}
        if self._offload:
            params["then"] = [("shelveOffload", server.host)]
        if not server.image_id:
            self._operator.begin(call, "shelve", params)
        else:
            params.update(_image(server, f"{server.name}-shelved", {}))
            self._operator.begin(call, "shelve", params)
        return Reply()

    def shelve_offload(self, call: Call) -> Reply:
        self._operator.begin(call, "shelveOffload")
        return Reply()

    def unshelve(self, call: Call) -> Reply:
        body: Unshelve = call.body
        change = {}
        if body.availability_zone is not UNSET:
            change["availability_zone"] = body.availability_zone
        return self._unshelve(call, change, host=body.host or None)

    def unshelve_before_2_91(self, call: Call) -> Reply:
        """Where a zone could be named, and no host."""
        wanted: UnshelveToZone | None = call.body.unshelve
        change = {} if wanted is None else {"availability_zone": wanted.availability_zone}
        return self._unshelve(call, change, host=None)

    def unshelve_before_2_77(self, call: Call) -> Reply:
        return self._unshelve(call, {}, host=None)

    def _unshelve(self, call: Call, change: Mapping[str, str | None], *, host: str | None) -> Reply:
        """From the image it was kept in, on a host that the scheduler finds; or where it is."""
        if host is not None:
            call.check("os_compute_api:os-shelve:unshelve_to_host")
        server = self._operator.check(call, "unshelve_here", "unshelve")
        if server.vm_state is VmState.SHELVED:
            if change or host is not None:
                raise Invalid(
                    reason="A server that is still on its host cannot be unshelved elsewhere: "
                    "offload it first."
                )
            self._operator.begin(call, "unshelve_here")
        else:
            params = {} if host is None else {"host": host}
            self._operator.begin(call, "unshelve", params, change=change)
        return Reply()

    # -- inside ------------------------------------------------------------------------------------
    def _snapshot(self, call: Call) -> str:
        server = self._operator.check(call, "createImage")
        body = call.body
        properties = {**body.metadata, "image_type": "snapshot"}
        if not server.image_id:
            return self._snapshot_of_volumes(call, body.name, body.metadata)
        return self._begin(call, "createImage", _image(server, body.name, properties))

    def _snapshot_of_volumes(self, call: Call, name: str, metadata: Mapping[str, str]) -> str:
        """The root disk is a volume: a snapshot of every volume, and an image that names them."""
        image_id = new_id()

        def plan(server: Server) -> Mapping[str, Any]:
            properties = {
                **_inherited(server),
                **metadata,
                "root_device_name": f"/dev/{server.root_device}",
            }
            return {
                "recipe": "createImage:volumes",
                "image_id": image_id,
                "name": name,
                "properties": properties,
            }

        operation = self._operator.begin(call, "createImage", plan=plan)
        try:
            self._operator.end_of(operation)
        except MinicloudError as problem:
            if problem.http < 500:
                raise
            raise Conflict(reason=problem.message) from None
        return image_id

    def _backup(self, call: Call) -> str:
        """The id of the new image; empty where no backup is to be kept."""
        server = self._operator.check(call, "createBackup")
        body = call.body
        if not server.image_id:
            raise Invalid(reason="Backup is not supported for volume-backed instances.")
        rotation = {"backup_type": body.backup_type, "rotation": int(body.rotation)}
        properties = {
            **body.metadata,
            "image_type": "backup",
            "backup_type": body.backup_type,
        }
        image = _image(server, body.name, properties)
        return self._begin(call, "createBackup", {**image, **rotation})

    def _begin(self, call: Call, verb: str, params: Mapping[str, Any]) -> str:
        """Begin ``verb``, and return the id of its image when that is there."""
        image_id: str = params["image_id"]
        operation = self._operator.begin(call, verb, params)
        try:
            self._operator.end_of(operation, or_when=lambda: self._is_there(call, image_id))
        except MinicloudError as problem:
            if self._operator.has_done(operation, "record"):
                return image_id
            if problem.http < 500:
                raise
            raise Conflict(reason=problem.message) from None
        return image_id

    def _is_there(self, call: Call, image_id: str) -> bool:
        try:
            self._lookups.image(call.ctx, image_id)
        except MinicloudError:
            return False
        return True

    def _located(self, call: Call, image_id: str) -> Reply:
        return Reply(headers={"Location": f"{call.base_url}/v2.1/images/{image_id}"})


def _image(server: Server, name: str, properties: Mapping[str, str]) -> dict[str, Any]:
    """Of an operation: the image that its host is to make of the root disk."""
    return {
        "image_id": new_id(),
        "name": name,
        "disk_format": "qcow2",
        "min_disk": server.flavor.disk,
        "properties": {**_inherited(server), **properties},
    }


def _inherited(server: Server) -> dict[str, str]:
    kept = {
        key: value
        for key, value in server.image_properties.items()
        if key in _INHERITED or key.startswith(_INHERITED_PREFIXES)
    }
    return {
        **kept,
        "instance_uuid": server.id,
        "user_id": server.user_id,
        "owner_id": server.project_id,
        "base_image_ref": server.image_id,
        "image_location": "snapshot",
    }
