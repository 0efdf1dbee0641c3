"""Who has an image open, and which of them are dead.

Ceph keeps a client that ended without a word for half a minute: until then snapshots wait for it
and its image cannot be removed. Blocking it ends that, and would end a living one too, with all of
its writes. So a client is dead here only when this host can tell by itself, which is when

* its address is this host's own: of others nobody here knows more than that they are silent;
* no process of this host names the image in its command line, as exporters and tools all do, and
  the kernel has it not as a block device; they are looked at after the clients were listed, so
  whoever was listed and is not seen has ended since or before;
* guests were never let open the image for themselves (``GUESTS``): a guest's QEMU gets a disk
  without its command line knowing, and may run where this process does not see it.

Everybody else is waited for.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

GUESTS = "minicloud.guests"
"""Metadata of an image: its own name, once guests may have opened it. Clones inherit it with the
name of another, and never were open.
"""


def dead_among(clients: Sequence[str], image: str) -> list[str]:
    """Those of ``clients``, addresses as Ceph lists them, that are known to have ended, if guests
    never had the image.
    """
    here = [each for each in clients if _is_here(each)]
    if not here or is_named(image) or _is_mapped(image):
        return []
    return here


def is_named(image: str) -> bool:
    """Whether a process of this host has the image's name in its command line."""
    words = os.fsencode(image)
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words in entry.read_bytes():
                return True
        except OSError:
            pass  # it has ended
    return False


def _is_mapped(image: str) -> bool:
    """Whether the kernel has it as a block device."""
    names = Path("/sys/bus/rbd/devices").glob("*/name")
    return any(each.read_text().strip() == image for each in names)


def _is_here(client: str) -> bool:
    """``client``: ADDRESS:PORT/NONCE. The kernel speaks to its own addresses from themselves."""
    address = client.split("/")[0].rpartition(":")[0].strip("[]")
    try:
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return str(probe.getsockname()[0]) == address
    except OSError:
        return False
