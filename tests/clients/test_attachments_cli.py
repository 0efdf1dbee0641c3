"""Disks and NICs of servers with the real ``openstack`` client, looked at inside real guests."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.host]


@pytest.fixture(scope="module")
def names(live_cloud: Any) -> Iterator[dict[str, str]]:
    """Two servers with ssh, made at once."""
    tail = uuid.uuid4().hex[:6]
    names = {"one": f"att1-{tail}", "two": f"att2-{tail}"}
    for name in names.values():
        live_cloud.openstack(
            "server", "create", "--image", "tiny", "--flavor", "m1.nano", "--network", "private",
            "--key-name", "demo", name,
        )  # fmt: skip
    try:
        for name in names.values():
            wait(lambda name=name: status(live_cloud, name) == "ACTIVE", f"{name} to be ACTIVE")
            live_cloud.wait_for_ssh(name)
        yield names
    finally:
        live_cloud.openstack("server", "delete", "--wait", *names.values())


@pytest.fixture
def volume(live_cloud: Any) -> Iterator[str]:
    name = f"vol-{uuid.uuid4().hex[:6]}"
    made = live_cloud.openstack_json("volume", "create", "--size", "1", name)
    yield made["id"]
    wait(lambda: volume_status(live_cloud, made["id"]) == "available", "the volume to be free")
    live_cloud.openstack("volume", "delete", made["id"])


def wait(condition: Callable[[], bool], what: str, limit_s: float = 120) -> None:
    give_up_at = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up_at, f"waited in vain for {what}"
        time.sleep(0.5)  # pacing of a poll: the condition is the loop's


def status(live_cloud: Any, name: str) -> str:
    return str(live_cloud.openstack_json("server", "show", name)["status"])


def volume_status(live_cloud: Any, volume: str) -> str:
    return str(live_cloud.openstack_json("volume", "show", volume)["status"])


def partitions(live_cloud: Any, server: str) -> dict[str, int]:
    """Disk -> its 1 KiB blocks, as the guest's kernel sees them."""
    rows = live_cloud.guest(server, "cat /proc/partitions").splitlines()[2:]
    return {row.split()[3]: int(row.split()[2]) for row in rows if row.strip()}


def test_data_goes_with_its_volume_from_guest_to_guest(
    live_cloud: Any, names: dict[str, str], volume: str
) -> None:
    one, two = names["one"], names["two"]
    live_cloud.openstack("server", "add", "volume", "--tag", "data", one, volume)
    assert volume_status(live_cloud, volume) == "in-use"
    (shown,) = live_cloud.openstack_json("server", "volume", "list", one)
    assert (shown["Device"], shown["Volume ID"], shown["Tag"]) == ("/dev/vdb", volume, "data")
    wait(lambda: "vdb" in partitions(live_cloud, one), "the disk in the guest", 30)
    serial = live_cloud.guest(one, "cat /sys/block/vdb/serial").strip()
    assert volume.startswith(serial)
    assert serial
    written = live_cloud.guest(
        one,
        "sudo mkfs.ext4 -q /dev/vdb && sudo mount /dev/vdb /mnt && "
        "sudo dd if=/dev/urandom of=/mnt/data bs=64k count=16 2>/dev/null && "
        "sudo md5sum /mnt/data && sudo umount /mnt",
    ).split()[0]
    # The tag is where guests look for it.
    document = json.loads(
        live_cloud.guest(one, "wget -qO- http://169.254.169.254/openstack/latest/meta_data.json")
    )
    (device,) = [each for each in document["devices"] if each["type"] == "disk"]
    assert (device["tags"], device["serial"], device["bus"]) == (["data"], volume, "pci")
    assert live_cloud.guest(one, f"ls /sys/bus/pci/devices/{device['address']}/").strip()

    live_cloud.openstack("server", "remove", "volume", one, volume)
    wait(lambda: volume_status(live_cloud, volume) == "available", "the detachment")
    assert "vdb" not in partitions(live_cloud, one)
    assert live_cloud.openstack_json("server", "volume", "list", one) == []
    live_cloud.openstack("server", "add", "volume", two, volume)
    wait(lambda: "vdb" in partitions(live_cloud, two), "the disk in the other guest", 30)
    read = live_cloud.guest(
        two, "sudo mount /dev/vdb /mnt && sudo md5sum /mnt/data && sudo umount /mnt"
    ).split()[0]
    assert read == written
    live_cloud.openstack("server", "remove", "volume", two, volume)


