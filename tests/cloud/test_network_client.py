"""The REST client that compute and api use, against the real service."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from network import QUOTA, NetworkCloud, network_cloud
from tokens import DEMO

from minicloud.client.network import NetworkClient
from minicloud.client.rest import RestClient
from minicloud.domain.errors import Conflict, InUse, Invalid, NoAddressLeft, NotFound, Unavailable
from minicloud.hostnet.wiring import HostWiring

SERVER = "11111111-2222-4333-8444-555555555555"
OTHER = "22222222-2222-4333-8444-555555555555"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[NetworkCloud]:
    with network_cloud(tmp_path) as cloud:
        yield cloud


def client_of(cloud: NetworkCloud, **tokens: str) -> NetworkClient:
    """A service's client; with ``user``, for that user."""
    headers = {"X-Auth-Token": tokens.get("user", "service"), "X-Service-Token": "service"}
    return NetworkClient(RestClient("network", lambda: cloud.url, lambda: headers))


def create(client: NetworkClient, network_id: str, index: int = 0, **more: object) -> object:
    facts = {"server_id": SERVER, "project_id": DEMO, "network_id": network_id, "host": "lab1",
             "az": "nova", "index": index, **more}  # fmt: skip
    return client.port_create(**facts)  # type: ignore[arg-type]  # a short hand for tests


@pytest.mark.parametrize("tokens", [{}, {"user": "demo"}])
def test_a_server_gets_its_ports_and_gives_them_back(
    cloud: NetworkCloud, tokens: dict[str, str]
) -> None:
    network_id = cloud.network(mtu=1400)
    client = client_of(cloud, **tokens)
    answer = client.port_create(SERVER, DEMO, network_id, "lab1", "nova", 1, None, "Web_1.lab", [])
    port = answer.value
    assert answer.total_ms is not None
    assert answer.token_ms is not None
    assert (port.project_id, port.device_id, port.index) == (DEMO, SERVER, 1)
    assert (port.host, port.network_name) == ("lab1", "net")
    assert port.wiring is not None
    assert port.wiring["network"]["mtu"] == 1400
    assert port.wiring["port"]["hostname"] == "web-1"
    taken = {fixed["ip_address"] for each in cloud.ask("GET", "/ports", 200)["ports"]
             for fixed in each["fixed_ips"]}  # fmt: skip
    wish = next(address for n in range(2, 9) if (address := f"10.0.0.{n}") not in taken)
    create(client, network_id, 0, fixed_ip=wish, security_groups=["default"])
    ports = client.ports_of_server(SERVER).value
    assert [each.index for each in ports] == [0, 1]
    assert ports[0].fixed_ips[0][1] == wish
    told = client.host_report("lab1", tunnel_address="192.0.2.1").value
    wiring = msgspec.convert(told, HostWiring)
    assert {each.id for each in wiring.ports} == {each.id for each in ports}
    assert wiring.tunnel_ip == "192.0.2.1"
    for each in ports:
        client.port_delete(each.id)
    with pytest.raises(NotFound):
        client.port_delete(port.id)
    assert client.ports_of_server(SERVER).value == []


def test_a_port_is_made_once_however_often_it_is_asked_for(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    client = client_of(cloud)
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: create(client, network_id), range(6)))
    assert len({answer.value.id for answer in made}) == 1  # type: ignore[attr-defined]
    assert len(client.ports_of_server(SERVER).value) == 1


def test_a_users_port_is_bound_and_let_go(cloud: NetworkCloud) -> None:
    port_id = cloud.make("port", network_id=cloud.network())["id"]
    client = client_of(cloud, user="demo")
    assert client.port_get(port_id).value.wiring is None
    for _ in range(2):
        assert client.port_bind(port_id, SERVER, "lab1").value.wiring is not None
    assert client.port_bind(port_id, SERVER, "lab2").value.host == "lab2"
    with pytest.raises(InUse):
        client.port_bind(port_id, OTHER, "lab1")
    free = client.port_unbind(port_id).value
    assert (free.host, free.device_id, free.wiring) == ("", "", None)
    assert client.port_bind(port_id, OTHER, "lab1").value.device_id == OTHER


def test_refusals_are_classes(tmp_path: Path) -> None:
    with network_cloud(tmp_path, quota={**QUOTA, "port": 3}) as cloud:
        network_id = cloud.network("10.0.0.0/30")
        client = client_of(cloud)
        with pytest.raises(NoAddressLeft):
            # Its one free address is the guest's, and DHCP needs another.
            create(client, network_id)
        with pytest.raises(NotFound):
            create(client, OTHER)
        with pytest.raises(Invalid):
            create(client, network_id, fixed_ip="10.9.9.9")
        with pytest.raises(NotFound):
            create(client, network_id, security_groups=["nothing"])
        roomy = cloud.network("10.1.0.0/24")
        for index in range(3):
            create(client, roomy, index)
        with pytest.raises(Conflict) as refusal:
            create(client, roomy, 3)
        assert refusal.value.facts["type"] == "OverQuota"
    with pytest.raises(Unavailable):
        client.port_get(SERVER)


def test_the_networks_that_a_project_can_use(cloud: NetworkCloud) -> None:
    own = cloud.network()
    shared = cloud.network("10.1.0.0/24", token="admin", shared=True)
    cloud.network("10.2.0.0/24", token="alt")
    cloud.make("network", "admin", **{"router:external": True})
    for client in (client_of(cloud), client_of(cloud, user="demo")):
        assert [each.id for each in client.networks_visible(DEMO).value] == [own, shared]
        assert client.network_get(own).value.subnets
        assert [group.name for group in client.security_groups(DEMO).value] == ["default"]
