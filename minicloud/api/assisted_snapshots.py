"""Snapshots of volumes whose files guests have open: the volume service has made a new file, and
the guest goes on in it before the answer.

Every refusal is a 400, as Nova's. The caller tries again and must not be kept waiting: what it
holds meanwhile may be what the server's operation waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicloud.api.operations import Operator
from minicloud.api.schemas import assisted_snapshots
from minicloud.api.schemas.assisted_snapshots import AssistedSnapshot
from minicloud.db import hosts, operations, servers
from minicloud.domain.errors import Conflict, Invalid
from minicloud.domain.models import Server
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call
from minicloud.rpc.compute import ComputeRPC


class AssistedSnapshots:
    """``compute``: host name -> a caller of its daemon; ``service_down_s``: seconds without a
    report after which a host counts as down.
    """

    def __init__(
        self,
        database: Database,
        operator: Operator,
        compute: Callable[[str], ComputeRPC],
        *,
        service_down_s: float,
    ) -> None:
        self._database, self._operator, self._compute = database, operator, compute
        self._service_down_s = service_down_s

    def create(self, call: Call) -> Any:
        asked: AssistedSnapshot = call.body
        volume_id, file = asked.volume_id, asked.create_info.new_file
        with self._database.read() as tx:
            server = self._user_of(tx, volume_id)
            working = server.operation_id and operations.operation_get(tx, server.operation_id)

        def move(host: ComputeRPC, server: Server) -> None:
            host.move_disk(call.ctx, server_id=server.id, volume_id=volume_id, file=file)

        try:
            if working and server.host is not None and working.host == server.host:
                # It may be waiting for just this: its host knows.
                move(self._compute(server.host), server)
                return assisted_snapshots.view(asked)
            self._operator.by_call(
                call, "volume_snapshot_create", move, server_id=server.id, patient=False
            )
        except Conflict as problem:
            raise Invalid(reason=problem.message) from None
        return assisted_snapshots.view(asked)

    def _user_of(self, tx: Transaction, volume_id: str) -> Server:
        """The server that has the volume, whose host answers."""
        found = servers.servers_with_volume(tx, volume_id)
        if not found:
            raise Invalid(reason=f"No volume Block Device Mapping with id {volume_id}.")
        if len(found) > 1:
            raise Invalid(reason=f"Volume {volume_id} has several servers, which share no file.")
        server = servers.server_get(tx, found[0])
        if server.host is not None:
            host = hosts.host_get(tx, server.host)
            if host.forced_down or clock.now() - host.last_seen > self._service_down_s:
                raise Invalid(reason=f"Compute host {host.name} of the server does not report.")
        return server
