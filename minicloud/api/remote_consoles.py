"""Consoles: a URL with a token for the user, the place behind it for the console proxy.

Where the guest's VNC server listens is asked of its host when the token is used, because it
changes with every start of the guest. Nothing here logs or repeats a token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from minicloud.api.scope import server_of
from minicloud.conf.web import PORTS
from minicloud.db import consoles, servers
from minicloud.domain.errors import Conflict, Invalid, NotFound
from minicloud.domain.states import Power
from minicloud.kit.db import Database
from minicloud.kit.web import Call
from minicloud.rpc.compute import ComputeRPC

_NOVNC = "novnc"
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
        if (protocol, kind) != ("vnc", _NOVNC):
            raise _unavailable(kind)
        return {"remote_console": {"protocol": protocol, "type": kind, "url": self._open(call)}}

    def create_before_2_6(self, call: Call) -> Any:
        """The action os-getVNCConsole."""
        if call.body.type != _NOVNC:
            raise _unavailable(call.body.type)
        return {"console": {"type": _NOVNC, "url": self._open(call)}}

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
        port = None
        if server.host == console.host:
            port = self._compute(console.host).vnc_port(call.ctx, server_id=server.id)
        if port is None:
            raise NotFound(kind="The screen of instance", id=server.id)
        return {
            "console": {
                "instance_uuid": server.id,
                "host": console.host,
                "port": port,
                "internal_access_path": None,
            }
        }

    def _open(self, call: Call) -> str:
        """The URL of a new token for the server. NotFound, Conflict."""
        with self._database.write() as tx:
            server = server_of(tx, call)
            if server.host is None or server.power_state not in _ON:
                raise Conflict(reason=f"Instance {server.id} is not ready: it does not run")
            token = consoles.console_token_new(
                tx, server_id=server.id, host=server.host, console_type=_NOVNC
            )
        base = self._public_url.rstrip("/") or _beside(call.base_url)
        return f"{base}/{_PAGE}?path={quote('?token=' + token, safe='')}"


def _beside(api_url: str) -> str:
    """The console proxy on the host at which the caller found the API."""
    host = urlsplit(api_url).hostname or "127.0.0.1"
    return "http://{}:{}".format(f"[{host}]" if ":" in host else host, PORTS["consoleproxy"])


def _unavailable(kind: str) -> Invalid:
    return Invalid(
        reason=f"Unavailable console type {kind}: this cloud has the protocol vnc with the type "
        f"{_NOVNC}, and the serial console's text by os-getConsoleOutput."
    )
