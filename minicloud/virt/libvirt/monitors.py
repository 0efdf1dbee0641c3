"""Whether a Ceph cluster answers: QEMU would wait for one that does not, and libvirt for QEMU, for
minutes in which other servers' guests wait as well.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from minicloud.domain.errors import HostProblem

_LIMIT_S = 8.0
_EACH_S = 3.0
_BANNER = b"ceph v"
"""What a monitor says first, in each version of its protocol."""


def check(monitors: Sequence[tuple[str, int]]) -> None:
    """HostProblem: none of them answers."""
    give_up_at = time.monotonic() + _LIMIT_S
    for host, port in monitors:
        left = min(_EACH_S, give_up_at - time.monotonic())
        if left > 0 and _answers(host, port, left):
            return
    if monitors:
        places = ", ".join(f"{host}:{port}" for host, port in monitors)
        raise HostProblem(reason=f"no monitor of the Ceph cluster answers at {places}")


def _answers(host: str, port: int, limit_s: float) -> bool:
    try:
        with socket.create_connection((host, port), limit_s) as connection:
            return connection.recv(len(_BANNER), socket.MSG_WAITALL) == _BANNER
    except OSError:
        return False
