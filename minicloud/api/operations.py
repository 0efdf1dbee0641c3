"""Begins verbs on servers: the check, the lock and the row in one transaction, then the hint.

The row is the truth: when the host cannot be told, it finds the operation by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from minicloud.api.placing import Placer
from minicloud.api.scope import check_unlocked, server_of
from minicloud.db import hosts, migrations, operations, servers
from minicloud.db.migrations import KINDS, LIVE
from minicloud.domain.errors import Conflict, MinicloudError, Unavailable, WrongState, rebuilt
from minicloud.domain.models import Operation, Server
from minicloud.domain.states import BUSY, VERBS, Power, VmState, check
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call
from minicloud.rpc.compute import ComputeRPC

LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.25
_QUIET_S = 20.0
_END_S = 45.0
"""How long a client waits for the end of an operation: a guest may take its time."""


class Operator:
    """``compute``: host name -> a caller of its daemon. ``service_down_s``: seconds without a
    report after which a host counts as down."""

    def __init__(
        self,
        database: Database,
        compute: Callable[[str], ComputeRPC],
        placer: Placer,
        *,
        service_down_s: float,
    ) -> None:
        self._database = database
        self._service_down_s = service_down_s
        self._compute = compute
        self._placer = placer

    def check(self, call: Call, verb: str, *others: str) -> Server:
        """The server of the request's path, on which ``verb`` may begin, if not before an operation
        is over that ``begin`` waits for. WrongState, Locked.

        ``others``: verbs that will do as well, from other states.
        """
        with self._database.read() as tx:
            server = server_of(tx, call)
        self._check_unlocked(call, server, verb)
        fitting = [name for name in others if server.vm_state in VERBS[name].start]
        chosen = VERBS[fitting[0] if fitting else verb]
        check(chosen, server.id, server.vm_state, server.task_state)
        return server

    def begin(
        self,
        call: Call,
        verb: str,
        params: Mapping[str, Any] | None = None,
        *,
        change: Mapping[str, Any] | None = None,
        also: Callable[[Transaction, Server], None] | None = None,
        plan: Callable[[Server], Mapping[str, Any]] | None = None,
        server_id: str | None = None,
    ) -> Operation:
        """Begin ``verb`` on the server of the request's path. WrongState, Locked, NotFound.

        ``server_id``: another server, which the caller may be told of.

        ``change``: columns of the server that are set with it; ``also`` is called in the same
        transaction, and may refuse; so may ``plan``, which makes the parameters of the server as
        it is then. A server that gets or loses a device is waited for.
        """

        def attempt() -> Operation:
            with self._database.write() as tx:
                server = _locked(tx, call, server_id)
                self._check_unlocked(call, server, verb)
                check(
                    VERBS[verb],
                    server.id,
                    server.vm_state,
                    server.task_state,
                    owned=server.operation_id is not None,
                )
                if also is not None:
                    also(tx, server)
                given = plan(server) if plan is not None else params or {}
                operation = operations.operation_begin(tx, call.ctx, server, VERBS[verb], given)
                if server.host is None and server.vm_state is VmState.SHELVED_OFFLOADED:
                    if not VERBS[verb].placed:
                        operation = _given_to_a_host(tx, operation, self._service_down_s)
                elif server.host is None and not VERBS[verb].placed:
                    raise Conflict(reason=f"Instance {server.id} is not ready")
                if change:
                    servers.server_update(tx, server.id, **change)
                if verb in KINDS:
                    _record_move(tx, call, server, operation)
            return operation

        operation = _when_quiet(attempt)
        if VERBS[verb].placed:
            self._placer.place(call.ctx, [operation])
        else:
            self._tell(call, operation)
        return operation

    def end_of(
        self,
        operation: Operation,
        *,
        limit_s: float = _END_S,
        or_when: Callable[[], bool] = lambda: False,
    ) -> Operation:
        """The operation when it has ended or ``or_when``, or as it is after ``limit_s`` seconds.

        Raises what made it fail.
        """
        give_up_at = time.monotonic() + limit_s
        pause = _FIRST_PAUSE_S
        while True:
            with self._database.read() as tx:
                operation = operations.operation_get(tx, operation.id)
            if operation.state in ("failed", "stuck", "cancelled"):
                raise _problem_of(operation)
            if operation.state == "done" or or_when() or time.monotonic() > give_up_at:
                return operation
            time.sleep(pause)  # the rows are all that API and host share
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    def has_done(self, operation: Operation, step: str) -> bool:
        """Whether the operation's host has told that ``step`` succeeded."""
        with self._database.read() as tx:
            events = operations.events_of_operation(tx, operation.id)
        return any(event.step == step and event.result == "Success" for event in events)

    def by_call(
        self,
        call: Call,
        verb: str,
        work: Callable[[ComputeRPC, Server], _T],
        *,
        server_id: str | None = None,
        patient: bool = True,
    ) -> _T:
        """Do ``verb`` by one call to the server's host while the client waits. ``server_id`` as
        in ``begin``; ``patient``: wait for short operations.

        Its operation is this request's alone: nobody takes it up, and its deadline ends it
        should this daemon die.
        """

        def attempt() -> tuple[Server, Operation]:
            with self._database.write() as tx:
                server = _locked(tx, call, server_id)
                self._check_unlocked(call, server, verb)
                operation = operations.operation_begin(tx, call.ctx, server, VERBS[verb], {})
                if server.host is None:
                    raise Conflict(reason=f"Instance {server.id} is not ready")
                operations.operation_update(tx, operation.id, host=None)
            return server, operation

        server, operation = _when_quiet(attempt) if patient else attempt()
        assert server.host is not None
        ended, message = "failed", None
        try:
            done = work(self._compute(server.host), server)
            ended = "done"
        except MinicloudError as problem:
            message = problem.message
            raise
        finally:
            with self._database.write() as tx:
                operations.operation_update(tx, operation.id, state=ended, message=message)
                servers.server_release(tx, server.id, operation.id)
        return done

    @staticmethod
    def _check_unlocked(call: Call, server: Server, verb: str) -> None:
        if not VERBS[verb].ignores_lock:
            check_unlocked(call.ctx, server)

    def delete(self, call: Call) -> None:
        """Begin the server's end; one that no host ever had ends at once."""
        with self._database.write() as tx:
            server = server_of(tx, call, lock=True)
            check_unlocked(call.ctx, server)
            migrations.migrations_cut_short(tx, server.id)
            params = {
                "moves_failed": migrations.migration_failed(tx, server.id),
                "images": operations.images_unfinished(tx, server.id),
            }
            operation = operations.operation_begin(tx, call.ctx, server, VERBS["delete"], params)
            if server.host is None and _has_things_elsewhere(server):
                # Any host can remove those.
                operation = _given_to_a_host(tx, operation, self._service_down_s)
            elif server.host is None:
                _end(tx, server, operation)
                return
        self._tell(call, operation)

    def _tell(self, call: Call, operation: Operation) -> None:
        if operation.host is None:
            return
        try:
            self._compute(operation.host).operation_run(
                call.ctx, operation_id=operation.id, server_id=operation.server_id
            )
        except Unavailable as problem:
            LOG.warning("Could not tell %s: %s; it will look by itself", operation.host,
                        problem.message)  # fmt: skip


