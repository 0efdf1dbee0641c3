"""POST /servers/{id}/action: one handler a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicloud.api.lookups import Lookups
from minicloud.api.operations import Operator
from minicloud.api.passwords import admin_password
from minicloud.api.rescue import rescue_params
from minicloud.api.schemas.fields import whole
from minicloud.api.scope import check_unlocked, server_of
from minicloud.db import hosts, migrations, operations, servers
from minicloud.domain.errors import Conflict, Gone, WrongState
from minicloud.domain.states import VmState
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Reply
from minicloud.rpc.compute import ComputeRPC


class Actions:
    """``compute``: host name -> a caller of its daemon."""

    def __init__(
        self,
        database: Database,
        operator: Operator,
        compute: Callable[[str], ComputeRPC],
        lookups: Lookups,
    ) -> None:
        self._lookups = lookups
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

    def pause(self, call: Call) -> Reply:
        self._operator.begin(call, "pause")
        return Reply()

    def unpause(self, call: Call) -> Reply:
        self._operator.begin(call, "unpause")
        return Reply()

    def suspend(self, call: Call) -> Reply:
        self._operator.begin(call, "suspend")
        return Reply()

    def resume(self, call: Call) -> Reply:
        self._operator.begin(call, "resume")
        return Reply()

    def rescue(self, call: Call) -> Any:
        """The guest boots an image of the caller's choice, or its own again, beside its disk."""
        return self._rescue(call, on_volumes=True)

    def rescue_before_2_87(self, call: Call) -> Any:
        """Servers whose root disk is a volume could not be rescued."""
        return self._rescue(call, on_volumes=False)

    def _rescue(self, call: Call, *, on_volumes: bool) -> Any:
        server = self._operator.check(call, "rescue")
        wanted = call.body.rescue_image_ref or None
        params = rescue_params(self._lookups, call.ctx, server, wanted, on_volumes=on_volumes)
        self._operator.begin(call, "rescue", params)
        return {"adminPass": admin_password(call.body.admin_pass)}

    def unrescue(self, call: Call) -> Reply:
        self._operator.begin(call, "unrescue")
        return Reply()

    def force_delete(self, call: Call) -> Reply:
        self._operator.delete(call)
        return Reply()

    def restore(self, call: Call) -> Reply:
        """Deleted servers are gone at once here: there is never one to restore."""
        with self._database.read() as tx:
            server = server_of(tx, call)
        raise WrongState(
            verb="restore", id=server.id, attribute="vm_state", state=str(server.vm_state),
            allowed=["soft-delete"],
        )  # fmt: skip

    def inject_network_info(self, call: Call) -> Reply:
        """Taken without effect: guests hear of their network by DHCP, metadata and config drive."""
        with self._database.read() as tx:
            check_unlocked(call.ctx, server_of(tx, call))
        return Reply()

    def reset_network(self, _call: Call) -> Reply:
        raise Gone(reason="It was for a hypervisor that is no longer supported.")

    def reset_state(self, call: Call) -> Reply:
        """An administrator says what the server is; an operation under way is given up."""
        with self._database.write() as tx:
            server = server_of(tx, call, lock=True)
            operations.operations_cancel(tx, server.id, "Cancelled by resetState")
            migrations.migrations_cut_short(tx, server.id)
            hosts.host_unclaim(tx, server.id, hosts.NEXT)
            servers.server_update(
                tx,
                server.id,
                vm_state=VmState(call.body.state),
                task_state=None,
                operation_id=None,
            )
        return Reply()

    def lock(self, call: Call) -> Reply:
        with self._database.write() as tx:
            server = server_of(tx, call, lock=True)
            if server.locked and server.locked_by == "admin" and not call.ctx.is_admin:
                return Reply()  # it stays the administrator's lock
            reason = call.body.locked_reason or None if call.body else None
            own = server.project_id == call.ctx.project_id
            servers.server_update(
                tx,
                server.id,
                locked=True,
                locked_reason=reason,
                locked_by="owner" if own and not call.ctx.is_admin else "admin",
            )
        return Reply()

    def unlock(self, call: Call) -> Reply:
        """Who locked it may unlock it; an administrator's lock is opened by administrators."""
        with self._database.write() as tx:
            server = server_of(tx, call, lock=True)
            if server.locked_by == "admin":
                call.check("os_compute_api:os-lock-server:unlock:unlock_override")
            servers.server_update(tx, server.id, locked=False, locked_reason=None, locked_by=None)
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
