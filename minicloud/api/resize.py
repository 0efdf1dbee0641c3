"""Another flavor, another host: resize, migrate, evacuate, and what ends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from minicloud.api.operations import Operator
from minicloud.api.passwords import admin_password
from minicloud.api.quota_room import room_for
from minicloud.api.scope import project_scope, server_of
from minicloud.db import flavors, hosts, quotas
from minicloud.domain.disks import ephemeral_gb
from minicloud.domain.errors import Conflict, Invalid, NotFound
from minicloud.domain.models import Flavor, Server
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call, Reply


class Resize:
    """``limits``: the configured quota."""

    def __init__(
        self,
        database: Database,
        operator: Operator,
        limits: Mapping[str, int],
        *,
        service_down_s: float,
    ) -> None:
        self._database = database
        self._operator = operator
        self._limits = limits
        self._service_down_s = service_down_s

    def resize(self, call: Call) -> Reply:
        with self._database.read() as tx:
            server = server_of(tx, call)
            flavor = _flavor(tx, call, server)
        self._operator.begin(
            call,
            "resize",
            {"flavor": msgspec.to_builtins(flavor)},
            also=lambda tx, server: self._check_quota(tx, server, flavor),
        )
        return Reply()

    def migrate(self, call: Call) -> Reply:
        """To another host, of the administrator's choice from 2.56 on."""
        host = getattr(call.body, "host", None)
        params = {}
        if host is not None:
            call.check("os_compute_api:os-migrate-server:migrate:host")
            params["host"] = host
            with self._database.read() as tx:
                server = server_of(tx, call)
                _known_host(tx, host)
            if host == server.host:
                raise Invalid(reason=f"Server {server.id} is on {host} already.")
        self._operator.begin(call, "migrate", params)
        return Reply()

    def confirm(self, call: Call) -> Reply:
        self._operator.begin(call, "confirmResize")
        return Reply(status=204)

    def revert(self, call: Call) -> Reply:
        def plan(server: Server) -> dict[str, Any]:
            assert server.resized is not None
            return {"then": [("revertResize:finish", server.resized.host)]}

        self._operator.begin(call, "revertResize", plan=plan)
        return Reply()

    def evacuate(self, call: Call) -> Reply:
        """Built anew on another host, because its own is down."""
        self._evacuate(call)
        return Reply()

    def evacuate_before_2_14(self, call: Call) -> Any:
        self._evacuate(call)
        return {"adminPass": admin_password(call.body.admin_pass)}

    def _evacuate(self, call: Call) -> None:
        wanted = call.body.host or None
        with self._database.read() as tx:
            server = server_of(tx, call)
            if server.host is None:
                raise Conflict(reason=f"Instance {server.id} is not ready")
            if hosts.host_get(tx, server.host).is_up(self._service_down_s, clock.now()):
                raise Invalid(
                    reason=f"Compute service of {server.host} is still in use: evacuate is for "
                    "servers whose host is down."
                )
            if wanted is not None:
                _known_host(tx, wanted)
                if wanted == server.host:
                    raise Invalid(reason=f"{wanted} is the host that the server is to leave.")
        self._operator.begin(call, "evacuate", {} if wanted is None else {"host": wanted})

    def _check_quota(self, tx: Transaction, server: Server, flavor: Flavor) -> None:
        """QuotaExceeded when what the server gets more of is not left."""
        quotas.project_lock(tx, server.project_id)
        more = {
            "cores": flavor.vcpus - server.flavor.vcpus,
            "ram": flavor.ram - server.flavor.ram,
        }
        room_for(tx, server.project_id, server.user_id, self._limits, more)


def _flavor(tx: Transaction, call: Call, server: Server) -> Flavor:
    """The flavor that the request names, to which the server may go. Invalid."""
    wanted = str(call.body.flavor_ref).rstrip("/").rsplit("/", 1)[-1]
    try:
        flavor = flavors.flavor_get(tx, wanted, visible_to=project_scope(call.ctx))
    except NotFound:
        raise Invalid(reason=f"Flavor with id {wanted[:255]} could not be found.") from None
    if flavor.disabled:
        raise Invalid(reason="Unable to locate requested flavor.")
    if flavor.id == server.flavor.id:
        raise Invalid(reason="When resizing, instances must change flavor!")
    if server.image_id and flavor.disk < server.flavor.disk:
        raise Invalid(
            reason="Server disk was unable to be resized because: the disk of flavor "
            f"{flavor.name} ({flavor.disk} GiB) is smaller than the server's "
            f"({server.flavor.disk} GiB), and disks do not shrink."
        )
    ephemeral = ephemeral_gb(server.block_devices) or server.flavor.ephemeral
    if flavor.ephemeral < ephemeral:
        raise Invalid(
            reason="Server disk was unable to be resized because: the ephemeral disk of flavor "
            f"{flavor.name} ({flavor.ephemeral} GiB) is smaller than the server's "
            f"({ephemeral} GiB), and disks do not shrink."
        )
    return flavor


def _known_host(tx: Transaction, name: str) -> None:
    try:
        hosts.host_get(tx, name)
    except NotFound:
        raise Invalid(reason=f"Compute host {name[:255]} could not be found.") from None
