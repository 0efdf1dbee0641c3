"""Volumes as a client sees them: their life, lists, metadata, projects and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tokens import ADMIN, ALT, DEMO, SERVICE
from volume import VolumeCloud, volume_cloud

MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def cloud(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VolumeCloud]:
    with volume_cloud(tmp_path_factory.mktemp("volume"), url=module_database_url) as running:
        yield running


@pytest.fixture(autouse=True)
def empty(cloud: VolumeCloud) -> Iterator[None]:
    yield
    for each in cloud.ask("GET", "/attachments?all_tenants=1", 200, "admin")["attachments"]:
        cloud.ask("DELETE", f"/attachments/{each['id']}", 200, "admin")
    for each in cloud.ask("GET", "/volumes?all_tenants=1", 200, "admin")["volumes"]:
        cloud.ask("DELETE", f"/volumes/{each['id']}?force=true", 202, "admin")


def names(cloud: VolumeCloud, query: str = "", token: str = "demo") -> list[str]:
    return [each["name"] for each in cloud.ask("GET", f"/volumes{query}", 200, token)["volumes"]]


# -- life ----------------------------------------------------------------------------------------
def test_a_volume_is_made_shown_and_deleted(cloud: VolumeCloud) -> None:
    made = cloud.create(3, name="data", description="for the database", metadata={"tier": "1"})
    assert (made["status"], made["size"], made["volume_type"]) == ("creating", 3, "__DEFAULT__")
    shown = cloud.show(made["id"])
    assert (shown["status"], shown["name"]) == ("available", "data")
    assert shown["metadata"] == {"tier": "1"}
    assert shown["os-vol-tenant-attr:tenant_id"] == DEMO
    assert shown["bootable"] == "false"
    assert cloud.disk(made["id"]).stat().st_size == 3 * 1024**3
    cloud.ask("DELETE", f"/volumes/{made['id']}", 202)
    cloud.ask("GET", f"/volumes/{made['id']}", 404)
    assert list((cloud.files / "layers").iterdir()) == []


def test_names_can_be_changed_and_taken_away(cloud: VolumeCloud) -> None:
    volume = cloud.create(name="old", description="text", metadata={"a": "1"})
    path = f"/volumes/{volume['id']}"
    body = {"volume": {"name": "new", "description": None}}
    changed = cloud.ask("PUT", path, 200, json=body)["volume"]
    assert (changed["name"], changed["description"]) == ("new", None)
    assert changed["metadata"] == {"a": "1"}
    cloud.ask("PUT", path, 400, json={"volume": {}})


def test_only_an_available_volume_grows(cloud: VolumeCloud) -> None:
    volume = cloud.create(1)
    path = f"/volumes/{volume['id']}/action"
    cloud.ask("POST", path, 202, json={"os-extend": {"new_size": 2}})
    assert (cloud.show(volume["id"])["size"], cloud.show(volume["id"])["status"]) == (
        2,
        "available",
    )
    assert cloud.disk(volume["id"]).stat().st_size == 2 * 1024**3
    cloud.ask("POST", path, 400, json={"os-extend": {"new_size": 2}})
    cloud.attach(volume["id"], host=None)
    cloud.ask("POST", path, 400, json={"os-extend": {"new_size": 3}})


def test_the_operators_actions_are_the_operators(cloud: VolumeCloud) -> None:
    volume = cloud.create()
    path = f"/volumes/{volume['id']}/action"
    reset = {"os-reset_status": {"status": "error"}}
    cloud.ask("POST", path, 403, json=reset)
    cloud.ask("POST", path, 202, "admin", json=reset)
    assert cloud.show(volume["id"])["status"] == "error"
    cloud.ask("POST", path, 400, "admin", json={"os-reset_status": {"status": "fine"}})
    cloud.ask("POST", path, 200, json={"os-set_bootable": {"bootable": True}})
    assert cloud.show(volume["id"])["bootable"] == "true"
    cloud.ask("POST", path, 400, json={"os-paint": {}})
    cloud.ask("POST", path, 403, json={"os-force_delete": None})
    cloud.ask("POST", path, 202, "admin", json={"os-force_delete": None})
    cloud.ask("GET", f"/volumes/{volume['id']}", 404)


def test_a_volume_too_large_for_the_disk_is_in_error_and_can_go(tmp_path: Path) -> None:
    unlimited = {"volumes": -1, "gigabytes": -1, "per_volume_gigabytes": -1}
    with volume_cloud(tmp_path, quotas=unlimited) as cloud:
        volume = cloud.create(2**31 - 1)
        assert cloud.show(volume["id"])["status"] == "error"
        cloud.ask("DELETE", f"/volumes/{volume['id']}", 202)
        cloud.ask("GET", f"/volumes/{volume['id']}", 404)


# -- metadata ------------------------------------------------------------------------------------
def test_metadata_is_merged_replaced_and_removed(cloud: VolumeCloud) -> None:
    path = f"/volumes/{cloud.create(metadata={'a': '1'})['id']}/metadata"
    merged = cloud.ask("POST", path, 200, json={"metadata": {"b": "2", "a": "3"}})
    assert merged == {"metadata": {"a": "3", "b": "2"}}
    assert cloud.ask("GET", f"{path}/b", 200) == {"meta": {"b": "2"}}
    cloud.ask("PUT", f"{path}/b", 200, json={"meta": {"b": "4"}})
    cloud.ask("PUT", f"{path}/b", 400, json={"meta": {"c": "4"}})
    cloud.ask("DELETE", f"{path}/a", 200)
    cloud.ask("DELETE", f"{path}/a", 404)
    assert cloud.ask("GET", path, 200) == {"metadata": {"b": "4"}}
    assert cloud.ask("PUT", path, 200, json={"metadata": {}}) == {"metadata": {}}
    many = {f"k{number}": "" for number in range(128)}
    cloud.ask("POST", path, 200, json={"metadata": many})
    cloud.ask("POST", path, 400, json={"metadata": {"one more": ""}})


# -- lists ---------------------------------------------------------------------------------------
def test_lists_filter_and_sort(cloud: VolumeCloud) -> None:
    cloud.create(1, name="b", metadata={"x": "1", "y": "2"})
    cloud.create(3, name="a", metadata={"x": "1"})
    cloud.create(2, name="c%d")
    assert names(cloud) == ["c%d", "a", "b"], "newest first"
    assert names(cloud, "?name=a") == ["a"]
    assert names(cloud, "?name~=%25") == ["c%d"]
    assert names(cloud, "?status=error") == []
    assert names(cloud, "?sort=size:asc") == ["b", "c%d", "a"]
    assert names(cloud, "?sort_key=name&sort_dir=asc") == ["a", "b", "c%d"]
    assert names(cloud, "?metadata={'x':'1'}") == ["a", "b"]
    assert names(cloud, "?metadata=" + json.dumps({"x": "1", "y": "2"})) == ["b"]
    assert names(cloud, "?bootable=true") == []
    assert names(cloud, "?availability_zone=moon") == []
    summary = cloud.ask("GET", "/volumes/summary", 200)["volume-summary"]
    assert summary == {"total_size": 6, "total_count": 3, "metadata": {"x": ["1"], "y": ["2"]}}


@pytest.mark.parametrize("sort", ["created_at:desc", "name:asc", "size:desc,name:asc"])
def test_pages_are_whole_and_without_repetition(cloud: VolumeCloud, sort: str) -> None:
    for number in range(5):
        cloud.create(1 + number % 2, name=f"v{number}")
    everything = names(cloud, f"?sort={sort}")
    found: list[str] = []
    url = f"/volumes?limit=2&sort={sort}"
    while url:
        page = cloud.ask("GET", url, 200)
        assert len(page["volumes"]) <= 2
        found += [each["name"] for each in page["volumes"]]
        links = page.get("volumes_links", [])
        url = "/" + links[0]["href"][len(cloud.url) :] if links else ""
    assert found == everything
    assert names(cloud, f"?sort={sort}&offset=3") == everything[3:]
    assert names(cloud, "?limit=0") == []
    for wrong in ("?limit=-1", "?limit=x", f"?marker={MISSING}", "?sort=colour", "?offset=-2"):
        cloud.ask("GET", f"/volumes{wrong}", 400)


# -- projects ------------------------------------------------------------------------------------
def test_another_projects_volume_does_not_exist(cloud: VolumeCloud) -> None:
    volume = cloud.create()
    path = f"/volumes/{volume['id']}"
    for method, more in (
        ("GET", {}),
        ("DELETE", {}),
        ("PUT", {"json": {"volume": {"name": "mine"}}}),
    ):
        cloud.ask(method, path, 404, "alt", **more)
    for method in ("GET", "DELETE"):
        cloud.ask(method, f"{path}/metadata/x", 404, "alt")
    action = {"os-extend": {"new_size": 9}}
    cloud.ask("POST", f"{path}/action", 404, "alt", json=action)
    assert names(cloud, "?all_tenants=1", "alt") == []
    assert names(cloud, f"?all_tenants=1&project_id={DEMO}", "alt") == []
    # A service that passes a user's request on lends the user no eyes.
    cloud.ask("GET", path, 404, "alt", headers={"X-Service-Token": "service"})


def test_who_sees_all_projects(cloud: VolumeCloud) -> None:
    volume = cloud.create(name="demo's")
    for token in ("admin", "service"):
        assert names(cloud, "", token) == []
        assert names(cloud, "?all_tenants=1", token) == ["demo's"]
        assert names(cloud, f"?all_tenants=1&project_id={ALT}", token) == []
        shown = cloud.show(volume["id"], token)
        assert shown["os-vol-host-attr:host"] == "lab1@files#files"
    assert "os-vol-host-attr:host" not in cloud.show(volume["id"])


def test_the_project_in_the_url(cloud: VolumeCloud) -> None:
    volume = cloud.create()
    unnamed = cloud.ask("GET", f"//v3/volumes/{volume['id']}", 200)["volume"]
    assert unnamed["id"] == volume["id"]
    wrong = cloud.ask("GET", f"//v3/{ALT}/volumes", 400)
    assert wrong["badRequest"]["message"] == "Malformed request url"
    # Compute has its own project in its catalog's URL, and the user's token in its hand.
    body = {"json": {"volume": {"size": 1, "name": "through compute"}}}
    passed_on = {"X-Service-Token": "service"}
    made = cloud.ask("POST", f"//v3/{SERVICE}/volumes", 202, headers=passed_on, **body)
    assert cloud.show(made["volume"]["id"])["os-vol-tenant-attr:tenant_id"] == DEMO
    made = cloud.ask("POST", f"//v3/{SERVICE}/volumes", 202, "admin", headers=passed_on, **body)
    assert cloud.show(made["volume"]["id"], "admin")["os-vol-tenant-attr:tenant_id"] == ADMIN
    # With its own token alone it says whom it acts for.
    made = cloud.ask("POST", f"//v3/{ALT}/volumes", 202, "service", **body)
    assert cloud.show(made["volume"]["id"], "alt")["os-vol-tenant-attr:tenant_id"] == ALT


def test_a_reader_reads(cloud: VolumeCloud) -> None:
    volume = cloud.create(name="seen")
    assert names(cloud, "", "reader") == ["seen"]
    cloud.ask("DELETE", f"/volumes/{volume['id']}", 403, "reader")
    body = {"volume": {"size": 1}}
    cloud.ask("POST", "/volumes", 403, "reader", json=body)
    passed_on = {"X-Service-Token": "service"}
    cloud.ask("POST", "/volumes", 403, "reader", json=body, headers=passed_on)


# -- versions ------------------------------------------------------------------------------------
def test_discovery_needs_no_token(cloud: VolumeCloud) -> None:
    for path, status in (("/", 300), ("/v3/", 200), ("/v3", 200)):
        answer = requests.get(cloud.url + path, timeout=60)
        assert answer.status_code == status
        version = answer.json()["versions"][0]
        assert (version["id"], version["min_version"], version["version"]) == (
            "v3.0",
            "3.0",
            "3.71",
        )
        assert version["links"][0]["href"] == f"{cloud.url}/v3/"


@pytest.mark.parametrize(
    ("asked", "status", "answered"),
    [
        ({}, 200, "volume 3.0"),
        ({"OpenStack-API-Version": "volume 3.27"}, 200, "volume 3.27"),
        ({"OpenStack-API-Version": "compute 2.1, volume latest"}, 200, "volume 3.71"),
        ({"X-OpenStack-Volume-API-Version": "3.13"}, 200, "volume 3.13"),
        ({"OpenStack-API-Version": "volume 3.72"}, 406, None),
        ({"OpenStack-API-Version": "volume 2.0"}, 406, None),
        ({"OpenStack-API-Version": "volume three"}, 400, None),
    ],
)
def test_versions_are_negotiated(
    cloud: VolumeCloud, asked: dict[str, str], status: int, answered: str | None
) -> None:
    headers = {"X-Auth-Token": "demo", **asked}
    answer = requests.get(f"{cloud.url}/v3/volumes", headers=headers, timeout=60)
    assert answer.status_code == status
    assert answer.headers.get("OpenStack-API-Version") == answered


def test_older_versions_know_less(cloud: VolumeCloud) -> None:
    volume = cloud.create()

    def fields(version: str) -> set[str]:
        headers = {"OpenStack-API-Version": f"volume {version}"}
        shown = cloud.ask("GET", f"/volumes/{volume['id']}", 200, "admin", headers=headers)
        return set(shown["volume"])

    assert fields("3.13") - fields("3.12") == {"group_id"}
    assert fields("3.21") - fields("3.20") == {"provider_id"}
    old = {"OpenStack-API-Version": "volume 3.26"}
    cloud.ask("GET", "/attachments", 404, headers=old)
    cloud.ask("GET", "/volumes/summary", 404, headers={"OpenStack-API-Version": "volume 3.11"})


# -- refusals ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("volume", "status"),
    [
        ({}, 400),
        ({"size": 0}, 400),
        ({"size": "0"}, 400),
        ({"size": -1}, 400),
        ({"size": 1.5}, 400),
        ({"size": "many"}, 400),
        ({"size": 2**31}, 400),
        ({"size": 10**30}, 400),
        ({"size": None}, 400),
        ({"size": 1, "name": "x" * 256}, 400),
        ({"size": 1, "name": "a\u0000b"}, 400),
        ({"size": 1, "name": "line\n"}, 400),
        ({"size": 1, "name": 5}, 400),
        ({"size": 1, "description": "a\u0000"}, 400),
        ({"size": 1, "metadata": {"": "x"}}, 400),
        ({"size": 1, "metadata": {"a": 1}}, 400),
        ({"size": 1, "metadata": {"a": "\u0000"}}, 400),
        ({"size": 1, "metadata": {"k" * 256: "x"}}, 400),
        ({"size": 1, "colour": "red"}, 400),
        ({"size": 1, "availability_zone": "moon"}, 400),
        ({"size": 1, "volume_type": "gold"}, 404),
        ({"size": 1, "multiattach": "perhaps"}, 400),
        ({"size": 1, "imageRef": MISSING}, 503),
        ({"size": 1, "snapshot_id": MISSING}, 404),
        ({"size": 1, "source_volid": MISSING}, 404),
        ({"size": 1, "backup_id": MISSING}, 404),
        ({"size": 1, "snapshot_id": MISSING, "source_volid": MISSING}, 400),
        ({"name": "without a size"}, 400),
    ],
)
def test_wrong_volumes_are_refused_with_words(
    cloud: VolumeCloud, volume: dict[str, Any], status: int
) -> None:
    refusal = cloud.ask("POST", "/volumes", status, json={"volume": volume})
    (fault,) = refusal.values()
    assert fault["code"] == status
    assert fault["message"]
    assert names(cloud) == []


def test_what_clients_really_send_is_taken(cloud: VolumeCloud) -> None:
    body = {
        "volume": {
            "size": "1", "name": None, "description": None, "metadata": {}, "imageRef": None,
            "snapshot_id": None, "source_volid": None, "volume_type": "__DEFAULT__",
            "availability_zone": "nova", "consistencygroup_id": None, "multiattach": False,
        },
        "OS-SCH-HNT:scheduler_hints": {},
    }  # fmt: skip
    assert cloud.ask("POST", "/volumes", 202, json=body)["volume"]["size"] == 1


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, b"null"])
def test_broken_bodies_are_400(cloud: VolumeCloud, data: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    for method, path in (
        ("POST", "/volumes"),
        ("PUT", f"/volumes/{MISSING}"),
        ("POST", f"/volumes/{MISSING}/action"),
        ("POST", "/attachments"),
        ("PUT", f"/os-quota-sets/{DEMO}"),
    ):
        cloud.ask(method, path, 400, "admin", data=data, headers=headers)


@pytest.mark.parametrize("name", ["name", "%00", "a%0Ab", "x" * 3000, "..%2f..", "%f0%9f%92%a9"])
def test_ids_that_are_none_are_404(cloud: VolumeCloud, name: str) -> None:
    for path in (f"/volumes/{name}", f"/attachments/{name}", f"/snapshots/{name}"):
        assert cloud.call("GET", path).status_code in (400, 404), path
        assert cloud.call("DELETE", path).status_code in (400, 404), path


@pytest.mark.parametrize(
    "query",
    [
        "name=%00", "metadata=[", "metadata={1:[2]}x", "metadata=" + "(" * 2000, "marker=%00",
        "size=99999999999999999999", "limit=99999999999999999999", "all_tenants=perhaps",
        "sort=name:up", "bootable=maybe", "offset=1.5", "metadata={'a':'%00'}",
    ],
)  # fmt: skip
def test_wrong_queries_are_400(cloud: VolumeCloud, query: str) -> None:
    cloud.ask("GET", f"/volumes/detail?{query}", 400)


def test_no_token_no_answer(cloud: VolumeCloud) -> None:
    answer = requests.get(f"{cloud.url}/v3/volumes", timeout=60)
    assert answer.status_code == 401
    cloud.ask("GET", "//v3/volumes", 401, "wrong")


# -- what there is besides -----------------------------------------------------------------------
def test_types_zones_and_services(cloud: VolumeCloud) -> None:
    (kind,) = cloud.ask("GET", "/types", 200)["volume_types"]
    for name in (kind["id"], "default"):
        assert cloud.ask("GET", f"/types/{name}", 200)["volume_type"] == kind
    cloud.ask("GET", "/types/gold", 404)
    (zone,) = cloud.ask("GET", "/os-availability-zone", 200)["availabilityZoneInfo"]
    assert zone == {"zoneName": "nova", "zoneState": {"available": True}}
    cloud.turn()
    services = cloud.ask("GET", "/os-services", 200, "admin")["services"]
    assert [(each["binary"], each["host"], each["state"]) for each in services] == [
        ("cinder-backup", "lab1", "up"),
        ("cinder-scheduler", "lab1", "up"),
        ("cinder-volume", "lab1@files", "up"),
    ]
    cloud.ask("GET", "/os-services", 403)
