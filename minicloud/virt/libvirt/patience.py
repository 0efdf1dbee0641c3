"""NBD disks that wait while their exporter is away, and so may grow with it.

QEMU's NBD client can come again after its connection ends, and takes the export's new size when
it does; libvirt learned to ask for that only in later versions. So once a guest has the disk, a
client that waits takes the place of libvirt's below the disk's format, by QEMU's own protocol.
Each function may be repeated. Knows QEMU's words, not libvirt's calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from minicloud.domain.errors import HostProblem
from minicloud.virt.driver import NbdDisk

Ask = Callable[[str, dict[str, Any]], Any]
"""(command, arguments) -> what QEMU returns. HostProblem where it refuses."""
_NAME = 28
"""Characters that are left of the 31 of a node's name."""


def make_patient(ask: Ask, disk: NbdDisk, delay_s: int) -> bool:
    """Have the guest wait up to ``delay_s`` for the disk's exporter. False: there is no such
    disk, or libvirt has built it in another way than is known here.
    """
    nodes = _nodes(ask)
    storage = _storage(nodes, disk)
    if storage is None:
        return False
    form = storage.removesuffix("-storage") + "-format"
    if form not in nodes or nodes[form]["drv"] != "raw":
        return False
    shared: dict[str, Any] = {
        "read-only": disk.readonly,
        "discard": "unmap",
        "cache": {"direct": True, "no-flush": False},
    }
    name = _name(disk)
    if name not in nodes:
        client: dict[str, Any] = {
            "driver": "nbd",
            "node-name": name,
            "server": _server(disk),
            "export": disk.export,
            "reconnect-delay": delay_s,
            **shared,
        }
        if disk.tls:
            client["tls-creds"] = f"obj{storage}_tls0"
        ask("blockdev-add", client)
    reopened = {"driver": "raw", "node-name": form, "file": name, **shared}
    ask("blockdev-reopen", {"options": [reopened]})
    return True


def forget_unused(ask: Ask) -> None:
    """The clients of disks that the guest has no more. QEMU keeps those that are in use."""
    for name in _nodes(ask):
        if name.startswith("mc-"):
            with contextlib.suppress(HostProblem):
                ask("blockdev-del", {"node-name": name})


def touch(ask: Ask, disk: NbdDisk) -> None:
    """Read a little: a guest that is idle would not notice that its exporter came back, larger."""
    node = _name(disk)
    if node in _nodes(ask):
        ask("human-monitor-command", {"command-line": f'qemu-io {node} "read 0 512"'})


def _nodes(ask: Ask) -> dict[str, Any]:
    found = ask("query-named-block-nodes", {"flat": True})
    return {str(each["node-name"]): each for each in found}


def _storage(nodes: dict[str, Any], disk: NbdDisk) -> str | None:
    """libvirt's own client of the disk."""
    for name, node in nodes.items():
        if name.startswith("libvirt-") and node["drv"] == "nbd" and disk.export in node["file"]:
            return name
    return None


def _name(disk: NbdDisk) -> str:
    if not disk.export:
        raise HostProblem(reason=f"disk {disk.target} names no export")
    return f"mc-{disk.export.replace('-', '')[:_NAME]}"


def _server(disk: NbdDisk) -> dict[str, Any]:
    if disk.socket:
        return {"type": "unix", "path": disk.socket}
    return {"type": "inet", "host": disk.host, "port": str(disk.port)}
