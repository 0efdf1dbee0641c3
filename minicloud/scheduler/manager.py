"""Steps 9 to 12: take a launch, choose a host for it, claim it there, cast it.

The choice is pure (``domain.placement``), the claim is a compare-and-set
(``db.hosts.host_claim``): any number of schedulers may work at once. Placing is safe to repeat;
the conductor calls it again for launches whose first call was lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from minicloud.db import hosts, operations, servers
from minicloud.domain.errors import NoValidHost, StaleOperation, Unavailable
from minicloud.domain.models import Fault, Operation, Server
from minicloud.domain.placement import Choice, Request, Rules, choose
from minicloud.domain.states import VERBS
from minicloud.domain.steps import StepRecord
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database
from minicloud.rpc.compute import ComputeRPC
from minicloud.rpc.scheduler import Placed, SchedulerRPC

LOG = logging.getLogger(__name__)
_ROUNDS = 5
"""Fresh snapshots taken when every claim of a round was lost to others."""


class SchedulerManager(SchedulerRPC):
    def __init__(
        self,
        database: Database,
        *,
        host: str,
        limits: hosts.Limits,
        service_down_s: float,
        compute: Callable[[str], ComputeRPC],
    ) -> None:
        self._database = database
        self._host = host
        self._limits = limits
        self._service_down_s = service_down_s
        self._compute = compute

    def place(self, ctx: Context, *, operation_id: str, sent_at: float) -> Placed:
        steps = [self._step(9, sent_at, clock.now() - sent_at)]
        for _ in range(_ROUNDS):
            started = clock.now()
            with self._database.read() as tx:
                operation = operations.operation_get(tx, operation_id)
                server = servers.server_get(tx, operation.server_id, deleted=None)
                snapshot = hosts.host_list(tx)
            if not operation.live or server.operation_id != operation_id:
                raise StaleOperation(id=operation_id)
            if server.host is not None:
                self._cast(ctx, operation, server.host)
                return Placed(host=server.host)
            rules = Rules(
                cpu_ratio=self._limits.cpu_ratio,
                memory_ratio=self._limits.memory_ratio,
                disk_ratio=self._limits.disk_ratio,
                reserved_memory_mb=self._limits.reserved_memory_mb,
                service_down_s=self._service_down_s,
                now=started,
            )
            choice = choose(snapshot, _request(operation, server), rules)
            chosen = self._step(
                10,
                started,
                clock.now() - started,
                result="Success" if choice.ranked else "Error",
                detail=f"{len(choice.ranked)} of {len(snapshot)} hosts passed",
            )
            if not choice.ranked:
                if self._give_up(operation, choice, [*steps, chosen]):
                    raise NoValidHost(verdicts=choice.explain())
                continue
            host = self._claim(operation, server, choice, [*steps, chosen])
            if host is not None:
                LOG.info("Placed server %s on %s", server.id, host)
                self._cast(ctx, operation, host)
                return Placed(host=host)
        raise Unavailable(service="Placement", reason="every claim was lost to other launches")

    def _claim(
        self, operation: Operation, server: Server, choice: Choice, steps: list[StepRecord]
    ) -> str | None:
        """The host that was claimed, or None when all had filled up in the meantime."""
        started = clock.now()
        for host in choice.ranked:
            with self._database.write() as tx:
                claimed = hosts.host_claim(
                    tx,
                    host=host,
                    server_id=server.id,
                    operation_id=operation.id,
                    flavor=server.flavor,
                    limits=self._limits,
                )
                if claimed:
                    if not operations.operation_update(tx, operation.id, host=host):
                        raise StaleOperation(id=operation.id)  # and the claim is not kept
                    record = self._step(11, started, clock.now() - started, detail=host)
                    operations.journal_steps(tx, server.id, operation.request_id, [*steps, record])
                    return host
        return None

    def _give_up(self, operation: Operation, choice: Choice, steps: list[StepRecord]) -> bool:
        """No host will do: the server goes to ERROR with each filter's verdict.

        False, with nothing changed, when another call has found it a host in the meantime.
        """
        reason = NoValidHost(verdicts=choice.explain()).message
        fault = Fault(code=500, message=reason, details="", created_at=clock.now())
        with self._database.write() as tx:
            now = servers.server_get(tx, operation.server_id, deleted=None, lock=True)
            if now.host is not None or now.operation_id != operation.id:
                return False
            operations.operation_update(tx, operation.id, state="failed", message=reason)
            servers.server_release(
                tx, operation.server_id, operation.id, vm_state=VERBS["create"].fail, fault=fault
            )
            operations.journal_steps(tx, operation.server_id, operation.request_id, steps)
        LOG.info("No valid host for server %s: %s", operation.server_id, choice.explain())
        return True

    def _cast(self, ctx: Context, operation: Operation, host: str) -> None:
        """Tell the host. If the message is lost, the host finds the row by itself."""
        started, watch = clock.now(), time.perf_counter()
        try:
            self._compute(host).operation_run(
                ctx, operation_id=operation.id, server_id=operation.server_id
            )
        except Unavailable as problem:
            LOG.warning("Could not cast to %s: %s; it will look by itself", host, problem.message)
        record = self._step(12, started, time.perf_counter() - watch, detail=host)
        with self._database.write() as tx:
            operations.journal_steps(tx, operation.server_id, operation.request_id, [record])

    def _step(
        self,
        number: int,
        start: float,
        duration: float,
        *,
        result: str = "Success",
        detail: str = "",
    ) -> StepRecord:
        return StepRecord(
            number=number,
            start=start,
            duration=max(duration, 0.0),
            service="scheduler",
            host=self._host,
            result=result,
            detail=detail,
        )


def _request(operation: Operation, server: Server) -> Request:
    return Request(
        flavor=server.flavor,
        availability_zone=server.availability_zone,
        excluded=dict.fromkeys(
            operation.excluded, f"it failed this launch already: {operation.message}"
        ),
    )