def test_a_disk_in_use_grows_and_survives_a_power_cycle(
    live_cloud: Any, names: dict[str, str], volume: str
) -> None:
    one = names["one"]
    live_cloud.openstack("server", "add", "volume", one, volume)
    wait(lambda: partitions(live_cloud, one).get("vdb") == 1 << 20, "the disk in the guest", 30)
    live_cloud.openstack(
        "--os-volume-api-version", "3.42", "volume", "set", "--size", "2", volume
    )  # fmt: skip
    wait(lambda: partitions(live_cloud, one).get("vdb") == 2 << 20, "the guest to see 2 GiB", 60)
    live_cloud.openstack("server", "reboot", "--hard", "--wait", one)
    live_cloud.wait_for_ssh(one)
    assert partitions(live_cloud, one)["vdb"] == 2 << 20
    live_cloud.openstack("server", "remove", "volume", one, volume)


def test_two_guests_share_a_volume_that_allows_it(live_cloud: Any, names: dict[str, str]) -> None:
    kind = f"shared-{uuid.uuid4().hex[:6]}"
    live_cloud.openstack(
        "volume", "type", "create", kind, "--property", "multiattach=<is> True",
        cloud="minicloud-admin",
    )  # fmt: skip
    volume = live_cloud.openstack_json("volume", "create", "--size", "1", "--type", kind, kind)[
        "id"
    ]
    wait(lambda: volume_status(live_cloud, volume) == "available", "the volume")
    pair = names["one"], names["two"]
    try:
        for name in pair:
            live_cloud.openstack("server", "add", "volume", name, volume)
        for name in pair:
            wait(lambda name=name: "vdb" in partitions(live_cloud, name), f"{name}'s disk", 30)
            serial = live_cloud.guest(name, "cat /sys/block/vdb/serial").strip()
            assert serial
            assert volume.startswith(serial)
        write = "sudo dd of=/dev/vdb bs=4096 conv=sync,fsync 2>/dev/null"
        for place, name in enumerate(pair):
            live_cloud.guest(name, f"echo {name} | {write} seek={place}")
        # What a guest has read before, the other's writes do not change there.
        read = ("sudo blockdev --flushbufs /dev/vdb && "
                "sudo dd if=/dev/vdb bs=4096 count=2 2>/dev/null | tr -d '\\0'")  # fmt: skip
        for name in pair:
            assert live_cloud.guest(name, read).split() == list(pair)
        live_cloud.openstack("server", "remove", "volume", pair[0], volume)
        wait(lambda: "vdb" not in partitions(live_cloud, pair[0]), "the detachment")
        assert volume_status(live_cloud, volume) == "in-use"
        live_cloud.guest(pair[1], f"echo again | {write}")
        assert live_cloud.guest(pair[1], read).split() == ["again", pair[1]]
    finally:
        for name in pair:
            with contextlib.suppress(AssertionError):
                live_cloud.openstack("server", "remove", "volume", name, volume)
        wait(lambda: volume_status(live_cloud, volume) == "available", "the volume to be free")
        live_cloud.openstack("volume", "delete", volume)
        wait(
            lambda: volume not in live_cloud.openstack("volume", "list", "-c", "ID"), "its deletion"
        )
        live_cloud.openstack("volume", "type", "delete", kind, cloud="minicloud-admin")


def test_nics_come_and_go(live_cloud: Any, names: dict[str, str]) -> None:
    one = names["one"]

    def addresses() -> list[str]:
        found: list[str] = live_cloud.openstack_json("server", "show", one)["addresses"]["private"]
        return found

    first = addresses()
    live_cloud.openstack("server", "add", "network", "--tag", "second", one, "private")
    wait(lambda: "eth1" in live_cloud.guest(one, "ip -o link"), "the NIC in the guest", 30)
    port = live_cloud.openstack_json("port", "create", "--network", "private", f"p-{one}")
    live_cloud.openstack("server", "add", "port", one, port["id"])
    wait(lambda: port["mac_address"] in live_cloud.guest(one, "ip -o link"), "the port's MAC", 30)
    assert len(addresses()) == 3
    live_cloud.openstack("server", "remove", "port", one, port["id"])
    (second,) = set(addresses()) - set(first) - {ip["ip_address"] for ip in port["fixed_ips"]}
    for each in live_cloud.openstack_json("port", "list", "--server", one):
        if each["Fixed IP Addresses"][0]["ip_address"] == second:
            live_cloud.openstack("server", "remove", "port", one, each["ID"])
    wait(
        lambda: live_cloud.guest(one, "ls /sys/class/net").split() == ["eth0", "lo"],
        "one NIC in the guest", 60,
    )  # fmt: skip
    assert addresses() == first
    live_cloud.openstack("port", "delete", port["id"])


