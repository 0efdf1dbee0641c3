"""What hosts ask and tell: each call checks that the operation is the caller's.

Speaks intents (take, journal, finish), never rows. How an operation ends is read from the table
of verbs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from minicloud.conductor.effects import MIGRATION_STATUS
from minicloud.conductor.endings import Next, end_operation
from minicloud.conductor.observe import correct_servers
from minicloud.db import hosts, migrations, operations, servers, services
from minicloud.domain.errors import StaleOperation, Unavailable
from minicloud.domain.models import (
    HostOrders,
    HostReport,
    Journal,
    MigrationDoor,
    Operation,
    Outcome,
    Work,
)
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.rpc.compute import ComputeRPC
from minicloud.rpc.conductor import ConductorRPC

LOG = logging.getLogger(__name__)


class ConductorManager(ConductorRPC):
    def __init__(
        self,
        database: Database,
        *,
        host: str,
        max_attempts: int,
        unplaced: Callable[[], object],
        compute: Callable[[str], ComputeRPC],
        settle_s: float = 20.0,
    ) -> None:
        """``unplaced`` is called when a launch needs another host (it wakes the pass).

        ``compute``: host name -> a caller of its daemon.

        ``settle_s``: seconds after a server's last change from which on a host's report counts
        for it; more than a report can be under way.
        """
        self._database = database
        self._host = host
        self._max_attempts = max_attempts
        self._unplaced = unplaced
        self._compute = compute
        self._settle_s = settle_s

    def host_register(self, ctx: Context, *, host: str) -> int:
        with self._database.write() as tx:
            epoch = hosts.host_register(tx, host)
            services.service_report(tx, hosts.COMPUTE, host)
        LOG.info("Host %s registered, epoch %s", host, epoch)
        return epoch

    def host_report(self, ctx: Context, *, report: HostReport) -> HostOrders:
        with self._database.write() as tx:
            if not hosts.host_report(tx, report):
                raise StaleOperation(id=f"of host {report.host}, epoch {report.epoch}")
            services.service_report(tx, hosts.COMPUTE, report.host)
            pending = operations.operations_of_host(tx, report.host)
            busy = {server_id for _, server_id in pending}
            reap, still = correct_servers(tx, report, busy, settle_s=self._settle_s)
        return HostOrders(operations=pending, reap=reap, still=still)

    def operation_take(self, ctx: Context, *, operation_id: str, host: str, epoch: int) -> Work:
        received, watch = clock.now(), time.perf_counter()
        with self._database.write() as tx:
            operation = self._owned(tx, operation_id, host, epoch)
            if operation.state == "queued":
                operations.operation_update(tx, operation_id, state="running")
                if operation.recipe in MIGRATION_STATUS:
                    status = MIGRATION_STATUS[operation.recipe]
                    migrations.migration_follow(tx, operation_id, status=status)
            server = servers.server_get(tx, operation.server_id, deleted=None)
        return Work(
            operation=operation,
            server=server,
            received_at=received,
            read_s=time.perf_counter() - watch,
            conductor_host=self._host,
        )

    def operation_journal(
        self, ctx: Context, *, journal: Journal, more: Sequence[Journal] = ()
    ) -> None:
        with self._database.write() as tx:
            for each in (journal, *more):
                self._keep(tx, each)

    def operation_finish(self, ctx: Context, *, outcome: Outcome) -> bool:
        with self._database.write() as tx:
            operation = self._owned(tx, outcome.operation_id, outcome.host, outcome.epoch)
            if outcome.journal is not None:
                self._keep(tx, outcome.journal)
            following = end_operation(tx, operation, outcome, max_attempts=self._max_attempts)
            if following is Next.TELL:
                operation = operations.operation_get(tx, operation.id)
        LOG.info(
            "Operation %s of server %s on %s: %s %s",
            operation.verb, operation.server_id, outcome.host, outcome.result, outcome.message,
        )  # fmt: skip
        if following is Next.PLACE:
            self._unplaced()
        elif following is Next.TELL and operation.host == outcome.host:
            return True
        elif following is Next.TELL:
            self._tell(ctx, operation)
        return False

    def migration_door(
        self, ctx: Context, *, operation_id: str, host: str, epoch: int
    ) -> MigrationDoor:
        with self._database.read() as tx:
            operation = self._owned(tx, operation_id, host, epoch)
        if operation.recipe != "live-migration:move":
            raise StaleOperation(id=operation_id)
        params = operation.params
        return self._compute(params["to"]).migration_open(
            ctx, server_id=operation.server_id, disks=params["found"]["disks"]
        )

    def migration_progress(
        self, ctx: Context, *, operation_id: str, host: str, epoch: int, progress: dict[str, int]
    ) -> None:
        with self._database.write() as tx:
            self._owned(tx, operation_id, host, epoch)
            migrations.migration_follow(tx, operation_id, progress=progress)

    def _tell(self, ctx: Context, operation: Operation) -> None:
        """The next host has work. If the message is lost, it finds the row by itself."""
        assert operation.host is not None
        try:
            self._compute(operation.host).operation_run(
                ctx, operation_id=operation.id, server_id=operation.server_id
            )
        except Unavailable as problem:
            LOG.warning("Could not tell %s: %s; it will look by itself", operation.host,
                        problem.message)  # fmt: skip

    def _owned(self, tx: Transaction, operation_id: str, host: str, epoch: int) -> Operation:
        """The operation, if it is live (or stuck) and belongs to this life of ``host``."""
        operation = operations.operation_get(tx, operation_id)
        if operation.host != host or hosts.host_epoch(tx, host) != epoch:
            raise StaleOperation(id=operation_id)
        if not operation.live and operation.state != "stuck":
            raise StaleOperation(id=operation_id)
        return operation

    @staticmethod
    def _keep(tx: Transaction, journal: Journal) -> None:
        operations.journal_events(tx, journal.events)
        operations.journal_steps(tx, journal.server_id, journal.request_id, journal.steps)
        if journal.task_state is not None:
            operations.show_phase(tx, journal.server_id, journal.operation_id, journal.task_state)
