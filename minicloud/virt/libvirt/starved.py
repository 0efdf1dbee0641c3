"""Guests that stand still because a disk had no space for what they wrote: QEMU stops them before
they see an error, and tries the same writes again when they go on.
"""

from __future__ import annotations

from typing import Any

import libvirt

from minicloud.virt.libvirt.connection import Connection


def retry_writes(connection: Connection, server_id: str) -> bool:
    """As ``Driver.retry_writes``."""
    found = False

    def act(domain: Any) -> None:
        nonlocal found
        state, reason = domain.state()[:2]
        stopped = state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_IOERROR
        if stopped and libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE in domain.diskErrors().values():
            domain.resume()
            found = True

    connection.act("resume", server_id, act)
    return found
