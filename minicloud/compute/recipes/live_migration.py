"""A guest that goes to another host while it runs: what each of the two hosts does for it.

The host that it leaves says what its disks are; the other makes empty ones, connects its volumes a
second time and wires its ports, which stay bound where the guest is. Then the hypervisors move it.
It has moved when the other host has seen it there: only then the server's row says so, and what is
left behind is removed as that of any server that lives elsewhere. Until then all can be put back.
"""

from __future__ import annotations

import contextlib

import msgspec

from minicloud.client.volume import Attachment
from minicloud.compute.passages import through
from minicloud.compute.recipes.disks import ensure_config_drive, local_disk_names
from minicloud.compute.recipes.domain import spec_of
from minicloud.compute.recipes.job import Job
from minicloud.compute.recipes.move import leave_host
from minicloud.compute.recipes.ports import ensure_ports, plug
from minicloud.compute.recipes.volumes import attached_volume, connect, volume_disk
from minicloud.compute.storage import DiskLayout
from minicloud.domain.disks import storage_mismatch
from minicloud.domain.errors import HostProblem, NotFound
from minicloud.domain.states import Power, VmState
from minicloud.virt.driver import DomainSpec, Nic


# -- on the host that the guest leaves -------------------------------------------------------------
def describe_disks(job: Job) -> None:
    """What the other host has to make. HostProblem: the guest does not run."""
    storage, server = job.tools.storage, job.server
    domain = job.tools.driver.get(server.id)
    if domain is None or domain.power not in (Power.RUNNING, Power.PAUSED):
        raise HostProblem(reason=f"the guest of server {server.id} does not run")
    if why := storage_mismatch(server, job.params.get("block_migration")):
        raise HostProblem(reason=why)
    layouts = [storage.layout(server.id, name) for name in local_disk_names(job)]
    whole = not all(_can_be_had(job, layout.base) for layout in layouts if layout.base)
    if whole:
        layouts = [msgspec.structs.replace(layout, base="") for layout in layouts]
    job.found = {"disks": msgspec.to_builtins(layouts), "whole": whole}


def _can_be_had(job: Job, image_id: str) -> bool:
    """Whether another host can have what a disk lies on; a shelved server's image is gone."""
    try:
        return job.clients.image.image_get(image_id).value.status == "active"
    except NotFound:
        return False


def move_guest(job: Job) -> None:
    """The guest is not here any more, as far as this host can tell."""
    assert job.move is not None
    driver, server = job.tools.driver, job.server
    domain = driver.get(server.id)
    if domain is None or (domain.power is Power.PAUSED and not _is_paused(job)):
        return  # an earlier try may have left it so: the other host knows
    spec = msgspec.convert(job.params["found"]["spec"], DomainSpec)
    try:
        with through(job.move.door(), driver.ways_out(server.id)):
            driver.migrate(
                spec,
                whole=job.params["found"]["whole"],
                paused=_is_paused(job),
                steer=job.move.steer,
            )
    finally:
        driver.forget_ways(server.id)


def stay(job: Job) -> None:
    """The guest goes on here as before."""
    job.tools.driver.ensure_stays(job.server.id, paused=_is_paused(job))


# -- on the host that it goes to -------------------------------------------------------------------
def ensure_bases(job: Job) -> None:
    """What the server's disks lie on is in this host's cache."""
    for base in {layout.base for layout in _layouts(job) if layout.base}:
        image = job.clients.image.image_get(base).value
        job.tools.images.ensure(image, job.clients.image, server_id=job.server.id)


def ensure_empty_disks(job: Job) -> None:
    for layout in _layouts(job):
        job.tools.storage.ensure_empty(job.server.id, layout)


def await_ports(job: Job) -> None:
    """The server's ports have their TAPs here; what is for them goes on to where they are bound."""
    client, here = job.clients.network, job.tools.name
    nics: dict[str, Nic] = {}
    for port in client.ports_of_server(job.server.id).value:
        awaited = client.port_await(port, here).value
        nics[port.id] = plug(job, awaited, awaited=awaited.host != here)
    # As the guest has them, and as its config drive tells of them.
    job.nic_infos = list(job.server.nics)
    job.nics = [nics[nic.port_id] for nic in job.server.nics if nic.port_id in nics]


