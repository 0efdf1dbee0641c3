"""Consoles: a URL with a token for the user, the place behind it for the console proxy.

The guest's host is asked for a door to the console when the token is used: for one connection, and
for half a minute. Nothing here logs or repeats a token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from minicloud.api.scope import server_of
from minicloud.conf.web import PORTS
from minicloud.db import consoles, servers
from minicloud.domain.errors import Conflict, Gone, Invalid, NotFound, WrongState
from minicloud.domain.states import Power, TaskState
from minicloud.kit.db import Database
from minicloud.kit.web import Call
from minicloud.rpc.compute import ComputeRPC

_PROTOCOLS = {"novnc": "vnc", "serial": "serial"}
"""The consoles that there are: type -> protocol."""

_PAGE = "vnc_lite.html"
_ON = (Power.RUNNING, Power.PAUSED)


class RemoteConsoles:
    """``compute``: host name -> a caller of its daemon. ``public_url``: the console proxy as
    browsers reach it; empty for its port on the host that the request names."""

    def __init__(
        self, database: Database, compute: Callable[[str], ComputeRPC], *, public_url: str
    ) -> None:
        self._database = database
        self._compute = compute
        self._public_url = public_url

    def create(self, call: Call) -> Any:
        """POST remote-consoles. Invalid for a kind of console that there is not."""
        protocol, kind = call.body.protocol, call.body.type
        if _PROTOCOLS.get(kind) != protocol:
            raise self._unavailable(call, kind)
        url = self._open(call, kind)
        return {"remote_console": {"protocol": protocol, "type": kind, "url": url}}

    def vnc_before_2_6(self, call: Call) -> Any:
        """The action os-getVNCConsole."""
        return self._before_2_6(call, call.body.type)

    def serial_before_2_6(self, call: Call) -> Any:
        """The action os-getSerialConsole."""
        return self._before_2_6(call, call.body.type)

    def spice_before_2_6(self, call: Call) -> Any:
        """The action os-getSPICEConsole."""
        return self._before_2_6(call, call.body.type)

    def rdp_before_2_6(self, _call: Call) -> Any:
        """The action os-getRDPConsole."""
        raise Gone(reason="RDP consoles were for a hypervisor that is no longer supported.")

    def _before_2_6(self, call: Call, kind: str) -> Any:
        if kind not in _PROTOCOLS:
            raise self._unavailable(call, kind)
        return {"console": {"type": kind, "url": self._open(call, kind)}}

    def show_before_2_31(self, _call: Call) -> Any:
        """Where it was for RDP alone."""
        raise Invalid(reason="The server could not comply with the request: use 2.31 or newer.")

    def show(self, call: Call) -> Any:
        """What a token opens. NotFound.

        A service that asks is about to open it: that uses the token up. An admin only looks.
        """
        token = call.params["token"]
        if call.ctx.is_service:
            with self._database.write() as tx:
                console = consoles.console_token_use(tx, token)
        else:
            with self._database.read() as tx:
                console = consoles.console_token_get(tx, token)
        with self._database.read() as tx:
            server = servers.server_get(tx, console.server_id)
        if server.host != console.host:
            raise _ended(server.id)
        compute, kind = self._compute(console.host), console.console_type
        if not call.ctx.is_service:
            # Where the screen is served, on its host's loopback; a serial console has no port.
            port = None
            if kind == "novnc":
                port = compute.vnc_port(call.ctx, server_id=server.id)
                if port is None:
                    raise _ended(server.id)
            return _view(server.id, console.host, port, None)
        door = compute.console_open(call.ctx, server_id=server.id, kind=kind)
        if door is None:
            raise _ended(server.id)
        return _view(server.id, door.address, door.port, door.key)

    def _unavailable(self, call: Call, kind: str) -> Invalid:
        """Why there is no such console. NotFound: there is no such server either."""
        with self._database.read() as tx:
            server_of(tx, call)
        return Invalid(
            reason=f"Unavailable console type {kind}. There are novnc of vnc and serial of serial."
        )

    def _open(self, call: Call, kind: str) -> str:
        """The URL of a new token for the server. NotFound, Conflict."""
        with self._database.write() as tx:
            server = server_of(tx, call)
            if server.task_state in (TaskState.DELETING, TaskState.MIGRATING):
                raise WrongState(
                    verb=f"get_{'serial' if kind == 'serial' else 'vnc'}_console", id=server.id,
                    attribute="task_state", state=str(server.task_state), allowed=["None"],
                )  # fmt: skip
            if server.host is None or server.power_state not in _ON:
                raise Conflict(reason=f"Instance {server.id} is not ready: it does not run")
            token = consoles.console_token_new(
                tx, server_id=server.id, host=server.host, console_type=kind
            )
        base = self._public_url.rstrip("/") or _beside(call.base_url)
        if kind == "serial":
            return f"ws{base.removeprefix('http')}/?token={token}"
        return f"{base}/{_PAGE}?path={quote('?token=' + token, safe='')}"


def _beside(api_url: str) -> str:
    """The console proxy on the host at which the caller found the API."""
    host = urlsplit(api_url).hostname or "127.0.0.1"
    return "http://{}:{}".format(f"[{host}]" if ":" in host else host, PORTS["consoleproxy"])


def _view(server_id: str, host: str, port: int | None, key: str | None) -> Any:
    return {
        "console": {
            "instance_uuid": server_id,
            "host": host,
            "port": port,
            "internal_access_path": key,
        }
    }


def _ended(server_id: str) -> NotFound:
    return NotFound(kind="The console of instance", id=server_id)
