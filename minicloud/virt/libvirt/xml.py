"""Libvirt's XML: a domain specification in, the definition out; and the few facts read back.

Pure functions: no libvirt, no files, no clock, so that the golden files in
``tests/unit/golden`` are the whole truth about what a guest gets. Element names and defaults
that are explained here were chosen by what real guests boot from; do not tidy them away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import msgspec

from minicloud.domain.states import Power
from minicloud.virt.driver import Device, Disk, DomainSpec, FileDisk, NbdDisk, Nic, RbdDisk

NAMESPACE = "https://minicloud.example/xmlns/1"
"""Of the element that marks a domain as ours: ``<server id=...>`` under ``<metadata>``."""

ROOT_PORTS = 16
"""Each hot-plugged disk or NIC takes one; libvirt's own default leaves a single one free."""

_TB_CACHE_MIB = 64
_VIDEO_KIB = 8192
_BALLOON_PERIOD_S = 10


class HostFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """What this host's kernel has that a definition depends on."""

    vhost_net: bool
    """Whether /dev/vhost-net exists; without it QEMU itself has to move packets."""


class HostCpu(msgspec.Struct, frozen=True, kw_only=True):
    arch: str
    model: str
    """As libvirt names it; empty where it has no name for it."""


def domain_xml(spec: DomainSpec, *, virt_type: str, features: HostFeatures) -> str:
    """The definition of ``spec``; ``virt_type`` is libvirt's domain type (kvm, qemu, test)."""
    root = ET.Element("domain", type=virt_type)
    _text(root, "name", spec.name)
    _text(root, "uuid", spec.server_id)
    title = _one_line(spec.title)
    if title:
        _text(root, "title", title)
    _metadata(root, spec)
    _text(root, "memory", str(spec.memory_mb), unit="MiB")
    _text(root, "vcpu", str(spec.vcpus))
    _limits(root, "cputune", spec.cpu_limits)
    _sysinfo(root, spec.server_id)
    os_element = _sub(root, "os")
    _text(os_element, "type", "hvm", arch="x86_64", machine="q35")
    _sub(os_element, "smbios", mode="sysinfo")
    _features(root, virt_type)
    _cpu(root, spec.vcpus, virt_type)
    _clock(root)
    _text(root, "on_poweroff", "destroy")
    _text(root, "on_reboot", "restart")
    _text(root, "on_crash", "destroy")
    devices = _sub(root, "devices")
    _controllers(devices, spec.disks)
    for disk in spec.disks:
        _disk(devices, disk)
    for nic in spec.nics:
        _nic(devices, nic, features)
    _consoles(devices, spec.console_log)
    _sundries(devices)
    if virt_type == "qemu":
        _skip_cpu_readback(root)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def owned_server_id(metadata: str) -> str:
    """The server id in our metadata element, as libvirt returns that element; "" if none."""
    try:
        element = ET.fromstring(metadata)  # noqa: S314 - libvirt's own output, on our host
    except ET.ParseError:
        return ""
    # libvirt strips the prefix where it is asked for one namespace's element.
    if element.tag not in ("server", f"{{{NAMESPACE}}}server"):
        return ""
    return element.get("id", "")


def host_cpu(capabilities: str) -> HostCpu:
    """The host's CPU out of libvirt's capabilities."""
    cpu = ET.fromstring(capabilities).find("host/cpu")  # noqa: S314 - libvirt's own output
    if cpu is None:
        return HostCpu(arch="", model="")
    return HostCpu(arch=cpu.findtext("arch", ""), model=cpu.findtext("model", ""))


def vnc_port(definition: str) -> int | None:
    """The port of the VNC server in a running domain's definition; None where it has none."""
    element = ET.fromstring(definition)  # noqa: S314 - libvirt's own output, on our host
    graphics = element.find("devices/graphics[@type='vnc']")
    port = int(graphics.get("port", "-1")) if graphics is not None else -1
    return port if port > 0 else None


