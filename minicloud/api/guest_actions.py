"""What is done to a guest by one call to its host, while the client waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicloud.api.operations import Operator
from minicloud.api.passwords import sealed_password
from minicloud.api.schemas.diagnostics import diagnostics_view
from minicloud.api.scope import server_of
from minicloud.db import servers
from minicloud.domain.errors import Conflict, WrongState
from minicloud.domain.models import Server
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Reply
from minicloud.rpc.compute import ComputeRPC


class GuestActions:
    """``compute``: host name -> a caller of its daemon."""

    def __init__(
        self, database: Database, operator: Operator, compute: Callable[[str], ComputeRPC]
    ) -> None:
        self._database = database
        self._operator = operator
        self._compute = compute

    def diagnostics(self, call: Call) -> Any:
        server = self._of(call)
        if server.host is None:
            raise Conflict(reason=f"Instance {server.id} is not ready")
        found = self._compute(server.host).diagnostics(call.ctx, server_id=server.id)
        if found is None:
            raise WrongState(
                verb="get_diagnostics", id=server.id, attribute="power_state",
                state=server.power_state.name.lower(), allowed=["running"],
            )  # fmt: skip
        return diagnostics_view(server, found)

    def change_password(self, call: Call) -> Reply:
        """Set it by the guest's agent, and keep it sealed where the server's key can do that."""
        password = call.body.admin_pass

        def change(host: ComputeRPC, server: Server) -> None:
            sealed = sealed_password(server.public_key, password)
            host.set_password(
                call.ctx, server_id=server.id, user=_admin_of(server), password=password
            )
            if sealed:
                with self._database.write() as tx:
                    servers.guest_password_set(tx, server.id, sealed)

        self._operator.by_call(call, "changePassword", change)
        return Reply()

    def trigger_crash_dump(self, call: Call) -> Reply:
        def interrupt(host: ComputeRPC, server: Server) -> None:
            host.inject_nmi(call.ctx, server_id=server.id)

        self._operator.by_call(call, "trigger_crash_dump", interrupt)
        return Reply()

    def password(self, call: Call) -> Any:
        """The guest's password, sealed with its user's key."""
        server = self._of(call)
        with self._database.read() as tx:
            return {"password": servers.guest_password_get(tx, server.id)}

    def clear_password(self, call: Call) -> Reply:
        with self._database.write() as tx:
            server = server_of(tx, call)
            servers.guest_password_set(tx, server.id, "")
        return Reply(status=204)

    def _of(self, call: Call) -> Server:
        with self._database.read() as tx:
            return server_of(tx, call)


def _admin_of(server: Server) -> str:
    named = server.image_properties.get("os_admin_user")
    windows = server.image_properties.get("os_type") == "windows"
    return named or ("Administrator" if windows else "root")
