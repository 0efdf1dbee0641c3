"""A server's volumes: listed from its row, attached and detached while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from minicloud.api.block_devices import check_free
from minicloud.api.lookups import Lookups
from minicloud.api.operations import Operator
from minicloud.api.schemas.attachment_bodies import VolumeAttach, VolumeUpdate
from minicloud.api.schemas.fields import truth
from minicloud.api.scope import check_unlocked, server_of
from minicloud.api.volume_swap import VolumeSwap
from minicloud.client.volume import Volume
from minicloud.db import servers
from minicloud.domain.disks import known_disks, next_device, next_number
from minicloud.domain.errors import Conflict, Invalid, MinicloudError, NotAttached, WrongState
from minicloud.domain.ids import derive
from minicloud.domain.models import AttachedVolume, BlockDevice, Server
from minicloud.domain.states import VERBS, VmState
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Reply

_SHELVED = (VmState.SHELVED, VmState.SHELVED_OFFLOADED)


class VolumeAttachments:
    def __init__(self, database: Database, operator: Operator, lookups: Lookups) -> None:
        self._database = database
        self._operator = operator
        self._lookups = lookups
        self._swap = VolumeSwap(database, operator, lookups)

    # -- reading -----------------------------------------------------------------------------------
    def index(self, call: Call) -> Any:
        server = self._of(call)
        limit, offset = call.number("limit"), call.number("offset", 0) or 0
        found = server.volumes[offset : None if limit is None else offset + limit]
        return {"volumeAttachments": [_view(server, volume) for volume in found]}

    def show(self, call: Call) -> Any:
        server = self._of(call)
        return {"volumeAttachment": _view(server, _attached(server, call.params["volume_id"]))}

    # -- attaching ---------------------------------------------------------------------------------
    def attach(self, call: Call) -> Any:
        return self._attach(call, shelved=True, shared=True)

    def attach_before_2_60(self, call: Call) -> Any:
        """A volume of several servers could not be named."""
        return self._attach(call, shelved=True, shared=False)

    def attach_before_2_20(self, call: Call) -> Any:
        """Nor could a shelved server get one."""
        return self._attach(call, shelved=False, shared=False)

    def _attach(self, call: Call, *, shelved: bool, shared: bool) -> Any:
        body: VolumeAttach = call.body
        server = self._operator.check(call, "attach_volume")
        volume = self._lookups.volume(call.ctx, body.volume_id)
        keep = not truth(body.delete_on_termination, "delete_on_termination")

        def plan(now: Server) -> Mapping[str, Any]:
            if not shelved:
                _refuse_shelved(now, "attach_volume")
            _check_new(now, volume, tag=body.tag or "", shared=shared)
            disk = BlockDevice(
                number=next_number(known_disks(now)),
                device=next_device(known_disks(now)),
                source_type="volume",
                destination_type="volume",
                volume_id=volume.id,
                size_gb=volume.size_gb,
                delete_on_termination=not keep,
                tag=body.tag or "",
            )
            return {"disk": msgspec.to_builtins(disk)}

        operation = self._operator.begin(call, "attach_volume", plan=plan)
        try:
            self._operator.end_of(operation)
        except MinicloudError as problem:
            if problem.http < 500:
                raise
            raise Conflict(reason=problem.message) from None
        view = {
            "id": volume.id,
            "volumeId": volume.id,
            "serverId": server.id,
            "device": f"/dev/{operation.params['disk']['device']}",
            "tag": body.tag or None,
            "delete_on_termination": not keep,
        }
        return {"volumeAttachment": view}

    # -- detaching ---------------------------------------------------------------------------------
    def detach(self, call: Call) -> Reply:
        return self._detach(call, shelved=True)

    def detach_before_2_20(self, call: Call) -> Reply:
        return self._detach(call, shelved=False)

    def _detach(self, call: Call, *, shelved: bool) -> Reply:
        volume_id = call.params["volume_id"]

        def plan(server: Server) -> Mapping[str, Any]:
            if not shelved:
                _refuse_shelved(server, "detach_volume")
            disk = _disk(server, volume_id)
            if disk.is_root:
                raise Invalid(reason="Cannot detach a root device volume")
            return {
                "disk": msgspec.to_builtins(disk),
                "then": [("detach_volume:end", None)],
            }

        self._operator.begin(call, "detach_volume", plan=plan)
        return Reply()

    # -- changing ----------------------------------------------------------------------------------
    def update(self, call: Call) -> Reply:
        """Since 2.85: whether the volume goes with the server; another volume is a swap."""
        body: VolumeUpdate = call.body
        volume_id = call.params["volume_id"]
        swaps = body.volume_id != volume_id
        call.check(_SWAP if swaps else "os_compute_api:os-volumes-attachments:update")
        with self._database.write() as tx:
            server = server_of(tx, call, lock=True)
            check_unlocked(call.ctx, server)
            attached, disk = _attached(server, volume_id), _disk(server, volume_id)
            _check_fixed(body, server, attached)
            if body.delete_on_termination is not UNSET:
                goes = truth(body.delete_on_termination, "delete_on_termination")
                volumes = [
                    msgspec.structs.replace(v, delete_on_termination=goes) if v is attached else v
                    for v in server.volumes
                ]
                disks = [
                    msgspec.structs.replace(d, delete_on_termination=goes) if d is disk else d
                    for d in server.block_devices
                ]
                servers.server_update(tx, server.id, volumes=volumes, block_devices=disks)
        if swaps:
            self._swap.begin(call, volume_id, body.volume_id)
        return Reply()

    def swap(self, call: Call) -> Reply:
        """Before 2.85 a PUT could only be a swap."""
        self._swap.begin(call, call.params["volume_id"], call.body.volume_id)
        return Reply()

    def _of(self, call: Call) -> Server:
        with self._database.read() as tx:
            return server_of(tx, call)


_SWAP = "os_compute_api:os-volumes-attachments:swap"


def _check_new(server: Server, volume: Volume, *, tag: str, shared: bool) -> None:
    """Raise Invalid unless the server can get the volume."""
    if any(disk.volume_id == volume.id for disk in server.block_devices):
        whose = "already attached" if volume.multiattach else (
            f"is already attached to instances: {server.id}"
        )  # fmt: skip
        raise Invalid(reason=f"Invalid volume: volume {volume.id} {whose}")
    if server.vm_state is VmState.SHELVED_OFFLOADED:
        if tag:
            raise Invalid(
                reason="Tagged volume attachment is not supported for shelved-offloaded instances."
            )
        if volume.multiattach:
            raise Invalid(
                reason="Attaching multiattach volumes is not supported for shelved-offloaded "
                "instances."
            )
    check_free(volume, shared=shared)


def _check_fixed(body: VolumeUpdate, server: Server, attached: AttachedVolume) -> None:
    """Raise Invalid for a change of what cannot change."""
    fixed = {
        "id": (body.id, attached.volume_id),
        "serverId": (body.server_id, server.id),
        "device": (body.device, attached.device),
        "tag": (body.tag, attached.tag or None),
    }
    for name, (given, is_now) in fixed.items():
        if given is not UNSET and given != is_now:
            raise Invalid(reason=f"The {name} property is not mutable")


def _refuse_shelved(server: Server, verb: str) -> None:
    if server.vm_state in _SHELVED:
        allowed = sorted(map(str, VERBS[verb].start - frozenset(_SHELVED)))
        raise WrongState(verb=verb, id=server.id, attribute="vm_state",
                         state=str(server.vm_state), allowed=allowed)  # fmt: skip


def _attached(server: Server, volume_id: str) -> AttachedVolume:
    for volume in server.volumes:
        if volume.volume_id == volume_id:
            return volume
    raise NotAttached(instance=server.id, volume=volume_id)


def _disk(server: Server, volume_id: str) -> BlockDevice:
    for disk in server.block_devices:
        if disk.volume_id == volume_id:
            return disk
    raise NotAttached(instance=server.id, volume=volume_id)


def _view(server: Server, volume: AttachedVolume) -> dict[str, Any]:
    return {
        "volumeId": volume.volume_id,
        "serverId": server.id,
        "device": volume.device,
        "tag": volume.tag or None,
        "delete_on_termination": volume.delete_on_termination,
        "attachment_id": volume.attachment_id,
        "bdm_uuid": derive(server.id, volume.volume_id),
    }
