"""The disks of a launch, in every form that a request can ask for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from compute import (
    BIG_IMAGE,
    IMAGE,
    PLAIN_VOLUME,
    SNAPSHOT,
    USED_VOLUME,
    VOLUME,
    ComputeCloud,
    compute_cloud,
)

from minicloud.db import flavors, servers
from minicloud.domain.ids import derive, new_id
from minicloud.domain.models import BlockDevice, Flavor, Server

GONE = new_id()
ROOT = {
    "boot_index": 0, "source_type": "image", "destination_type": "local", "uuid": IMAGE,
    "delete_on_termination": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path_factory.mktemp("disks")) as cloud:
        cloud.scheduler.host = None  # only the rows are looked at
        with cloud.database.write() as tx:
            flavors.flavor_insert(
                tx, Flavor(id="9", name="full", vcpus=1, ram=512, disk=1, ephemeral=5, swap=64)
            )
        yield cloud


def launch(
    cloud: ComputeCloud, *disks: Any, flavor: str = "1", keep: bool = False, **more: Any
) -> Server:
    attributes = {"block_device_mapping_v2": list(disks), **more} if disks else more
    server_id = cloud.launch(flavorRef=flavor, **attributes)
    with cloud.database.read() as tx:
        server = servers.server_get(tx, server_id)
    if not keep:
        assert cloud.call("DELETE", f"/v2.1/servers/{server_id}").status_code == 204
    return server


def refusal(cloud: ComputeCloud, *disks: Any, flavor: str = "1", **more: Any) -> str:
    attributes = {"block_device_mapping_v2": list(disks), **more} if disks else more
    answer = cloud.post_server(flavorRef=flavor, **attributes)
    assert answer.status_code == 400, answer.text
    return str(answer.json()["badRequest"]["message"])


def shapes(disks: Sequence[BlockDevice]) -> list[tuple[str, str, str, int]]:
    return [(d.device, d.source_type, d.destination_type, d.size_gb) for d in disks]


def test_an_image_alone(cloud: ComputeCloud) -> None:
    server = launch(cloud)
    assert (server.image_id, server.block_devices, server.root_device) == (IMAGE, [], "vda")


def test_disks_besides_the_image(cloud: ComputeCloud) -> None:
    blank = {
        "boot_index": -1, "source_type": "blank", "destination_type": "volume",
        "volume_size": "3", "delete_on_termination": True, "tag": "data", "volume_type": "fast",
    }  # fmt: skip
    volume = {"source_type": "volume", "destination_type": "volume", "uuid": VOLUME,
              "boot_index": None}  # fmt: skip
    local = {"source_type": "blank", "destination_type": "local", "volume_size": 4}
    server = launch(cloud, ROOT, blank, volume, local, flavor="2")
    assert server.image_id == IMAGE
    assert shapes(server.block_devices) == [
        ("vdb", "blank", "volume", 3), ("vdc", "volume", "volume", 2), ("vdd", "blank", "local", 4),
    ]  # fmt: skip
    first, second, _ = server.block_devices
    assert (first.delete_on_termination, first.tag, first.volume_type) == (True, "data", "fast")
    assert (second.volume_id, second.delete_on_termination) == (VOLUME, False)
    assert [d.number for d in server.block_devices] == [1, 2, 3]


@pytest.mark.parametrize(
    ("disk", "source"),
    [
        ({"source_type": "image", "uuid": IMAGE, "volume_size": 5}, (IMAGE, "")),
        ({"source_type": "snapshot", "uuid": SNAPSHOT}, (SNAPSHOT, "")),
        ({"source_type": "volume", "uuid": VOLUME}, ("", VOLUME)),
        ({"source_type": "volume", "volume_id": VOLUME}, ("", VOLUME)),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_boot_from_a_volume(
    cloud: ComputeCloud, disk: dict[str, Any], source: tuple[str, str], named: bool
) -> None:
    wish = {**disk, "destination_type": "volume", "boot_index": "0"}
    server = launch(cloud, wish, imageRef=IMAGE if named else "", keep=True)
    (root,) = server.block_devices
    assert (root.device, root.boot_index, root.is_root) == ("vda", 0, True)
    assert (root.source_id, root.volume_id) == source
    assert root.size_gb in (2, 4, 5)
    assert server.image_id == ""
    shown = cloud.server(server.id, "admin")
    assert shown["image"] == ""
    assert shown["OS-EXT-SRV-ATTR:root_device_name"] == "/dev/vda"
    cloud.call("DELETE", f"/v2.1/servers/{server.id}")


def test_a_volumes_image_says_what_the_guest_is(cloud: ComputeCloud) -> None:
    disk = {"source_type": "volume", "uuid": VOLUME, "destination_type": "volume", "boot_index": 0}
    assert launch(cloud, disk, imageRef="").image_properties == {"hw_of": "its image"}


def test_boot_order_is_what_the_numbers_say(cloud: ComputeCloud) -> None:
    second = {"source_type": "blank", "destination_type": "volume", "volume_size": 1,
              "boot_index": 1}  # fmt: skip
    root = {"source_type": "volume", "uuid": VOLUME, "destination_type": "volume", "boot_index": 0}
    server = launch(cloud, second, root, imageRef="")
    assert [(d.device, d.boot_index) for d in server.block_devices] == [("vda", 0), ("vdb", 1)]


def test_what_a_flavor_gives(cloud: ComputeCloud) -> None:
    server = launch(cloud, flavor="9")
    ephemeral, swap = server.block_devices
    assert (ephemeral.device, ephemeral.size_gb, ephemeral.guest_format) == ("vdb", 5, "")
    assert (swap.device, swap.swap_mb, swap.size_gb, swap.guest_format) == ("vdc", 64, 0, "swap")


def test_swap_and_ephemeral_disks_of_choice(cloud: ComputeCloud) -> None:
    swap = {"source_type": "blank", "destination_type": "local", "guest_format": "swap",
            "volume_size": 32, "boot_index": -1}  # fmt: skip
    ephemeral = {"source_type": "blank", "destination_type": "local", "guest_format": "ext3",
                 "boot_index": -1}  # fmt: skip
    server = launch(cloud, ROOT, swap, ephemeral, flavor="9")
    assert [(d.swap_mb, d.size_gb, d.guest_format) for d in server.block_devices] == [
        (32, 0, "swap"), (0, 5, "ext3"),
    ]  # fmt: skip


def test_buses_and_a_cdrom(cloud: ComputeCloud) -> None:
    disks = [
        {"source_type": "blank", "destination_type": "volume", "volume_size": 1,
         "disk_bus": bus, "device_type": kind}
        for bus, kind in (("scsi", "disk"), ("ide", "cdrom"), ("virtio", None), (None, "cdrom"))
    ]  # fmt: skip
    server = launch(cloud, ROOT, *disks)
    assert [(d.device, d.disk_bus, d.device_type) for d in server.block_devices] == [
        ("sdb", "scsi", ""), ("sdc", "sata", "cdrom"), ("vdb", "", ""), ("sdd", "", "cdrom"),
    ]  # fmt: skip


def test_the_form_of_old(cloud: ComputeCloud) -> None:
    server = launch(
        cloud,
        flavor="9",
        block_device_mapping=[
            {"device_name": "/dev/vdb", "volume_id": VOLUME, "delete_on_termination": "1"},
            {"device_name": "vdc", "virtual_name": "ephemeral0", "volume_size": 2},
            {"virtual_name": "swap", "volume_size": "16"},
            {"device_name": "vdx", "no_device": True},
        ],
    )
    assert server.image_id == IMAGE
    assert shapes(server.block_devices) == [
        ("vdb", "volume", "volume", 2), ("vdc", "blank", "local", 2), ("vdd", "blank", "local", 0),
    ]  # fmt: skip
    server = launch(
        cloud, imageRef="", block_device_mapping=[{"device_name": "vda", "volume_id": VOLUME}]
    )
    assert server.block_devices[0].is_root
    server = launch(
        cloud, imageRef="", block_device_mapping=[{"device_name": "vda", "snapshot_id": SNAPSHOT}]
    )
    assert server.block_devices[0].source_id == SNAPSHOT


def test_an_image_of_a_volume_backed_server_boots_its_snapshot(cloud: ComputeCloud) -> None:
    mapping = [
        {"source_type": "snapshot", "destination_type": "volume", "snapshot_id": SNAPSHOT,
         "boot_index": 0, "device_name": "/dev/vda", "delete_on_termination": True,
         "volume_size": 4, "connection_info": None},
    ]  # fmt: skip
    image_id = new_id()
    cloud.lookups.images[image_id] = msgspec.structs.replace(
        cloud.lookups.images[IMAGE], id=image_id, size=0,
        properties={"bdm_v2": "True", "block_device_mapping": json.dumps(mapping)},
    )  # fmt: skip
    for disks in ((), ({**ROOT, "uuid": image_id},)):
        server = launch(cloud, *disks, imageRef=image_id)
        (root,) = server.block_devices
        assert (root.source_id, root.is_root, server.image_id) == (SNAPSHOT, True, "")


def blank(**more: Any) -> dict[str, Any]:
    return {"source_type": "blank", "destination_type": "volume", "volume_size": 1, **more}


def local(**more: Any) -> dict[str, Any]:
    return {"source_type": "blank", "destination_type": "local", **more}


@pytest.mark.parametrize(
    ("disks", "words"),
    [
        ([blank()], "Boot sequence"),
        ([blank(boot_index=1), ROOT | {"boot_index": 2}], "image to local is not supported"),
        ([ROOT, blank(boot_index=2)], "Boot sequence"),
        ([ROOT, blank(boot_index=0)], "Boot sequence"),
        ([ROOT, {"destination_type": "volume"}], "Some required fields are missing"),
        ([ROOT, blank(uuid=VOLUME)], "Invalid device UUID"),
        ([ROOT, blank(volume_size=None)], "non-zero size"),
        ([ROOT, blank(volume_size="0")], "non-zero size"),
        ([ROOT, blank(volume_type="slow")], "Volume type slow could not be found"),
        ([ROOT, blank(disk_bus="carrier pigeon")], "disk bus carrier pigeon is not valid"),
        ([ROOT, blank(disk_bus="usb")], "disk bus usb is not supported"),
        ([ROOT, blank(device_type="floppy")], "device type floppy"),
        ([ROOT, blank(device_type="cdrom", disk_bus="virtio")], "a cdrom is a volume"),
        ([ROOT, blank(device_name="a b")], "Device name contains spaces"),
        ([ROOT, blank(tag="x"), blank(tag="x")], "a tag is given to two disks"),
        ([ROOT, {"source_type": "volume", "destination_type": "volume"}], "Missing device UUID"),
        ([ROOT, {"source_type": "volume", "uuid": GONE}], f"failed to get volume {GONE}"),
        ([ROOT, {"source_type": "volume", "uuid": "x"}], "failed to get volume x"),
        ([ROOT, {"source_type": "volume", "uuid": USED_VOLUME}], "current status is in-use"),
        ([ROOT, {"source_type": "volume", "uuid": VOLUME, "volume_type": "fast"}],
         "Specifying volume type to existing volume"),
        ([ROOT] + [{"source_type": "volume", "uuid": VOLUME}] * 2, "named twice"),
        ([ROOT, {"source_type": "snapshot", "uuid": GONE}], f"failed to get snapshot {GONE}"),
        ([ROOT, {"source_type": "snapshot", "uuid": SNAPSHOT, "volume_size": 1}], "snapshot"),
        ([ROOT, {"source_type": "image", "uuid": GONE, "destination_type": "volume",
                 "volume_size": 1}], f"failed to get image {GONE}"),
        ([{"source_type": "image", "uuid": IMAGE, "destination_type": "volume", "boot_index": 0}],
         "non-zero size"),
        ([{"source_type": "image", "uuid": BIG_IMAGE, "destination_type": "volume",
           "boot_index": 0, "volume_size": 1}], "the image takes"),
        ([{"source_type": "volume", "uuid": PLAIN_VOLUME, "destination_type": "volume",
           "boot_index": 0}], "is not bootable"),
        ([ROOT, {"source_type": "volume", "uuid": VOLUME, "destination_type": "local"}],
         "a disk from volume to local"),
        ([ROOT, {"source_type": "image", "uuid": IMAGE, "destination_type": "local",
                 "boot_index": -1}], "image to local is not supported"),
        ([ROOT | {"uuid": BIG_IMAGE}], "image to local is not supported"),
        ([ROOT, local(volume_size=9)], "Ephemeral disks requested are larger"),
        ([ROOT, local(guest_format="ntfs", volume_size=1)], "guest_format ntfs"),
        ([ROOT, local(volume_type="fast")], "volume_type with destination_type=local"),
        ([ROOT, local(guest_format="swap", volume_size=65)], "Swap drive requested is larger"),
        ([ROOT] + [local(guest_format="swap", volume_size=1)] * 2, "More than one swap"),
        ([ROOT] + [local(volume_size=1)] * 3, "more local devices than the limit"),
        ([ROOT, blank(boot_index="x")], "boot_index"),
        ([ROOT, blank(volume_size=-1)], "volume_size"),
        ([ROOT, blank(surprise=1)], "surprise"),
    ],
)  # fmt: skip
def test_wrong_disks_say_what_is_wrong(cloud: ComputeCloud, disks: list[Any], words: str) -> None:
    assert words in refusal(cloud, *disks, flavor="9")


def test_disks_that_a_flavor_has_no_room_for(cloud: ComputeCloud) -> None:
    assert "Swap drive" in refusal(cloud, ROOT, local(guest_format="swap", volume_size=1))
    assert "needs a volume_size" in refusal(cloud, ROOT, local(guest_format="swap"))
    assert "Flavor's disk is too small" in refusal(cloud, imageRef=BIG_IMAGE)


def test_other_wrong_requests(cloud: ComputeCloud) -> None:
    assert "imageRef" in refusal(cloud, imageRef="")
    both = {"block_device_mapping": [{"volume_id": VOLUME, "device_name": "vda"}]}
    assert "different block_device_mapping syntaxes" in refusal(cloud, ROOT, **both)
    many = [ROOT, {"source_type": "volume", "uuid": VOLUME}]
    assert "multiple instances" in refusal(cloud, *many, max_count=2)
    legacy = [{"device_name": "vdb"}]
    assert "Unrecognized legacy format" in refusal(cloud, block_device_mapping=legacy)
    assert "volume_type" in cloud.post_server(
        version="2.66", block_device_mapping_v2=[ROOT, blank(volume_type="fast")]
    ).text  # fmt: skip
    assert derive("fast") in cloud.lookups.volume_types(None)  # type: ignore[arg-type]  # unused


def test_another_services_absence_is_told(cloud: ComputeCloud) -> None:
    asked = cloud.lookups.asked
    del asked[:]
    launch(cloud, ROOT, {"source_type": "volume", "uuid": VOLUME})
    assert sorted(asked) == ["image", "networks", "volume"], "each is asked once"


def test_a_minimum_of_the_image_counts_for_its_volume(cloud: ComputeCloud, tmp_path: Path) -> None:
    image_id = new_id()
    cloud.lookups.images[image_id] = msgspec.structs.replace(
        cloud.lookups.images[IMAGE], id=image_id, min_disk=3
    )
    wish = {"source_type": "image", "uuid": image_id, "destination_type": "volume",
            "boot_index": 0, "volume_size": 2}  # fmt: skip
    assert "minimum size specified in image metadata" in refusal(cloud, wish, imageRef="")
    assert launch(cloud, wish | {"volume_size": 3}, imageRef="").block_devices[0].size_gb == 3
