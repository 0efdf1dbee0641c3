"""Begins verbs on servers: the check, the lock and the row in one transaction, then the hint.

The row is the truth: when the host cannot be told, it finds the operation by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from minicloud.api.scope import check_unlocked, server_of
from minicloud.db import hosts, operations, servers
from minicloud.domain.errors import Conflict, Unavailable
from minicloud.domain.models import Operation, Server
from minicloud.domain.states import VERBS, Power
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call
from minicloud.rpc.compute import ComputeRPC

LOG = logging.getLogger(__name__)


class Operator:
    """``compute``: host name -> a caller of its daemon."""

    def __init__(self, database: Database, compute: Callable[[str], ComputeRPC]) -> None:
        self._database = database
        self._compute = compute

    def begin(self, call: Call, verb: str, params: Mapping[str, Any] | None = None) -> None:
        """Begin ``verb`` on the server of the request's path. WrongState, Locked, NotFound."""
        with self._database.write() as tx:
            server = server_of(tx, call, lock=True)
            check_unlocked(call.ctx, server)
            if server.host is None and verb != "delete":
                raise Conflict(reason=f"Instance {server.id} is not ready")
            operation = operations.operation_begin(tx, call.ctx, server, VERBS[verb], params or {})
        self._tell(call, operation)

    def delete(self, call: Call) -> None:
        """Begin the server's end; one that no host has ends at once."""
        with self._database.write() as tx:
            server = server_of(tx, call, lock=True)
            check_unlocked(call.ctx, server)
            operation = operations.operation_begin(tx, call.ctx, server, VERBS["delete"], {})
            if server.host is None:
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