def _locked(tx: Transaction, call: Call, server_id: str | None) -> Server:
    if server_id is None:
        return server_of(tx, call, lock=True)
    return servers.server_get(tx, server_id, lock=True)


def _when_quiet(attempt: Callable[[], _T]) -> _T:
    """``attempt``, again while an operation without a task_state owns the server.

    Clients cannot see those, and they are short: a server gets a disk, say.
    """
    give_up_at = time.monotonic() + _QUIET_S
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return attempt()
        except WrongState as problem:
            if problem.facts["state"] != BUSY or time.monotonic() > give_up_at:
                raise
        time.sleep(pause)  # the rows are all that API and host share
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)


def _problem_of(operation: Operation) -> MinicloudError:
    if operation.problem is not None:
        return rebuilt(operation.problem.code, dict(operation.problem.facts))
    return Conflict(reason=f"{operation.verb} failed: {operation.message or operation.state}")


def _has_things_elsewhere(server: Server) -> bool:
    """Whether a server that no host has has ports, or volumes that are to go with it."""
    if server.vm_state is VmState.SHELVED_OFFLOADED:
        return True
    return any(disk.volume_id and disk.delete_on_termination for disk in server.block_devices)


def _record_move(tx: Transaction, call: Call, server: Server, operation: Operation) -> None:
    flavor = operation.params.get("flavor")
    migrations.migration_insert(
        tx,
        call.ctx,
        server,
        kind=KINDS[operation.verb],
        status="accepted" if KINDS[operation.verb] == LIVE else "queued",
        operation_id=operation.id,
        new_flavor_id=None if flavor is None else flavor["id"],
    )


def _given_to_a_host(tx: Transaction, operation: Operation, down_s: float) -> Operation:
    """``operation``, on a host that reports; without one it waits for the conductor's pass."""
    host = hosts.host_that_reports(tx, down_s)
    operations.operation_update(tx, operation.id, host=host)
    return operations.operation_get(tx, operation.id)


def _end(tx: Transaction, server: Server, operation: Operation) -> None:
    servers.server_release(
        tx,
        server.id,
        operation.id,
        vm_state=VERBS["delete"].ok,
        power_state=Power.NOSTATE,
        deleted=True,
        terminated_at=clock.now(),
    )
    operations.operation_update(tx, operation.id, state="done")
    hosts.host_unclaim(tx, server.id)
