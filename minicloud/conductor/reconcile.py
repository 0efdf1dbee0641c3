"""The pass that finds what a lost message, a dead daemon or a dead host left behind.

It places launches that nobody placed, or whose host went down before it took them, gives up
operations whose time is over, and finishes the deletion of servers whose host is down. It takes
no input but the rows, and calls the same functions as the normal path; any number of conductors
may run it at once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from minicloud.conductor.endings import delete_server, end_operation, expire, place_again
from minicloud.db import hosts, operations
from minicloud.domain.errors import MinicloudError, Unavailable
from minicloud.domain.models import Operation, Outcome
from minicloud.domain.states import MAY_GO_ELSEWHERE, VERBS, VmState
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
                if not host.is_up(self._service_down_s, now)
            }
        unplaced = []
        for operation in live:
            with working_for(_context(operation)):
                if self._look_at(operation, down, now):
                    unplaced.append(operation)
        self._place(unplaced)

    def _look_at(self, operation: Operation, down: set[str], now: float) -> bool:
        """Do what the rows alone ask for; True when the operation needs a host."""
        if now > operation.deadline_at:
            self._give_up(operation)
        elif VERBS[operation.verb].placed and operation.host is None:
            waited = now - operation.updated_at
            return operation.attempt > 1 or waited > self._unplaced_grace_s
        elif operation.verb in MAY_GO_ELSEWHERE and operation.state == "queued":
            return operation.host in down and self._take_back(operation)
        elif operation.recipe == "live-migration:prepare" and operation.host in down:
            self._fail_for(operation, f"{operation.host} went down")
        elif _needs_any_host(operation, down):
            self._give_to_another_host(operation)
        return False

    def _give_up(self, operation: Operation) -> None:
        LOG.warning("Giving up %s of server %s", operation.verb, operation.server_id)
        with self._database.write() as tx:
            current = operations.operation_get(tx, operation.id)
            if current.live:
                expire(tx, current)

    def _fail_for(self, operation: Operation, why: str) -> None:
        """The host does not come to its part of the operation."""
        with self._database.write() as tx:
            current = operations.operation_get(tx, operation.id)
            if current.live and (current.host, current.recipe) == (
                operation.host, operation.recipe
            ):  # fmt: skip
                outcome = Outcome(
                    operation_id=current.id, host=current.host or "", epoch=0, result="failed",
                    message=why,
                )  # fmt: skip
                end_operation(tx, current, outcome, max_attempts=1)

    def _take_back(self, operation: Operation) -> bool:
        """The host went down before it took the launch: it may be placed again at once."""
        host = operation.host
        assert host is not None
        with self._database.write() as tx:
            current = operations.operation_get(tx, operation.id)
            if current.state != "queued" or current.host != host:
                return False
            place_again(tx, current, failed=host, message=f"{host} went down before it began")
        LOG.warning("Server %s is placed again: %s is down", operation.server_id, host)
        return True

    def _place(self, launches: Sequence[Operation]) -> None:
        for operation in launches:
            ctx = _context(operation)
            with working_for(ctx):
                try:
                    self._scheduler.place(ctx, operation_id=operation.id, sent_at=clock.now())
                except Unavailable as problem:
                    LOG.warning("Launches wait for the scheduler: %s", problem.message)
                    return  # one wait is enough for a pass
                except MinicloudError as problem:
                    LOG.warning("Server %s is not placed: %s", operation.server_id, problem.message)

    def _give_to_another_host(self, operation: Operation) -> None:
        """Any host can do what is to be done at the other services.

        What is left on a host that is down, that host removes when it is back.
        """
        with self._database.write() as tx:
            other = hosts.host_that_reports(tx, self._service_down_s)
            if other is not None:
                operations.operation_update(tx, operation.id, host=other)
        if other is not None:
            LOG.info("%s of server %s goes to %s", operation.verb, operation.server_id, other)
        elif operation.host is not None and operation.verb == "delete":
            self._delete_without_host(operation)

    def _delete_without_host(self, operation: Operation) -> None:
        """No host is up: the records go now, the host removes the rest when it is back."""
        why = f"{operation.host} is down"
        with self._database.write() as tx:
            if operations.operation_update(tx, operation.id, state="done", message=why):
                delete_server(tx, operation)
        LOG.warning("Server %s deleted without its host: %s", operation.server_id, why)


def _needs_any_host(operation: Operation, down: set[str]) -> bool:
    if operation.recipe == "live-migration:back":
        return operation.host in down
    if operation.verb == "delete":
        return operation.host is None or operation.host in down
    return operation.host is None and operation.prior_state is VmState.SHELVED_OFFLOADED


def _context(operation: Operation) -> Context:
    """Whose request it was, without their token, which nobody keeps."""
    return Context(
        request_id=operation.request_id,
        user_id=operation.user_id,
        project_id=operation.project_id,
    )
