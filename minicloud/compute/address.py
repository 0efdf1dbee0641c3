"""The address that this machine has towards others, where nobody configured one."""

from __future__ import annotations

import socket

_ELSEWHERE = ("192.0.2.1", 9)
"""An address for documentation: the way there is looked up, and nothing is sent."""
_ALONE = "127.0.0.1"


def own_address() -> str:
    """The source address of the default route; loopback where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return _ALONE
        return str(probe.getsockname()[0])
