"""From POST to ACTIVE of a real guest, against the bare floor: overlay, define, start.

The floor starts the very XML of the server that was just launched, with a disk of its own and
without its NIC and its volumes, through libvirt and nothing else. Launch and floor take turns.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import libvirt
from cloud import Bench, Figure, figure, median

from minicloud.deploy.seed import IMAGE
from minicloud.domain.errors import NotFound

BASE = Path("/var/lib/minicloud/compute/images")
INSTANCES = Path("/var/lib/minicloud/compute/instances")


def measure(bench: Bench, runs: int) -> Iterator[Figure]:
    image = bench.demo.image.get("/images", name=IMAGE).json["images"][0]["id"]
    network = bench.demo.network.get("/networks", name="private").json["networks"][0]["id"]
    connection = libvirt.open("qemu:///system")
    accepted, active, floor = [], [], []
    try:
        for turn in range(runs + 1):
            server_id, posted, took = _launch(bench, image, network)
            bare = _floor(connection, server_id, image)
            _delete(bench, server_id)
            if turn:  # the first one fills caches
                accepted.append(posted)
                active.append(took)
                floor.append(bare)
    finally:
        connection.close()
    aim = f"1.3 x floor + 250 = {1.3 * median(floor) + 250:.0f}"
    yield figure("launch: 202 after", median(accepted), "ms", aim="50")
    yield figure("launch: ACTIVE after", median(active), "ms", aim=aim)
    yield figure("floor: overlay, define, start", median(floor), "ms")


def _launch(bench: Bench, image: str, network: str) -> tuple[str, float, float]:
    """(server id, ms until 202, ms until ACTIVE)"""
    compute = bench.demo.compute
    body = {"name": "bench", "imageRef": image, "flavorRef": "42", "networks": [{"uuid": network}]}
    started = time.perf_counter()
    server_id = compute.post("/servers", {"server": body}).json["server"]["id"]
    posted = (time.perf_counter() - started) * 1000
    while True:
        server = compute.get(f"/servers/{server_id}").json["server"]
        if server["status"] == "ACTIVE":
            return server_id, posted, (time.perf_counter() - started) * 1000
        if server["status"] == "ERROR":
            raise SystemExit(f"the launch failed: {server['fault']['message']}")
        time.sleep(0.005)


def _floor(connection: libvirt.virConnect, server_id: str, image: str) -> float:
    """Milliseconds of qemu-img and libvirt for a domain like the server's."""
    tree = ET.fromstring(connection.lookupByUUIDString(server_id).XMLDesc(2))
    domain_id = str(uuid.uuid4())
    with tempfile.TemporaryDirectory(dir=INSTANCES) as name:
        Path(name).chmod(0o711)
        disk = Path(name, "disk")
        for path, text in (("name", f"bench-{domain_id}"), ("uuid", domain_id)):
            found = tree.find(path)
            assert found is not None
            found.text = text
        for tag in ("sysinfo", "metadata"):
            for found in tree.findall(tag):
                tree.remove(found)
        os_element, devices = tree.find("os"), tree.find("devices")
        assert os_element is not None and devices is not None
        for found in os_element.findall("smbios"):
            os_element.remove(found)
        for found in devices.findall("interface"):
            devices.remove(found)
        for found in devices.findall("disk"):
            source = found.find("source")
            if found.get("device") == "disk" and source is not None:
                source.set("file", str(disk))
            else:
                devices.remove(found)
        for log in devices.iter("log"):
            log.set("file", str(Path(name, "console.log")))
        text = ET.tostring(tree, encoding="unicode")
        started = time.perf_counter()
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b",
             str(BASE / f"{image}.raw"), str(disk), "1G"],
            check=True,
        )  # fmt: skip
        domain = connection.defineXML(text)
        try:
            domain.create()
            return (time.perf_counter() - started) * 1000
        finally:
            if domain.isActive():
                domain.destroy()
            domain.undefine()


def _delete(bench: Bench, server_id: str) -> None:
    bench.demo.compute.delete(f"/servers/{server_id}")
    try:
        while True:
            bench.demo.compute.get(f"/servers/{server_id}")
            time.sleep(0.05)
    except NotFound:
        return