def backup_xml(definition: str, target: str, copy: Path) -> str:
    """A backup job that copies the disk ``target`` of a running domain, and no other."""
    root = ET.Element("domainbackup", mode="push")
    disks = _sub(root, "disks")
    devices = ET.fromstring(definition).find("devices")  # noqa: S314 - libvirt's own output
    for disk in devices.findall("disk/target") if devices is not None else ():
        name = disk.get("dev", "")
        if name != target:
            _sub(disks, "disk", name=name, backup="no")
            continue
        wanted = _sub(disks, "disk", name=name, backup="yes", type="file")
        _sub(wanted, "driver", type="qcow2")
        _sub(wanted, "target", file=str(copy))
    return ET.tostring(root, encoding="unicode")


def disk_files(definition: str, serial: str) -> tuple[str, list[str]] | None:
    """(target, the files of the disk from the one that is written down to the last) in a running
    domain's definition; no files where it is no file. None: there is no such disk.
    """
    for disk in ET.fromstring(definition).iterfind("devices/disk"):  # noqa: S314 - libvirt's own
        if disk.findtext("serial") != serial:
            continue
        target, files = disk.find("target"), []
        layer: ET.Element | None = disk
        while layer is not None and (source := layer.find("source")) is not None:
            files.append(source.get("file", ""))
            layer = layer.find("backingStore")
        name = target.get("dev", "") if target is not None else ""
        return name, [file for file in files if file]
    return None


def overlay_xml(definition: str, target: str, path: str) -> str:
    """An external snapshot by which the disk ``target``, and no other, goes on in ``path``."""
    root = ET.Element("domainsnapshot")
    disks = _sub(root, "disks")
    for disk in ET.fromstring(definition).iterfind("devices/disk/target"):  # noqa: S314 - as above
        name = disk.get("dev", "")
        if name != target:
            _sub(disks, "disk", name=name, snapshot="no")
            continue
        wanted = _sub(disks, "disk", name=name, snapshot="external", type="file")
        _sub(wanted, "driver", type="qcow2")
        _sub(_sub(wanted, "source", file=path), "seclabel", model="dac", relabel="no")
    return ET.tostring(root, encoding="unicode")


def with_files_of(definition: str, disks: Sequence[Disk]) -> str | None:
    """The definition with volumes' files as ``disks`` say; None: it has them so already."""
    root = ET.fromstring(definition)  # noqa: S314 - libvirt's own output, on our host
    wanted = {d.serial: d for d in disks if isinstance(d, FileDisk) and d.foreign}
    changed = False
    for element in root.iterfind("devices/disk"):
        disk = wanted.get(element.findtext("serial") or "")
        source, driver = element.find("source"), element.find("driver")
        if disk is None or source is None or driver is None or source.get("file") == disk.path:
            continue
        source.set("file", disk.path)
        driver.set("type", disk.format)
        for below in element.findall("backingStore"):
            element.remove(below)
        changed = True
    return ET.tostring(root, encoding="unicode") if changed else None


def rbd_disks(definition: str) -> list[RbdDisk]:
    """The images of Ceph that a domain opens, and as whom; no more of them than that."""
    found = []
    root = ET.fromstring(definition)  # noqa: S314 - libvirt's own output, on our host
    for source in root.iterfind("devices/disk/source[@protocol='rbd']"):
        user, secret = source.find("auth"), source.find("auth/secret")
        found.append(
            RbdDisk(
                image=source.get("name", ""),
                target="",
                monitors=[
                    (host.get("name", ""), int(host.get("port", "0")))
                    for host in source.iterfind("host")
                ],
                user=user.get("username", "") if user is not None else "",
                secret_uuid=secret.get("uuid", "") if secret is not None else "",
            )
        )
    return found


def power_of(state: int) -> Power:
    """Our word for libvirt's virDomainState; a guest that is shutting down still runs."""
    return _POWER.get(state, Power.NOSTATE)


