"""Libvirt's XML of a guest that moves: its definition on the host that it goes to. Pure."""

from __future__ import annotations

from typing import NamedTuple
from xml.etree import ElementTree as ET

from minicloud.virt.driver import Disk, DomainSpec, FileDisk
from minicloud.virt.libvirt import xml

_FEATURES = xml.HostFeatures(vhost_net=False)
"""They make no difference to a disk."""


class Owner(NamedTuple):
    uid: int
    gid: int


def qemu_owner(capabilities: str) -> Owner:
    """Whom QEMU runs as on this host; root where libvirt does not say."""
    root = ET.fromstring(capabilities)  # noqa: S314 - libvirt's own output, on our host
    for model in root.iterfind("host/secmodel"):
        if model.findtext("model") != "dac":
            continue
        for label in model.iterfind("baselabel"):
            uid, _, gid = (label.text or "").replace("+", "").partition(":")
            if uid.isdigit() and gid.isdigit():
                return Owner(int(uid), int(gid))
    return Owner(0, 0)


def as_there(definition: str, spec: DomainSpec) -> str:
    """``definition`` with the disks and the console's log where ``spec`` has them; all that the
    guest sees of them stays.
    """
    root = ET.fromstring(definition)  # noqa: S314 - libvirt's own output, on our host
    disks = {disk.target: disk for disk in spec.disks}
    for element in root.iterfind("devices/disk"):
        target = element.find("target")
        disk = disks.get(target.get("dev", "")) if target is not None else None
        if disk is not None:
            _put(element, disk)
    for kind in ("serial", "console"):
        for log in root.iterfind(f"devices/{kind}/log"):
            log.set("file", spec.console_log)
    return ET.tostring(root, encoding="unicode")


def filled_disks(spec: DomainSpec) -> list[str]:
    """Targets of the disks whose bytes have to move with the guest."""
    return [
        disk.target
        for disk in spec.disks
        if isinstance(disk, FileDisk) and not disk.foreign and not disk.readonly
    ]


def _put(element: ET.Element, disk: Disk) -> None:
    """Where the disk's bytes come from; libvirt finds out there what a file lies on."""
    there = ET.fromstring(xml.device_xml(disk, _FEATURES))  # noqa: S314 - of our own making
    element.set("type", there.get("type", "file"))
    for name in ("driver", "source", "backingStore", "mirror"):
        for old in element.findall(name):
            element.remove(old)
    for place, name in enumerate(("driver", "source")):
        new = there.find(name)
        if new is not None:
            element.insert(place, new)
