"""What operators look at and set: services, hypervisors, quota classes, usage, events of others."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from compute import NETWORK, PORT, ComputeCloud, add_host, compute_cloud
from tokens import DEMO

from minicloud.compute.address import own_address
from minicloud.compute.uptime import uptime
from minicloud.db import hosts, servers
from minicloud.db.services import service_report
from minicloud.domain.models import HostReport, NicInfo

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComputeCloud]:
    """For tests that leave nothing behind."""
    with compute_cloud(tmp_path_factory.mktemp("compute")) as running:
        yield running


# -- services --------------------------------------------------------------------------------------
def test_a_host_that_is_gone_is_forgotten(cloud: ComputeCloud) -> None:
    add_host(cloud.database, "host2")
    with cloud.database.write() as tx:
        service_report(tx, "nova-conductor", "control")
    by_host = {each["host"]: each for each in cloud.get("/v2.1/os-services", "admin")["services"]}
    cloud.launch()
    busy = cloud.call("DELETE", f"/v2.1/os-services/{by_host['host1']['id']}", "admin")
    assert busy.status_code == 409
    assert "hosting instances" in busy.json()["conflictingRequest"]["message"]
    body = {"aggregate": {"name": "a"}}
    made = cloud.call("POST", "/v2.1/os-aggregates", "admin", json=body).json()["aggregate"]
    action = f"/v2.1/os-aggregates/{made['id']}/action"
    cloud.call("POST", action, "admin", json={"add_host": {"host": "host2"}})
    path = f"/v2.1/os-services/{by_host['host2']['id']}"
    assert cloud.call("DELETE", path, "demo").status_code == 403
    assert cloud.call("DELETE", path, "admin").status_code == 204
    assert cloud.call("DELETE", path, "admin").status_code == 404
    assert cloud.get(f"/v2.1/os-aggregates/{made['id']}", "admin")["aggregate"]["hosts"] == []
    names = [
        h["hypervisor_hostname"] for h in cloud.get("/v2.1/os-hypervisors", "admin")["hypervisors"]
    ]
    assert names == ["host1"]
    (old,) = cloud.get("/v2.1/os-services", "admin", "2.52", host="control")["services"]
    assert cloud.call("DELETE", "/v2.1/os-services/x", "admin", "2.52").status_code == 400
    assert cloud.call("DELETE", "/v2.1/os-services/x", "admin", "2.53").status_code == 400
    assert cloud.call("DELETE", "/v2.1/os-services/999", "admin", "2.52").status_code == 404
    path = f"/v2.1/os-services/{old['id']}"
    assert cloud.call("DELETE", path, "admin", "2.52").status_code == 204
    assert [s["host"] for s in cloud.get("/v2.1/os-services", "admin")["services"]] == ["host1"]


@pytest.mark.parametrize(("version", "there"), [("2.10", False), ("2.11", True), ("2.69", True)])
def test_forced_down_is_shown_from_2_11_on(
    lasting: ComputeCloud, version: str, there: bool
) -> None:
    (service,) = lasting.get("/v2.1/os-services", "admin", version)["services"]
    assert ("forced_down" in service) is there


# -- hypervisors -----------------------------------------------------------------------------------
def test_uptime_is_what_the_host_reports(cloud: ComputeCloud) -> None:
    words = "10:00:00 up 1 day, 02:03, load average: 0.00, 0.01, 0.05"
    report = HostReport(
        host="host1", epoch=1, vcpus=4, memory_mb=16384, disk_gb=200, disk_free_gb=100,
        hypervisor_type="QEMU", hypervisor_version=7002000, virt_type="qemu",
        virt_type_reason="tests", cpu_arch="x86_64", cpu_model="qemu64", domains={},
        uptime=words, address="192.0.2.5",
    )  # fmt: skip
    with cloud.database.write() as tx:
        assert hosts.host_report(tx, report)
    (new,) = cloud.get("/v2.1/os-hypervisors/detail", "admin")["hypervisors"]
    assert (new["uptime"], new["host_ip"]) == (words, "192.0.2.5")
    path = "/v2.1/os-hypervisors/{}/uptime"
    middle = cloud.get(path.format(new["id"]), "admin", "2.87")["hypervisor"]
    assert middle == {"id": new["id"], "hypervisor_hostname": "host1", "state": "up",
                      "status": "enabled", "uptime": words}  # fmt: skip
    old = cloud.get(path.format(1), "admin", "2.1")["hypervisor"]
    assert (old["id"], old["uptime"]) == (1, words)
    assert cloud.call("GET", path.format(new["id"]), "admin", "2.88").status_code == 404
    assert cloud.call("GET", path.format(UNKNOWN), "admin", "2.87").status_code == 404
    with cloud.database.write() as tx:
        tx.exec_driver_sql("UPDATE services SET forced_down = 1")
    assert cloud.call("GET", path.format(1), "admin", "2.1").status_code == 400


def test_a_host_has_an_address_of_its_own() -> None:
    assert ipaddress.ip_address(own_address()).version == 4


def test_a_hosts_words_on_its_uptime(tmp_path: Path) -> None:
    clock, loads = r"\d\d:\d\d:\d\d", r"load average: [\d.]+, [\d.]+, [\d.]+"
    pattern = rf"{clock} up (\d+ days?, )?\d\d:\d\d, \d+ users?, {loads}"
    assert re.fullmatch(pattern, uptime())
    (tmp_path / "uptime").write_text("93784.55 1.00\n")
    assert " up 1 day, 02:03, " in uptime(tmp_path / "uptime")


# -- quota classes ---------------------------------------------------------------------------------
INJECTED = {"injected_files", "injected_file_content_bytes", "injected_file_path_bytes"}
NETWORKS = {"fixed_ips", "floating_ips", "security_groups", "security_group_rules"}
GROUPS = {"server_groups", "server_group_members"}


@pytest.mark.parametrize(
    ("version", "more"),
    [("2.1", INJECTED | NETWORKS), ("2.49", INJECTED | NETWORKS), ("2.50", INJECTED | GROUPS),
     ("2.56", INJECTED | GROUPS), ("2.57", GROUPS), ("2.100", GROUPS)],
)  # fmt: skip
def test_a_quota_classs_shape(lasting: ComputeCloud, version: str, more: set[str]) -> None:
    path, always = "/v2.1/os-quota-class-sets/default", {"instances", "cores", "ram", "key_pairs",
                                                         "metadata_items"}  # fmt: skip
    shown = lasting.get(path, "admin", version)["quota_class_set"]
    assert set(shown) == always | more | {"id"}
    assert shown["id"] == "default"
    body = {"quota_class_set": {"key_pairs": shown["key_pairs"]}}
    answer = lasting.call("PUT", path, "admin", version, json=body)
    assert set(answer.json()["quota_class_set"]) == always | more


def test_the_default_class_is_every_projects_limit(cloud: ComputeCloud) -> None:
    path = "/v2.1/os-quota-class-sets/default"
    body = {"quota_class_set": {"instances": 2, "cores": "30"}}
    assert cloud.call("PUT", path, json=body).status_code == 403
    assert cloud.call("PUT", path, "admin", json=body).status_code == 200
    assert cloud.get(f"/v2.1/os-quota-sets/{DEMO}")["quota_set"]["instances"] == 2
    assert cloud.get(f"/v2.1/os-quota-sets/{DEMO}/defaults")["quota_set"]["cores"] == 30
    assert cloud.post_server(min_count=3).status_code == 403
    own = {"quota_set": {"instances": 3}}
    cloud.call("PUT", f"/v2.1/os-quota-sets/{DEMO}", "admin", json=own)
    assert cloud.post_server(min_count=3).status_code == 202
    other = "/v2.1/os-quota-class-sets/other"
    cloud.call("PUT", other, "admin", json={"quota_class_set": {"instances": 1}})
    assert cloud.get(other, "admin")["quota_class_set"]["instances"] == 1
    assert cloud.get(path, "admin")["quota_class_set"]["instances"] == 2
    for wrong, version in (({"instances": "x"}, "2.100"), ({"surprise": 1}, "2.100"),
                           ({"fixed_ips": 1}, "2.50"), ({"networks": 1}, "2.49"),
                           ({"injected_files": 1}, "2.57"), ({"force": True}, "2.1")):  # fmt: skip
        answer = cloud.call("PUT", path, "admin", version, json={"quota_class_set": wrong})
        assert answer.status_code == 400, wrong


@pytest.mark.parametrize(
    ("version", "more"),
    [("2.1", INJECTED | NETWORKS), ("2.35", INJECTED | NETWORKS), ("2.36", INJECTED),
     ("2.56", INJECTED), ("2.57", set())],
)  # fmt: skip
def test_a_quotas_shape(lasting: ComputeCloud, version: str, more: set[str]) -> None:
    always = {"instances", "cores", "ram", "key_pairs", "metadata_items", *GROUPS}
    path = f"/v2.1/os-quota-sets/{DEMO}"
    for tail in ("", "/detail", "/defaults"):
        shown = lasting.get(path + tail, version=version)["quota_set"]
        assert set(shown) == always | more | {"id"}


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("2.1", {"maxPersonality", "maxPersonalitySize", "maxImageMeta", "maxSecurityGroups",
                 "maxSecurityGroupRules", "maxTotalFloatingIps", "totalSecurityGroupsUsed",
                 "totalFloatingIpsUsed"}),
        ("2.36", {"maxPersonality", "maxPersonalitySize", "maxImageMeta"}),
        ("2.39", {"maxPersonality", "maxPersonalitySize"}),
        ("2.57", set()),
    ],
)  # fmt: skip
def test_the_shape_of_limits(lasting: ComputeCloud, version: str, more: set[str]) -> None:
    always = {"maxServerMeta", "maxTotalInstances", "maxTotalCores", "maxTotalRAMSize",
              "maxTotalKeypairs", "maxServerGroups", "maxServerGroupMembers",
              "totalInstancesUsed", "totalCoresUsed", "totalRAMUsed",
              "totalServerGroupsUsed"}  # fmt: skip
    absolute = lasting.get("/v2.1/limits", version=version)["limits"]["absolute"]
    assert set(absolute) == always | more


# -- usage -----------------------------------------------------------------------------------------
def test_usage_in_pages(cloud: ComputeCloud) -> None:
    mine = sorted(cloud.launch() for _ in range(3))
    path = "/v2.1/os-simple-tenant-usage"
    body = cloud.get(f"{path}/{DEMO}", limit=2)
    assert [u["instance_id"] for u in body["tenant_usage"]["server_usages"]] == mine[:2]
    assert f"marker={mine[1]}" in body["tenant_usage_links"][0]["href"]
    rest = cloud.get(f"{path}/{DEMO}", limit=2, marker=mine[1])
    assert [u["instance_id"] for u in rest["tenant_usage"]["server_usages"]] == mine[2:]
    assert "tenant_usage_links" not in rest
    every = cloud.get(path, "admin", limit=1, detailed=1)
    assert len(every["tenant_usages"][0]["server_usages"]) == 1
    assert "tenant_usages_links" in every
    old = cloud.get(f"{path}/{DEMO}", version="2.39", limit=2)
    assert len(old["tenant_usage"]["server_usages"]) == 3
    assert "tenant_usage_links" not in old
    past = {"start": "2001-01-01T00:00:00", "end": "2001-02-01T00:00:00"}
    assert cloud.get(f"{path}/{DEMO}", **past) == {"tenant_usage": {}}
    unknown = {"limit": 1, "marker": UNKNOWN}
    assert cloud.call("GET", f"{path}/{DEMO}", params=unknown).status_code == 400


# -- events of other services ----------------------------------------------------------------------
def test_events_of_other_services(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    nic = NicInfo(port_id=PORT, network_id=NETWORK, network_name="net", mac="fa:16:3e:11:22:33",
                  addresses=["10.0.0.200"], ours=False)  # fmt: skip
    with cloud.database.write() as tx:
        servers.server_update(tx, server_id, nics=[nic])
    path = "/v2.1/os-server-external-events"

    def post(*events: dict[str, Any], token: str = "service", version: str = "2.100") -> Any:
        return cloud.call("POST", path, token, version, json={"events": list(events)})

    changed = {"name": "network-changed", "server_uuid": server_id}
    done = post(changed)
    assert (done.status_code, done.json()["events"][0]["code"]) == (200, 200)
    assert [verb for _, verb, _ in cloud.compute.told][-1] == "network_changed"
    seen = {each["addr"]: each["OS-EXT-IPS:type"]
            for each in cloud.server(server_id)["addresses"]["net"]}  # fmt: skip
    assert seen == {"10.0.0.9": "fixed", "172.24.4.9": "floating"}
    mixed = post({**changed, "status": "in-progress"},
                 {**changed, "server_uuid": UNKNOWN, "tag": "t"},
                 {**changed, "name": "volume-extended", "tag": UNKNOWN})  # fmt: skip
    assert mixed.status_code == 207
    assert mixed.json()["events"] == [
        {**changed, "status": "completed", "code": 200},
        {**changed, "server_uuid": UNKNOWN, "tag": "t", "status": "failed", "code": 404},
        {"name": "volume-extended", "server_uuid": server_id, "tag": UNKNOWN,
         "status": "completed", "code": 200},
    ]  # fmt: skip
    nobodys = post({**changed, "server_uuid": UNKNOWN})
    assert (nobodys.status_code, nobodys.json()["events"][0]["code"]) == (207, 404)
    cloud.scheduler.host = None
    homeless = cloud.post_server().json()["server"]["id"]
    nowhere = post({**changed, "server_uuid": homeless})
    assert (nowhere.status_code, nowhere.json()["events"][0]["code"]) == (207, 422)
    assert post(changed, token="demo").status_code == 403
    assert post().status_code == 400
    for name, since in (("volume-extended", 51), ("power-update", 76),
                        ("accelerator-request-bound", 82), ("volume-reimaged", 93)):  # fmt: skip
        event = {**changed, "name": name, "tag": "t"}
        assert post(event, version=f"2.{since - 1}").status_code == 400
        assert post(event, version=f"2.{since}").status_code == 200
        untagged = post({**changed, "name": name}, version=f"2.{since}")
        expected = (200, 200) if name == "volume-reimaged" else (207, 400)
        assert (untagged.status_code, untagged.json()["events"][0]["code"]) == expected
    for wrong in ({"name": "dance"}, {"server_uuid": "x"}, {"status": "odd"}, {"more": 1},
                  {"tag": None}, {"tag": "x" * 256}):  # fmt: skip
        assert post({**changed, **wrong}).status_code == 400


# -- small ones ------------------------------------------------------------------------------------
def test_extensions(lasting: ComputeCloud) -> None:
    found = lasting.get("/v2.1/extensions")["extensions"]
    assert {"os-keypairs", "os-server-groups"} <= {each["alias"] for each in found}
    assert lasting.get("/v2.1/extensions/os-aggregates")["extension"]["name"] == "Aggregates"
    assert lasting.call("GET", "/v2.1/extensions/none").status_code == 404


def test_the_audit_log_says_that_nobody_audited(lasting: ComputeCloud) -> None:
    path = "/v2.1/os-instance_usage_audit_log"
    now = lasting.get(path, "admin")["instance_usage_audit_logs"]
    assert (now["num_hosts"], now["num_hosts_done"]) == (1, 0)
    then = lasting.get(f"{path}/2024-03-15 10:00:00", "admin")["instance_usage_audit_log"]
    assert then["period_beginning"] == "2024-02-01 00:00:00"
    assert then["period_ending"] == "2024-03-01 00:00:00"
    assert lasting.call("GET", f"{path}/yesterday", "admin").status_code == 400
    assert lasting.call("GET", path).status_code == 403


def test_topology_and_shares(cloud: ComputeCloud) -> None:
    path = f"/v2.1/servers/{cloud.launch()}"
    assert cloud.get(f"{path}/topology") == {"nodes": [], "pagesize_kb": None}
    assert cloud.call("GET", f"{path}/topology", version="2.77").status_code == 404
    assert cloud.call("GET", f"{path}/topology", "alt").status_code == 404
    assert cloud.get(f"{path}/shares") == {"shares": []}
    assert cloud.call("GET", f"{path}/shares", version="2.96").status_code == 404
    assert (
        cloud.call("POST", f"{path}/shares", json={"share": {"share_id": UNKNOWN}}).status_code
        == 400
    )
    assert cloud.call("GET", f"{path}/shares/{UNKNOWN}").status_code == 404
    assert cloud.call("DELETE", f"{path}/shares/{UNKNOWN}").status_code == 404


# -- lists cost the same, however long -------------------------------------------------------------
LISTS = (
    "/v2.1/servers", "/v2.1/servers/detail", "/v2.1/flavors/detail", "/v2.1/os-server-groups",
    "/v2.1/os-aggregates", "/v2.1/os-services", "/v2.1/os-hypervisors/detail?with_servers=1",
    "/v2.1/os-availability-zone/detail", "/v2.1/os-migrations",
    "/v2.1/os-simple-tenant-usage?detailed=1",
)  # fmt: skip


def test_lists_ask_a_constant_number_of_queries(cloud: ComputeCloud) -> None:
    counted: list[str] = []

    def count(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("SELECT"):
            counted.append(statement)

    def asked() -> dict[str, int]:
        found = {}
        for path in LISTS:
            counted.clear()
            assert cloud.call("GET", path, "admin").status_code == 200
            found[path] = len(counted)
        return found

    sa.event.listen(cloud.database.engine, "before_cursor_execute", count)
    fill(cloud, 1)
    few = asked()
    fill(cloud, 4)
    assert asked() == few
    assert max(few.values()) <= 4


def fill(cloud: ComputeCloud, number: int) -> None:
    for n in range(number):
        add_host(cloud.database, f"more-{number}-{n}")
        group = {"server_group": {"name": "g", "policy": "affinity"}}
        made = cloud.call("POST", "/v2.1/os-server-groups", "admin", json=group)
        hints = {"group": made.json()["server_group"]["id"]}
        assert cloud.post_server("admin", hints=hints).status_code == 202
        aggregate = {"aggregate": {"name": f"a-{number}-{n}"}}
        made = cloud.call("POST", "/v2.1/os-aggregates", "admin", json=aggregate)
        action = f"/v2.1/os-aggregates/{made.json()['aggregate']['id']}/action"
        cloud.call("POST", action, "admin", json={"add_host": {"host": f"more-{number}-{n}"}})


QUERIES = (
    "/v2.1/servers/detail?availability_zone=nova&sort_key=host&sort_key=uuid&limit=1",
    "/v2.1/servers?availability_zone=east&name=v&locked=false&tags=a&changes-since=2020-01-01",
    "/v2.1/servers?status=ACTIVE&ip=10&deleted=true&all_tenants=1&host=host1&config_drive=false",
    "/v2.1/os-simple-tenant-usage?detailed=1&limit=1",
    f"/v2.1/os-simple-tenant-usage/{DEMO}?start=2020-01-01T00:00:00&end=2100-01-01T00:00:00",
    "/v2.1/os-migrations?limit=1&host=host1&changes-since=2020-01-01&status=error",
    "/v2.1/os-hypervisors/detail?with_servers=1&limit=1",
    "/v2.1/os-server-groups?all_projects=1&limit=1&offset=1",
    "/v2.1/os-quota-class-sets/default",
    f"/v2.1/os-quota-sets/{DEMO}/detail",
    "/v2.1/os-availability-zone/detail",
    "/v2.1/os-services?binary=nova-compute",
)


def test_queries_mean_the_same_on_both_databases(tmp_path: Path, database_url: str) -> None:
    with compute_cloud(tmp_path, url=database_url) as cloud:
        aggregate = {"aggregate": {"name": "a", "availability_zone": "east"}}
        made = cloud.call("POST", "/v2.1/os-aggregates", "admin", json=aggregate)
        assert made.status_code == 200
        again = cloud.call("POST", "/v2.1/os-aggregates", "admin", json=aggregate)
        assert again.status_code == 409
        action = f"/v2.1/os-aggregates/{made.json()['aggregate']['id']}/action"
        add = {"add_host": {"host": "host1"}}
        assert cloud.call("POST", action, "admin", json=add).status_code == 200
        assert cloud.call("POST", action, "admin", json=add).status_code == 409
        limits = {"quota_class_set": {"instances": 9}}
        path = "/v2.1/os-quota-class-sets/default"
        assert cloud.call("PUT", path, "admin", json=limits).status_code == 200
        group = {"server_group": {"name": "g", "policy": "affinity"}}
        made = cloud.call("POST", "/v2.1/os-server-groups", json=group)
        hints = {"group": made.json()["server_group"]["id"]}
        server_id = cloud.post_server(hints=hints, tags=["a"]).json()["server"]["id"]
        cloud.launch()
        for query in QUERIES:
            answer = cloud.call("GET", query, "admin")
            assert answer.status_code == 200, (query, answer.text)
        found = cloud.get("/v2.1/servers", availability_zone="east", tags="a")["servers"]
        assert [server["id"] for server in found] == [server_id]
        assert cloud.get("/v2.1/servers", availability_zone="nova")["servers"] == []
        usage = cloud.get(f"/v2.1/os-simple-tenant-usage/{DEMO}", limit=1)
        assert "tenant_usage_links" in usage
