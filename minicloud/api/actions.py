"""POST /servers/{id}/action: one handler a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicloud.api.operations import Operator
from minicloud.api.schemas.fields import whole
from minicloud.api.scope import server_of
from minicloud.db import servers
from minicloud.domain.errors import Conflict
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Reply
from minicloud.rpc.compute import ComputeRPC


class Actions:
    """``compute``: host name -> a caller of its daemon."""

    def __init__(
        self, database: Database, operator: Operator, compute: Callable[[str], ComputeRPC]
    ) -> None:
        self._database = database
        self._operator = operator
        self._compute = compute

    def start(self, call: Call) -> Reply:
        self._operator.begin(call, "start")
        return Reply()

    def stop(self, call: Call) -> Reply:
        self._operator.begin(call, "stop")
        return Reply()

    def reboot(self, call: Call) -> Reply:
        hard = call.body.type.upper() == "HARD"
        self._operator.begin(call, "reboot_hard" if hard else "reboot")
        return Reply()

    def lock(self, call: Call) -> Reply:
        with self._database.write() as tx:
            server = server_of(tx, call)
            reason = call.body.locked_reason if call.body else None
            servers.server_update(tx, server.id, locked=True, locked_reason=reason)
        return Reply()

    def unlock(self, call: Call) -> Reply:
        with self._database.write() as tx:
            server = server_of(tx, call)
            servers.server_update(tx, server.id, locked=False, locked_reason=None)
        return Reply()

    def console_output(self, call: Call) -> Any:
        length = call.body.length
        lines = -1 if length is None else whole(length, "length", least=-1)
        with self._database.read() as tx:
            server = server_of(tx, call)
        if server.host is None:
            raise Conflict(reason=f"Instance {server.id} is not ready")
        text = self._compute(server.host).console_output(
            call.ctx, server_id=server.id, length=lines
        )
        return {"output": text}
