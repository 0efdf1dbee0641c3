"""Steps 22 to 24: a port for every NIC, wired on this host.

Ports are found again by the server that they belong to (``device_id``); a port that the user
made beforehand is bound here and let go, never deleted.
"""

from __future__ import annotations

import contextlib
import time

import msgspec

from minicloud.client.network import Port
from minicloud.client.rest import Timed
from minicloud.compute.recipes.job import Job, counted
from minicloud.compute.recipes.limits import nic_limits
from minicloud.compute.wiring import ask_wiring
from minicloud.domain.errors import HostProblem, NotFound
from minicloud.domain.models import NicInfo, RequestedNic
from minicloud.hostnet.wiring import NetworkWiring, PortWiring
from minicloud.kit import clock
from minicloud.virt.driver import Nic


def ensure_ports(job: Job) -> None:
    """Find, make or bind the server's ports, then wire them."""
    started, watch = clock.now(), time.perf_counter()
    found = job.clients.network.ports_of_server(job.server.id)
    spare = list(found.value)
    ports = [(wanted, port_for(job, wanted, spare)) for wanted in job.server.requested_nics]
    asked = time.perf_counter() - watch
    job.journal.step(22, started, asked, detail=counted(len(ports), "port"))
    _token_step(job, started, found)
    _wire(job, ports)


def port_for(job: Job, wanted: RequestedNic, spare: list[Port]) -> Port:
    """The port of a NIC: one of ``spare``, which the server has already, or a new or bound one."""
    host, server = job.tools.name, job.server
    for port in spare:
        if is_port_of(port, wanted):
            spare.remove(port)
            if port.host == host and port.wiring is not None:
                return port
            return job.clients.network.port_bind(port.id, server.id, host).value
    if wanted.port_id:
        return job.clients.network.port_bind(wanted.port_id, server.id, host).value
    return job.clients.network.port_create(
        server_id=server.id,
        project_id=server.project_id,
        network_id=wanted.network_id,
        host=host,
        az=server.availability_zone or "nova",
        index=wanted.number,
        fixed_ip=wanted.fixed_ip or None,
        hostname=server.hostname,
        # Unasked, the network service gives the project's default group.
        security_groups=None if server.security_groups == ["default"] else server.security_groups,
    ).value


def is_port_of(port: Port, wanted: RequestedNic) -> bool:
    """Whether the server's port ``port`` is the one of that NIC."""
    return port.id == wanted.port_id if wanted.port_id else port.index == wanted.number


def _token_step(job: Job, started: float, answer: Timed[list[Port]]) -> None:
    took = (answer.token_ms or 0.0) / 1000
    job.journal.step(23, started, took, service="network")


def _wire(job: Job, ports: list[tuple[RequestedNic, Port]]) -> None:
    started, watch = clock.now(), time.perf_counter()
    job.nics, job.nic_infos, job.mtus = [], [], {}
    job.looked_at_ports = True
    for wanted, port in ports:
        nic, info = wire(job, wanted, port)
        job.nics.append(nic)
        job.nic_infos.append(info)
    took = time.perf_counter() - watch
    addresses = ", ".join(a for nic in job.nic_infos for a in nic.addresses)
    job.journal.step(24, started, took, detail=addresses or "no NIC")


def wire(job: Job, wanted: RequestedNic, port: Port) -> tuple[Nic, NicInfo]:
    """The port has its TAP on this host: what the domain gets, and what the server shows."""
    nic = plug(job, port)
    # A port that was there before the server may have been given one already.
    floating = job.clients.network.floating_ips([port.id]).value if wanted.port_id else {}
    info = NicInfo(
        port_id=port.id,
        network_id=port.network_id,
        network_name=port.network_name,
        mac=port.mac,
        addresses=[address for _, address in port.fixed_ips],
        floating=floating.get(port.id, []),
        ours=not wanted.port_id,
        number=wanted.number,
        tag=wanted.tag,
    )
    return nic, info


def plug(job: Job, port: Port, *, awaited: bool = False) -> Nic:
    """The port has its TAP on this host; ``awaited``: while its guest is on another still."""
    if port.wiring is None:
        raise HostProblem(reason=f"the network service did not bind port {port.id} to a host")
    network = msgspec.convert(port.wiring["network"], NetworkWiring)
    wiring = msgspec.convert(port.wiring["port"], PortWiring)
    job.mtus[network.id] = network.mtu
    tools = job.tools
    tap = tools.network.ensure_port(network, msgspec.structs.replace(wiring, awaited=awaited))
    if not tools.network.is_told(port.id):
        ask_wiring(tools.name, tools.place, tools.network, job.clients.network)
    return Nic(
        tap=tap,
        mac=port.mac,
        mtu=network.mtu,
        port_id=port.id,
        limits=nic_limits(job.flavor),
    )


def drop_ports(job: Job) -> None:
    """The server has no port here: ours are deleted, the user's are let go."""
    for port in job.clients.network.ports_of_server(job.server.id).value:
        drop_port(job, port)
    for port_id in {nic.port_id for nic in job.server.nics} | {nic.port_id for nic in job.nics}:
        job.tools.network.ensure_no_port(port_id)


def drop_port(job: Job, port: Port) -> None:
    """The port has no TAP here. It is deleted where it was made for the server, else let go."""
    job.tools.network.ensure_no_port(port.id)
    with contextlib.suppress(NotFound):
        if port.index is None:
            job.clients.network.port_unbind(port.id)
        else:
            job.clients.network.port_delete(port.id)


def unplug_ports(job: Job) -> None:
    """What the guest had leased at its ports is free: the one that boots from another disk next
    calls itself something else in DHCPv6, and would be refused its own address.
    """
    for nic in job.server.nics:
        job.tools.network.ensure_no_port(nic.port_id)


def unbind_ports(job: Job) -> None:
    """The server keeps its ports, but no host has them."""
    for port in job.clients.network.ports_of_server(job.server.id).value:
        job.tools.network.ensure_no_port(port.id)
        with contextlib.suppress(NotFound):
            job.clients.network.port_leave_host(port.id)
    for port_id in {nic.port_id for nic in job.server.nics} | {nic.port_id for nic in job.nics}:
        job.tools.network.ensure_no_port(port_id)