_POWER = {
    0: Power.NOSTATE,
    1: Power.RUNNING,
    2: Power.RUNNING,  # blocked on a resource
    3: Power.PAUSED,
    4: Power.RUNNING,  # being shut down
    5: Power.SHUTDOWN,
    6: Power.CRASHED,
    7: Power.SUSPENDED,  # by the guest's own power management
}


# -- devices that come and go ----------------------------------------------------------------------
def device_xml(device: Device, features: HostFeatures) -> str:
    """The element of one device, as it is in a definition."""
    devices = ET.Element("devices")
    if isinstance(device, Nic):
        _nic(devices, device, features)
    else:
        _disk(devices, device)
    return ET.tostring(devices[0], encoding="unicode")


class FoundDevice(NamedTuple):
    """A device in a definition of libvirt's."""

    alias: str
    """libvirt's name for it; empty in the definition of a domain that is off."""
    element: str


def find_device(definition: str, device: Device) -> FoundDevice | None:
    """``device`` in a definition: a disk by its serial, a NIC by its TAP."""
    devices = ET.fromstring(definition).find("devices")  # noqa: S314 - libvirt's own output
    for element in devices if devices is not None else ():
        if _is(element, device):
            alias = element.find("alias")
            return FoundDevice(
                alias=alias.get("name", "") if alias is not None else "",
                element=ET.tostring(element, encoding="unicode"),
            )
    return None


def _is(element: ET.Element, device: Device) -> bool:
    if isinstance(device, Nic):
        target = element.find("target")
        return element.tag == "interface" and (
            target is not None and target.get("dev") == device.tap
        )
    return element.tag == "disk" and element.findtext("serial") == device.serial


def _alias(device: Device) -> str:
    return f"ua-{device.port_id if isinstance(device, Nic) else device.serial}"


def pci_addresses(definition: str) -> dict[str, str]:
    """Disk target or MAC address -> ``0000:03:00.0``, of all that is on the PCI bus."""
    found = {}
    devices = ET.fromstring(definition).find("devices")  # noqa: S314 - libvirt's own output
    for element in devices if devices is not None else ():
        place = element.find("address[@type='pci']")
        name = element.find("target" if element.tag == "disk" else "mac")
        if element.tag not in ("disk", "interface") or place is None or name is None:
            continue
        parts = [int(place.get(part, "0"), 16) for part in ("domain", "bus", "slot", "function")]
        key = name.get("dev") or name.get("address") or ""
        found[key] = "{:04x}:{:02x}:{:02x}.{:x}".format(*parts)
    return found


def macs_by_tap(definition: str) -> dict[str, str]:
    """TAP -> MAC address of the NIC behind it."""
    found = {}
    root = ET.fromstring(definition)  # noqa: S314 - libvirt's own output
    for element in root.findall("devices/interface"):
        target, mac = element.find("target"), element.find("mac")
        if target is not None and mac is not None:
            found[target.get("dev", "")] = mac.get("address", "")
    return found


# -- the parts, in the order of the definition ---------------------------------------------------
def _metadata(root: ET.Element, spec: DomainSpec) -> None:
    attributes = {"xmlns:minicloud": NAMESPACE, "id": spec.server_id}
    server = _sub(_sub(root, "metadata"), "minicloud:server", **attributes)
    for name, value in (("project", spec.project_id), ("flavor", spec.flavor_name)):
        if value:
            _text(server, f"minicloud:{name}", _one_line(value))


def _sysinfo(root: ET.Element, server_id: str) -> None:
    """cloud-init looks for its OpenStack source only where the product says so."""
    system = _sub(_sub(root, "sysinfo", type="smbios"), "system")
    for name, value in (
        ("manufacturer", "minicloud"),
        ("product", "OpenStack Nova"),
        ("serial", server_id),
        ("uuid", server_id),
        ("family", "Virtual Machine"),
    ):
        _text(system, "entry", value, name=name)


