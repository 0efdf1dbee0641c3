"""The pass that finds what a lost message, a dead daemon or a dead host left behind.

It places launches that nobody placed, gives up operations whose time is over, and finishes the
deletion of servers whose host is down. It takes no input but the rows, and calls the same
functions as the normal path; any number of conductors may run it at once.
"""

from __future__ import annotations

import logging

from minicloud.conductor.endings import delete_server, expire
from minicloud.db import hosts, operations
from minicloud.domain.errors import MinicloudError
from minicloud.domain.models import Operation
from minicloud.kit import clock
from minicloud.kit.context import Context, working_for
from minicloud.kit.db import Database
from minicloud.rpc.scheduler import SchedulerRPC

LOG = logging.getLogger(__name__)


class Reconciler:
    def __init__(
        self,
        database: Database,
        scheduler: SchedulerRPC,
        *,
        unplaced_grace_s: float,
        service_down_s: float,
    ) -> None:
        self._database = database
        self._scheduler = scheduler
        self._unplaced_grace_s = unplaced_grace_s
        self._service_down_s = service_down_s

    def run(self) -> None:
        """One pass over all live operations."""
        now = clock.now()
        with self._database.read() as tx:
            live = operations.operations_live(tx)
            down = {
                host.name
                for host in hosts.host_list(tx)
                if host.forced_down or now - host.last_seen > self._service_down_s
            }
        for operation in live:
            ctx = Context(
                request_id=operation.request_id,
                user_id=operation.user_id,
                project_id=operation.project_id,
            )
            with working_for(ctx):
                self._look_at(ctx, operation, down, now)

    def _look_at(self, ctx: Context, operation: Operation, down: set[str], now: float) -> None:
        if now > operation.deadline_at:
            LOG.warning("Giving up %s of server %s", operation.verb, operation.server_id)
            with self._database.write() as tx:
                current = operations.operation_get(tx, operation.id)
                if current.live:
                    expire(tx, current)
        elif operation.verb == "create" and operation.host is None:
            waited = now - operation.updated_at
            if operation.attempt > 1 or waited > self._unplaced_grace_s:
                self._place(ctx, operation, now)
        elif operation.verb == "delete" and operation.host in down:
            self._delete_without_host(operation)

    def _place(self, ctx: Context, operation: Operation, now: float) -> None:
        try:
            self._scheduler.place(ctx, operation_id=operation.id, sent_at=now)
        except MinicloudError as problem:
            LOG.warning("Server %s is not placed: %s", operation.server_id, problem.message)

    def _delete_without_host(self, operation: Operation) -> None:
        """The host is down: the records go now, the host removes the rest when it is back."""
        with self._database.write() as tx:
            if operations.operation_update(
                tx, operation.id, state="done", message=f"{operation.host} is down"
            ):
                delete_server(tx, operation)
        LOG.warning(
            "Server %s deleted while its host %s is down", operation.server_id, operation.host
        )
