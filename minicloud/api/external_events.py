"""Events that the network and volume services report of servers: looked at, answered one by one.

Nothing waits for them: hosts ask the services themselves. A change of a server's network makes
its host look now, and its addresses are read again; a volume's growth is told to the guest.
The others are taken for every server that has a host, and change nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from minicloud.api.lookups import Lookups
from minicloud.api.operations import Operator
from minicloud.api.schemas.external_events import ExternalEvent, ExternalEvents
from minicloud.db import servers
from minicloud.db.servers import ServerQuery
from minicloud.domain.errors import Conflict, MinicloudError, NotAttached
from minicloud.domain.models import NicInfo, Server
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Reply
from minicloud.rpc.compute import ComputeRPC

LOG = logging.getLogger(__name__)
_NETWORK = ("network-changed", "network-vif-plugged", "network-vif-unplugged",
            "network-vif-deleted")  # fmt: skip
_EXTENDED = "volume-extended"
_WITH_TAG = (_EXTENDED, "power-update", "accelerator-request-bound")


class ExternalEventHandler:
    """``compute``: host name -> a caller of its daemon."""

    def __init__(
        self,
        database: Database,
        operator: Operator,
        lookups: Lookups,
        compute: Callable[[str], ComputeRPC],
    ) -> None:
        self._database = database
        self._operator = operator
        self._lookups = lookups
        self._compute = compute

    def create(self, call: Call) -> Reply:
        body: ExternalEvents = call.body
        wanted = sorted({event.server_uuid for event in body.events})
        with self._database.read() as tx:
            found = servers.server_list(tx, ServerQuery(equal={"id": wanted}))
        known = {server.id: server for server in found}
        views = [_view(event, known.get(event.server_uuid)) for event in body.events]
        for view in views:
            if view["code"] == 200 and view["name"] == _EXTENDED:
                self._volume_extended(call, view)
        good_ones = (view for view in views if view["code"] == 200)
        changed = {view["server_uuid"] for view in good_ones if view["name"] in _NETWORK}
        for server_id in sorted(changed):
            self._network_changed(call, known[server_id])
        good = all(view["code"] == 200 for view in views)
        return Reply(body={"events": views}, status=200 if good else 207)

    def _volume_extended(self, call: Call, view: dict[str, Any]) -> None:
        """Have the guest told of its disk's new size, unless it has no such disk."""

        def plan(server: Server) -> Mapping[str, Any]:
            for disk in server.block_devices:
                if disk.volume_id and disk.volume_id == view["tag"]:
                    return {"disk": msgspec.to_builtins(disk)}
            raise NotAttached(instance=server.id, volume=view["tag"])

        try:
            self._operator.begin(call, "extend_volume", plan=plan, server_id=view["server_uuid"])
        except NotAttached as problem:
            LOG.warning("A volume has grown: %s", problem.message)
        except Conflict:
            view |= {"status": "failed", "code": 422}

    def _network_changed(self, call: Call, server: Server) -> None:
        try:
            ports = self._lookups.ports_of_server(call.ctx, server.id)
            floating = self._lookups.floating_ips(call.ctx, [port.id for port in ports])
        except MinicloudError as problem:  # the host still finds it out by itself
            LOG.warning("The ports of server %s are not known: %s", server.id, problem.message)
            return
        addresses = {port.id: [ip["ip_address"] for ip in port.fixed_ips] for port in ports}
        with self._database.write() as tx:
            now = servers.server_get(tx, server.id, deleted=None, lock=True)
            nics = _refreshed(now.nics, addresses, floating)
            if nics != list(now.nics):
                servers.server_update(tx, server.id, nics=nics)
        if server.host is not None:
            try:
                self._compute(server.host).network_changed(call.ctx, things=[], origin="")
            except MinicloudError as problem:
                LOG.warning("Could not tell %s: %s", server.host, problem.message)


def _refreshed(
    nics: Sequence[NicInfo],
    addresses: Mapping[str, Sequence[str]],
    floating: Mapping[str, Sequence[str]],
) -> list[NicInfo]:
    return [
        msgspec.structs.replace(
            nic,
            addresses=list(addresses.get(nic.port_id, nic.addresses)),
            floating=list(floating.get(nic.port_id, ())),
        )
        for nic in nics
    ]


def _view(event: ExternalEvent, server: Server | None) -> dict[str, Any]:
    code = _code(event, server)
    view: dict[str, Any] = {"name": event.name, "server_uuid": event.server_uuid,
                            "status": "completed" if code == 200 else "failed",
                            "code": code}  # fmt: skip
    if event.tag is not UNSET:
        view["tag"] = event.tag
    return view


def _code(event: ExternalEvent, server: Server | None) -> int:
    if server is None:
        return 404
    if event.tag is UNSET and event.name in _WITH_TAG:
        return 400
    return 422 if server.host is None else 200