def _features(root: ET.Element, virt_type: str) -> None:
    element = _sub(root, "features")
    _sub(element, "acpi")
    _sub(element, "apic")
    if virt_type == "qemu":
        # Unbounded, the cache of translated code comes to as much memory as a small guest's own.
        _text(_sub(element, "tcg"), "tb-cache", str(_TB_CACHE_MIB), unit="MiB")


def _cpu(root: ET.Element, vcpus: int, virt_type: str) -> None:
    if virt_type == "kvm":
        cpu = _sub(root, "cpu", mode="host-passthrough", check="none", migratable="on")
    else:
        # Emulated, every model boots in about the same time. The additions make it x86-64-v2,
        # below which newer distributions refuse to start, and rdrand is a source of entropy for
        # guests whose kernel has no virtio-rng. More (xsave, say) can keep a kernel from booting.
        cpu = _sub(root, "cpu", mode="custom", match="exact", check="none")
        _text(cpu, "model", "qemu64", fallback="forbid")
        for name in ("ssse3", "sse4.1", "sse4.2", "popcnt", "rdrand"):
            _sub(cpu, "feature", policy="require", name=name)
    _sub(cpu, "topology", sockets="1", dies="1", cores=str(vcpus), threads="1")


def _clock(root: ET.Element) -> None:
    clock = _sub(root, "clock", offset="utc")
    _sub(clock, "timer", name="rtc", tickpolicy="catchup")
    _sub(clock, "timer", name="pit", tickpolicy="delay")
    _sub(clock, "timer", name="hpet", present="no")


def _controllers(devices: ET.Element, disks: Sequence[Disk]) -> None:
    # The root comes first: libvirt refuses root ports that are named before it.
    _sub(devices, "controller", type="pci", index="0", model="pcie-root")
    for _ in range(ROOT_PORTS):
        _sub(devices, "controller", type="pci", model="pcie-root-port")
    # Nothing of ours is on USB, and firmware and guest would spend time looking.
    _sub(devices, "controller", type="usb", model="none")
    if any(_bus(disk) == "scsi" for disk in disks):
        _sub(devices, "controller", type="scsi", index="0", model="virtio-scsi")


def _bus(disk: Disk) -> str:
    return disk.bus or ("scsi" if disk.cdrom else "virtio")


def _disk(devices: ET.Element, disk: Disk) -> None:
    cdrom = disk.cdrom
    kind = "file" if isinstance(disk, FileDisk) else "network"
    element = _sub(devices, "disk", type=kind, device="cdrom" if cdrom else "disk")
    if isinstance(disk, FileDisk):
        options = _file_source(element, disk)
    elif isinstance(disk, RbdDisk):
        options = _rbd_source(element, disk)
    else:
        options = _nbd_source(element, disk)
    if cdrom or disk.readonly:
        for name in ("discard", "detect_zeroes"):
            options.pop(name, None)
    element.insert(0, ET.Element("driver", options))
    _sub(element, "target", dev=disk.target, bus=_bus(disk))
    _limits(element, "iotune", disk.limits)
    if disk.serial:
        _text(element, "serial", disk.serial)
    if disk.boot_index is not None:
        _sub(element, "boot", order=str(disk.boot_index + 1))
    if cdrom or disk.readonly:
        _sub(element, "readonly")
    if disk.serial:
        _sub(element, "alias", name=_alias(disk))


def _file_source(disk_element: ET.Element, disk: FileDisk) -> dict[str, str]:
    """The disk's source, and the options of its driver, also below."""
    # The page cache lets guests share the blocks of a common base; flushes are honoured.
    options = {"name": "qemu", "type": disk.format, "cache": "writeback"}
    if disk.direct:
        options |= {"cache": "none", "io": "native"}
    options["discard"] = "unmap"
    source = _sub(disk_element, "source", file=disk.path)
    if disk.foreign:
        options["detect_zeroes"] = "unmap"
        # Of all files below as well, which libvirt finds out by itself.
        _sub(source, "seclabel", model="dac", relabel="no")
    return options


