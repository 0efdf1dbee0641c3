"""Rows of consoles."""

from __future__ import annotations

from minicloud.api.remote_consoles import RemoteConsoles
from minicloud.api.schemas import consoles as bodies
from minicloud.kit.web import Route

_P = "os_compute_api:"
_ONE = "/servers/{server_id}"


def console_routes(consoles: RemoteConsoles) -> list[Route]:
    return [
        Route(method="POST", path=_ONE + "/remote-consoles", handler=consoles.create,
              since=(2, 6), policy=_P + "os-remote-consoles", body=bodies.CREATE,
              summary="Get a URL that opens a server's screen once."),
        Route(method="POST", path=_ONE + "/action", action="os-getVNCConsole",
              handler=consoles.vnc_before_2_6, until=(2, 5),
              policy=_P + "os-remote-consoles", body=bodies.VNC_BEFORE_2_6,
              summary="Get a URL that opens a server's screen once."),
        Route(method="POST", path=_ONE + "/action", action="os-getSerialConsole",
              handler=consoles.serial_before_2_6, until=(2, 5),
              policy=_P + "os-remote-consoles", body=bodies.SERIAL_BEFORE_2_6,
              summary="Get a URL that opens a server's serial console once."),
        Route(method="POST", path=_ONE + "/action", action="os-getSPICEConsole",
              handler=consoles.spice_before_2_6, until=(2, 5),
              policy=_P + "os-remote-consoles", body=bodies.SPICE_BEFORE_2_6,
              summary="Get a URL of a SPICE console: there are none."),
        Route(method="POST", path=_ONE + "/action", action="os-getRDPConsole",
              handler=consoles.rdp_before_2_6, until=(2, 5),
              policy=_P + "os-remote-consoles", summary="Removed: RDP consoles."),
        Route(method="GET", path="/os-console-auth-tokens/{token}",
              handler=consoles.show_before_2_31, until=(2, 30),
              policy=_P + "os-console-auth-tokens", summary="Removed: what an RDP token opens."),
        Route(method="GET", path="/os-console-auth-tokens/{token}", handler=consoles.show,
              since=(2, 31), policy=_P + "os-console-auth-tokens",
              summary="Show what a console's token opens; a service uses it up."),
    ]  # fmt: skip
