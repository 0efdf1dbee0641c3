"""A volume type's qualities of service and a flavor's quotas, from an operator's requests to what
the hypervisor is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from cloud import Cloud, running

CALM = {"disk_write_iops_sec": "300", "cpu_shares": "512", "vif_inbound_average": "1000"}
OTHER = {"disk_read_bytes_sec": "4096"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("limits"), place_wait_s=0.3) as cloud:
        admin = cloud.user("admin")
        home = f"/v3/{admin.project_id}"
        specs = {"total_iops_sec": "100", "total_bytes_sec_per_gb": "1048576"}
        for name, consumer in (("gold", "front-end"), ("dull", "back-end")):
            body = {"volume_type": {"name": name}}
            made = admin.ask("volume", "POST", f"{home}/types", 200, json=body)["volume_type"]
            wanted = {"name": name, "consumer": consumer, **specs}
            qos = admin.ask("volume", "POST", f"{home}/qos-specs", 200, json={"qos_specs": wanted})[
                "qos_specs"
            ]
            path = f"{home}/qos-specs/{qos['id']}/associate?vol_type_id={made['id']}"
            admin.ask("volume", "GET", path, 202)
        for number, quotas in (("calm", CALM), ("other", OTHER), ("odd", {"cpu_quota": "much"})):
            flavor = {"name": number, "id": number, "vcpus": 1, "ram": 512, "disk": 1,
                      "OS-FLV-EXT-DATA:ephemeral": 1}  # fmt: skip
            admin.ask("compute", "POST", "/v2.1/flavors", 200, json={"flavor": flavor})
            body = {"extra_specs": {f"quota:{name}": value for name, value in quotas.items()}}
            admin.ask(
                "compute", "POST", f"/v2.1/flavors/{number}/os-extra_specs", 200, json=body,
                headers={"OpenStack-API-Version": "compute 2.85"},
            )  # fmt: skip
        yield cloud


def limits(cloud: Cloud, server: str) -> dict[str, Mapping[str, int]]:
    """By the device's name; of the processors too."""
    spec = cloud.hosts["lab1"].driver.domain(server)
    found = {each.target: each.limits for each in spec.disks}
    return {**found, "nic": spec.nics[0].limits, "cpu": spec.cpu_limits}


def test_limits_at_boot_plug_rebuild_and_resize(cloud: Cloud) -> None:
    user = cloud.user()
    disks: list[dict[str, Any]] = [
        {"source_type": "image", "destination_type": "local", "uuid": cloud.image_id,
         "boot_index": 0},
        {"source_type": "blank", "destination_type": "volume", "volume_size": 2,
         "volume_type": "gold"},
    ]  # fmt: skip
    server = user.launch(
        cloud.image_id, flavorRef="calm", config_drive=True, block_device_mapping_v2=disks
    )
    cloud.settle()
    volume = {"total_iops_sec": 100, "total_bytes_sec": 2 << 20}
    calm = {"write_iops_sec": 300}
    wanted = {
        "vda": calm, "vdb": volume, "vdc": calm, "sda": calm, "nic": {"inbound_average": 1000},
        "cpu": {"shares": 512},
    }  # fmt: skip
    assert limits(cloud, server) == wanted

    for kind, there in (
        ("gold", {"total_iops_sec": 100, "total_bytes_sec": 1 << 20}),
        ("dull", {}),
    ):
        body = {"volume": {"size": 1, "volume_type": kind}}
        path = f"/v3/{user.project_id}/volumes"
        made = user.ask("volume", "POST", path, 202, json=body)["volume"]["id"]
        body = {"volumeAttachment": {"volumeId": made}}
        path = f"/v2.1/servers/{server}/os-volume_attachments"
        device = user.ask("compute", "POST", path, 200, json=body)["volumeAttachment"]["device"]
        cloud.settle()
        wanted[device.removeprefix("/dev/")] = there
    assert limits(cloud, server) == wanted

    user.act(server, rebuild={"imageRef": cloud.image_id})
    cloud.settle()
    assert limits(cloud, server) == wanted

    user.act(server, resize={"flavorRef": "other"})
    cloud.settle()
    assert user.status(server) == "VERIFY_RESIZE"
    changed = {name: {"read_bytes_sec": 4096} for name in ("vda", "vdc", "sda")}
    assert limits(cloud, server) == {**wanted, **changed, "nic": {}, "cpu": {}}
    user.act(server, revertResize=None)
    cloud.settle()
    assert limits(cloud, server) == wanted
    user.delete(server)
    cloud.settle()


def test_a_quota_that_is_no_number_fails_the_launch_in_words(cloud: Cloud) -> None:
    user = cloud.user()
    server = user.launch(cloud.image_id, flavorRef="odd")
    cloud.settle()
    shown = user.server(server)
    assert shown["status"] == "ERROR"
    assert "quota:cpu_quota of flavor odd is no whole number" in str(shown["fault"])
    user.delete(server)
    cloud.settle()