def test_security_groups(live_cloud: Any, names: dict[str, str]) -> None:
    two, group = names["two"], f"group-{names['two']}"
    live_cloud.openstack("security", "group", "create", group)
    live_cloud.openstack("server", "add", "security", "group", two, group)
    shown = live_cloud.openstack_json("server", "show", two)["security_groups"]
    assert {each["name"] for each in shown} == {"default", group}
    live_cloud.openstack("server", "remove", "security", "group", two, group)
    live_cloud.openstack("security", "group", "delete", group)


def test_boot_from_a_volume_with_swap_and_ephemeral_disks(live_cloud: Any) -> None:
    name = f"boot-{uuid.uuid4().hex[:6]}"
    live_cloud.openstack(
        "flavor", "create", "--ram", "128", "--disk", "1", "--swap", "16", "--ephemeral", "1",
        name, cloud="minicloud-admin",
    )  # fmt: skip
    try:
        live_cloud.openstack(
            "server", "create", "--image", "tiny", "--boot-from-volume", "1", "--flavor", name,
            "--network", "private", "--key-name", "demo", "--wait", name,
        )  # fmt: skip
        live_cloud.wait_for_ssh(name)
        shown = live_cloud.openstack_json("server", "show", name)
        assert "booted from volume" in shown["image"]
        (root,) = live_cloud.openstack_json("server", "volume", "list", name)
        assert root["Device"] == "/dev/vda"
        disks = partitions(live_cloud, name)
        assert (disks["vda"], disks["vdb"], disks["vdc"]) == (1 << 20, 1 << 20, 16 << 10)
        live_cloud.guest(name, "sudo mount -t ext4 /dev/vdb /mnt && sudo umount /mnt")
        # Where ext4 and swap space keep their labels.
        for disk, offset, label in (("vdb", 1024 + 120, "ephemeral0"), ("vdc", 1024 + 28, "swap")):
            read = f"sudo dd if=/dev/{disk} bs=1 skip={offset} count={len(label)} 2>/dev/null"
            assert live_cloud.guest(name, read) == label
        live_cloud.guest(name, "sudo swapon /dev/vdc && sudo swapoff /dev/vdc")
        live_cloud.guest(name, "echo kept | sudo tee /root/here && sync")
        live_cloud.openstack("server", "delete", "--wait", name)
        volume = root["Volume ID"]
        wait(lambda: volume_status(live_cloud, volume) == "available", "the root volume")
        live_cloud.openstack(
            "server", "create", "--volume", volume, "--flavor", "m1.nano", "--network", "private",
            "--key-name", "demo", "--wait", name,
        )  # fmt: skip
        live_cloud.wait_for_ssh(name)
        assert live_cloud.guest(name, "sudo cat /root/here").strip() == "kept"
        live_cloud.openstack("server", "delete", "--wait", name)
        wait(lambda: volume_status(live_cloud, volume) == "available", "the root volume")
        live_cloud.openstack("volume", "delete", volume)
    finally:
        live_cloud.openstack("flavor", "delete", name, cloud="minicloud-admin")


def test_small_actions(live_cloud: Any, names: dict[str, str]) -> None:
    import openstack

    admin = live_cloud.connect("minicloud-admin")
    server = admin.compute.find_server(names["two"], all_projects=True)
    found = admin.compute.get_server_diagnostics(server)
    assert (found.state, found.driver, found.num_cpus) == ("running", "libvirt", 1)
    assert found.disk_details[0]["read_bytes"] > 0
    assert found.memory_details["maximum"] > 0
    user = live_cloud.connect()
    live_cloud.openstack("server", "dump", "create", names["two"])
    wait(
        lambda: "nmi" in live_cloud.guest(names["two"], "sudo dmesg").lower(), "the NMI", 30
    )  # fmt: skip
    # The demo image has no agent, and that is what the user is told.
    with pytest.raises(openstack.exceptions.ConflictException, match="agent does not answer"):
        user.compute.change_server_password(server.id, "secret1")
    assert status(live_cloud, names["two"]) == "ACTIVE"
