"""The definitions that guests get, against golden files, and what is read out of libvirt's XML.

After a wanted change: ``MINICLOUD_UPDATE_GOLDEN=1 pytest tests/unit/test_virt_xml.py``, and read
the difference before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from minicloud.domain.states import Power
from minicloud.virt.driver import DomainSpec, FileDisk, NbdDisk, Nic, RbdDisk
from minicloud.virt.libvirt import xml

GOLDEN = Path(__file__).parent / "golden"
SERVER = "6f70656e-7374-4163-8b21-6d696e69636c"

SMALL = DomainSpec(
    server_id=SERVER,
    name=f"minicloud-{SERVER}",
    title="web 1",
    vcpus=1,
    memory_mb=128,
    disks=(FileDisk(path="/srv/m/disk.qcow2", format="qcow2", target="vda", boot_index=0),),
    nics=(Nic(tap="tap0a1b2c3d-4e", mac="fa:16:3e:01:02:03", mtu=1450, port_id="0a1b2c3d-4e5f"),),
    console_log="/srv/m/console.log",
)
LARGE = msgspec.structs.replace(
    SMALL,
    title="  <b>&amp;\n\x00 \"quoted\" 'ünïcode' ☁ ",
    vcpus=4,
    memory_mb=4096,
    disks=(
        NbdDisk(export="vol-1", target="vda", socket="/run/m/v.sock", boot_index=0, serial="v-1"),
        FileDisk(path="/srv/m/a & b.raw", format="raw", target="vdb", serial="s", readonly=True),
        NbdDisk(
            export="vol-2",
            target="vdc",
            host="10.0.0.9",
            port=10809,
            readonly=True,
            limits={"total_bytes_sec": 1048576, "total_bytes_sec_max": 4194304, "size_iops_sec": 0},
        ),
        FileDisk(
            path="/srv/v/a.qcow2",
            format="qcow2",
            target="vdd",
            serial="v-3",
            foreign=True,
            direct=True,
            limits={"write_iops_sec": 5, "read_iops_sec": 50},
        ),
        RbdDisk(
            image="volumes/volume-4",
            target="vde",
            monitors=[("10.0.0.7", 6789), ("fd00::8", 6789)],
            user="cinder",
            secret_uuid="457eb676-33da-42ec-9a8c-9293d545c337",
            serial="v-4",
        ),
        RbdDisk(image="volumes/open", target="vdf", discard=False, readonly=True),
        FileDisk(path="/srv/m/config.iso", format="raw", target="sda", cdrom=True),
    ),
    nics=(
        *SMALL.nics,
        Nic(
            tap="tap1",
            mac="fa:16:3e:01:02:04",
            mtu=9000,
            port_id="1a1b2c3d",
            limits={"inbound_average": 1000, "inbound_burst": 64, "outbound_peak": 9},
        ),
    ),
    cpu_limits={"shares": 512, "period": 100000, "quota": 50000},
    project_id="0123456789abcdef",
    flavor_name="m1.<large>",
)
NO_VHOST = xml.HostFeatures(vhost_net=False)
VHOST = xml.HostFeatures(vhost_net=True)


@pytest.mark.parametrize(
    ("name", "spec", "virt_type", "features"),
    [("small-qemu", SMALL, "qemu", NO_VHOST), ("large-kvm", LARGE, "kvm", VHOST)],
)
def test_definition_is_the_golden_one(
    name: str, spec: DomainSpec, virt_type: str, features: xml.HostFeatures
) -> None:
    made = xml.domain_xml(spec, virt_type=virt_type, features=features)
    golden = GOLDEN / f"{name}.xml"
    if os.environ.get("MINICLOUD_UPDATE_GOLDEN"):
        golden.write_text(made, encoding="utf-8")
    assert made == golden.read_text(encoding="utf-8")


def test_a_title_cannot_break_the_definition() -> None:
    root = ET.fromstring(xml.domain_xml(LARGE, virt_type="qemu", features=NO_VHOST))
    assert root.findtext("title") == "<b>&amp; \"quoted\" 'ünïcode' ☁"


def test_a_blank_title_is_left_out() -> None:
    spec = msgspec.structs.replace(SMALL, title=" \n\x01")
    root = ET.fromstring(xml.domain_xml(spec, virt_type="qemu", features=NO_VHOST))
    assert root.find("title") is None


def test_pcie_root_comes_before_its_ports() -> None:
    root = ET.fromstring(xml.domain_xml(SMALL, virt_type="qemu", features=NO_VHOST))
    models = [c.get("model") for c in root.findall("devices/controller[@type='pci']")]
    assert models == ["pcie-root"] + ["pcie-root-port"] * xml.ROOT_PORTS


def test_the_owner_is_read_back_from_our_metadata() -> None:
    made = ET.fromstring(xml.domain_xml(LARGE, virt_type="qemu", features=NO_VHOST))
    element = made.find(f"metadata/{{{xml.NAMESPACE}}}server")
    assert element is not None
    assert xml.owned_server_id(ET.tostring(element, encoding="unicode")) == SERVER


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        (f'<server id="{SERVER}"><flavor>m1</flavor></server>', SERVER),  # as libvirt answers
        ('<instance xmlns="http://openstack.org/xmlns/libvirt/nova/1.1"/>', ""),
        ("<server/>", ""),
        ("not xml", ""),
    ],
)
def test_owner_of_foreign_metadata(metadata: str, owner: str) -> None:
    assert xml.owned_server_id(metadata) == owner


def test_host_cpu() -> None:
    cpu = "<cpu><arch>x86_64</arch><model>Haswell</model></cpu>"
    capabilities = f"<capabilities><host>{cpu}</host></capabilities>"
    assert xml.host_cpu(capabilities) == xml.HostCpu(arch="x86_64", model="Haswell")
    assert xml.host_cpu("<capabilities/>") == xml.HostCpu(arch="", model="")


RUNNING = """<domain><devices>
<disk type='file'><source file='/b/base'/><target dev='vda'/></disk>
<disk type='file'><driver type='qcow2'/><source file='/v/2.qcow2'/><backingStore type='file'>
<source file='/v/1.raw'/><backingStore/></backingStore><target dev='vdb'/><serial>v-1</serial>
</disk>
<disk type='network'><source protocol='nbd'/><target dev='vdc'/><serial>v-2</serial></disk>
</devices></domain>"""


def test_the_files_of_a_disk() -> None:
    assert xml.disk_files(RUNNING, "v-1") == ("vdb", ["/v/2.qcow2", "/v/1.raw"])
    assert xml.disk_files(RUNNING, "v-2") == ("vdc", [])
    assert xml.disk_files(RUNNING, "v-3") is None


def test_one_disk_goes_on_in_another_file() -> None:
    made = ET.fromstring(xml.overlay_xml(RUNNING, "vdb", "/v/3.qcow2"))
    found = {disk.get("name"): disk.get("snapshot") for disk in made.iter("disk")}
    assert found == {"vda": "no", "vdb": "external", "vdc": "no"}
    source = made.find("disks/disk[@name='vdb']/source")
    assert source is not None
    assert source.get("file") == "/v/3.qcow2"


def test_saved_disks_are_found_where_their_volumes_are() -> None:
    volume = FileDisk(path="/v/2.qcow2", format="qcow2", target="vdb", serial="v-1", foreign=True)
    assert xml.with_files_of(RUNNING, [volume]) is None
    moved = msgspec.structs.replace(volume, path="/v/3.qcow2")
    own = FileDisk(path="/b/other", format="raw", target="vda")
    changed = xml.with_files_of(RUNNING, [own, moved])
    assert changed is not None
    assert xml.disk_files(changed, "v-1") == ("vdb", ["/v/3.qcow2"]), "what is below is looked for"
    assert "/b/base" in changed


def test_the_images_that_a_definition_opens() -> None:
    made = xml.domain_xml(LARGE, virt_type="qemu", features=NO_VHOST)
    wanted = [disk for disk in LARGE.disks if isinstance(disk, RbdDisk)]
    found = xml.rbd_disks(made)
    assert [(d.image, d.monitors, d.user, d.secret_uuid) for d in found] == [
        (d.image, list(d.monitors), d.user, d.secret_uuid) for d in wanted
    ]
    assert xml.rbd_disks(RUNNING) == []


def test_a_guest_that_is_shutting_down_still_runs() -> None:
    assert xml.power_of(4) is Power.RUNNING
    assert xml.power_of(5) is Power.SHUTDOWN
    assert xml.power_of(99) is Power.NOSTATE


@pytest.mark.parametrize(
    ("graphics", "port"),
    [
        ("<graphics type='vnc' port='5903' autoport='yes' listen='127.0.0.1'/>", 5903),
        ("<graphics type='vnc' port='-1' autoport='yes'/>", None),
        ("<graphics type='vnc' autoport='yes'/>", None),
        ("<graphics type='spice' port='5904'/>", None),
        ("", None),
    ],
)
def test_the_port_of_the_screen(graphics: str, port: int | None) -> None:
    assert xml.vnc_port(f"<domain><devices>{graphics}</devices></domain>") == port
