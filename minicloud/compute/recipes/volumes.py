"""Steps 25 to 27: the server's volumes, exported to this host.

A volume made for a launch carries the server's id and the disk's number in its metadata, so a
step that may have made it can look for it. When the launch has ended, the server's row knows its
volumes, and the metadata counts no more: the user may have given the volume to another server.
Attachments are found by server id.
"""

from __future__ import annotations

import contextlib
import logging
import time

from minicloud.client.volume import Attachment, Volume
from minicloud.compute.recipes.ceph import rbd_disk
from minicloud.compute.recipes.job import Job, counted
from minicloud.compute.recipes.limits import volume_limits
from minicloud.domain.errors import HostProblem, Invalid, NotFound
from minicloud.domain.models import AttachedVolume, BlockDevice
from minicloud.kit import clock
from minicloud.virt.driver import Disk, FileDisk, NbdDisk

OWNER_KEY = "minicloud-server"
INDEX_KEY = "minicloud-index"
KEEP_KEY = "minicloud-keep"
LOG = logging.getLogger(__name__)
_LET_GO_S = 30.0
_READY_S = 600.0
"""A volume that is made of an image takes its time."""
_READY = ("available", "reserved", "attaching", "in-use")
_BECOMING = ("creating", "downloading", "detaching")
"""What a volume is for a while because of its server."""


def ensure_volumes(job: Job) -> None:
    """Every volume of the server exists and is attached; leaves what the domain needs."""
    started, watch = clock.now(), time.perf_counter()
    found = job.clients.volume.attachments_of_server(job.server.id)
    job.journal.step(25, started, time.perf_counter() - watch)
    took = (found.token_ms or 0.0) / 1000
    job.journal.step(26, started, took, service="volume")
    started, watch = clock.now(), time.perf_counter()
    job.volumes, job.volume_disks = [], {}
    job.looked_at_volumes = True
    for disk in job.server.block_devices:
        if disk.is_volume:
            volume_id = disk.volume_id or _made_volume(job, disk)
            attachment = connect(job, found.value, volume_id, disk)
            job.volume_disks[disk.number] = volume_disk(attachment, disk)
            job.volumes.append(attached_volume(attachment, disk))
    detail = counted(len(job.volumes), "volume")
    job.journal.step(27, started, time.perf_counter() - watch, detail=detail)


def connect(
    job: Job,
    known: list[Attachment],
    volume_id: str,
    disk: BlockDevice,
    *,
    from_elsewhere: bool = False,
) -> Attachment:
    """The server's attachment of the volume, connected to this host; ``known``: those it has,
    ``from_elsewhere``: which may be connected to another host.
    """
    client = job.clients.volume
    connector: dict[str, object] = {
        "host": job.tools.name,
        "mountpoint": f"/dev/{disk.device}",
        # Our guests come again when an exporter was away: see virt.libvirt.patience.
        "nbd_reconnect": True,
        # And they open files themselves, to write there: see virt.libvirt.layers.
        "local_files": disk.device_type != "cdrom",
    }
    attachment = attachment_of(known, volume_id)
    if attachment is None:
        return client.attachment_create(volume_id, job.server.id, connector).value
    if from_elsewhere or not attachment.connection_info:
        return client.attachment_update(attachment.id, connector).value
    return attachment


def attachment_of(known: list[Attachment], volume_id: str) -> Attachment | None:
    return next((each for each in known if each.volume_id == volume_id), None)


def attached_volume(attachment: Attachment, disk: BlockDevice) -> AttachedVolume:
    """As the server shows it."""
    return AttachedVolume(
        volume_id=attachment.volume_id,
        attachment_id=attachment.id,
        device=f"/dev/{disk.device}",
        delete_on_termination=disk.delete_on_termination,
        tag=disk.tag,
    )


def complete_volumes(job: Job) -> None:
    """The guest has its disks: the volumes are in use."""
    for volume in job.volumes:
        job.clients.volume.attachment_complete(volume.attachment_id)


def _made_volume(job: Job, disk: BlockDevice) -> str:
    for volume in _made_for(job):
        if volume.metadata.get(INDEX_KEY) == str(disk.number):
            return _when_ready(job, volume.id)
    metadata = {OWNER_KEY: job.server.id, INDEX_KEY: str(disk.number)}
    if not disk.delete_on_termination:
        metadata[KEEP_KEY] = "yes"
    source = {f"{disk.source_type}_id": disk.source_id} if disk.source_id else {}
    volume = job.clients.volume.volume_create(
        project_id=job.server.project_id,
        size_gb=disk.size_gb,
        metadata=metadata,
        volume_type=disk.volume_type,
        **source,
    ).value
    return _when_ready(job, volume.id)


def _made_for(job: Job) -> list[Volume]:
    """Volumes made for the server. Users write metadata: another project's is not ours."""
    found = job.clients.volume.volumes_by_metadata(OWNER_KEY, job.server.id).value
    return [volume for volume in found if volume.project_id in ("", job.server.project_id)]


def _when_ready(job: Job, volume_id: str) -> str:
    """Wait until the volume can be attached. HostProblem when it does not become so."""
    status = _settled(job, volume_id)
    if status not in _READY:
        raise HostProblem(reason=f"volume {volume_id} is {status}")
    return volume_id


def _settled(job: Job, volume_id: str) -> str:
    """The volume's status when it can be attached or is in error, or after a long time."""
    give_up_at = time.monotonic() + _READY_S
    pause = 0.05
    while True:
        status = job.clients.volume.volume_get(volume_id).value.status
        if status in _READY or status.startswith("error") or time.monotonic() > give_up_at:
            return status
        if job.cancelled.wait(pause):
            raise HostProblem(reason=f"volume {volume_id} is not waited for any more")
        pause = min(pause * 2, 1.0)


