"""Servers that move to another host while they run: begun, stopped, hurried."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from minicloud.api.operations import Operator
from minicloud.api.schemas.fields import truth
from minicloud.api.scope import check_unlocked, server_of
from minicloud.db import hosts, migrations, operations
from minicloud.domain.disks import storage_mismatch
from minicloud.domain.errors import Invalid, NotFound, Unavailable, WrongState
from minicloud.domain.models import Migration, Operation, Server
from minicloud.domain.states import LIVE_MIGRATION, TaskState, VmState
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call, Reply
from minicloud.rpc.compute import ComputeRPC

LOG = logging.getLogger(__name__)
_WAITING = ("accepted", "queued", "preparing")


class LiveMigration:
    """``compute``: host name -> a caller of its daemon."""

    def __init__(
        self, database: Database, operator: Operator, compute: Callable[[str], ComputeRPC]
    ) -> None:
        self._database, self._operator, self._compute = database, operator, compute

    def migrate(self, call: Call) -> Reply:
        """What comes of it is in the server's actions."""
        self._begin(call)
        return Reply()

    def migrate_before_2_34(self, call: Call) -> Reply:
        """Invalid when it turns out at once that there is no way."""
        with self._database.read() as tx:
            server = server_of(tx, call)
        wish = _block_migration(call)
        if call.body.host is not None and call.body.host == server.host:
            raise Invalid(
                reason=f"Unable to migrate instance ({server.id}) to current host ({server.host})."
            )
        if why := storage_mismatch(server, wish):
            raise Invalid(reason=why)
        begun = self._begin(call)
        with self._database.read() as tx:
            operation = operations.operation_get(tx, begun.id)
        if operation.state == "failed":
            raise Invalid(reason=operation.message or "No valid host was found.")
        return Reply()

    def _begin(self, call: Call) -> Operation:
        host, params = call.body.host, {"block_migration": _block_migration(call)}
        if truth(getattr(call.body, "force", False), "force") and not host:
            raise Invalid(reason="Can't force to a non-provided destination")
        if host is not None:
            params["host"] = host
            with self._database.read() as tx:
                _check_known(tx, host)
        return self._operator.begin(call, LIVE_MIGRATION, params)

    # -- of one under way --------------------------------------------------------------------------
    def abort(self, call: Call) -> Reply:
        return self._abort(call, ("running", *_WAITING))

    def abort_before_2_65(self, call: Call) -> Reply:
        """Only when it has really begun."""
        return self._abort(call, ("running",))

    def _abort(self, call: Call, from_status: tuple[str, ...]) -> Reply:
        with self._database.write() as tx:
            server = self._moving(tx, call, "abort live migration", tuple(VmState))
            migration = _numbered(tx, server, call.params["migration_id"])
            if migration.status not in from_status:
                raise Invalid(
                    reason=f"Migration {migration.number} state of instance {server.id} is "
                    f"{migration.status}. Cannot abort while the migration is in this state."
                )
            self._note(tx, call, server, "live_migration_cancel", aborted=True)
        self._steer(call, server, "abort")
        return Reply(status=202)

    def force_complete(self, call: Call) -> Reply:
        """The guest stands still until the rest of it has moved."""
        with self._database.write() as tx:
            server = self._moving(tx, call, "force_complete", (VmState.ACTIVE,))
            try:
                migration = _numbered(tx, server, call.params["migration_id"])
            except NotFound as problem:
                raise Invalid(reason=problem.message) from None
            if migration.status != "running":
                raise Invalid(
                    reason=f"Migration {migration.number} state of instance {server.id} is "
                    f"{migration.status}. Cannot force complete while the migration is in this "
                    "state."
                )
            self._note(tx, call, server, "live_migration_force_complete", forced=True)
        self._steer(call, server, "pause")
        return Reply(status=202)

    def _moving(
        self, tx: Transaction, call: Call, verb: str, states: tuple[VmState, ...]
    ) -> Server:
        server = server_of(tx, call, lock=True)
        check_unlocked(call.ctx, server)
        if server.vm_state not in states:
            allowed = list(map(str, states))
            raise WrongState(verb=verb, id=server.id, attribute="vm_state",
                             state=str(server.vm_state), allowed=allowed)  # fmt: skip
        if server.task_state is not TaskState.MIGRATING:
            raise WrongState(verb=verb, id=server.id, attribute="task_state",
                             state=str(server.task_state), allowed=["migrating"])  # fmt: skip
        return server

    @staticmethod
    def _note(tx: Transaction, call: Call, server: Server, action: str, **wish: Any) -> None:
        """The operation's row says what is wanted; that it was asked for is an action, too."""
        assert server.operation_id is not None  # of a server in a task_state
        operation = operations.operation_get(tx, server.operation_id, lock=True)
        operations.operation_update(tx, operation.id, params={**operation.params, **wish})
        operations.operation_note(tx, call.ctx, server, action)

    def _steer(self, call: Call, server: Server, wish: str) -> None:
        assert server.operation_id is not None and server.host is not None
        try:
            self._compute(server.host).migration_steer(
                call.ctx, operation_id=server.operation_id, wish=wish
            )
        except Unavailable as problem:
            LOG.warning("Could not tell %s: %s", server.host, problem.message)


def _block_migration(call: Call) -> bool | None:
    """Whether local disks are to be moved; None: if there are some."""
    wish = call.body.block_migration
    return None if wish == "auto" else truth(wish, "block_migration")


def _check_known(tx: Transaction, host: str) -> None:
    try:
        hosts.host_get(tx, host)
    except NotFound:
        raise Invalid(reason=f"Compute host {host} could not be found.") from None


def _numbered(tx: Transaction, server: Server, text: str) -> Migration:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise NotFound(kind="Migration", id=f"{text[:64]} for server {server.id}")
    return migrations.migration_get(tx, server.id, int(text))
