"""Disks whose files change below a guest that runs.

QEMU goes on in another file by libvirt's external snapshot, of which libvirt keeps nothing but the
new definition. It must not be done twice: what the guest has is looked at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minicloud.domain.errors import HostProblem
from minicloud.virt.driver import Disk
from minicloud.virt.libvirt import disks, xml
from minicloud.virt.libvirt.connection import Connection


def move(connection: Connection, server_id: str, serial: str, name: str) -> None:
    """As ``Driver.move_disk``."""
    live = connection.live_definition(server_id)
    found = xml.disk_files(live, serial) if live is not None else None
    if live is None or found is None:
        return
    target, files = found
    if not files:
        raise HostProblem(reason=f"disk {target} of server {server_id} is no file")
    path = str(Path(files[0]).with_name(name))
    if path in files:
        return
    if files[0] not in disks.files_below(Path(path)):
        raise HostProblem(
            reason=f"{name} does not stand on the file that disk {target} of server {server_id} is"
        )
    connection.overlay_disk(server_id, xml.overlay_xml(live, target, path))


def restore_onto(connection: Connection, server_id: str, wanted: Sequence[Disk]) -> None:
    """A saved guest finds its volumes in the files of ``wanted`` when it goes on."""

    def change(domain: Any) -> None:
        changed = xml.with_files_of(domain.managedSaveGetXMLDesc(), wanted)
        if changed is not None:
            domain.managedSaveDefineXML(changed)

    connection.act("change what was saved of", server_id, change)
