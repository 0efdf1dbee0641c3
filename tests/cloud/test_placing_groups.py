"""Groups, zones and hints with real schedulers, many launches at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cloud import Cloud, running, wait_until
from postgresql import PostgresqlServer

HOSTS = ("lab1", "lab2", "lab3")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    urls = {}
    if request.param == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("database_server")
        urls = {"compute": server.new_database()}
    with running(tmp_path_factory.mktemp("cloud"), hosts=HOSTS, urls=urls) as cloud:
        yield cloud


@pytest.fixture(autouse=True)
def cleared(cloud: Cloud) -> Iterator[None]:
    yield
    clear(cloud)


def clear(cloud: Cloud) -> None:
    admin = cloud.user("admin")
    for server in admin.ask("compute", "GET", "/v2.1/servers?all_tenants=1", 200)["servers"]:
        admin.delete(server["id"])
    cloud.settle()


def make_group(cloud: Cloud, policy: str, **rules: int) -> str:
    body = {"server_group": {"name": "g", "policy": policy, **({"rules": rules} if rules else {})}}
    made = cloud.user().ask("compute", "POST", "/v2.1/os-server-groups", 200, json=body)
    identity: str = made["server_group"]["id"]
    return identity


def launch(cloud: Cloud, hints: dict[str, Any], name: str = "demo", **more: Any) -> str:
    server = {
        "name": "vm",
        "imageRef": cloud.image_id,
        "flavorRef": "1",
        "networks": "none",
        **more,
    }
    body = {"server": server, "os:scheduler_hints": hints}
    answer = cloud.user(name).ask("compute", "POST", "/v2.1/servers", 202, json=body)
    identity: str = answer["server"]["id"]
    return identity


def at_once(cloud: Cloud, count: int, hints: dict[str, Any]) -> Counter[str]:
    """Host -> how many of ``count`` launches it got; ``ERROR``: how many none did."""
    with ThreadPoolExecutor(count) as clients:
        made = list(clients.map(lambda _: launch(cloud, hints), range(count)))
    cloud.settle()
    return Counter(cloud.server(each).host or str(cloud.server(each).vm_state) for each in made)


def test_anti_affinity_holds_under_concurrency(cloud: Cloud) -> None:
    found = at_once(cloud, 6, {"group": make_group(cloud, "anti-affinity")})
    assert found == {"lab1": 1, "lab2": 1, "lab3": 1, "error": 3}


def test_max_server_per_host_holds_under_concurrency(cloud: Cloud) -> None:
    group = make_group(cloud, "anti-affinity", max_server_per_host=2)
    found = at_once(cloud, 8, {"group": group})
    assert found == {"lab1": 2, "lab2": 2, "lab3": 2, "error": 2}


def test_affinity_holds_under_concurrency(cloud: Cloud) -> None:
    found = at_once(cloud, 6, {"group": make_group(cloud, "affinity")})
    assert sorted(found.values()) == [6]
    assert set(found) <= set(HOSTS)


def test_soft_groups_do_what_they_can(cloud: Cloud) -> None:
    apart = {"group": make_group(cloud, "soft-anti-affinity")}
    made = [launch(cloud, apart) for _ in range(4)]
    assert sorted(Counter(cloud.server(each).host for each in made).values()) == [1, 1, 2]
    together = {"group": make_group(cloud, "soft-affinity")}
    made = [launch(cloud, together) for _ in range(3)]
    assert len({cloud.server(each).host for each in made}) == 1


def test_neighbours_by_hint(cloud: Cloud) -> None:
    first = launch(cloud, {})
    host = cloud.server(first).host
    assert cloud.server(launch(cloud, {"same_host": [first]})).host == host
    assert cloud.server(launch(cloud, {"different_host": first})).host != host
    query = f'["=", "$hypervisor_hostname", "{host}"]'
    assert cloud.server(launch(cloud, {"query": query})).host == host
    alone = launch(cloud, {"different_host": [first], "same_host": [first]})
    fault = cloud.server(alone).fault
    assert fault is not None
    assert "HostFilter" in fault.message


def test_zones_and_hosts_of_choice(cloud: Cloud) -> None:
    admin = cloud.user("admin")
    path = "/v2.1/os-aggregates"
    body = {"aggregate": {"name": "east", "availability_zone": "east"}}
    number = admin.ask("compute", "POST", path, 200, json=body)["aggregate"]["id"]
    action = f"{path}/{number}/action"
    admin.ask("compute", "POST", action, 200, json={"add_host": {"host": "lab3"}})
    try:
        assert cloud.server(launch(cloud, {}, availability_zone="east")).host == "lab3"
        assert cloud.server(launch(cloud, {}, availability_zone="nova")).host != "lab3"
        assert cloud.server(launch(cloud, {}, "admin", host="lab2")).host == "lab2"
    finally:
        clear(cloud)
        admin.ask("compute", "POST", action, 200, json={"remove_host": {"host": "lab3"}})
        admin.ask("compute", "DELETE", f"{path}/{number}", 200)


def test_images_are_there_before_the_launch(cloud: Cloud) -> None:
    admin = cloud.user("admin")
    path = "/v2.1/os-aggregates"
    body = {"aggregate": {"name": "cached"}}
    number = admin.ask("compute", "POST", path, 200, json=body)["aggregate"]["id"]
    action = f"{path}/{number}/action"
    admin.ask("compute", "POST", action, 200, json={"add_host": {"host": "lab2"}})
    image_id = admin.make_image("soon", b"bytes of a disk" * 100)
    base = cloud.hosts["lab2"].storage.base_image(image_id)
    assert not base.exists()
    images = {"cache": [{"id": image_id}]}
    admin.ask("compute", "POST", f"{path}/{number}/images", 202, json=images)
    assert wait_until(base.exists)
    assert not cloud.hosts["lab1"].storage.base_image(image_id).exists()
    admin.ask("compute", "POST", action, 200, json={"remove_host": {"host": "lab2"}})
    admin.ask("compute", "DELETE", f"{path}/{number}", 200)


def test_the_quota_holds_under_concurrency(cloud: Cloud) -> None:
    user = cloud.user()

    def one(_: int) -> int:
        server = {"name": "vm", "imageRef": cloud.image_id, "flavorRef": "1", "networks": "none"}
        answer = user.call("compute", "POST", "/v2.1/servers", json={"server": server})
        return answer.status_code

    with ThreadPoolExecutor(8) as clients:
        codes = Counter(clients.map(one, range(16)))
    assert codes == {202: 10, 403: 6}
    cloud.settle()
