"""Disks that go to another place while the guest writes: libvirt's block copy, then its pivot.

The copy goes on in QEMU whatever becomes of this process; the domain's definition says how far it
is. Each function may be repeated after being cut short anywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import libvirt

from minicloud.domain.errors import HostProblem
from minicloud.virt.driver import Disk
from minicloud.virt.libvirt import xml
from minicloud.virt.libvirt.connection import Connection
from minicloud.virt.libvirt.xml import HostFeatures

_LOOK_S = 0.2
"""Between two looks at a copy."""
_COPY = (
    libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT
    | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
    | libvirt.VIR_DOMAIN_BLOCK_COPY_SYNCHRONOUS_WRITES
)
"""The place is there; the guest's writes are answered when both places have them."""


class _Found(NamedTuple):
    """A disk in a running domain's definition, and how far its move is."""

    target: str
    moved: bool
    copying: bool
    """Whether it is being copied, to any place."""
    copied: bool
    """Whether both places have the same."""
    astray: bool
    """Whether it is being copied to another place."""


def ensure_moved(
    connection: Connection,
    server_id: str,
    disk: Disk,
    features: HostFeatures,
    ready: Callable[[], None],
    cancelled: threading.Event,
) -> None:
    """As ``Driver.ensure_disk_moved``."""
    element = xml.device_xml(disk, features)
    began = False
    while True:
        found = _look(connection, server_id, disk, element)
        if found is None:
            raise HostProblem(
                reason=f"the guest of server {server_id} does not run, or has no disk {disk.target}"
            )
        if found.moved:
            break
        if found.astray:
            _end(connection, server_id, found.target)
        elif found.copied:
            ready()
            _pivot(connection, server_id, found.target)
            began = False  # the next look tells whether it went over
        elif not found.copying:
            if began:
                raise HostProblem(
                    reason=f"the copy of disk {disk.target} of server {server_id} failed: its new "
                    "place may be full or away; see libvirtd's log"
                )
            _begin(connection, server_id, found.target, element)
            began = True
        elif cancelled.wait(_LOOK_S):
            raise HostProblem(reason=f"disk {disk.target} is not waited for any more")
    stored = connection.stored_definition(server_id)
    changed = _with_place(stored, disk.serial, element) if stored is not None else None
    if changed is not None:
        connection.define(changed)


def end_move(
    connection: Connection, server_id: str, disk: Disk, features: HostFeatures
) -> bool | None:
    """As ``Driver.end_disk_move``."""
    element = xml.device_xml(disk, features)
    found = _look(connection, server_id, disk, element)
    if found is not None and found.copying:
        _end(connection, server_id, found.target)
        found = _look(connection, server_id, disk, element)
    return None if found is None else found.moved


def _look(connection: Connection, server_id: str, disk: Disk, element: str) -> _Found | None:
    live = connection.live_definition(server_id)
    return None if live is None else find_move(live, disk.serial, element)


def find_move(definition: str, serial: str, element: str) -> _Found | None:
    """The disk ``serial`` in a running domain's definition, which is to go where ``element`` is.
    None: there is none.
    """
    wanted = _place(_parsed(element))
    for disk in _parsed(definition).iterfind("devices/disk"):
        if disk.findtext("serial") != serial:
            continue
        target, mirror = disk.find("target"), disk.find("mirror")
        there = mirror is not None and _place(mirror) == wanted
        return _Found(
            target=target.get("dev", "") if target is not None else "",
            moved=mirror is None and _place(disk) == wanted,
            copying=mirror is not None,
            copied=there and mirror is not None and mirror.get("ready") == "yes",
            astray=mirror is not None and not there,
        )
    return None


def _with_place(definition: str, serial: str, element: str) -> str | None:
    """The definition with the disk ``serial`` where ``element`` is; None: it is there already."""
    root, wanted = _parsed(definition), _parsed(element)
    for disk in root.iterfind("devices/disk"):
        if disk.findtext("serial") != serial or _place(disk) == _place(wanted):
            continue
        for tag in ("driver", "source", "backingStore"):
            for old in disk.findall(tag):
                disk.remove(old)
        disk.set("type", wanted.get("type", "file"))
        disk[:0] = [part for part in wanted if part.tag in ("driver", "source")]
        return ET.tostring(root, encoding="unicode")
    return None


def _place(element: ET.Element) -> Any:
    """Where a disk's bytes are, to be compared."""
    source = element.find("source")
    if source is None:
        return None
    names = {name: source.get(name) for name in ("file", "dev", "protocol", "name")}
    return names, [dict(host.attrib) for host in source.findall("host")]


def _parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - libvirt's own output, or ours


def _begin(connection: Connection, server_id: str, target: str, element: str) -> None:
    def act(domain: Any) -> None:
        if not _copies(domain, target):
            domain.blockCopy(target, element, None, _COPY)

    connection.act("copy a disk of", server_id, act)


def _pivot(connection: Connection, server_id: str, target: str) -> None:
    def act(domain: Any) -> None:
        if _copies(domain, target):
            domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)

    connection.act("move a disk of", server_id, act)


def _end(connection: Connection, server_id: str, target: str) -> None:
    def act(domain: Any) -> None:
        if _copies(domain, target):
            domain.blockJobAbort(target, 0)

    connection.act("end the copy of a disk of", server_id, act)


def _copies(domain: Any, target: str) -> bool:
    """Whether a job works on the disk."""
    return domain.isActive() and bool(domain.blockJobInfo(target, 0))
