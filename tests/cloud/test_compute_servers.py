"""Servers over HTTP after their launch: lists, changes, actions, parts, the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compute import PORT, ComputeCloud, compute_cloud
from tokens import ALT, DEMO

from minicloud.db import hosts, operations, servers
from minicloud.domain.errors import Unavailable
from minicloud.domain.ids import derive
from minicloud.domain.models import AttachedVolume
from minicloud.domain.states import TaskState, VmState

UNKNOWN = derive("no such server")


@pytest.fixture
def cloud(tmp_path: Path, database_url: str) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path, url=database_url) as running:
        yield running


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path) as running:
        yield running


def names(cloud: ComputeCloud, token: str = "demo", **query: Any) -> list[str]:
    found = cloud.get("/v2.1/servers/detail", token, **query)["servers"]
    return [server["name"] for server in found]


# -- lists -----------------------------------------------------------------------------------------
def test_filters(cloud: ComputeCloud) -> None:
    ids = {name: cloud.launch(name=name) for name in ("web-1", "web-2", "db")}
    cloud.launch(token="alt", name="foreign")
    cloud.act(ids["db"], "os-stop")
    cloud.call("PUT", f"/v2.1/servers/{ids['web-1']}/tags", json={"tags": ["a", "b"]})
    cloud.call("PUT", f"/v2.1/servers/{ids['web-2']}/tags", json={"tags": ["a"]})
    assert names(cloud) == ["db", "web-2", "web-1"]
    assert names(cloud, name="web") == ["web-2", "web-1"]
    assert names(cloud, name="^web-1$") == ["web-1"]
    assert names(cloud, status="SHUTOFF") == ["db"]
    assert names(cloud, status="shutoff") == ["db"]
    assert names(cloud, status=["SHUTOFF", "ACTIVE"]) == ["db", "web-2", "web-1"]
    assert names(cloud, vm_state="active", sort_key="display_name", sort_dir="asc") == [
        "web-1", "web-2",
    ]  # fmt: skip
    assert names(cloud, flavor="2") == []
    assert names(cloud, power_state=4) == ["db"]
    assert names(cloud, ip="10.0.0.5", limit=2) == ["db", "web-2"]
    assert names(cloud, ip="192.168") == []
    assert names(cloud, ip6="fd00") == ["db", "web-2", "web-1"]
    assert names(cloud, tags="a,b") == ["web-1"]
    assert names(cloud, **{"tags-any": "b"}) == ["web-1"]
    assert names(cloud, **{"not-tags": "a"}) == ["db"]
    assert names(cloud, **{"not-tags-any": "a,b"}) == ["db"]
    assert names(cloud, locked="true") == []
    assert names(cloud, **{"changes-since": "2020-01-01T00:00:00Z"}) == ["db", "web-2", "web-1"]
    assert names(cloud, **{"changes-before": "2020-01-01T00:00:00Z"}) == []
    assert names(cloud, host="elsewhere") == ["db", "web-2", "web-1"], "only admins ask for hosts"
    everywhere = names(cloud, "admin", all_tenants="1")
    assert everywhere == ["foreign", "db", "web-2", "web-1"]
    assert names(cloud, "admin", all_tenants="1", project_id=ALT) == ["foreign"]
    assert names(cloud, "admin", all_tenants="1", host="elsewhere") == []
    assert names(cloud, "admin", all_tenants="1", uuid=ids["db"]) == ["db"]
    assert names(cloud, "admin") == []


def test_times_and_progress_are_patterns(cloud: ComputeCloud) -> None:
    kept, gone = cloud.launch(name="kept"), cloud.launch(name="gone")
    cloud.call("DELETE", f"/v2.1/servers/{gone}")
    created = cloud.server(kept)["created"]
    day, second = created[:10], created.replace("T", " ").rstrip("Z")
    assert names(cloud, created_at=day) == ["kept"]
    assert names(cloud, created_at=f"^{second}$") == ["kept"]
    assert names(cloud, created_at=created) == [], "times have no T there"
    assert names(cloud, launched_at="^20..-") == ["kept"]
    assert names(cloud, launched_at="1999") == []
    assert names(cloud, terminated_at="^20") == []
    of_deleted = {"deleted": "true", "all_tenants": "true"}
    assert names(cloud, "admin", terminated_at="^20", **of_deleted) == ["gone"]
    assert names(cloud, "admin", terminated_at="^19", **of_deleted) == []
    assert names(cloud, progress="0") == ["kept"]
    assert names(cloud, progress="[1-9]") == []
    old = cloud.call("GET", "/v2.1/servers", version="2.82", params={"created_at": "1999"})
    assert len(old.json()["servers"]) == 1, "it was the operators' before 2.83"


def test_some_texts_are_patterns(cloud: ComputeCloud) -> None:
    """What operators, and what users may look for."""
    facts = {"hostname": "front-1", "description": "the old one", "accessIPv4": "192.0.2.7",
             "accessIPv6": "2001:db8::7"}  # fmt: skip
    server_id = cloud.launch(name="one", **facts)
    cloud.launch(name="two")
    reservation = cloud.server(server_id, "admin")["OS-EXT-SRV-ATTR:reservation_id"]
    patterns = {
        "hostname": ("^front", "^1"), "description": ("old", "^old"),
        "display_description": ("one$", "new"), "access_ip_v4": ("^192.0", "^193"),
        "access_ip_v6": ("db8", "db9"), "reservation_id": (reservation[:-1], "^x"),
        "key_name": ("x", "^y"), "display_name": ("^o", "^x"),
    }  # fmt: skip
    for name, (fits, fits_not) in patterns.items():
        found = ["one"] if name != "key_name" else []
        assert names(cloud, "admin", all_tenants="1", **{name: fits}) == found, name
        assert names(cloud, "admin", all_tenants="1", **{name: fits_not}) == [], name
        everybodys = name in ("hostname", "reservation_id", "key_name")
        assert names(cloud, **{name: fits_not}) == ([] if everybodys else ["two", "one"]), name
    old = cloud.call("GET", "/v2.1/servers", version="2.89", params={"hostname": "^1"})
    assert len(old.json()["servers"]) == 2, "hostnames are everybody's since 2.90"


@pytest.mark.timeout(60)
def test_a_pattern_cannot_keep_the_service_busy(cloud: ComputeCloud) -> None:
    cloud.launch(name="a" * 200 + "!", description="a" * 200 + "!")
    assert names(cloud, name="(a+)+$") == []
    assert names(cloud, "admin", all_tenants="1", description="(a|aa)+$") == []
    assert len(names(cloud, name="(a+)+!$")) == 1


def test_pages(cloud: ComputeCloud) -> None:
    for number in range(5):
        cloud.launch(name=f"s{number}")
    page = cloud.get("/v2.1/servers", limit=2, sort_key="display_name", sort_dir="asc")
    found: list[str] = []
    while True:
        found += [server["name"] for server in page["servers"]]
        if "servers_links" not in page:
            break
        (link,) = page["servers_links"]
        assert link["rel"] == "next"
        page = cloud.get(link["href"].removeprefix(cloud.url))
    assert found == ["s0", "s1", "s2", "s3", "s4"]
    assert "servers_links" not in cloud.get("/v2.1/servers", limit=5)
    assert cloud.get("/v2.1/servers", limit=0) == {"servers": []}
    filtered = cloud.get("/v2.1/servers/detail", limit=2, ip="10.0.0")
    assert len(filtered["servers"]) == 2
    assert "marker=" in filtered["servers_links"][0]["href"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"limit": "x"}, 400),
        ({"limit": "-1"}, 400),
        ({"marker": UNKNOWN}, 400),
        ({"sort_key": "nothing"}, 400),
        ({"sort_dir": "sideways"}, 400),
        ({"status": "NOTHING"}, 400),
        ({"changes-since": "yesterday"}, 400),
        ({"name": "("}, 400),
        ({"created_at": "("}, 400),
        ({"launched_at": ""}, 400),
        ({"terminated_at": "x" * 256}, 400),
        ({"progress": "*"}, 400),
        ({"all_tenants": "perhaps"}, 400),
        ({"surprise": "1"}, 400),
        ({"name": "a\0b"}, 400),
        ({"power_state": "9" * 30}, 400),
        ({"all_tenants": "1"}, 403),
        ({"status": "DELETED"}, 403),
    ],
)
def test_wrong_queries(embedded: ComputeCloud, query: dict[str, str], status: int) -> None:
    for path in ("/v2.1/servers", "/v2.1/servers/detail"):
        assert embedded.call("GET", path, params=query).status_code == status


def test_queries_of_older_versions(embedded: ComputeCloud) -> None:
    embedded.launch()
    old = embedded.get("/v2.1/servers", version="2.37", status="NOTHING")
    assert old == {"servers": []}
    assert len(embedded.get("/v2.1/servers", version="2.74", surprise="1")["servers"]) == 1
    assert len(embedded.get("/v2.1/servers", version="2.25", tags="x")["servers"]) == 1


# -- whose -----------------------------------------------------------------------------------------
def test_another_projects_server_is_not_found(embedded: ComputeCloud) -> None:
    server_id = embedded.launch()
    for method, path in (
        ("GET", ""), ("DELETE", ""), ("GET", "/ips"), ("GET", "/metadata"), ("GET", "/tags"),
        ("GET", "/os-instance-actions"), ("GET", "/minicloud-trace"), ("GET", "/os-interface"),
    ):  # fmt: skip
        answer = embedded.call(method, f"/v2.1/servers/{server_id}{path}", "alt")
        assert answer.status_code == 404
        assert answer.json()["itemNotFound"]["message"] == (
            f"Instance {server_id} could not be found."
        )
    assert embedded.act(server_id, "os-stop", token="alt").status_code == 404
    assert embedded.server(server_id, "admin")["id"] == server_id
    assert embedded.server(server_id, "reader")["id"] == server_id
    assert embedded.call("DELETE", f"/v2.1/servers/{server_id}", "reader").status_code == 403


@pytest.mark.parametrize("name", ["vm", UNKNOWN, "%00", "a%2Fb", "x" * 300])
def test_ids_that_are_none(embedded: ComputeCloud, name: str) -> None:
    assert embedded.call("GET", f"/v2.1/servers/{name}").status_code in (400, 404)


def test_the_project_in_the_path(embedded: ComputeCloud) -> None:
    server_id = embedded.launch()
    found = embedded.get(f"/v2.1/{DEMO}/servers/{server_id}", version="")["server"]
    assert found["id"] == server_id
    answer = embedded.call("GET", f"/v2.1/{ALT}/servers/{server_id}")
    assert answer.status_code == 400


# -- changes ---------------------------------------------------------------------------------------
def test_update(embedded: ComputeCloud) -> None:
    server_id = embedded.launch()
    path = f"/v2.1/servers/{server_id}"
    body = {"name": "new", "description": "words", "accessIPv4": "192.0.2.1", "hostname": "h1"}
    server = embedded.call("PUT", path, json={"server": body}).json()["server"]
    assert (server["name"], server["description"]) == ("new", "words")
    assert server["accessIPv4"] == "192.0.2.1"
    assert server["OS-EXT-SRV-ATTR:hostname"] == "h1"
    assert server == embedded.server(server_id)
    embedded.call("PUT", path, json={"server": {"description": None}})
    assert embedded.server(server_id)["description"] is None
    old = embedded.call("PUT", path, version="2.9", json={"server": {"name": "x"}})
    assert "key_name" not in old.json()["server"]
    for wrong in ({"name": ""}, {"accessIPv4": "x"}, {"status": "ACTIVE"}):
        assert embedded.call("PUT", path, json={"server": wrong}).status_code == 400
    description = {"server": {"description": "x"}}
    assert embedded.call("PUT", path, version="2.18", json=description).status_code == 400


# -- actions ---------------------------------------------------------------------------------------
def test_stop_start_reboot(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    assert cloud.act(server_id, "os-stop").status_code == 202
    assert cloud.server(server_id)["status"] == "SHUTOFF"
    refused = cloud.act(server_id, "os-stop")
    assert refused.status_code == 409
    assert refused.json()["conflictingRequest"]["message"] == (
        f"Cannot 'stop' instance {server_id} while it is in vm_state stopped"
    )
    assert cloud.act(server_id, "os-start", {}).status_code == 202
    assert cloud.act(server_id, "reboot", {"type": "SOFT"}).status_code == 202
    assert cloud.act(server_id, "reboot", {"type": "hard"}).status_code == 202
    assert cloud.server(server_id)["status"] == "ACTIVE"
    told = [verb for _, verb, _ in cloud.compute.told]
    assert told == ["create", "stop", "start", "reboot", "reboot_hard"]
    actions = cloud.get(f"/v2.1/servers/{server_id}/os-instance-actions")["instanceActions"]
    assert [action["action"] for action in actions] == [
        "reboot", "reboot", "start", "stop", "create",
    ]  # fmt: skip


def test_one_operation_at_a_time(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    cloud.compute.carries_out = False
    assert cloud.act(server_id, "reboot", {"type": "SOFT"}).status_code == 202
    server = cloud.server(server_id)
    assert server["status"] == "REBOOT"
    assert server["OS-EXT-STS:task_state"] == "rebooting"
    refused = cloud.act(server_id, "os-stop")
    assert refused.status_code == 409
    assert "task_state rebooting" in refused.text


def test_a_host_that_cannot_be_told_finds_the_row(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    cloud.compute.problem = Unavailable(service="The message broker", reason="OSError")
    assert cloud.act(server_id, "os-stop").status_code == 202
    with cloud.database.read() as tx:
        (waiting,) = operations.operations_live(tx)
    assert (waiting.verb, waiting.host) == ("stop", "host1")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"dance": None}, 400),
        ({}, 400),
        ([], 400),
        ({"os-start": None, "os-stop": None}, 400),
        ({"reboot": {"type": "WARM"}}, 400),
        ({"reboot": None}, 400),
        ({"reboot": {}}, 400),
        ({"lock": {"locked_reason": "x" * 300}}, 400),
        ({"os-getConsoleOutput": {"length": "x"}}, 400),
        ({"os-start": None}, 409),
    ],
)
def test_wrong_actions(embedded: ComputeCloud, body: Any, status: int) -> None:
    server_id = embedded.launch()
    answer = embedded.call("POST", f"/v2.1/servers/{server_id}/action", json=body)
    assert answer.status_code == status, answer.text


def test_a_locked_server_stays(embedded: ComputeCloud) -> None:
    server_id = embedded.launch()
    assert embedded.act(server_id, "lock", {"locked_reason": "mine"}).status_code == 202
    server = embedded.server(server_id)
    assert (server["locked"], server["locked_reason"]) == (True, "mine")
    assert embedded.act(server_id, "os-stop").status_code == 409
    assert embedded.call("DELETE", f"/v2.1/servers/{server_id}").status_code == 409
    assert embedded.act(server_id, "os-stop", token="admin").status_code == 202
    assert embedded.act(server_id, "unlock").status_code == 202
    assert embedded.act(server_id, "os-start").status_code == 202
    assert embedded.act(server_id, "lock", version="2.1").status_code == 202
    assert embedded.server(server_id)["locked"]


def test_console_output(embedded: ComputeCloud) -> None:
    server_id = embedded.launch()
    for length, lines in ((None, -1), (5, 5), ("7", 7), (-1, -1)):
        answer = embedded.act(server_id, "os-getConsoleOutput", {"length": length})
        assert answer.status_code == 200
        assert answer.json() == {"output": f"last {lines} of {server_id}"}
    embedded.scheduler.problem = Unavailable(service="place", reason="no answer")
    waiting = embedded.launch()
    assert embedded.act(waiting, "os-getConsoleOutput", {}).status_code == 409


# -- parts -----------------------------------------------------------------------------------------
def test_metadata(cloud: ComputeCloud) -> None:
    path = f"/v2.1/servers/{cloud.launch(metadata={'a': '1'})}/metadata"
    assert cloud.get(path) == {"metadata": {"a": "1"}}
    added = cloud.call("POST", path, json={"metadata": {"b": "2"}})
    assert (added.status_code, added.json()) == (200, {"metadata": {"a": "1", "b": "2"}})
    assert cloud.call("PUT", path, json={"metadata": {"c": "3"}}).json() == {"metadata": {"c": "3"}}
    one = cloud.call("PUT", path + "/d", json={"meta": {"d": "4"}})
    assert (one.status_code, one.json()) == (200, {"meta": {"d": "4"}})
    assert cloud.get(path + "/d") == {"meta": {"d": "4"}}
    assert cloud.call("DELETE", path + "/d").status_code == 204
    assert cloud.call("DELETE", path + "/d").status_code == 404
    assert cloud.call("GET", path + "/d").status_code == 404
    assert cloud.call("PUT", path + "/d", json={"meta": {"e": "4"}}).status_code == 400
    assert cloud.call("POST", path, json={"metadata": {"x": 1}}).status_code == 400
    many = {"metadata": {f"k{n}": "v" for n in range(6)}}
    assert cloud.call("PUT", path, json=many).status_code == 403


def test_tags(embedded: ComputeCloud) -> None:
    path = f"/v2.1/servers/{embedded.launch()}/tags"
    added = embedded.call("PUT", path + "/one")
    assert (added.status_code, added.content) == (201, b"")
    assert added.headers["Location"].endswith(path + "/one")
    assert embedded.call("PUT", path + "/one").status_code == 204
    assert embedded.call("GET", path + "/one").status_code == 204
    assert embedded.call("GET", path + "/two").status_code == 404
    replaced = embedded.call("PUT", path, json={"tags": ["x", "y", "x"]})
    assert (replaced.status_code, replaced.json()) == (200, {"tags": ["x", "y"]})
    assert embedded.get(path) == {"tags": ["x", "y"]}
    assert embedded.call("DELETE", path + "/x").status_code == 204
    assert embedded.call("DELETE", path + "/x").status_code == 404
    assert embedded.call("DELETE", path).status_code == 204
    assert embedded.get(path) == {"tags": []}
    assert embedded.call("PUT", path + "/" + "x" * 61).status_code == 400
    many = {"tags": [f"t{n}" for n in range(51)]}
    assert embedded.call("PUT", path, json=many).status_code == 400
    assert embedded.call("GET", path, version="2.25").status_code == 404


def test_a_server_in_error_keeps_its_metadata_and_tags(embedded: ComputeCloud) -> None:
    embedded.scheduler.host = None
    path = f"/v2.1/servers/{embedded.launch(tags=['a'], metadata={'k': 'v'})}"
    for method, part, body, verb in (
        ("PUT", "/tags", {"tags": ["b"]}, "update tags"), ("PUT", "/tags/b", None, "update tag"),
        ("DELETE", "/tags", None, "delete tags"), ("DELETE", "/tags/a", None, "delete tag"),
        ("PUT", "/metadata", {"metadata": {}}, "update metadata"),
    ):  # fmt: skip
        refused = embedded.call(method, path + part, json=body)
        assert refused.status_code == 409, (method, part)
        assert f"Cannot '{verb}' instance" in refused.json()["conflictingRequest"]["message"]
    assert embedded.get(path + "/tags") == {"tags": ["a"]}
    assert embedded.get(path + "/metadata") == {"metadata": {"k": "v"}}


def test_addresses_ports_and_groups(embedded: ComputeCloud) -> None:
    path = f"/v2.1/servers/{embedded.launch(networks=[{'port': PORT, 'tag': 'first'}])}"
    plain = [{"version": 4, "addr": "10.0.0.5"}, {"version": 6, "addr": "fd00::5"}]
    assert embedded.get(path + "/ips") == {"addresses": {"private": plain}}
    assert embedded.get(path + "/ips/private") == {"private": plain}
    assert embedded.call("GET", path + "/ips/other").status_code == 404
    (port,) = embedded.get(path + "/os-interface")["interfaceAttachments"]
    assert port["port_id"] == PORT
    assert port["fixed_ips"] == [{"subnet_id": "subnet", "ip_address": "10.0.0.9"}]
    assert port["tag"] == "first"
    old = embedded.get(f"{path}/os-interface/{PORT}", version="2.69")["interfaceAttachment"]
    assert "tag" not in old
    assert embedded.call("GET", path + "/os-interface/none").status_code == 404
    groups = embedded.get(path + "/os-security-groups")["security_groups"]
    assert [group["name"] for group in groups] == ["default"]


def test_volumes(embedded: ComputeCloud) -> None:
    server_id = embedded.launch()
    volume = AttachedVolume(
        volume_id=derive("v"), attachment_id=derive("a"), device="/dev/vdb",
        delete_on_termination=True, tag="data",
    )  # fmt: skip
    with embedded.database.write() as tx:
        servers.server_update(tx, server_id, volumes=[volume])
    path = f"/v2.1/servers/{server_id}/os-volume_attachments"
    (new,) = embedded.get(path)["volumeAttachments"]
    assert new["attachment_id"] == derive("a")
    assert set(new) == {
        "volumeId", "serverId", "device", "tag", "delete_on_termination", "attachment_id",
        "bdm_uuid",
    }  # fmt: skip
    old = embedded.get(f"{path}/{derive('v')}", version="2.1")["volumeAttachment"]
    assert old == {
        "id": derive("v"), "volumeId": derive("v"), "serverId": server_id, "device": "/dev/vdb",
    }  # fmt: skip
    assert embedded.call("GET", path + "/none").status_code == 404
    shown = embedded.server(server_id)["os-extended-volumes:volumes_attached"]
    assert shown == [{"id": derive("v"), "delete_on_termination": True}]


# -- the end ---------------------------------------------------------------------------------------
def test_delete(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    gone = cloud.call("DELETE", f"/v2.1/servers/{server_id}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert cloud.call("GET", f"/v2.1/servers/{server_id}").status_code == 404
    assert cloud.call("DELETE", f"/v2.1/servers/{server_id}").status_code == 404
    assert names(cloud) == []
    assert names(cloud, deleted="true") == []
    assert names(cloud, "admin", all_tenants="1", deleted="true") == ["vm"]
    assert names(cloud, "admin", all_tenants="1", status="DELETED") == ["vm"]
    assert names(cloud, **{"changes-since": "2020-01-01T00:00:00Z"}) == ["vm"]
    path = f"/v2.1/servers/{server_id}/os-instance-actions"
    actions = cloud.get(path)["instanceActions"]
    assert [action["action"] for action in actions] == ["delete", "create"]
    assert cloud.call("GET", path, version="2.20").status_code == 404


def test_a_server_that_no_host_has_ends_at_once(cloud: ComputeCloud) -> None:
    cloud.scheduler.problem = Unavailable(service="place", reason="no answer")
    waiting = cloud.launch()
    cloud.scheduler.problem, cloud.scheduler.host = None, None
    failed = cloud.launch()
    for server_id in (waiting, failed):
        assert cloud.call("DELETE", f"/v2.1/servers/{server_id}").status_code == 204
        assert cloud.call("GET", f"/v2.1/servers/{server_id}").status_code == 404
    assert cloud.compute.told == []
    with cloud.database.read() as tx:
        assert operations.operations_live(tx) == []
        server = servers.server_get(tx, waiting, deleted=True)
        assert (server.vm_state, server.task_state) == (VmState.DELETED, None)
        assert hosts.host_list(tx)[0].servers == 0


def test_a_delete_preempts_and_may_be_repeated(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    cloud.compute.carries_out = False
    assert cloud.act(server_id, "os-stop").status_code == 202
    for _ in range(2):
        assert cloud.call("DELETE", f"/v2.1/servers/{server_id}").status_code == 204
    server = cloud.server(server_id)
    assert server["OS-EXT-STS:task_state"] == TaskState.DELETING
    with cloud.database.read() as tx:
        states = {o.verb: o.state for o in operations.operations_of_server(tx, server_id)}
    assert states == {"create": "done", "stop": "cancelled", "delete": "queued"}
