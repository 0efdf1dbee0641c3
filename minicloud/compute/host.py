"""This host towards the conductor: registered once a life, reported every few seconds.

The answer to a report names the operations the host should work on (which a lost message or a
crash may have left) and servers whose remains it should remove.
"""

from __future__ import annotations

import logging
import os
import signal
import threading

from minicloud.compute.clients import Clients
from minicloud.compute.journal import NoJournal
from minicloud.compute.manager import ComputeManager
from minicloud.compute.recipes import DELETE, LEAVE, HostTools, Job
from minicloud.compute.uptime import uptime
from minicloud.domain.errors import StaleOperation
from minicloud.domain.models import HostOrders, HostReport, Server
from minicloud.domain.states import Power
from minicloud.kit.context import Context
from minicloud.kit.metrics import DOMAINS
from minicloud.kit.operations import run
from minicloud.rpc.conductor import ConductorRPC

LOG = logging.getLogger(__name__)


class HostReporter:
    """``address``: at which other hosts reach this one."""

    def __init__(
        self,
        tools: HostTools,
        conductor: ConductorRPC,
        manager: ComputeManager,
        clients: Clients,
        *,
        address: str = "",
    ) -> None:
        self._address = address
        self._tools = tools
        self._conductor = conductor
        self._manager = manager
        self._clients = clients
        self._info = tools.driver.host_info()

    def run(self) -> None:
        """One report, after registering. Ends the daemon when a newer life of the host began."""
        ctx = Context()
        if not self._manager.epoch:
            self._manager.epoch = self._conductor.host_register(ctx, host=self._tools.name)
        begun = self._manager.begun
        try:
            orders = self._conductor.host_report(ctx, report=self._report())
        except StaleOperation:
            LOG.error(
                "Another minicloud-compute has registered as host %s; "
                "give each host a name of its own ([DEFAULT] host)",
                self._tools.name,
            )
            # To the process: a signal to this thread would not wake the main one.
            os.kill(os.getpid(), signal.SIGTERM)
            return
        self._manager.retry_writes(orders.still, begun)
        self._follow(ctx, orders)

    def _report(self) -> HostReport:
        domains = dict.fromkeys(self._tools.storage.servers(), int(Power.NOSTATE))
        domains.update((d.server_id, int(d.power)) for d in self._tools.driver.list_domains())
        DOMAINS.set(len(domains))
        total, free = self._tools.storage.size_gb()
        info = self._info
        return HostReport(
            host=self._tools.name,
            epoch=self._manager.epoch,
            vcpus=info.vcpus,
            memory_mb=info.memory_mb,
            disk_gb=total,
            disk_free_gb=free,
            hypervisor_type=info.hypervisor_type,
            hypervisor_version=info.hypervisor_version,
            virt_type=info.virt_type,
            virt_type_reason=info.virt_type_reason,
            cpu_arch=info.cpu_arch,
            cpu_model=info.cpu_model,
            domains=domains,
            uptime=uptime(),
            address=self._address,
        )

    def _follow(self, ctx: Context, orders: HostOrders) -> None:
        for operation_id, server_id in orders.operations:
            self._manager.operation_run(ctx, operation_id=operation_id, server_id=server_id)
        busy = self._manager.busy_servers()
        for server in orders.reap:
            if server.id not in busy and not self._reap(server):
                return  # somebody is away, whom the next ones would wait for as well

    def _reap(self, server: Server) -> bool:
        """The server was deleted while this host was away, or lives elsewhere by now."""
        LOG.info("Removing what is left of server %s", server.id)
        journal = NoJournal()
        job = Job(server=server, tools=self._tools, clients=self._clients, journal=journal)
        recipe = DELETE if server.deleted else LEAVE
        ended = run(recipe, job, journal=journal, cancelled=threading.Event(), patience_s=0)
        if ended.result != "done":
            LOG.warning("Remains of server %s are removed later: %s", server.id, ended.message)
        return ended.result == "done"
