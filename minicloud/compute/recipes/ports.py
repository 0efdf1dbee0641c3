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
    ports = []
    for index, wanted in enumerate(job.server.requested_nics):
        ports.append((wanted, _port_for(job, index, wanted, spare)))
    asked = time.perf_counter() - watch
    job.journal.step(22, started, asked, detail=counted(len(ports), "port"))
    _token_step(job, started, found)
    _wire(job, ports)


def _port_for(job: Job, index: int, wanted: RequestedNic, spare: list[Port]) -> Port:
    """The port of NIC ``index``: one that the server has already, or a new or bound one."""
    host, server = job.tools.name, job.server
    for port in spare:
        fits = port.id == wanted.port_id if wanted.port_id else port.index == index
        if fits:
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
        index=index,
        fixed_ip=wanted.fixed_ip or None,
        hostname=server.hostname,
        security_groups=list(server.security_groups),
    ).value


def _token_step(job: Job, started: float, answer: Timed[list[Port]]) -> None:
    took = (answer.token_ms or 0.0) / 1000
    job.journal.step(23, started, took, service="network")


def _wire(job: Job, ports: list[tuple[RequestedNic, Port]]) -> None:
    started, watch, tools = clock.now(), time.perf_counter(), job.tools
    job.nics, job.nic_infos, job.mtus = [], [], {}
    job.looked_at_ports = True
    for wanted, port in ports:
        if port.wiring is None:
            raise HostProblem(reason=f"the network service did not bind port {port.id} to a host")
        network = msgspec.convert(port.wiring["network"], NetworkWiring)
        wiring = msgspec.convert(port.wiring["port"], PortWiring)
        job.mtus[network.id] = network.mtu
        tap = tools.network.ensure_port(network, wiring)
        if not tools.network.is_told(port.id):
            ask_wiring(tools.name, tools.place, tools.network, job.clients.network)
        job.nics.append(Nic(tap=tap, mac=port.mac, mtu=network.mtu, port_id=port.id))
        job.nic_infos.append(
            NicInfo(
                port_id=port.id,
                network_id=port.network_id,
                network_name=port.network_name,
                mac=port.mac,
                addresses=[address for _, address in port.fixed_ips],
                ours=not wanted.port_id,
                tag=wanted.tag,
            )
        )
    took = time.perf_counter() - watch
    addresses = ", ".join(a for nic in job.nic_infos for a in nic.addresses)
    job.journal.step(24, started, took, detail=addresses or "no NIC")


def drop_ports(job: Job) -> None:
    """The server has no port here: ours are deleted, the user's are let go."""
    kept = {nic.port_id for nic in job.server.requested_nics if nic.port_id}
    for port in job.clients.network.ports_of_server(job.server.id).value:
        job.tools.network.ensure_no_port(port.id)
        with contextlib.suppress(NotFound):
            if port.id in kept:
                job.clients.network.port_unbind(port.id)
            else:
                job.clients.network.port_delete(port.id)
    for port_id in {nic.port_id for nic in job.server.nics} | {nic.port_id for nic in job.nics}:
        job.tools.network.ensure_no_port(port_id)


def unbind_ports(job: Job) -> None:
    """The server keeps its ports, but no host has them."""
    for port in job.clients.network.ports_of_server(job.server.id).value:
        job.tools.network.ensure_no_port(port.id)
        with contextlib.suppress(NotFound):
            job.clients.network.port_leave_host(port.id)
    for port_id in {nic.port_id for nic in job.server.nics} | {nic.port_id for nic in job.nics}:
        job.tools.network.ensure_no_port(port_id)