def _nbd_source(disk_element: ET.Element, disk: NbdDisk) -> dict[str, str]:
    source = _sub(disk_element, "source", protocol="nbd", name=disk.export)
    if disk.tls:
        source.set("tls", "yes")
    if disk.socket:
        _sub(source, "host", transport="unix", socket=disk.socket)
    else:
        _sub(source, "host", name=disk.host, port=str(disk.port))
    return {"name": "qemu", "type": "raw", "cache": "none", "discard": "unmap"}


def _rbd_source(disk_element: ET.Element, disk: RbdDisk) -> dict[str, str]:
    source = _sub(disk_element, "source", protocol="rbd", name=disk.image)
    for host, port in disk.monitors:
        _sub(source, "host", name=host, port=str(port))
    if disk.secret_uuid:
        user = _sub(source, "auth", username=disk.user)
        _sub(user, "secret", type="ceph", uuid=disk.secret_uuid)
    options = {"name": "qemu", "type": "raw", "cache": "none"}
    return {**options, "discard": "unmap"} if disk.discard else options


def _nic(devices: ET.Element, nic: Nic, features: HostFeatures) -> None:
    element = _sub(devices, "interface", type="ethernet")
    _sub(element, "mac", address=nic.mac)
    _sub(element, "target", dev=nic.tap, managed="no")
    _sub(element, "model", type="virtio")
    if not features.vhost_net:
        _sub(element, "driver", name="qemu")
    _sub(element, "mtu", size=str(nic.mtu))
    _bandwidth(element, nic.limits)
    # The boot ROM would only make the firmware offer to boot from the network.
    _sub(element, "rom", enabled="no")
    _sub(element, "alias", name=_alias(nic))


def _bandwidth(nic: ET.Element, limits: Mapping[str, int]) -> None:
    # libvirt has no peak and no burst where there is no average.
    ways = [way for way in ("inbound", "outbound") if f"{way}_average" in limits]
    if ways:
        element = _sub(nic, "bandwidth")
        for way in ways:
            names = [name for name in ("average", "peak", "burst") if f"{way}_{name}" in limits]
            _sub(element, way, **{name: str(limits[f"{way}_{name}"]) for name in names})


def _limits(parent: ET.Element, tag: str, limits: Mapping[str, int]) -> None:
    if limits:
        element = _sub(parent, tag)
        for name in sorted(limits):
            _text(element, name, str(limits[name]))


def _consoles(devices: ET.Element, console_log: str) -> None:
    serial = _sub(devices, "serial", type="pty")
    _sub(serial, "log", file=console_log, append="on")
    _sub(serial, "target", port="0")
    _sub(_sub(devices, "console", type="pty"), "target", type="serial", port="0")
    _sub(devices, "graphics", type="vnc", port="-1", autoport="yes", listen="127.0.0.1")
    _sub(_sub(devices, "video"), "model", type="vga", vram=str(_VIDEO_KIB))


def _sundries(devices: ET.Element) -> None:
    channel = _sub(devices, "channel", type="unix")
    _sub(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    _text(_sub(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")
    _sub(_sub(devices, "memballoon", model="virtio"), "stats", period=str(_BALLOON_PERIOD_S))


def _skip_cpu_readback(root: ET.Element) -> None:
    """Start an emulated guest in a quarter of the time.

    libvirt reads the finished CPU back with a request per property, some 400 of them, unless it
    is told that this QEMU cannot say which features are missing: it then reads them in one go,
    to the same result. The domain counts as tainted (custom-hypervisor-feature) for it.
    """
    root.set("xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0")
    _sub(_sub(root, "qemu:capabilities"), "qemu:del", capability="cpu-unavailable-features")


# -- small helpers -------------------------------------------------------------------------------
def _sub(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, attributes)


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    _sub(parent, tag, **attributes).text = text


def _one_line(text: str) -> str:
    """``text`` as libvirt takes it: no line breaks, nothing that XML 1.0 cannot carry at all."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())
