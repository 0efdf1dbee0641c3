"""A guest's definition as it is on the host that it moves to."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import msgspec

from minicloud.domain.ids import derive, domain_name
from minicloud.virt.driver import DomainSpec, FileDisk, NbdDisk
from minicloud.virt.libvirt import xml
from minicloud.virt.libvirt.migration_xml import Owner, as_there, filled_disks, qemu_owner

SERVER = derive("server")
HERE = DomainSpec(
    server_id=SERVER, name=domain_name(SERVER), title="t", vcpus=1, memory_mb=64, nics=(),
    console_log="/here/console.log",
    disks=(
        FileDisk(path="/here/disk", format="qcow2", target="vda", boot_index=0),
        NbdDisk(export="first", target="vdb", socket="/run/v.sock", serial="v"),
        FileDisk(path="/here/volume.qcow2", format="qcow2", target="vdc", foreign=True,
                 serial="w"),
        FileDisk(path="/here/config.iso", format="raw", target="sda", readonly=True, cdrom=True),
    ),
)  # fmt: skip
THERE = msgspec.structs.replace(
    HERE,
    console_log="/there/console.log",
    disks=(
        FileDisk(path="/there/disk", format="qcow2", target="vda", boot_index=0),
        NbdDisk(export="second", target="vdb", host="192.0.2.1", port=10809, tls=True, serial="v"),
        NbdDisk(export="third", target="vdc", host="192.0.2.1", port=10810, serial="w"),
        FileDisk(path="/there/config.iso", format="raw", target="sda", readonly=True, cdrom=True),
    ),
)


def domain(spec: DomainSpec) -> ET.Element:
    features = xml.HostFeatures(vhost_net=False)
    return ET.fromstring(xml.domain_xml(spec, virt_type="qemu", features=features))


def test_a_definition_is_that_of_the_other_host_but_for_what_libvirt_added() -> None:
    running = domain(HERE)
    for disk in running.iterfind("devices/disk"):
        ET.SubElement(disk, "address", type="pci", bus="0x03")
        ET.SubElement(ET.SubElement(disk, "backingStore", type="file"), "source", file="/here/b")
    moved = ET.fromstring(as_there(ET.tostring(running, encoding="unicode"), THERE))
    assert len(moved.findall("devices/disk/address")) == 4, "where the guest sees them"
    for disk in moved.iterfind("devices/disk"):
        for address in disk.findall("address"):
            disk.remove(address)
    for found in (moved, wanted := domain(THERE)):
        ET.indent(found)
    assert ET.tostring(moved) == ET.tostring(wanted)
    assert b"/here" not in ET.tostring(moved)


def test_disks_that_are_filled() -> None:
    assert filled_disks(HERE) == ["vda"]


def test_whom_qemu_runs_as() -> None:
    models = (
        "<secmodel><model>apparmor</model><doi>0</doi></secmodel>"
        "<secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+108</baselabel>"
        "</secmodel>"
    )
    assert qemu_owner(f"<capabilities><host>{models}</host></capabilities>") == Owner(64055, 108)
    assert qemu_owner("<capabilities><host/></capabilities>") == Owner(0, 0)
