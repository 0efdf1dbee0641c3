"""Lists as clients ask for them: filters, fields, sorting, pages; and input that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from network import NetworkCloud, network_cloud
from sqlalchemy import event
from tokens import ALT, DEMO


@pytest.fixture
def cloud(database_url: str) -> Iterator[NetworkCloud]:
    with network_cloud(Path(), url=database_url) as cloud:
        yield cloud


def names(cloud: NetworkCloud, query: str, token: str = "demo") -> list[str]:
    found = cloud.ask("GET", f"/networks{query}", 200, token)["networks"]
    return [network["name"] for network in found]


def test_filters_fields_and_order(cloud: NetworkCloud) -> None:
    ids = {name: cloud.make("network", name=name, mtu=1400 + n)["id"]
           for n, name in enumerate("cabd")}  # fmt: skip
    cloud.make("network", "admin", name="", shared=True)
    order = "&sort_key=name"
    assert names(cloud, f"?name=a&name=b{order}") == ["a", "b"]
    assert names(cloud, f"?id={ids['a']}&id={ids['d']}{order}") == ["a", "d"]
    assert names(cloud, "?sort_key=name&sort_dir=desc") == ["d", "c", "b", "a", ""]
    assert names(cloud, "?sort_key=shared&sort_dir=desc&sort_key=mtu&sort_dir=asc") == [
        "", "c", "a", "b", "d"]  # fmt: skip
    assert names(cloud, "?shared=True") == [""]
    assert names(cloud, "?name=") == [""]
    assert names(cloud, f"?project_id={DEMO}&mtu=1401") == ["a"]
    assert names(cloud, "?status=DOWN") == []
    assert names(cloud, "?provider:network_type=vlan", "admin") == []
    assert names(cloud, "?router:external=true") == []
    found = cloud.ask("GET", "/networks?fields=id&fields=name&name=a", 200)
    assert found == {"networks": [{"id": ids["a"], "name": "a"}]}
    shown = cloud.ask("GET", f"/networks/{ids['a']}?fields=mtu", 200)
    assert shown == {"network": {"mtu": 1401}}
    for query in ("?colour=red", "?shared=perhaps", "?mtu=x", "?sort_key=subnets", "?limit=-1",
                  "?sort_key=name&sort_dir=up", "?provider:network_type=vxlan",
                  "?name=%01", "?created_at=2026-01-01", "?mtu=99999999999999999999",
                  f"?limit=1&marker={DEMO}"):  # fmt: skip
        cloud.ask("GET", f"/networks{query}", 400)


def test_pages_follow_their_links_both_ways(cloud: NetworkCloud) -> None:
    for n in (3, 1, 4, 1, 5):
        cloud.make("network", name=f"n{n}")
    whole = [n["id"] for n in cloud.ask("GET", "/networks?sort_key=name", 200)["networks"]]
    for links, expected in (("next", whole), ("previous", whole[::-1])):
        reverse = "&page_reverse=True" if links == "previous" else ""
        url: str | None = f"{cloud.url}/v2.0/networks?limit=2&sort_key=name{reverse}"
        seen: list[str] = []
        while url is not None:
            body = requests.get(url, headers={"X-Auth-Token": "demo"}, timeout=10).json()
            page = [network["id"] for network in body["networks"]]
            seen += page if links == "next" else page[::-1]
            hrefs = {link["rel"]: link["href"] for link in body["networks_links"]}
            url = hrefs.get(links)
        assert seen == expected
    assert "networks_links" not in cloud.ask("GET", "/networks", 200)


def test_ports_are_found_by_address_device_and_group(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    subnet_id = cloud.show("network", network_id)["subnets"][0]
    port = cloud.make("port", network_id=network_id, device_id="s1", device_owner="compute:nova",
                      fixed_ips=[{"ip_address": "10.0.0.9"}])  # fmt: skip
    cloud.make("port", network_id=network_id, fixed_ips=[{"ip_address": "10.0.0.10"}])
    group = port["security_groups"][0]
    for query, found in (
        ("fixed_ips=ip_address%3D10.0.0.9", 1),
        ("fixed_ips=ip_address_substr%3D.0.0.", 2),
        ("fixed_ips=ip_address_substr%3D0.0.9", 1),
        ("fixed_ips=ip_address_substr%3D%25", 0),
        (f"fixed_ips=ip_address=10.0.0.9&fixed_ips=subnet_id={subnet_id}", 1),
        (f"fixed_ips=subnet_id={subnet_id}", 2),
        ("device_id=s1", 1),
        (f"security_groups={group}", 2),
        (f"mac_address={port['mac_address']}", 1),
        ("status=DOWN&admin_state_up=True", 2),
    ):
        ports = cloud.ask("GET", f"/ports?{query}&fields=id", 200)["ports"]
        assert len(ports) == found, query
    assert cloud.ask("GET", "/ports?binding:host_id=lab1", 200, "admin")["ports"] == []
    cloud.ask("GET", "/ports?fixed_ips=colour=red", 400)


def test_lists_take_a_constant_number_of_queries(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    statements: list[str] = []
    event.listen(cloud.database.engine, "before_cursor_execute",
                 lambda c, cur, statement, *rest: statements.append(statement))  # fmt: skip

    def cost(path: str) -> int:
        statements.clear()
        cloud.ask("GET", path, 200, "service")
        return len(statements)

    def boot() -> None:
        cloud.make("port", "service", network_id=network_id, project_id=DEMO,
                   **{"binding:host_id": "lab1"})  # fmt: skip

    external = cloud.network("172.24.4.0/24", token="admin", **{"router:external": True})

    def route(n: int) -> None:
        gateway = {"external_gateway_info": {"network_id": external}}
        router = cloud.make("router", **gateway)["id"]
        inside = cloud.network(f"10.{n}.0.0/24")
        subnet = {"subnet_id": cloud.show("network", inside)["subnets"][0]}
        cloud.ask("PUT", f"/routers/{router}/add_router_interface", 200, json=subnet)
        port = cloud.make("port", network_id=inside)["id"]
        cloud.make("floatingip", floating_network_id=external, port_id=port)
        cloud.make("subnetpool", prefixes=[f"10.1{n}.0.0/16"])
        cloud.make("address_group", addresses=["192.0.2.1"])
        cloud.make("rbac_policy", object_type="network", object_id=inside,
                   action="access_as_shared", target_tenant=ALT)  # fmt: skip
        cloud.ask("PUT", f"/minicloud-host-wiring/lab{n}", 200, "service", json={"host": {}})

    boot()
    route(1)
    paths = ("/ports", "/minicloud-host-wiring/lab1", "/networks", "/subnets", "/security-groups",
             "/routers", "/floatingips", "/subnetpools", "/address-groups", "/rbac-policies",
             "/agents", "/network-ip-availabilities", "/security-group-rules")  # fmt: skip
    cost("/security-groups")  # makes the default group
    before = [cost(path) for path in paths]
    for _ in range(5):
        boot()
    route(2)
    route(3)
    assert [cost(path) for path in paths] == before


WRONG = [
    ("/networks", b"{"),
    ("/networks", b"[]"),
    ("/networks", b"{}"),
    ("/networks", b'{"network": []}'),
    ("/networks", b'{"network": {"name": "' + b"x" * 256 + b'"}}'),
    ("/networks", b'{"network": {"name": "a\\u0000b"}}'),
    ("/networks", b'{"network": {"name": null}}'),
    ("/networks", b'{"network": {"mtu": 1e99}}'),
    ("/networks", b'{"network": {"mtu": 99999999999999999999999999}}'),
    ("/networks", b'{"network": {"colour": "red"}}'),
    ("/networks", b'{"network": {}, "extra": 1}'),
    ("/networks", b'{"networks": []}'),
    ("/subnets", b'{"subnet": {"network_id": "x", "ip_version": 5}}'),
    ("/ports", b'{"port": {}}'),
    ("/ports", b'{"port": {"network_id": "x", "fixed_ips": [{"ip": 3}]}}'),
    ("/ports", b'{"port": {"network_id": "x", "dns_name": "-a"}}'),
    ("/security-group-rules", b'{"security_group_rule": {"security_group_id": "x"}}'),
]


def test_wrong_bodies_are_400(cloud: NetworkCloud) -> None:
    for path, body in WRONG:
        answer = cloud.call("POST", path, data=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, (body, answer.text)
        assert answer.json()["NeutronError"]["type"] == "HTTPBadRequest"


def test_wrong_ids_are_404(cloud: NetworkCloud) -> None:
    for noun in ("networks", "subnets", "ports", "security-groups", "security-group-rules"):
        for identity in ("foo", "%00", "%27", "a" * 300, "0" * 32, "é"):
            for method in ("GET", "DELETE"):
                answer = cloud.call(method, f"/{noun}/{identity}")
                assert answer.status_code in (400, 404), answer.text
    path = f"/security-groups?project_id={'x' * 300}"
    assert cloud.ask("GET", path, 200, "admin")["security_groups"] == []
    body: dict[str, Any] = {"port": {"network_id": "0" * 32}}
    cloud.refused("POST", "/ports", 404, "NetworkNotFound", json=body)


def test_a_change_can_be_bound_to_a_revision(cloud: NetworkCloud) -> None:
    network = cloud.make("network", name="a")
    path, body = f"/networks/{network['id']}", {"network": {"name": "b"}}
    now = {"If-Match": f"revision_number={network['revision_number']}"}
    cloud.ask("PUT", path, 200, json=body, headers=now)
    stale = "RevisionNumberConstraintFailed"
    cloud.refused("PUT", path, 412, stale, json=body, headers=now)
    cloud.refused("DELETE", path, 412, stale, headers=now)
    cloud.refused("PUT", path, 400, "HTTPBadRequest", json=body, headers={"If-Match": "*"})
