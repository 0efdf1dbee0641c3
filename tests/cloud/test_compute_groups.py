"""Server groups, host aggregates, zones, hosts of choice and migrations over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compute import IMAGE, ComputeCloud, add_host, compute_cloud
from tokens import CALLERS, DEMO

from minicloud.db import migrations, servers
from minicloud.db.servers import server_get
from minicloud.domain.ids import derive

GROUPS, AGGREGATES = "/v2.1/os-server-groups", "/v2.1/os-aggregates"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path) as running:
        add_host(running.database, "host2")
        yield running


# -- server groups ---------------------------------------------------------------------------------
def make_group(cloud: ComputeCloud, policy: str = "anti-affinity", **more: Any) -> dict[str, Any]:
    body = {"server_group": {"name": "web", "policy": policy, **more}}
    answer = cloud.call("POST", GROUPS, json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()["server_group"]
    return made


def test_a_groups_life(cloud: ComputeCloud) -> None:
    made = make_group(cloud, rules={"max_server_per_host": "2"})
    assert made["policy"] == "anti-affinity"
    assert made["rules"] == {"max_server_per_host": 2}
    assert (made["members"], made["project_id"]) == ([], DEMO)
    server_id = cloud.post_server(hints={"group": made["id"]}).json()["server"]["id"]
    path = f"{GROUPS}/{made['id']}"
    assert cloud.get(path)["server_group"] == {**made, "members": [server_id]}
    assert cloud.get(GROUPS)["server_groups"] == [{**made, "members": [server_id]}]
    assert cloud.server(server_id)["server_groups"] == [made["id"]]
    assert cloud.server(server_id)["scheduler_hints"] == {"group": made["id"]}
    assert cloud.call("GET", path, "alt").status_code == 404
    assert cloud.call("DELETE", path, "alt").status_code == 404
    assert cloud.get(GROUPS, "alt") == {"server_groups": []}
    assert cloud.get(GROUPS, "alt", all_projects="true") == {"server_groups": []}
    assert len(cloud.get(GROUPS, "admin", all_projects="true")["server_groups"]) == 1
    assert cloud.get(GROUPS, "admin") == {"server_groups": []}
    assert cloud.call("DELETE", path).status_code == 204
    assert cloud.call("DELETE", path).status_code == 404
    assert cloud.server(server_id)["server_groups"] == []


@pytest.mark.parametrize(
    ("version", "keys"),
    [
        ("2.1", {"id", "name", "policies", "members", "metadata"}),
        ("2.12", {"id", "name", "policies", "members", "metadata"}),
        ("2.13", {"id", "name", "policies", "members", "metadata", "project_id", "user_id"}),
        ("2.63", {"id", "name", "policies", "members", "metadata", "project_id", "user_id"}),
        ("2.64", {"id", "name", "policy", "rules", "members", "project_id", "user_id"}),
    ],
)
def test_a_groups_shape(cloud: ComputeCloud, version: str, keys: set[str]) -> None:
    old = {"name": "old", "policies": ["affinity"]}
    body = old if "policies" in keys else {"name": "new", "policy": "affinity"}
    made = cloud.call("POST", GROUPS, version=version, json={"server_group": body})
    assert set(made.json()["server_group"]) == keys
    listed = cloud.get(GROUPS, version=version)["server_groups"]
    assert set(listed[0]) == keys
    if "policies" in keys:
        assert listed[0]["policies"] == ["affinity"]


@pytest.mark.parametrize(
    ("version", "body"),
    [
        ("2.1", {"name": "a", "policies": 1.5}),
        ("2.1", {"name": "a", "policies": ["soft-affinity"]}),
        ("2.14", {"name": "a", "policies": ["soft-anti-affinity"]}),
        ("2.63", {"name": "a", "policy": "affinity"}),
        ("2.63", {"name": "a", "policies": ["affinity", "anti-affinity"]}),
        ("2.63", {"name": "a", "policies": [{}]}),
        ("2.64", {"name": "a", "policies": ["affinity"]}),
        ("2.64", {"name": "a", "policy": "legacy"}),
        ("2.64", {"name": "", "policy": "affinity"}),
        ("2.64", {"name": "a", "policy": "affinity", "rules": {"max_server_per_host": 2}}),
        ("2.64", {"name": "a", "policy": "anti-affinity", "rules": {"max_server_per_host": 0}}),
        ("2.64", {"name": "a", "policy": "anti-affinity", "rules": {"other": 1}}),
        ("2.64", {"policy": "affinity"}),
    ],
)
def test_wrong_groups(cloud: ComputeCloud, version: str, body: dict[str, Any]) -> None:
    answer = cloud.call("POST", GROUPS, version=version, json={"server_group": body})
    assert answer.status_code == 400, answer.text


def test_groups_and_their_members_are_limited(cloud: ComputeCloud) -> None:
    groups = [make_group(cloud, "affinity")["id"] for _ in range(5)]
    body = {"server_group": {"name": "one more", "policy": "affinity"}}
    assert cloud.call("POST", GROUPS, json=body).status_code == 403
    hints = {"group": groups[0]}
    assert cloud.post_server(hints=hints, min_count=4).status_code == 202
    refused = cloud.post_server(hints=hints)
    assert refused.status_code == 403
    assert "too many servers in group" in refused.json()["forbidden"]["message"]
    limits = cloud.get("/v2.1/limits")["limits"]["absolute"]
    assert (limits["maxServerGroups"], limits["totalServerGroupsUsed"]) == (5, 5)
    assert limits["maxServerGroupMembers"] == 4
    assert len(cloud.get(GROUPS, limit=2)["server_groups"]) == 2
    assert [g["id"] for g in cloud.get(GROUPS, limit=2, offset=4)["server_groups"]] == groups[4:]


@pytest.mark.parametrize(
    "hints",
    [
        {"group": "web"}, {"group": "00000000-0000-4000-8000-000000000000"}, {"group": 5},
        {"same_host": "vm"}, {"different_host": [1]}, {"query": ["x"]}, {"query": "[1"},
        {"anything": "x" * 20000},
    ],
)  # fmt: skip
def test_wrong_hints(cloud: ComputeCloud, hints: dict[str, Any]) -> None:
    answer = cloud.post_server(hints=hints)
    assert answer.status_code == 400, answer.text


def test_another_projects_group_is_none(cloud: ComputeCloud) -> None:
    group = make_group(cloud)
    assert cloud.post_server("alt", hints={"group": group["id"]}).status_code == 400


# -- a host of choice ------------------------------------------------------------------------------
def test_an_operator_names_the_host(cloud: ComputeCloud) -> None:
    for wish in ({"host": "host2"}, {"hypervisor_hostname": "host2"},
                 {"host": "host2", "hypervisor_hostname": "host2"},
                 {"availability_zone": "nova:host2"},
                 {"availability_zone": "nova::host2"}):  # fmt: skip
        answer = cloud.post_server("admin", **wish)
        assert answer.status_code == 202, answer.text
        with cloud.database.read() as tx:
            assert server_get(tx, answer.json()["server"]["id"]).requested_host == "host2"
        assert cloud.post_server("demo", **wish).status_code == 403
    for wrong in ({"host": "nowhere"}, {"host": "host1", "hypervisor_hostname": "host2"},
                  {"availability_zone": "nova:nowhere"}, {"availability_zone": "mars"},
                  {"availability_zone": "mars:host2"}, {"availability_zone": "nova:"},
                  {"availability_zone": "a:b:c:d"}):  # fmt: skip
        assert cloud.post_server("admin", **wrong).status_code == 400, wrong
    assert cloud.post_server("admin", version="2.73", host="host2").status_code == 400


# -- aggregates ------------------------------------------------------------------------------------
def make_aggregate(cloud: ComputeCloud, name: str, zone: str | None = None) -> dict[str, Any]:
    body = {"aggregate": {"name": name, "availability_zone": zone}}
    answer = cloud.call("POST", AGGREGATES, "admin", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()["aggregate"]
    return made


def act(cloud: ComputeCloud, number: int, key: str, value: Any, version: str = "2.100") -> Any:
    path = f"{AGGREGATES}/{number}/action"
    return cloud.call("POST", path, "admin", version, json={key: value})


def test_an_aggregates_life(cloud: ComputeCloud) -> None:
    made = make_aggregate(cloud, "fast", "east")
    assert set(made) == {"id", "uuid", "name", "availability_zone", "created_at", "updated_at",
                         "deleted", "deleted_at"}  # fmt: skip
    number, path = made["id"], f"{AGGREGATES}/{made['id']}"
    assert isinstance(number, int)
    shown = cloud.get(path, "admin")["aggregate"]
    assert shown == {**made, "hosts": [], "metadata": {"availability_zone": "east"}}
    added = act(cloud, number, "add_host", {"host": "host2"})
    assert (added.status_code, added.json()["aggregate"]["hosts"]) == (200, ["host2"])
    assert act(cloud, number, "add_host", {"host": "host2"}).status_code == 409
    assert act(cloud, number, "add_host", {"host": "nowhere"}).status_code == 404
    changed = act(cloud, number, "set_metadata", {"metadata": {"ssd": "true"}}).json()
    assert changed["aggregate"]["metadata"] == {"availability_zone": "east", "ssd": "true"}
    changed = act(cloud, number, "set_metadata", {"metadata": {"ssd": None}}).json()
    assert changed["aggregate"]["metadata"] == {"availability_zone": "east"}
    renamed = cloud.call("PUT", path, "admin", json={"aggregate": {"name": "faster"}})
    assert renamed.json()["aggregate"]["name"] == "faster"
    assert renamed.json()["aggregate"]["updated_at"] is not None
    assert cloud.call("DELETE", path, "admin").status_code == 400
    assert act(cloud, number, "remove_host", {"host": "host1"}).status_code == 404
    assert act(cloud, number, "remove_host", {"host": "host2"}).json()["aggregate"]["hosts"] == []
    assert cloud.call("DELETE", path, "admin").status_code == 200
    assert cloud.call("GET", path, "admin").status_code == 404
    assert cloud.get(AGGREGATES, "admin") == {"aggregates": []}
    assert cloud.call("GET", AGGREGATES).status_code == 403
    assert cloud.call("POST", AGGREGATES, json={"aggregate": {"name": "x"}}).status_code == 403


def test_an_aggregate_has_a_uuid_from_2_41_on(cloud: ComputeCloud) -> None:
    number = make_aggregate(cloud, "a")["id"]
    for version, there in (("2.1", False), ("2.40", False), ("2.41", True)):
        shown = cloud.get(f"{AGGREGATES}/{number}", "admin", version)["aggregate"]
        (listed,) = cloud.get(AGGREGATES, "admin", version)["aggregates"]
        assert ("uuid" in shown, "uuid" in listed) == (there, there)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "taken"}, 409), ({"name": ""}, 400), ({}, 400), ({"name": "x" * 256}, 400),
        ({"name": "a", "availability_zone": ""}, 400), ({"name": "a", "surprise": 1}, 400),
        ({"name": "a", "availability_zone": "a:b"}, 400),
    ],
)  # fmt: skip
def test_wrong_aggregates(cloud: ComputeCloud, body: dict[str, Any], status: int) -> None:
    make_aggregate(cloud, "taken")
    answer = cloud.call("POST", AGGREGATES, "admin", json={"aggregate": body})
    assert answer.status_code == status, answer.text
    number = make_aggregate(cloud, "other")["id"]
    if body:
        path = f"{AGGREGATES}/{number}"
        again = cloud.call("PUT", path, "admin", json={"aggregate": body})
        assert again.status_code == status, again.text
    for path in (f"{AGGREGATES}/x", f"{AGGREGATES}/99", f"{AGGREGATES}/-1"):
        assert cloud.call("GET", path, "admin").status_code == 404


def test_images_are_cached_beforehand(cloud: ComputeCloud) -> None:
    path = f"{AGGREGATES}/{make_aggregate(cloud, 'fast')['id']}"
    for host in ("host1", "host2"):
        cloud.call("POST", f"{path}/action", "admin", json={"add_host": {"host": host}})

    def cache(*ids: str, version: str = "2.81", token: str = "admin") -> int:
        body = {"cache": [{"id": each} for each in ids]}
        return cloud.call("POST", f"{path}/images", token, version, json=body).status_code

    assert cache(IMAGE) == 202
    wanted = f"images_wanted {[IMAGE]}"
    assert [(host, what) for host, what, _ in cloud.compute.told] == [
        ("host1", wanted), ("host2", wanted),
    ]  # fmt: skip
    assert cache(IMAGE, version="2.80") == 404
    assert cache(IMAGE, token="demo") == 403
    assert cache() == cache("x") == cache(IMAGE, IMAGE) == 400
    assert cache("00000000-0000-4000-8000-000000000000") == 400


def test_a_host_is_in_one_zone(cloud: ComputeCloud) -> None:
    east = make_aggregate(cloud, "east", "east")["id"]
    west = make_aggregate(cloud, "west", "west")["id"]
    plain = make_aggregate(cloud, "plain")["id"]
    assert act(cloud, east, "add_host", {"host": "host2"}).status_code == 200
    assert act(cloud, west, "add_host", {"host": "host2"}).status_code == 409
    assert act(cloud, plain, "add_host", {"host": "host2"}).status_code == 200
    zone = {"metadata": {"availability_zone": "west"}}
    assert act(cloud, plain, "set_metadata", zone).status_code == 409
    assert act(cloud, plain, "set_metadata", {"metadata": {"a": "b"}}).status_code == 200
    zones = cloud.get("/v2.1/os-availability-zone")["availabilityZoneInfo"]
    assert [zone["zoneName"] for zone in zones] == ["east", "nova"]
    details = cloud.get("/v2.1/os-availability-zone/detail", "admin")["availabilityZoneInfo"]
    assert [list(z["hosts"]) for z in details if z["zoneName"] == "east"] == [["host2"]]
    services = cloud.get("/v2.1/os-services", "admin", host="host2")["services"]
    assert [service["zone"] for service in services] == ["east"]


def test_servers_keep_their_zone(cloud: ComputeCloud) -> None:
    cloud.scheduler.host = "host2"
    pinned = cloud.launch(availability_zone="nova")
    free = cloud.launch()
    aggregate = make_aggregate(cloud, "east", "east")["id"]
    refused = act(cloud, aggregate, "add_host", {"host": "host2"})
    assert refused.status_code == 409
    assert "contain instances" in refused.json()["conflictingRequest"]["message"]
    shown = cloud.server(pinned)
    assert shown["OS-EXT-AZ:availability_zone"] == "nova"
    assert shown["pinned_availability_zone"] == "nova"
    assert cloud.server(free)["pinned_availability_zone"] is None
    for server_id in (pinned, free):
        cloud.call("DELETE", f"/v2.1/servers/{server_id}")
    assert act(cloud, aggregate, "add_host", {"host": "host2"}).status_code == 200
    moved = cloud.launch(availability_zone="east")
    assert cloud.server(moved)["OS-EXT-AZ:availability_zone"] == "east"
    cloud.scheduler.host = "host1"
    other = cloud.launch()

    def listed(zone: str) -> list[str]:
        found = cloud.get("/v2.1/servers", availability_zone=zone)["servers"]
        return [server["id"] for server in found]

    assert (listed("east"), listed("nova"), listed("mars")) == ([moved], [other], [])


# -- migrations ------------------------------------------------------------------------------------
def migrate(cloud: ComputeCloud, server_id: str, kind: str, **more: Any) -> str:
    with cloud.database.write() as tx:
        server = servers.server_get(tx, server_id)
        return migrations.migration_insert(
            tx, CALLERS["admin"], server, kind=kind, destination="host2", **more
        )


def test_no_live_migration_is_there_to_be_ended(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    one = f"/v2.1/servers/{server_id}/migrations/1"
    wish = {"force_complete": None}
    for method, path, body, since in (
        ("POST", one + "/action", wish, 22), ("DELETE", one, None, 24),
    ):  # fmt: skip
        refused = cloud.call(method, path, "admin", json=body)
        assert refused.status_code == 409
        assert "while it is in task_state None" in refused.json()["conflictingRequest"]["message"]
        assert cloud.call(method, path, json=body).status_code == 403
        assert cloud.call(method, path, "admin", f"2.{since - 1}", json=body).status_code == 404
        elsewhere = path.replace(server_id, derive("nobody"))
        assert cloud.call(method, elsewhere, "admin", json=body).status_code == 404
    assert cloud.call("POST", one + "/action", "admin", json={"dance": None}).status_code == 400


@pytest.mark.parametrize(
    ("version", "keys"),
    [
        ("2.1", set()),
        ("2.22", set()),
        ("2.23", {"migration_type", "links"}),
        ("2.58", {"migration_type", "links"}),
        ("2.59", {"migration_type", "links", "uuid"}),
        ("2.80", {"migration_type", "links", "uuid", "user_id", "project_id"}),
    ],
)
def test_a_migrations_shape(cloud: ComputeCloud, version: str, keys: set[str]) -> None:
    server_id = cloud.launch()
    migrate(cloud, server_id, migrations.LIVE, status="running")
    always = {"id", "status", "instance_uuid", "source_node", "source_compute", "dest_node",
              "dest_compute", "dest_host", "old_instance_type_id", "new_instance_type_id",
              "created_at", "updated_at"}  # fmt: skip
    (listed,) = cloud.get("/v2.1/os-migrations", "admin", version)["migrations"]
    assert set(listed) == always | keys
    assert (listed["source_compute"], listed["dest_compute"]) == ("host1", "host2")
    assert (listed["old_instance_type_id"], listed["instance_uuid"]) == (1, server_id)
    path = f"/v2.1/servers/{server_id}/migrations"
    if version in ("2.1", "2.22"):
        assert cloud.call("GET", path, "admin", version).status_code == 404
        return
    (own,) = cloud.get(path, "admin", version)["migrations"]
    assert "memory_total_bytes" in own
    assert own["server_uuid"] == server_id
    assert set(own) & {"uuid", "user_id", "project_id"} == keys - {"migration_type", "links"}
    assert cloud.get(f"{path}/{own['id']}", "admin", version)["migration"] == own


def test_lists_of_migrations(cloud: ComputeCloud) -> None:
    one, other = cloud.launch(), cloud.launch()
    resize = migrate(cloud, one, migrations.RESIZE, status="finished", new_flavor_id="2")
    cold = migrate(cloud, one, migrations.COLD)
    live = migrate(cloud, other, migrations.LIVE, status="completed")

    def listed(**query: Any) -> list[str]:
        found = cloud.get("/v2.1/os-migrations", "admin", **query)["migrations"]
        return [migration["uuid"] for migration in found]

    assert listed() == [live, cold, resize]
    assert listed(instance_uuid=one) == [cold, resize]
    assert listed(status="finished") == [resize]
    assert listed(migration_type="live-migration") == [live]
    assert listed(host="host2") == [live, cold, resize]
    assert listed(source_compute="host2") == []
    assert listed(user_id="nobody") == []
    assert listed(**{"changes-since": "2100-01-01T00:00:00"}) == []
    first = cloud.get("/v2.1/os-migrations", "admin", limit=2)
    assert [migration["uuid"] for migration in first["migrations"]] == [live, cold]
    assert f"marker={cold}" in first["migrations_links"][0]["href"]
    assert listed(limit=2, marker=cold) == [resize]
    bad = cloud.call("GET", "/v2.1/os-migrations", "admin", params={"marker": "x"})
    assert bad.status_code == 400
    strict = cloud.call("GET", "/v2.1/os-migrations", "admin", params={"colour": "red"})
    assert strict.status_code == 400
    assert cloud.call("GET", "/v2.1/os-migrations").status_code == 403
    path = f"/v2.1/servers/{other}/migrations"
    assert cloud.get(path, "admin") == {"migrations": []}
    for wrong in ("1", "3", "x", "99999999999"):
        assert cloud.call("GET", f"{path}/{wrong}", "admin").status_code == 404
