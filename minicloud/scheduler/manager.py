"""Steps 9 to 12: take a launch, choose a host for it, claim it there, cast it.

The choice is pure (``domain.placement``), the claim is a compare-and-set
(``db.hosts.host_claim``): any number of schedulers may work at once. Placing is safe to repeat;
the conductor calls it again for launches whose first call was lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

from minicloud.db import hosts, migrations, operations, server_groups, servers
from minicloud.domain.errors import NoValidHost, StaleOperation, Unavailable
from minicloud.domain.hints import query_of, texts
from minicloud.domain.models import Fault, Flavor, Operation, Server
from minicloud.domain.placement import Choice, Company, Request, Rules, choose
from minicloud.domain.states import LIVE_MIGRATION, MAY_GO_ELSEWHERE, VERBS, VmState
from minicloud.domain.steps import StepRecord
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
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
        resize_same_host: bool = True,
    ) -> None:
        """``resize_same_host``: whether a resized server may stay on its host."""
        self._database = database
        self._host = host
        self._limits = limits
        self._service_down_s = service_down_s
        self._compute = compute
        self._resize_same_host = resize_same_host

    def place(self, ctx: Context, *, operation_id: str, sent_at: float) -> Placed:
        steps = [self._step(9, sent_at, clock.now() - sent_at)]
        for _ in range(_ROUNDS):
            started = clock.now()
            with self._database.read() as tx:
                operation = operations.operation_get(tx, operation_id)
                server = servers.server_get(tx, operation.server_id, deleted=None)
                snapshot = hosts.host_list(tx)
                request = self._request(tx, operation, server)
            if not operation.live or server.operation_id != operation_id:
                raise StaleOperation(id=operation_id)
            if operation.host is not None:
                self._cast(ctx, operation, operation.host)
                return Placed(host=operation.params.get("to", operation.host))
            rules = Rules(
                cpu_ratio=self._limits.cpu_ratio,
                memory_ratio=self._limits.memory_ratio,
                disk_ratio=self._limits.disk_ratio,
                reserved_memory_mb=self._limits.reserved_memory_mb,
                service_down_s=self._service_down_s,
                now=started,
            )
            choice = choose(snapshot, request, rules)
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
            placed = self._claim(operation, server, choice, [*steps, chosen])
            if placed is not None:
                LOG.info("Placed server %s on %s", server.id, placed.host)
                self._cast(ctx, operation, placed.works)
                return placed
        raise Unavailable(service="Placement", reason="every claim was lost to other launches")

    def _claim(
        self, operation: Operation, server: Server, choice: Choice, steps: list[StepRecord]
    ) -> Placed | None:
        """The host that was claimed, or None when all had filled up in the meantime."""
        moves = operation.verb not in MAY_GO_ELSEWHERE
        started = clock.now()
        for host in choice.ranked:
            with self._database.write() as tx:
                if not _group_admits(tx, server, host):
                    continue
                claimed = hosts.host_claim(
                    tx,
                    host=host,
                    server_id=server.id,
                    operation_id=operation.id,
                    flavor=_flavor(operation, server),
                    limits=self._limits,
                    slot=hosts.NEXT if moves else hosts.CURRENT,
                )
                if claimed:
                    works, params = _stages(operation, server, host)
                    if not operations.operation_update(tx, operation.id, host=works, params=params):
                        raise StaleOperation(id=operation.id)  # and the claim is not kept
                    status = "queued" if operation.verb == LIVE_MIGRATION else "migrating"
                    migrations.migration_follow(tx, operation.id, status=status, destination=host)
                    record = self._step(11, started, clock.now() - started, detail=host)
                    self._record(tx, operation, [*steps, record])
                    return Placed(host=host, works=works)
        return None

    def _give_up(self, operation: Operation, choice: Choice, steps: list[StepRecord]) -> bool:
        """No host will do: the verb fails with each filter's verdict.

        False, with nothing changed, when another call has found it a host in the meantime.
        """
        reason = NoValidHost(verdicts=choice.explain()).message
        fault = Fault(code=500, message=reason, details="", created_at=clock.now())
        with self._database.write() as tx:
            now = servers.server_get(tx, operation.server_id, deleted=None, lock=True)
            placed = operations.operation_get(tx, operation.id).host is not None
            if placed or now.operation_id != operation.id:
                return False
            operations.operation_update(tx, operation.id, state="failed", message=reason)
            migrations.migration_follow(tx, operation.id, status="error")
            becomes = VERBS[operation.verb].fail or operation.prior_state
            more = {"fault": fault} if becomes is VmState.ERROR else {}
            servers.server_release(tx, operation.server_id, operation.id, vm_state=becomes, **more)
            self._record(tx, operation, steps)
        LOG.info("No valid host for server %s: %s", operation.server_id, choice.explain())
        return True

    def _request(self, tx: Transaction, operation: Operation, server: Server) -> Request:
        excluded = dict.fromkeys(operation.excluded, f"it failed this before: {operation.message}")
        stays = operation.verb == "resize" and self._resize_same_host
        if server.host is not None and not stays:
            excluded[server.host] = "the server is there now"
        if operation.verb == LIVE_MIGRATION:
            excluded |= self._unless_up(tx, server)
        hints = server.scheduler_hints
        named = {name: texts(hints.get(name)) for name in ("same_host", "different_host")}
        where = server_groups.hosts_of_servers(tx, [*named["same_host"], *named["different_host"]])
        beside = frozenset(where.get(each) or "" for each in named["same_host"])
        first = server.requested_host if operation.verb == "create" else None
        return Request(
            flavor=_flavor(operation, server),
            availability_zone=server.availability_zone,
            excluded=excluded,
            host=operation.params.get("host", first),
            company=_company(tx, server),
            beside=beside if named["same_host"] else None,
            apart=frozenset(where.get(each) or "" for each in named["different_host"]),
            query=query_of(hints.get("query")),
        )

    def _unless_up(self, tx: Transaction, server: Server) -> dict[str, str]:
        """Every host, where the one with the guest is not there to let it go."""
        found = hosts.host_list(tx)
        own = next((host for host in found if host.name == server.host), None)
        if own is not None and own.is_up(self._service_down_s, clock.now()):
            return {}
        return {host.name: f"{server.host}, where the guest is, is down" for host in found}

    def _cast(self, ctx: Context, operation: Operation, host: str) -> None:
        """Tell the host. If the message is lost, the host finds the row by itself."""
        started, watch = clock.now(), time.perf_counter()
        try:
            self._compute(host).operation_run(
                ctx, operation_id=operation.id, server_id=operation.server_id
            )
        except Unavailable as problem:
            LOG.warning("Could not cast to %s: %s; it will look by itself", host, problem.message)
        if operation.verb == "create":
            record = self._step(12, started, time.perf_counter() - watch, detail=host)
            with self._database.write() as tx:
                self._record(tx, operation, [record])

    @staticmethod
    def _record(tx: Transaction, operation: Operation, steps: list[StepRecord]) -> None:
        """Keep steps of the 28, which only launches have."""
        if operation.verb == "create":
            operations.journal_steps(tx, operation.server_id, operation.request_id, steps)

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


def _flavor(operation: Operation, server: Server) -> Flavor:
    given = operation.params.get("flavor")
    flavor = server.flavor if given is None else msgspec.convert(given, Flavor)
    if server.root_volume is None:
        return flavor
    return msgspec.structs.replace(flavor, disk=0)  # the root disk is a volume


def _stages(operation: Operation, server: Server, host: str) -> tuple[str, dict[str, Any]]:
    """The host that works first on a server that was placed on ``host``, and the stages."""
    params = dict(operation.params)
    if operation.verb in ("resize", "migrate"):
        assert server.host is not None
        params.update(
            recipe="resize",
            to=host,
            then=[("resize:finish", host)],
            back=("resize:back", server.host),
        )
        return server.host, params
    if operation.verb == LIVE_MIGRATION:
        params.update(
            to=host,
            then=[
                ("live-migration:prepare", host),
                ("live-migration:move", server.host),
                ("live-migration:arrive", host),
                ("live-migration:finish", host),
            ],
            back=("live-migration:back", host),
            back_then=[("live-migration:stay", server.host)],
        )
        return server.host or host, params
    return host, params


def _company(tx: Transaction, server: Server, *, lock: bool = False) -> Company | None:
    """The server's group with its members' hosts; ``lock``: which stay so."""
    if server.group_id is None:
        return None
    group = server_groups.group_find(tx, server.group_id, lock=lock)
    if group is None:
        return None  # it was deleted in the meantime
    members = server_groups.group_hosts(tx, group.id, besides=server.id)
    return Company(group=group, members=members)


def _group_admits(tx: Transaction, server: Server, host: str) -> bool:
    """Whether the group still wants the server on ``host``: others were placed meanwhile."""
    company = _company(tx, server, lock=True)
    return company is None or company.verdict(host) is None
