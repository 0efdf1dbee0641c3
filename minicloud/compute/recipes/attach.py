"""Disks and NICs that a server gets, and loses, after its launch.

What is to come or go is in the operation's parameters (``Job.disk``, ``Job.nic``); the server's row
says what the server has besides. A guest that is off gets its devices when it is started; a server
that no host has only keeps the claim on its volumes. Each undo leaves the server as it was.
"""

from __future__ import annotations

import contextlib

import msgspec

from minicloud.client.network import Port
from minicloud.client.volume import Attachment
from minicloud.compute.recipes.job import Job
from minicloud.compute.recipes.ports import drop_port, is_port_of, port_for, wire
from minicloud.compute.recipes.volumes import (
    attached_volume,
    attachment_of,
    connect,
    volume_disk,
)
from minicloud.domain.errors import HostProblem, NotFound
from minicloud.domain.ids import tap_name
from minicloud.domain.models import RequestedNic
from minicloud.virt.driver import Device, NbdDisk, Nic


# -- volumes ---------------------------------------------------------------------------------------
def claim_volume(job: Job) -> None:
    """The volume is the server's, and connected to this host where that has the server."""
    known = job.clients.volume.attachments_of_server(job.server.id).value
    disk = job.disk
    if job.server.host is not None:
        attachment = connect(job, known, disk.volume_id, disk)
        job.volume_disks[disk.number] = volume_disk(attachment, disk)
    else:
        attachment = attachment_of(known, disk.volume_id) or (
            job.clients.volume.attachment_create(disk.volume_id, job.server.id).value
        )
    job.volumes = [*job.server.volumes, attached_volume(attachment, disk)]


def give_volume_back(job: Job) -> None:
    """The server has no claim on the volume, which its guest has let go."""
    _check_let_go(job, _disk_by_serial(job))
    attachment = _attachment(job)
    if attachment is not None:
        with contextlib.suppress(NotFound):
            job.clients.volume.attachment_delete(attachment.id)


def plug_disk(job: Job) -> None:
    """The guest has the disk, where a host has the guest."""
    disk = job.volume_disks.get(job.disk.number)
    if disk is not None:
        job.tools.driver.ensure_device(job.server.id, disk)


def plug_disk_back(job: Job) -> None:
    """The guest has the disk, if the server still has its volume."""
    attachment = _attachment(job)
    if attachment is not None and attachment.connection_info:
        job.tools.driver.ensure_device(job.server.id, volume_disk(attachment, job.disk))


def unplug_disk(job: Job) -> None:
    """The guest has let the disk go, whether or not its volume is still there."""
    _unplug(job, _disk_by_serial(job))


def complete_attachment(job: Job) -> None:
    """The volume is in use."""
    if job.server.host is not None:
        job.clients.volume.attachment_complete(job.volumes[-1].attachment_id)
    job.looked_at_volumes = True


def begin_detaching(job: Job) -> None:
    """The volume shows what is about to happen; one that no guest has is not asked."""
    client, volume_id = job.clients.volume, job.disk.volume_id
    if client.volume_get(volume_id).value.status == "in-use":
        client.begin_detaching(volume_id)


def roll_detaching(job: Job) -> None:
    client, volume_id = job.clients.volume, job.disk.volume_id
    with contextlib.suppress(NotFound):
        if (
            _attachment(job) is not None
            and client.volume_get(volume_id).value.status == "detaching"
        ):
            client.roll_detaching(volume_id)


def lose_disk(job: Job) -> None:
    """The guest has let the disk go, and the server is without it."""
    unplug_disk(job)
    gone = job.disk.volume_id
    job.volumes = [volume for volume in job.server.volumes if volume.volume_id != gone]
    job.looked_at_volumes = True


def show_new_size(job: Job) -> None:
    """The guest sees how large the volume is now."""
    volume = job.clients.volume.volume_get(job.disk.volume_id).value
    attachment = _attachment(job)
    if attachment is not None and attachment.connection_info:
        disk = volume_disk(attachment, job.disk)
        job.tools.driver.ensure_disk_size(job.server.id, disk, volume.size_gb << 30)


def _disk_by_serial(job: Job) -> NbdDisk:
    """As much of the disk as it is found by."""
    disk = job.disk
    return NbdDisk(export="", target=disk.device, serial=disk.volume_id)


def _attachment(job: Job) -> Attachment | None:
    known = job.clients.volume.attachments_of_server(job.server.id).value
    return attachment_of(known, job.disk.volume_id)


# -- NICs ------------------------------------------------------------------------------------------
def ensure_new_port(job: Job) -> None:
    """The NIC has a port, wired on this host."""
    wanted = _wanted(job)
    known = list(job.clients.network.ports_of_server(job.server.id).value)
    nic, info = wire(job, wanted, port_for(job, wanted, known))
    job.nics = [nic]
    job.nic_infos = [*job.server.nics, info]


def drop_new_port(job: Job) -> None:
    """The port is deleted or free, and the guest has let its NIC go."""
    port = _port(job)
    if port is not None:
        _check_let_go(job, _nic_by_port(job, port.id))
        drop_port(job, port)


def plug_nic(job: Job) -> None:
    """The guest has the NIC."""
    job.tools.driver.ensure_device(job.server.id, job.nics[0])
    job.looked_at_ports = True


def plug_nic_back(job: Job) -> None:
    """The guest has the NIC, if the server still has its port here."""
    port = _port(job)
    if port is not None and port.host == job.tools.name and port.wiring is not None:
        nic, _ = wire(job, _wanted(job), port)
        job.tools.driver.ensure_device(job.server.id, nic)


def unplug_nic(job: Job) -> None:
    """The guest has let the NIC go, whether or not its port is still there."""
    port_id = _port_id(job)
    if port_id:
        _unplug(job, _nic_by_port(job, port_id))


def lose_nic(job: Job) -> None:
    """The guest has let the NIC go, and the server is without it."""
    unplug_nic(job)
    gone = job.params["port_id"]
    job.nic_infos = [nic for nic in job.server.nics if nic.port_id != gone]
    job.looked_at_ports = True


def end_port(job: Job) -> None:
    """The port is deleted or free."""
    drop_new_port(job)
    job.tools.network.ensure_no_port(job.params["port_id"])


def _port_id(job: Job) -> str:
    """Of the NIC that comes or goes; empty: it has no port yet."""
    known: str = job.params.get("port_id", "")
    if known:
        return known
    port = _port(job)
    return "" if port is None else port.id


def _nic_by_port(job: Job, port_id: str) -> Nic:
    """As much of the NIC as it is found by."""
    mac = next((nic.mac for nic in job.server.nics if nic.port_id == port_id), "")
    return Nic(tap=tap_name(port_id), mac=mac, mtu=0, port_id=port_id)


def _wanted(job: Job) -> RequestedNic:
    return msgspec.convert(job.params["nic"], RequestedNic)


def _port(job: Job) -> Port | None:
    wanted = _wanted(job)
    known = job.clients.network.ports_of_server(job.server.id).value
    return next((port for port in known if is_port_of(port, wanted)), None)


def _unplug(job: Job, device: Device) -> None:
    job.tools.driver.ensure_no_device(job.server.id, device, limit_s=job.tools.detach_s)


def _check_let_go(job: Job, device: Device) -> None:
    """Raise HostProblem while the guest has the device: nothing is pulled away under it."""
    if job.tools.driver.has_device(job.server.id, device):
        raise HostProblem(reason=f"the guest of server {job.server.id} still has the device")