def volume_disk(attachment: Attachment, disk: BlockDevice) -> Disk:
    """What the domain gets of a connected attachment."""
    info = attachment.connection_info or {}
    data = info.get("data") or {}
    limits = volume_limits(attachment.volume_id, data.get("qos_specs"))
    if info.get("driver_volume_type") == "local" and data.get("format") in ("raw", "qcow2"):
        return FileDisk(
            path=data["device_path"],
            format=data["format"],
            target=disk.device,
            boot_index=disk.boot_index,
            serial=attachment.volume_id,
            readonly=data.get("access_mode") == "ro",
            cdrom=disk.device_type == "cdrom",
            bus=disk.disk_bus,
            foreign=True,
            direct=bool(data.get("direct_io")),
            limits=limits,
        )
    if info.get("driver_volume_type") == "rbd":
        return rbd_disk(attachment, disk)
    if info.get("driver_volume_type") != "nbd":
        raise HostProblem(
            reason=f"volume {attachment.volume_id} is offered as "
            f"{info.get('driver_volume_type')}, this host attaches nbd, rbd and local files only"
        )
    return NbdDisk(
        export=data["export"],
        target=disk.device,
        socket=data.get("socket") or "",
        host=data.get("host") or "",
        port=data.get("port") or 0,
        tls=bool(data.get("tls")),
        reconnect_s=data.get("reconnect_delay") or 0,
        boot_index=disk.boot_index,
        serial=attachment.volume_id,
        readonly=data.get("access_mode") == "ro",
        cdrom=disk.device_type == "cdrom",
        bus=disk.disk_bus,
        limits=limits,
    )


def release_volumes(job: Job) -> None:
    """The volumes stay the server's, but no host is connected to them.

    A new claim without a connection comes before the old one goes, so that nobody else can take
    a volume in between.
    """
    known = job.clients.volume.attachments_of_server(job.server.id).value
    for volume_id in {each.volume_id for each in known}:
        _release(job, known, volume_id)


def _release(job: Job, known: list[Attachment], volume_id: str) -> None:
    client = job.clients.volume
    attachments = [each for each in known if each.volume_id == volume_id]
    connected = [each for each in attachments if each.connection_info]
    if len(connected) == len(attachments):
        client.attachment_create(volume_id, job.server.id)
    for attachment in connected:
        with contextlib.suppress(NotFound):
            client.attachment_delete(attachment.id)


def reimage_root(job: Job) -> None:
    """A root volume that is to have another image's bytes has them; no host is connected to it.

    The guest is off. A volume that gets its bytes already, since before this host was killed, is
    waited for and gets them again.
    """
    root, image_id = job.server.root_volume, job.params.get("reimage")
    if root is None or not image_id:
        return
    known = job.clients.volume.attachments_of_server(job.server.id).value
    _release(job, known, root.volume_id)
    _settled(job, root.volume_id)
    job.clients.volume.volume_reimage(root.volume_id, image_id)
    status = _settled(job, root.volume_id)
    if status not in _READY:
        raise HostProblem(
            reason=f"volume {root.volume_id} did not get the bytes of image {image_id}: it is "
            f"{status}; its messages may say why"
        )


def attach_root_again(job: Job) -> None:
    """The server has its root volume as before; one that is in error it only keeps."""
    root = job.server.root_volume
    if root is None or not job.params.get("reimage"):
        return
    if _settled(job, root.volume_id) in _READY:
        ensure_volumes(job)
        complete_volumes(job)


def drop_volumes(job: Job) -> None:
    """Nothing is attached; volumes that were made or were to go with the server are deleted."""
    _drop(job, everything_made=True)


def drop_volumes_at_delete(job: Job) -> None:
    """As ``drop_volumes``, but a volume that the user wants to keep stays."""
    _drop(job, everything_made=False)


def _drop(job: Job, *, everything_made: bool) -> None:
    client = job.clients.volume
    for attachment in client.attachments_of_server(job.server.id).value:
        with contextlib.suppress(NotFound):
            client.attachment_delete(attachment.id)
    doomed: set[str] = set()
    if not everything_made:
        doomed.update(
            disk.volume_id
            for disk in job.server.block_devices
            if disk.volume_id and disk.delete_on_termination
        )
    if job.server.launched_at is None and any(
        disk.is_volume and not disk.volume_id for disk in job.server.block_devices
    ):
        for volume in _made_for(job):
            if everything_made or KEEP_KEY not in volume.metadata:
                doomed.add(volume.id)
    for volume_id in sorted(doomed):
        _delete_volume(job, volume_id)


def _is_becoming(volume: Volume) -> bool:
    return volume.status in _BECOMING or volume.migrates


def _delete_volume(job: Job, volume_id: str) -> None:
    """The volume is being deleted, unless something else needs it."""
    give_up_at = time.monotonic() + _LET_GO_S
    client, pause = job.clients.volume, 0.05
    try:
        while _is_becoming(volume := client.volume_get(volume_id).value):
            if job.cancelled.wait(pause) or time.monotonic() > give_up_at:
                raise HostProblem(
                    reason=f"volume {volume_id} cannot be deleted while {volume.status}"
                )
            pause = min(pause * 2, 1.0)
        client.volume_delete(volume_id)
    except NotFound:
        return
    except Invalid as problem:
        # Another server or a snapshot holds it: it is not this server's to delete any more.
        LOG.warning("Volume %s of server %s stays: %s", volume_id, job.server.id, problem.message)
