"""A volume in another's place, below a guest that goes on: how volumes move between backends.

The volume service has made a new volume where the bytes are to go; ``Job.disk`` is the old one's
disk. From the moment when the server's attachment of the new one is complete, the guest has it, or
every write goes to both and the next thing is that it goes over: that decides whether what was cut
short goes on or back. In the end the new volume's bytes are the old volume's, which keeps its id.
"""

from __future__ import annotations

import contextlib

import msgspec

from minicloud.client.volume import Attachment
from minicloud.compute.recipes.job import Job
from minicloud.compute.recipes.volumes import attachment_of, connect, volume_disk
from minicloud.domain.errors import Invalid, NotFound
from minicloud.domain.models import BlockDevice
from minicloud.virt.driver import Disk


def claim_place(job: Job) -> None:
    """The new volume is the server's too, and connected to this host."""
    connect(job, _attachments(job), job.params["new_volume"], job.disk)


def move_disk(job: Job) -> None:
    """The guest has its disk in the new volume."""
    client = job.clients.volume
    attachment = connect(job, _attachments(job), job.params["new_volume"], job.disk)

    def complete() -> None:
        client.attachment_complete(attachment.id)

    disk = _disk(attachment, job.disk)
    job.tools.driver.ensure_disk_moved(job.server.id, disk, ready=complete, cancelled=job.cancelled)
    complete()
    if job.params["grows_to_gb"]:
        job.tools.driver.ensure_disk_size(job.server.id, disk, job.params["grows_to_gb"] << 30)
    job.volumes = [
        msgspec.structs.replace(each, attachment_id=attachment.id)
        if each.volume_id == job.disk.volume_id
        else each
        for each in job.server.volumes
    ]
    job.looked_at_volumes = True


def leave_old_place(job: Job) -> None:
    """The old volume's bytes are where the new one's were."""
    with contextlib.suppress(NotFound):
        job.clients.volume.attachment_delete(job.params["old_attachment"])
    _end(job, failed=False)


def give_place_up(job: Job) -> None:
    """No copy goes on, and the server has only that of the two volumes which its guest has."""
    client, known = job.clients.volume, _attachments(job)
    there, moved = attachment_of(known, job.params["new_volume"]), False
    if there is not None and there.connection_info:
        has_it = job.tools.driver.end_disk_move(job.server.id, _disk(there, job.disk))
        moved = there.status == "attached" if has_it is None else has_it
    left = attachment_of(known, str(job.disk.volume_id)) if moved else there
    if left is not None:
        with contextlib.suppress(NotFound):
            client.attachment_delete(left.id)
    _end(job, failed=not moved)


def _end(job: Job, *, failed: bool) -> None:
    """The volume service knows which of the two is the guest's; it may have known before."""
    client, volume_id, new_id = job.clients.volume, job.disk.volume_id, job.params["new_volume"]
    try:
        if client.volume_get(new_id).value.migration_status == f"target:{volume_id}":
            client.migration_complete(str(volume_id), new_id, failed=failed)
    except (NotFound, Invalid):
        return


def _disk(attachment: Attachment, disk: BlockDevice) -> Disk:
    """The guest goes on to know it by the old volume's id."""
    return msgspec.structs.replace(volume_disk(attachment, disk), serial=str(disk.volume_id))


def _attachments(job: Job) -> list[Attachment]:
    return job.clients.volume.attachments_of_server(job.server.id).value
