"""What single microversions changed, besides the shapes that other tests go through: a test each,
on both sides of the change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from compute import (
    IMAGE,
    NETWORK,
    OTHER_NETWORK,
    VOLUME,
    ComputeCloud,
    add_host,
    compute_cloud,
)
from tokens import DEMO

from minicloud.db import servers
from minicloud.domain.models import NicInfo

BOOT = {"source_type": "image", "destination_type": "local", "boot_index": 0, "uuid": IMAGE}
BLANK = {"source_type": "blank", "destination_type": "volume", "volume_size": 1, "boot_index": -1}


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComputeCloud]:
    """For tests that leave nothing behind."""
    with compute_cloud(tmp_path_factory.mktemp("compute")) as running:
        yield running


def ids(cloud: ComputeCloud, version: str, token: str = "demo", **query: Any) -> list[str]:
    return [s["id"] for s in cloud.get("/v2.1/servers", token, version, **query)["servers"]]


def test_2_3_tells_which_volumes_go_with_the_server(lasting: ComputeCloud) -> None:
    for version, keys in (("2.2", {"id"}), ("2.3", {"id", "delete_on_termination"})):
        server_id = lasting.launch()
        with lasting.database.write() as tx:
            volume = {"volume_id": "v", "attachment_id": "a", "device": "/dev/vdb",
                      "delete_on_termination": True}  # fmt: skip
            servers.server_update(tx, server_id, volumes=[volume])
        (shown,) = lasting.server(server_id, version=version)[
            "os-extended-volumes:volumes_attached"
        ]
        assert set(shown) == keys
        lasting.call("DELETE", f"/v2.1/servers/{server_id}")


def test_2_5_finds_by_ip6(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    nic = NicInfo(port_id="p", network_id=NETWORK, network_name="net", mac="fa:16:3e:00:00:01",
                  addresses=["fd00::5"], ours=True)  # fmt: skip
    with cloud.database.write() as tx:
        servers.server_update(tx, server_id, nics=[nic])
    assert ids(cloud, "2.4", ip6="fd01") == [server_id]
    assert ids(cloud, "2.5", ip6="fd01") == []
    assert ids(cloud, "2.5", ip6="fd00") == [server_id]


def test_2_7_refuses_access_to_a_public_flavor(lasting: ComputeCloud) -> None:
    path, body = "/v2.1/flavors/1/action", {"addTenantAccess": {"tenant": "p"}}
    assert lasting.call("POST", path, "admin", "2.6", json=body).status_code == 200
    assert lasting.call("POST", path, "admin", "2.7", json=body).status_code == 409


def test_2_10_lets_administrators_see_others_key_pairs(lasting: ComputeCloud) -> None:
    body = {"keypair": {"name": "of-demo"}}
    assert lasting.call("POST", "/v2.1/os-keypairs", version="2.10", json=body).status_code == 201
    names = [
        [pair["keypair"]["name"] for pair in
         lasting.get("/v2.1/os-keypairs", "admin", version, user_id="user-demo")["keypairs"]]
        for version in ("2.9", "2.10")
    ]  # fmt: skip
    assert names == [[], ["of-demo"]]
    other = lasting.call("GET", "/v2.1/os-keypairs", "alt", "2.10", params={"user_id": "user-demo"})
    assert other.status_code == 403
    path = "/v2.1/os-keypairs/of-demo"
    assert lasting.call("DELETE", path, "admin", "2.9").status_code == 404
    mine = {"user_id": "user-demo"}
    assert lasting.call("DELETE", path, "admin", "2.10", params=mine).status_code == 204


def test_2_18_needs_no_project_in_the_path(lasting: ComputeCloud) -> None:
    for version in ("2.1", "2.17", "2.18", "2.100"):
        for path in ("/v2.1/servers", f"/v2.1/{DEMO}/servers"):
            assert lasting.call("GET", path, version=version).status_code == 200


def test_2_21_shows_what_was_done_to_deleted_servers(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    cloud.call("DELETE", f"/v2.1/servers/{server_id}")
    path = f"/v2.1/servers/{server_id}/os-instance-actions"
    assert cloud.call("GET", path, version="2.20").status_code == 404
    found = cloud.get(path, version="2.21")["instanceActions"]
    assert [action["action"] for action in found] == ["delete", "create"]


def test_2_26_finds_by_tags(cloud: ComputeCloud) -> None:
    red, both = cloud.launch(tags=["red"]), cloud.launch(tags=["red", "blue"])
    assert sorted(ids(cloud, "2.25", tags="blue")) == sorted([red, both])
    assert ids(cloud, "2.26", tags="red,blue") == [both]
    assert ids(cloud, "2.26", **{"not-tags": "blue"}) == [red]
    assert sorted(ids(cloud, "2.26", **{"tags-any": "blue,red"})) == sorted([red, both])
    assert ids(cloud, "2.26", **{"not-tags-any": "blue"}) == [red]


@pytest.mark.parametrize(
    ("version", "nics", "disks"),
    [("2.31", 400, 400), ("2.32", 202, 202), ("2.33", 202, 400), ("2.36", 202, 400),
     ("2.37", 400, 400), ("2.41", 400, 400), ("2.42", 202, 202), ("2.100", 202, 202)],
)  # fmt: skip
def test_device_tags_came_went_and_came_back(
    cloud: ComputeCloud, version: str, nics: int, disks: int
) -> None:
    nic = [{"uuid": NETWORK, "tag": "a"}]
    assert cloud.post_server(version=version, networks=nic).status_code == nics
    disk = [BOOT, {**BLANK, "tag": "b"}]
    answer = cloud.post_server(
        version=version, networks=[{"uuid": NETWORK}], block_device_mapping_v2=disk
    )
    assert answer.status_code == disks, answer.text


@pytest.mark.parametrize(("version", "paged"), [("2.32", False), ("2.33", True), ("2.88", True)])
def test_2_33_pages_hypervisors(cloud: ComputeCloud, version: str, paged: bool) -> None:
    for name in ("host2", "host3"):
        add_host(cloud.database, name)
    for tail in ("", "/detail"):
        body = cloud.get(f"/v2.1/os-hypervisors{tail}", "admin", version, limit=2)
        assert len(body["hypervisors"]) == (2 if paged else 3)
        assert ("hypervisors_links" in body) is paged
    if paged and version == "2.88":
        first = body["hypervisors"][-1]["id"]
        rest = cloud.get("/v2.1/os-hypervisors", "admin", version, marker=first)["hypervisors"]
        assert [host["hypervisor_hostname"] for host in rest] == ["host3"]


@pytest.mark.parametrize("path", ["os-networks", "os-floating-ips", "os-security-groups",
                                  "os-volumes", "os-snapshots", "images", "os-baremetal-nodes",
                                  "os-tenant-networks", "os-fping", "os-hosts", "os-cells",
                                  "os-certificates", "os-agents"])  # fmt: skip
@pytest.mark.parametrize("version", ["2.1", "2.36", "2.100"])
def test_proxies_are_gone(lasting: ComputeCloud, path: str, version: str) -> None:
    assert lasting.call("GET", f"/v2.1/{path}", "admin", version).status_code == 404


def test_2_37_asks_for_networks(cloud: ComputeCloud) -> None:
    assert cloud.post_server(version="2.36", networks=...).status_code == 202
    for wrong in ("auto", None, 0, {}):
        assert cloud.post_server(version="2.36", networks=wrong).status_code == 400, wrong
    assert cloud.post_server(version="2.36", networks=[]).status_code == 202
    assert cloud.post_server(version="2.37", networks=...).status_code == 400
    assert cloud.post_server(version="2.37", networks="auto").status_code == 202
    assert cloud.post_server(version="2.37", networks="none").status_code == 202


def test_2_38_refuses_an_unknown_status(lasting: ComputeCloud) -> None:
    for path in ("/v2.1/servers", "/v2.1/servers/detail"):
        query = {"status": "SLEEPING"}
        old = lasting.get(path, version="2.37", **query)
        assert old == {"servers": []}
        assert lasting.call("GET", path, version="2.38", params=query).status_code == 400


def test_2_47_shows_the_flavor_itself(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    assert set(cloud.server(server_id, version="2.46")["flavor"]) == {"id", "links"}
    assert cloud.server(server_id, version="2.47")["flavor"] == {
        "vcpus": 1, "ram": 512, "disk": 1, "ephemeral": 0, "swap": 0,
        "original_name": "m1.tiny", "extra_specs": {"a": "b"},
    }  # fmt: skip


def test_2_53_finds_hypervisors_by_query(lasting: ComputeCloud) -> None:
    query = {"hypervisor_hostname_pattern": "nothing"}
    path = "/v2.1/os-hypervisors"
    assert len(lasting.get(path, "admin", "2.52", **query)["hypervisors"]) == 1
    assert lasting.call("GET", path, "admin", "2.53", params=query).status_code == 404


def test_2_57_takes_no_files(cloud: ComputeCloud) -> None:
    files = [{"path": "/a", "contents": "YQ=="}]
    old = cloud.post_server(version="2.56", personality=files)
    assert (old.status_code, "personality" in old.text) == (400, True)
    assert cloud.post_server(version="2.56", personality=[]).status_code == 202
    assert cloud.post_server(version="2.57", personality=[]).status_code == 400


@pytest.mark.parametrize(("version", "known"), [("2.57", False), ("2.58", True), ("2.66", True)])
def test_2_58_pages_actions(cloud: ComputeCloud, version: str, known: bool) -> None:
    server_id = cloud.launch()
    cloud.act(server_id, "os-stop")
    path = f"/v2.1/servers/{server_id}/os-instance-actions"
    body = cloud.get(path, version=version, limit=1)
    assert len(body["instanceActions"]) == (1 if known else 2)
    assert ("links" in body) is known
    later = cloud.get(path, version=version, **{"changes-since": "2100-01-01T00:00:00Z"})
    assert len(later["instanceActions"]) == (0 if known else 2)


def test_2_63_certificates_of_images_are_refused_by_name(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    for bad, words in (
        (["a"], "no image's signature is verified here"),
        ([], "length"), (["a"] * 51, "length"), ([""], "length"), (["a", "a"], "non-unique"),
        ("a", "array"),
    ):  # fmt: skip
        certificates = {"trusted_image_certificates": bad}
        old = cloud.post_server(version="2.62", **certificates)
        assert (old.status_code, "unexpected" in old.text) == (400, True)
        rebuild = {"imageRef": IMAGE, **certificates}
        for refused in (
            cloud.post_server(version="2.63", **certificates),
            cloud.act(server_id, "rebuild", rebuild, version="2.63"),
        ):
            assert refused.status_code == 400
            assert words in refused.json()["badRequest"]["message"]
    boot = {"uuid": VOLUME, "source_type": "volume", "boot_index": 0}
    refused = cloud.post_server(
        imageRef="", block_device_mapping_v2=[boot], trusted_image_certificates=["a"]
    )
    assert "not supported when booting from volume" in refused.text
    none = cloud.post_server(version="2.63", trusted_image_certificates=None)
    assert none.status_code == 202
    rebuild = {"imageRef": IMAGE, "trusted_image_certificates": None}
    assert cloud.act(server_id, "rebuild", rebuild, version="2.63").status_code == 202


def test_2_66_takes_changes_before(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    before = {"changes-before": "2001-01-01T00:00:00Z"}
    assert ids(cloud, "2.65", **before) == [server_id]
    assert ids(cloud, "2.66", **before) == []
    assert ids(cloud, "2.66", **{"changes-before": "2100-01-01T00:00:00Z"}) == [server_id]
    path = f"/v2.1/servers/{server_id}/os-instance-actions"
    assert cloud.call("GET", path, version="2.65", params=before).status_code == 400
    assert cloud.get(path, version="2.66", **before)["instanceActions"] == []


def test_2_67_takes_a_volume_type(cloud: ComputeCloud) -> None:
    disks = {"block_device_mapping_v2": [BOOT, {**BLANK, "volume_type": "fast"}]}
    assert cloud.post_server(version="2.66", **disks).status_code == 400
    new = cloud.post_server(version="2.67", **disks)
    assert "Additional properties" not in new.text


def test_2_73_finds_locked_servers(cloud: ComputeCloud) -> None:
    locked, free = cloud.launch(), cloud.launch()
    assert cloud.act(locked, "lock", {"locked_reason": "x"}, version="2.72").status_code in (
        202,
        400,
    )
    assert cloud.act(locked, "lock", {"locked_reason": "mine"}).status_code == 202
    assert ids(cloud, "2.73", locked="true") == [locked]
    assert ids(cloud, "2.73", locked="false") == [free]
    assert len(ids(cloud, "2.72", locked="true")) == 2
    assert cloud.server(locked, version="2.73")["locked_reason"] == "mine"


def test_2_75_is_strict(lasting: ComputeCloud) -> None:
    for path in ("/v2.1/servers", "/v2.1/flavors", "/v2.1/os-keypairs", "/v2.1/os-services",
                 f"/v2.1/os-quota-sets/{DEMO}", "/v2.1/os-simple-tenant-usage"):  # fmt: skip
        query = {"colour": "red"}
        assert lasting.call("GET", path, "admin", "2.74", params=query).status_code == 200, path
        assert lasting.call("GET", path, "admin", "2.75", params=query).status_code == 400, path
    query = {"with_servers": "1"}
    for version, there in (("2.74", False), ("2.75", True)):
        (host,) = lasting.get("/v2.1/os-hypervisors", "admin", version, **query)["hypervisors"]
        assert ("servers" in host) is there


def test_2_83_gives_everybody_more_filters(cloud: ComputeCloud) -> None:
    mine = cloud.launch()
    for query in ({"user_id": "nobody"}, {"vm_state": "error"}, {"power_state": "4"},
                  {"key_name": "none"}, {"config_drive": "true"}, {"task_state": "spawning"},
                  {"availability_zone": "mars"}):  # fmt: skip
        assert ids(cloud, "2.82", **query) == [mine], query
        assert ids(cloud, "2.83", **query) == [], query
        assert ids(cloud, "2.82", "admin", all_tenants="1", **query) == [], query


@pytest.mark.parametrize(
    ("specs", "status"),
    [
        ({"hw:cpu_policy": "dedicated"}, 200), ({"hw:cpu_policy": "odd"}, 400),
        ({"hw:surprise": "1"}, 400), ({"os:secure_boot": "required"}, 200),
        ({"quota:cpu_shares": "x"}, 400), ({"hw:numa_cpus.0": "0-3"}, 200),
        ({"quota:cpu_quota": "-1"}, 400), ({"quota:disk_total_iops_sec": "0"}, 200),
        ({"quota:disk_total_iops_sec": "1.5"}, 400), ({"quota:disk_total_iops_sec_max": "1"}, 400),
        ({"quota:vif_inbound_peak": "-5"}, 400), ({"quota:memory_limit": "-1"}, 200),
        ({"quota:memory_shares_level": "high"}, 200), ({"quota:cpu_shares_share": "high"}, 400),
        ({"resources:VCPU": "2"}, 200), ({"trait:HW_CPU_X86_AVX": "required"}, 200),
        ({"trait:HW_CPU_X86_AVX": "perhaps"}, 400), ({"mine:anything": "x"}, 200),
        ({"plain": "x"}, 200), ({"aggregate_instance_extra_specs:ssd": "true"}, 200),
    ],
)  # fmt: skip
def test_2_86_checks_extra_specs(lasting: ComputeCloud, specs: dict[str, str], status: int) -> None:
    path = "/v2.1/flavors/2/os-extra_specs"
    body = {"extra_specs": specs}
    assert lasting.call("POST", path, "admin", "2.85", json=body).status_code == 200
    assert lasting.call("POST", path, "admin", "2.86", json=body).status_code == status
    (key,) = specs
    assert lasting.call("PUT", f"{path}/{key}", "admin", "2.86", json=specs).status_code == status


def test_2_90_names_the_host(cloud: ComputeCloud) -> None:
    assert cloud.post_server(version="2.89", hostname="a").status_code == 400
    server_id = cloud.post_server(version="2.90", hostname="a-b").json()["server"]["id"]
    assert cloud.server(server_id)["OS-EXT-SRV-ATTR:hostname"] == "a-b"
    path = f"/v2.1/servers/{server_id}"
    for version, hostname, status in (
        ("2.89", "cd", 400), ("2.90", "cd", 200), ("2.90", "c", 400), ("2.93", "c.d", 400),
        ("2.94", "c.d", 200), ("2.94", "c", 200), ("2.94", "-c", 400), ("2.94", "", 400),
    ):  # fmt: skip
        body = {"server": {"hostname": hostname}}
        answer = cloud.call("PUT", path, version=version, json=body)
        assert answer.status_code == status, (version, hostname)
    several = cloud.post_server(hostname="a", min_count=2)
    assert several.status_code == 400


def test_2_98_shows_the_images_properties(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    with cloud.database.write() as tx:
        servers.server_update(tx, server_id, image_properties={"os_distro": "tiny"})
    assert set(cloud.server(server_id, version="2.97")["image"]) == {"id", "links"}
    new = cloud.server(server_id, version="2.98")["image"]
    assert (new["id"], new["properties"]) == (IMAGE, {"os_distro": "tiny"})
    (listed,) = cloud.get("/v2.1/servers/detail", version="2.98")["servers"]
    assert listed["image"] == new


def test_2_99_has_no_spice(cloud: ComputeCloud) -> None:
    path = f"/v2.1/servers/{cloud.launch()}/remote-consoles"
    body = {"remote_console": {"protocol": "spice", "type": "spice-direct"}}
    for version in ("2.98", "2.99", "2.100"):
        assert cloud.call("POST", path, version=version, json=body).status_code == 400


def test_2_100_shows_the_hints(cloud: ComputeCloud) -> None:
    answer = cloud.post_server(hints={"build_near_host_ip": "10.0.0.1", "mine": ["x"]})
    server_id = answer.json()["server"]["id"]
    assert "scheduler_hints" not in cloud.server(server_id, version="2.99")
    shown = cloud.server(server_id)["scheduler_hints"]
    assert shown == {"build_near_host_ip": "10.0.0.1", "mine": ["x"]}


# -- bad input -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change",
    [
        {"name": ""}, {"name": " a"}, {"name": "a\n"}, {"name": "x" * 256}, {"name": "a\0"},
        {"name": 5}, {"name": None}, {"flavorRef": "none"}, {"flavorRef": None}, {"flavorRef": []},
        {"imageRef": "none"}, {"imageRef": {}}, {"min_count": 0}, {"min_count": "x"},
        {"max_count": 10**12}, {"min_count": 3, "max_count": 2}, {"min_count": True},
        {"user_data": "no base64!"}, {"user_data": "x" * 70000}, {"key_name": "none"},
        {"networks": [{"uuid": "net"}]}, {"networks": [{"uuid": OTHER_NETWORK}]},
        {"networks": [{}]}, {"networks": "some"}, {"networks": {}}, {"config_drive": "perhaps"},
        {"metadata": {"k": "x" * 256}}, {"metadata": {"": "x"}}, {"metadata": {"k": 1}},
        {"metadata": []}, {"tags": ["a,b"]}, {"tags": ["x" * 61]}, {"tags": ["a"] * 51},
        {"accessIPv4": "10.0.0"}, {"accessIPv6": "10.0.0.1"}, {"OS-DCF:diskConfig": "SOME"},
        {"security_groups": ["web"]}, {"security_groups": [{"name": "none"}]},
        {"availability_zone": 5}, {"description": "x" * 256}, {"hostname": "a b"},
        {"block_device_mapping_v2": [{"source_type": "cloud"}]}, {"surprise": 1},
        {"block_device_mapping_v2": [{**BLANK, "volume_size": "many"}]},
        {"return_reservation_id": "perhaps"},
    ],
)  # fmt: skip
def test_bad_launches_are_refused_with_a_reason(
    lasting: ComputeCloud, change: dict[str, Any]
) -> None:
    answer = lasting.post_server(**change)
    assert answer.status_code == 400, answer.text
    message = answer.json()["badRequest"]["message"]
    assert message
    assert "Traceback" not in message
    assert lasting.get("/v2.1/servers")["servers"] == []


@pytest.mark.parametrize(
    "path",
    ["servers/vm", "servers/1", "servers/%F0%9F%92%A9", "servers/x/metadata", "servers/x/tags",
     "servers/x/ips", "servers/x/os-interface", "servers/x/os-instance-actions",
     "servers/x/os-volume_attachments", "servers/x/topology", "servers/x/os-security-groups",
     "flavors/m1.tiny", "os-keypairs/none", "os-server-groups/web", "os-quota-class-sets/x/y"],
)  # fmt: skip
def test_names_are_no_ids(lasting: ComputeCloud, path: str) -> None:
    answer = lasting.call("GET", f"/v2.1/{path}")
    assert answer.status_code == 404
    assert answer.json()["itemNotFound"]["code"] == 404


@pytest.mark.parametrize(
    "query",
    [
        "limit=x", "limit=-1", "marker=none", "sort_key=none", "sort_dir=up", "changes-since=now",
        "name=%5B", "ip=%28", "name=(a)%5C1", "name=a%7B1,99999%7D", "all_tenants=perhaps",
        "sort_key=name&sort_dir=asc&sort_dir=desc", "config_drive=perhaps", "power_state=running",
    ],
)  # fmt: skip
def test_bad_queries_are_refused(lasting: ComputeCloud, query: str) -> None:
    answer = lasting.call("GET", f"/v2.1/servers?{query}")
    assert answer.status_code == 400, answer.text


def test_a_launch_is_answered_with_a_password(cloud: ComputeCloud) -> None:
    made = cloud.post_server().json()["server"]
    assert set(made) == {"id", "links", "OS-DCF:diskConfig", "security_groups", "adminPass"}
    assert len(made["adminPass"]) >= 8
    given = cloud.post_server(adminPass="of-mine").json()["server"]
    assert given["adminPass"] == "of-mine"
    assert "adminPass" not in cloud.server(given["id"])


def test_texts_and_numbers_as_clients_write_them(cloud: ComputeCloud) -> None:
    server_id = cloud.launch(
        min_count="1", max_count="1", config_drive="True", flavorRef=1,
        user_data="aGVs\nbG8=", metadata={"a b:c-d_e.f": ""},
    )  # fmt: skip
    shown = cloud.server(server_id)
    assert (shown["config_drive"], shown["metadata"]) == ("True", {"a b:c-d_e.f": ""})
    assert msgspec.json.encode(shown)
