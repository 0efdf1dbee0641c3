"""Steps 25 to 27: the server's volumes, exported to this host.

A blank volume made for the server carries the server's id and its index in its metadata, so a
step that may have made it can look for it. Attachments are found by server id.
"""

from __future__ import annotations

import contextlib
import time

from minicloud.client.volume import Attachment, Volume
from minicloud.compute.recipes.job import Job, counted
from minicloud.domain.errors import HostProblem, NotFound
from minicloud.domain.ids import disk_name
from minicloud.domain.models import AttachedVolume, BlockDevice
from minicloud.kit import clock
from minicloud.virt.driver import NbdDisk

OWNER_KEY = "minicloud-server"
INDEX_KEY = "minicloud-index"
KEEP_KEY = "minicloud-keep"
_READY_S = 60.0


def ensure_volumes(job: Job) -> None:
    """Every volume of the server exists and is attached; leaves what the domain needs."""
    started, watch = clock.now(), time.perf_counter()
    found = job.clients.volume.attachments_of_server(job.server.id)
    job.journal.step(25, started, time.perf_counter() - watch)
    took = (found.token_ms or 0.0) / 1000
    job.journal.step(26, started, took, service="volume")
    started, watch = clock.now(), time.perf_counter()
    attached = {attachment.volume_id: attachment for attachment in found.value}
    job.volumes, job.volume_disks = [], []
    job.looked_at_volumes = True
    for index, (device, target) in enumerate(targets(job)):
        if device.destination_type != "volume":
            continue
        volume_id = device.volume_id or _blank_volume(job, index, device)
        attachment = attached.get(volume_id)
        connector = {"host": job.tools.name, "mountpoint": f"/dev/{target}"}
        if attachment is None:
            attachment = job.clients.volume.attachment_create(
                volume_id, job.server.id, connector
            ).value
        elif not attachment.connection_info:
            attachment = job.clients.volume.attachment_update(attachment.id, connector).value
        job.volume_disks.append(_disk(attachment, target))
        job.volumes.append(
            AttachedVolume(
                volume_id=volume_id,
                attachment_id=attachment.id,
                device=f"/dev/{target}",
                delete_on_termination=device.delete_on_termination,
                tag=device.tag,
            )
        )
    detail = counted(len(job.volumes), "volume")
    job.journal.step(27, started, time.perf_counter() - watch, detail=detail)


def targets(job: Job) -> list[tuple[BlockDevice, str]]:
    """Each disk besides the root with its device name: vdb, vdc and on."""
    return [(device, disk_name(index + 1)) for index, device in enumerate(job.server.block_devices)]


def complete_volumes(job: Job) -> None:
    """The guest has its disks: the volumes are in use."""
    for volume in job.volumes:
        job.clients.volume.attachment_complete(volume.attachment_id)


def _blank_volume(job: Job, index: int, device: BlockDevice) -> str:
    for volume in _made_for(job):
        if volume.metadata.get(INDEX_KEY) == str(index):
            return _when_ready(job, volume.id)
    metadata = {OWNER_KEY: job.server.id, INDEX_KEY: str(index)}
    if not device.delete_on_termination:
        metadata[KEEP_KEY] = "yes"
    volume = job.clients.volume.volume_create(
        project_id=job.server.project_id, size_gb=device.size_gb, name="", metadata=metadata
    ).value
    return _when_ready(job, volume.id)


def _made_for(job: Job) -> list[Volume]:
    """Blank volumes made for the server. Users write metadata: another project's is not ours."""
    found = job.clients.volume.volumes_by_metadata(OWNER_KEY, job.server.id).value
    return [volume for volume in found if volume.project_id in ("", job.server.project_id)]


def _when_ready(job: Job, volume_id: str) -> str:
    """Wait until the volume can be attached. HostProblem when it does not become so."""
    give_up_at = time.monotonic() + _READY_S
    pause = 0.05
    while True:
        status = job.clients.volume.volume_get(volume_id).value.status
        if status in ("available", "reserved", "attaching", "in-use"):
            return volume_id
        if status.startswith("error") or time.monotonic() > give_up_at:
            raise HostProblem(reason=f"volume {volume_id} is {status}")
        time.sleep(pause)
        pause = min(pause * 2, 1.0)


def _disk(attachment: Attachment, target: str) -> NbdDisk:
    info = attachment.connection_info or {}
    if info.get("driver_volume_type") != "nbd":
        raise HostProblem(
            reason=f"volume {attachment.volume_id} is offered as "
            f"{info.get('driver_volume_type')}, this host attaches nbd only"
        )
    data = info["data"]
    return NbdDisk(
        export=data["export"],
        target=target,
        socket=data.get("socket") or "",
        host=data.get("host") or "",
        port=data.get("port") or 0,
        serial=attachment.volume_id,
        readonly=data.get("access_mode") == "ro",
    )


def release_volumes(job: Job) -> None:
    """The volumes stay the server's, but no host is connected to them.

    A new claim without a connection comes before the old one goes, so that nobody else can take
    a volume in between.
    """
    client = job.clients.volume
    by_volume: dict[str, list[Attachment]] = {}
    for attachment in client.attachments_of_server(job.server.id).value:
        by_volume.setdefault(attachment.volume_id, []).append(attachment)
    for volume_id, attachments in by_volume.items():
        connected = [each for each in attachments if each.connection_info]
        if len(connected) == len(attachments):
            client.attachment_create(volume_id, job.server.id)
        for attachment in connected:
            with contextlib.suppress(NotFound):
                client.attachment_delete(attachment.id)


def drop_volumes(job: Job) -> None:
    """Nothing is attached; volumes that were to go with the server are deleted."""
    _drop(job, everything_made=True)


def drop_volumes_at_delete(job: Job) -> None:
    """As ``drop_volumes``, but a blank volume that the user wants to keep stays."""
    _drop(job, everything_made=False)


def _drop(job: Job, *, everything_made: bool) -> None:
    client = job.clients.volume
    for attachment in client.attachments_of_server(job.server.id).value:
        with contextlib.suppress(NotFound):
            client.attachment_delete(attachment.id)
    doomed = {
        device.volume_id
        for device in job.server.block_devices
        if device.volume_id and device.delete_on_termination and not everything_made
    }
    if any(d.source_type == "blank" for d in job.server.block_devices):
        for volume in _made_for(job):
            if everything_made or KEEP_KEY not in volume.metadata:
                doomed.add(volume.id)
    for volume_id in sorted(doomed):
        with contextlib.suppress(NotFound):
            client.volume_delete(volume_id)
