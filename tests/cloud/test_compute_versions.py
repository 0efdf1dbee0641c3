"""Discovery, negotiation, and the shapes that each microversion shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from compute import IMAGE, ComputeCloud, compute_cloud

ATTR = "OS-EXT-SRV-ATTR:"
ALWAYS = {
    "id", "name", "status", "tenant_id", "user_id", "metadata", "hostId", "image", "flavor",
    "created", "updated", "addresses", "accessIPv4", "accessIPv6", "links", "progress",
    "OS-DCF:diskConfig", "OS-EXT-AZ:availability_zone", "config_drive", "key_name",
    "OS-SRV-USG:launched_at", "OS-SRV-USG:terminated_at", "security_groups",
    "OS-EXT-STS:task_state", "OS-EXT-STS:vm_state", "OS-EXT-STS:power_state",
    "os-extended-volumes:volumes_attached",
}  # fmt: skip
ADMINS = {ATTR + name for name in ("host", "hypervisor_hostname", "instance_name")}
ADMINS_SINCE_2_3 = {
    ATTR + name
    for name in ("hostname", "kernel_id", "launch_index", "ramdisk_id", "reservation_id",
                 "root_device_name", "user_data")
}  # fmt: skip
SINCE = {
    (2, 9): {"locked"},
    (2, 19): {"description"},
    (2, 26): {"tags"},
    (2, 63): {"trusted_image_certificates"},
    (2, 73): {"locked_reason"},
    (2, 90): {ATTR + "hostname"},
    (2, 96): {"pinned_availability_zone"},
    (2, 100): {"scheduler_hints"},
}
VERSIONS = [(2, n) for n in (1, 2, 3, 8, 9, 15, 16, 18, 19, 25, 26, 46, 47, 62, 63, 70, 71, 72,
                             73, 74, 75, 89, 90, 95, 96, 97, 98, 99, 100)]  # fmt: skip


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path_factory.mktemp("compute")) as running:
        yield running


@pytest.fixture(scope="module")
def server_id(cloud: ComputeCloud) -> str:
    return cloud.launch(tags=["a"])


def text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


# -- discovery -------------------------------------------------------------------------------------
def test_version_documents_need_no_token(cloud: ComputeCloud) -> None:
    old, version = cloud.get("/", token="", version="")["versions"]
    assert old == {
        "id": "v2.0", "status": "DEPRECATED", "version": "", "min_version": "",
        "updated": "2025-07-04T12:00:00Z", "links": [{"rel": "self", "href": cloud.url + "/v2/"}],
    }  # fmt: skip
    assert version == {
        "id": "v2.1", "status": "CURRENT", "version": "2.100", "min_version": "2.1",
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": cloud.url + "/v2.1/"}],
    }  # fmt: skip
    manual = {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"}
    for path, facts, number in (("/v2", old, "2"), ("/v2.1", version, "2.1")):
        media = f"application/vnd.openstack.compute+json;version={number}"
        for each in (path, path + "/"):
            assert cloud.get(each, token="", version="")["version"] == {
                **facts, "links": [*facts["links"], manual],
                "media-types": [{"base": "application/json", "type": media}],
            }  # fmt: skip
    assert cloud.call("GET", "/v2/servers", version="").status_code == 200


def test_negotiation(cloud: ComputeCloud) -> None:
    def flavors(**headers: str) -> Any:
        return cloud.call("GET", "/v2.1/flavors", version="", headers=headers)

    assert flavors().headers["OpenStack-API-Version"] == "compute 2.1"
    assert flavors().headers["X-OpenStack-Nova-API-Version"] == "2.1"
    assert "X-OpenStack-Nova-API-Version" in flavors().headers["Vary"]
    newest = flavors(**{"OpenStack-API-Version": "compute latest"})
    assert newest.headers["OpenStack-API-Version"] == "compute 2.100"
    old = flavors(**{"X-OpenStack-Nova-API-Version": "2.55"})
    assert old.headers["OpenStack-API-Version"] == "compute 2.55"
    mixed = flavors(**{"OpenStack-API-Version": "volume 3.44, compute 2.60"})
    assert mixed.headers["OpenStack-API-Version"] == "compute 2.60"
    above = flavors(**{"OpenStack-API-Version": "compute 2.101"})
    assert above.status_code == 406
    assert above.json()["computeFault"]["code"] == 406
    assert flavors(**{"OpenStack-API-Version": "compute two"}).status_code == 400


def test_every_answer_carries_its_request_id(cloud: ComputeCloud) -> None:
    for path, status in (("/v2.1/flavors", 200), ("/v2.1/nothing", 404), ("/v2.1/servers/x", 404)):
        answer = cloud.call("GET", path)
        assert answer.status_code == status
        request_id = answer.headers["X-Openstack-Request-Id"]
        assert request_id.startswith("req-")
        assert answer.headers["x-compute-request-id"] == request_id


def test_no_token_is_401_and_no_route_is_404(cloud: ComputeCloud) -> None:
    answer = cloud.call("GET", "/v2.1/servers", token="nonsense")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == 401
    assert cloud.call("GET", "/v2.1/os-networks").json()["itemNotFound"]["code"] == 404
    assert cloud.call("PATCH", "/v2.1/servers").status_code == 405


# -- servers ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", VERSIONS, ids=text)
@pytest.mark.parametrize("token", ["demo", "admin"])
def test_a_servers_keys(
    cloud: ComputeCloud, server_id: str, token: str, version: tuple[int, int]
) -> None:
    expected = set(ALWAYS)
    for since, keys in SINCE.items():
        if version >= since:
            expected |= keys
    if token == "admin":
        expected |= ADMINS
        if version >= (2, 3):
            expected |= ADMINS_SINCE_2_3
        if version >= (2, 16):
            expected |= {"host_status"}
    query = {"all_tenants": "1"} if token == "admin" else {}
    (listed,) = cloud.get("/v2.1/servers/detail", token, text(version), **query)["servers"]
    assert set(listed) == expected
    if version >= (2, 71):
        expected |= {"server_groups"}
    shown = cloud.server(server_id, token, text(version))
    assert set(shown) == expected
    flavor = {"id", "links"}
    if version >= (2, 47):
        flavor = {"vcpus", "ram", "disk", "ephemeral", "swap", "original_name", "extra_specs"}
    assert set(shown["flavor"]) == set(listed["flavor"]) == flavor
    path = f"/v2.1/servers/{server_id}"
    changed = cloud.call("PUT", path, token, text(version), json={"server": {"name": "vm"}})
    if version >= (2, 75):
        assert set(changed.json()["server"]) == expected
    else:
        assert not set(changed.json()["server"]) & (ADMINS | {"key_name", "host_status"})
        assert "name" in changed.json()["server"]
        (address, *_) = changed.json()["server"]["addresses"]["private"]
        assert set(address) == {"version", "addr"}


def test_a_rebuild_shows_what_a_server_is_since_2_75(cloud: ComputeCloud) -> None:
    server_id = cloud.launch("admin", user_data="aGVsbG8=")
    for version, keys in (("2.74", {"version", "addr"}), ("2.75", {
        "version", "addr", "OS-EXT-IPS:type", "OS-EXT-IPS-MAC:mac_addr",
    })):  # fmt: skip
        body = {"imageRef": IMAGE}
        answer = cloud.act(server_id, "rebuild", body, token="admin", version=version)
        shown = answer.json()["server"]
        assert set(shown["addresses"]["private"][0]) == keys
        assert shown["user_data"] == "aGVsbG8="
        assert ATTR + "user_data" not in shown
        assert (ATTR + "host" in shown) is (version == "2.75")
    assert cloud.call("DELETE", f"/v2.1/servers/{server_id}", "admin").status_code == 204


# -- flavors and key pairs -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("version", "description", "specs", "swap"),
    [("2.1", False, False, ""), ("2.54", False, False, ""), ("2.55", True, False, ""),
     ("2.60", True, False, ""), ("2.61", True, True, ""), ("2.74", True, True, ""),
     ("2.75", True, True, 0), ("2.96", True, True, 0)],
)  # fmt: skip
def test_a_flavors_shape(
    cloud: ComputeCloud, version: str, description: bool, specs: bool, swap: Any
) -> None:
    flavor = cloud.get("/v2.1/flavors/1", version=version)["flavor"]
    listed = cloud.get("/v2.1/flavors/detail", version=version)["flavors"][0]
    brief = cloud.get("/v2.1/flavors", version=version)["flavors"][0]
    assert flavor == listed
    assert ("description" in flavor) is ("description" in brief) is description
    assert ("extra_specs" in flavor) is specs
    assert flavor["swap"] == swap


def test_key_pairs_shapes(cloud: ComputeCloud) -> None:
    path = "/v2.1/os-keypairs"

    def create(version: str, **body: Any) -> Any:
        return cloud.call("POST", path, version=version, json={"keypair": body})

    old = create("2.1", name="old")
    assert old.status_code == 200
    assert set(old.json()["keypair"]) == {
        "name", "public_key", "fingerprint", "user_id", "private_key",
    }  # fmt: skip
    assert old.json()["keypair"]["private_key"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    public_key = old.json()["keypair"]["public_key"]
    new = create("2.92", name="me@home.org", public_key=public_key)
    assert new.status_code == 201
    assert new.json()["keypair"]["type"] == "ssh"
    assert "private_key" not in new.json()["keypair"]
    assert new.json()["keypair"]["fingerprint"] == old.json()["keypair"]["fingerprint"]
    assert create("2.92", name="none").status_code == 400
    assert create("2.91", name="a@b", public_key=public_key).status_code == 400
    assert create("2.1", name="x", type="ssh").status_code == 400
    assert create("2.2", name="x", user_id="u").status_code == 400
    (listed, _) = cloud.get(path, version="2.1")["keypairs"]
    assert set(listed["keypair"]) == {"name", "public_key", "fingerprint"}
    page = cloud.get(path, version="2.35", limit=1)
    assert len(page["keypairs"]) == 1
    assert "marker=" in page["keypairs_links"][0]["href"]
    assert len(cloud.get(path, version="2.34", limit=1)["keypairs"]) == 2
    assert "type" in cloud.get(path + "/old", version="2.2")["keypair"]
    assert cloud.call("DELETE", path + "/old", version="2.1").status_code == 202
    assert cloud.call("DELETE", path + "/me@home.org", version="2.2").status_code == 204


# -- hosts and services ----------------------------------------------------------------------------
CAPACITY = {
    "cpu_info", "vcpus", "memory_mb", "local_gb", "vcpus_used", "memory_mb_used",
    "local_gb_used", "free_ram_mb", "free_disk_gb", "current_workload", "running_vms",
    "disk_available_least",
}  # fmt: skip
HYPERVISOR = {
    "id", "hypervisor_hostname", "state", "status", "hypervisor_type", "hypervisor_version",
    "host_ip", "service",
}  # fmt: skip


@pytest.mark.parametrize("version", [(2, n) for n in (1, 27, 28, 52, 53, 87, 88, 96)], ids=text)
def test_a_hypervisors_shape(cloud: ComputeCloud, server_id: str, version: tuple[int, int]) -> None:
    path = "/v2.1/os-hypervisors"
    (listed,) = cloud.get(path + "/detail", "admin", text(version))["hypervisors"]
    shown = cloud.get(f"{path}/{listed['id']}", "admin", text(version))["hypervisor"]
    assert shown == listed
    (brief,) = cloud.get(path, "admin", text(version))["hypervisors"]
    assert set(brief) == {"id", "hypervisor_hostname", "state", "status"}
    assert brief["id"] == listed["id"]
    by_uuid = version >= (2, 53)
    assert isinstance(listed["id"], str if by_uuid else int)
    assert isinstance(listed["service"]["id"], str if by_uuid else int)
    if version >= (2, 88):
        assert set(listed) == HYPERVISOR | {"uptime"}
    else:
        assert set(listed) == HYPERVISOR | CAPACITY
        assert isinstance(listed["cpu_info"], dict if version >= (2, 28) else str)
        assert listed["running_vms"] == 1
    old = 200 if version < (2, 53) else 404
    assert cloud.call("GET", path + "/host1/search", "admin", text(version)).status_code == old
    found = cloud.call("GET", path + "/host1/servers", "admin", text(version))
    assert found.status_code == old
    statistics = cloud.call("GET", path + "/statistics", "admin", text(version))
    if version < (2, 88):
        assert statistics.json()["hypervisor_statistics"]["count"] == 1
    else:
        assert statistics.status_code == 404


def test_hypervisors_with_their_servers(cloud: ComputeCloud, server_id: str) -> None:
    path = "/v2.1/os-hypervisors"
    (host,) = cloud.get(path + "/detail", "admin", with_servers="true")["hypervisors"]
    assert host["servers"] == [{"uuid": server_id, "name": "vm"}]
    query = {"hypervisor_hostname_pattern": "nothing"}
    assert cloud.call("GET", path, "admin", params=query).status_code == 404
    assert cloud.call("GET", path + "/1", "admin").status_code == 400
    assert cloud.call("GET", path, "demo").status_code == 403


def test_services_are_changed_by_id_and_before_by_name(cloud: ComputeCloud) -> None:
    path = "/v2.1/os-services"
    (new,) = cloud.get(path, "admin")["services"]
    (old,) = cloud.get(path, "admin", "2.1")["services"]
    assert isinstance(new["id"], str)
    assert isinstance(old["id"], int)
    assert "forced_down" in new
    assert "forced_down" not in old
    assert (new["binary"], new["zone"], new["state"]) == ("nova-compute", "nova", "up")

    def put(tail: str, version: str, **body: Any) -> Any:
        return cloud.call("PUT", f"{path}/{tail}", "admin", version, json=body)

    changed = put(new["id"], "2.96", status="disabled", disabled_reason="repair")
    assert changed.json()["service"]["status"] == "disabled"
    assert changed.json()["service"]["disabled_reason"] == "repair"
    one = {"host": "host1", "binary": "nova-compute"}
    assert put("enable", "2.52", **one).json()["service"]["status"] == "enabled"
    assert cloud.get(path, "admin")["services"][0]["disabled_reason"] is None
    assert put("force-down", "2.11", **one, forced_down=True).status_code == 200
    assert cloud.get(path, "admin")["services"][0]["state"] == "down"
    assert put(new["id"], "2.96", forced_down=False).status_code == 200
    assert put(new["id"], "2.96").status_code == 400
    assert put("enable", "2.52", host="none", binary="nova-compute").status_code == 404
    assert put("dance", "2.52", **one).status_code == 404
    assert put("nothing", "2.96", status="enabled").status_code == 404


# -- the server's actions --------------------------------------------------------------------------
@pytest.mark.parametrize("version", [(2, n) for n in (1, 50, 51, 57, 58, 61, 62, 83, 84)], ids=text)
def test_an_actions_shape(cloud: ComputeCloud, server_id: str, version: tuple[int, int]) -> None:
    path = f"/v2.1/servers/{server_id}/os-instance-actions"
    (action,) = cloud.get(path, version=text(version))["instanceActions"]
    assert ("updated_at" in action) is (version >= (2, 58))
    own = cloud.get(f"{path}/{action['request_id']}", version=text(version))["instanceAction"]
    assert bool(own["events"]) is (version >= (2, 51))
    admins = cloud.get(f"{path}/{action['request_id']}", "admin", text(version))
    event = admins["instanceAction"]["events"][0]
    expected = {"event", "start_time", "finish_time", "result", "traceback"}
    if version >= (2, 62):
        expected |= {"host", "hostId"}
    if version >= (2, 84):
        expected |= {"details"}
    assert set(event) == expected


def test_reboots_of_old_versions_still_work(cloud: ComputeCloud) -> None:
    body = {"name": "old", "imageRef": IMAGE, "flavorRef": 1}
    answer = cloud.call("POST", "/v2.1/servers", version="", json={"server": body})
    assert answer.status_code == 202
    old = answer.json()["server"]["id"]
    assert cloud.act(old, "reboot", {"type": "SOFT"}, version="").status_code == 202
    assert cloud.call("DELETE", f"/v2.1/servers/{old}", version="").status_code == 204
