"""A server's NICs: listed as the network service has them, added and taken while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from minicloud.api.launch_checks import the_only_network, usable_network
from minicloud.api.lookups import Lookups, Port
from minicloud.api.operations import Operator
from minicloud.api.schemas.attachment_bodies import InterfaceAttach
from minicloud.api.scope import server_of
from minicloud.db import servers
from minicloud.domain.errors import (
    Conflict,
    Invalid,
    NoAddressLeft,
    NotFound,
    Unavailable,
)
from minicloud.domain.models import RequestedNic, Server
from minicloud.kit.context import Context
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Reply


class Interfaces:
    def __init__(self, database: Database, operator: Operator, lookups: Lookups) -> None:
        self._database = database
        self._operator = operator
        self._lookups = lookups

    def index(self, call: Call) -> Any:
        server = self._of(call)
        ports = self._lookups.ports_of_server(call.ctx, server.id)
        return {"interfaceAttachments": [_view(server, port) for port in ports]}

    def show(self, call: Call) -> Any:
        server = self._of(call)
        return self._shown(call, server, call.params["port_id"])

    def attach(self, call: Call) -> Any:
        """Waits until the guest has the NIC, as clients expect."""
        body: InterfaceAttach = call.body
        server = self._operator.check(call, "attach_interface")
        wanted = self._wanted(call.ctx, body)

        def plan(now: Server) -> Mapping[str, Any]:
            number = max((nic.number for nic in now.requested_nics), default=-1) + 1
            nic = msgspec.structs.replace(wanted, number=number)
            return {"nic": msgspec.to_builtins(nic)}

        operation = self._operator.begin(call, "attach_interface", plan=plan)
        try:
            operation = self._operator.end_of(operation)
        except NoAddressLeft as problem:
            raise Invalid(reason=problem.message) from None
        if operation.live:
            raise Unavailable(
                service=f"Host {operation.host}", reason="it has not attached the interface yet"
            )
        with self._database.read() as tx:
            server = servers.server_get(tx, server.id)
        number = operation.params["nic"]["number"]
        port_id = next((nic.port_id for nic in server.nics if nic.number == number), "")
        return self._shown(call, server, port_id)

    def detach(self, call: Call) -> Reply:
        port_id = call.params["port_id"]

        def plan(server: Server) -> Mapping[str, Any]:
            for info in server.nics:
                if info.port_id == port_id:
                    nic = next(n for n in server.requested_nics if n.number == info.number)
                    return {
                        "nic": msgspec.to_builtins(nic),
                        "number": nic.number,
                        "port_id": port_id,
                        "then": [("detach_interface:end", None)],
                    }
            raise NotFound(kind="Port", id=port_id)

        self._operator.begin(call, "detach_interface", plan=plan)
        return Reply()

    def _wanted(self, ctx: Context, body: InterfaceAttach) -> RequestedNic:
        """The NIC, its number still to be given. Invalid, NotFound, Conflict."""
        fixed_ip = body.fixed_ips[0].ip_address if body.fixed_ips else ""
        if body.net_id and body.port_id:
            raise Invalid(reason="Must not input both network_id and port_id")
        if fixed_ip and not body.net_id:
            raise Invalid(reason="Must input network_id when request IP address")
        tag = body.tag or ""
        if body.port_id:
            port = next(iter(self._lookups.ports(ctx, [body.port_id])), None)
            if port is None:
                raise NotFound(kind="Port", id=body.port_id)
            if port.device_id:
                raise Conflict(reason=f"Port {port.id} is still in use.")
            return RequestedNic(number=0, network_id=port.network_id, port_id=port.id, tag=tag)
        if body.net_id:
            found = {network.id: network for network in self._lookups.networks(ctx, [body.net_id])}
            if body.net_id not in found:
                raise NotFound(kind="Network", id=body.net_id)
            network = usable_network(found[body.net_id], body.net_id, ctx)
            return RequestedNic(number=0, network_id=network.id, fixed_ip=fixed_ip, tag=tag)
        try:
            only = the_only_network(self._lookups, ctx)
        except Conflict as problem:
            raise Invalid(reason=problem.message) from None
        if not only:
            raise Invalid(reason="No network to attach: name one by net_id.")
        return msgspec.structs.replace(only[0], tag=tag)

    def _shown(self, call: Call, server: Server, port_id: str) -> Any:
        for port in self._lookups.ports_of_server(call.ctx, server.id):
            if port.id == port_id:
                return {"interfaceAttachment": _view(server, port)}
        raise NotFound(kind="Port", id=port_id)

    def _of(self, call: Call) -> Server:
        with self._database.read() as tx:
            return server_of(tx, call)


def _view(server: Server, port: Port) -> dict[str, Any]:
    tags = {nic.port_id: nic.tag for nic in server.nics}
    return {
        "port_id": port.id,
        "net_id": port.network_id,
        "mac_addr": port.mac,
        "port_state": port.status,
        "fixed_ips": port.fixed_ips,
        "tag": tags.get(port.id) or None,
    }