def connect_volumes(job: Job) -> None:
    """Every volume of the server's is connected to this host, too."""
    # A move to a third host that was given up may have left attachments there.
    _connect_volumes(job, from_elsewhere=True)


def _connect_volumes(job: Job, *, from_elsewhere: bool) -> None:
    known = _second_attachments(job)
    job.volumes, job.volume_disks = [], {}
    for disk in job.server.block_devices:
        if disk.is_volume:
            attachment = connect(job, known, disk.volume_id, disk, from_elsewhere=from_elsewhere)
            job.volume_disks[disk.number] = volume_disk(attachment, disk)
            job.volumes.append(attached_volume(attachment, disk))


def describe_domain(job: Job) -> None:
    """What the guest is here, for the host that it comes from."""
    ensure_config_drive(job)
    found = job.params["found"]
    spec = job.tools.driver.expect(spec_of(job))
    job.found = {**found, "spec": msgspec.to_builtins(spec)}


def ensure_arrived(job: Job) -> None:
    spec = msgspec.convert(job.params["found"]["spec"], DomainSpec)
    job.tools.driver.ensure_arrived(spec, paused=_is_paused(job))


def bind_ports(job: Job) -> None:
    """The ports are here, where the guest is."""
    ensure_ports(job)
    for port in job.clients.network.ports_of_server(job.server.id).value:
        job.clients.network.port_await(port, "")


def keep_second_attachments(job: Job) -> None:
    """The volumes are attached here alone."""
    _connect_volumes(job, from_elsewhere=False)
    job.looked_at_volumes = True
    client = job.clients.volume
    for volume in job.volumes:
        client.attachment_complete(volume.attachment_id)
    _drop_attachments(job, {volume.attachment_id for volume in job.volumes})


def shut_door(job: Job) -> None:
    job.tools.passages.close(job.server.id)
    job.tools.driver.forget_ways(job.server.id)


# -- where it went wrong ---------------------------------------------------------------------------
def leave_target(job: Job) -> None:
    """Nothing of the server is here, unless this is another host's work, which is down."""
    if job.params["to"] != job.tools.name:
        return
    shut_door(job)
    leave_host(job)


def keep_ports(job: Job) -> None:
    """The ports are bound where the server is, and awaited nowhere."""
    client, host = job.clients.network, job.server.host or ""
    for port in client.ports_of_server(job.server.id).value:
        with contextlib.suppress(NotFound):
            if port.host == job.params["to"]:
                port = client.port_bind(port.id, job.server.id, host).value
            client.port_await(port, "")


def keep_first_attachments(job: Job) -> None:
    _drop_attachments(job, _first_attachments(job))


# -- inside ----------------------------------------------------------------------------------------
def _is_paused(job: Job) -> bool:
    return job.operation.prior_state is VmState.PAUSED


def _layouts(job: Job) -> list[DiskLayout]:
    return msgspec.convert(job.params["found"]["disks"], list[DiskLayout])


def _first_attachments(job: Job) -> set[str]:
    """Those that the server's row knows: of the host that it is on."""
    return {volume.attachment_id for volume in job.server.volumes}


def _second_attachments(job: Job) -> list[Attachment]:
    known = job.clients.volume.attachments_of_server(job.server.id).value
    first = _first_attachments(job)
    return [each for each in known if each.id not in first]


def _drop_attachments(job: Job, kept: set[str]) -> None:
    client = job.clients.volume
    volumes = {disk.volume_id for disk in job.server.block_devices if disk.is_volume}
    for each in client.attachments_of_server(job.server.id).value:
        if each.id not in kept and each.volume_id in volumes:
            with contextlib.suppress(NotFound):
                client.attachment_delete(each.id)
