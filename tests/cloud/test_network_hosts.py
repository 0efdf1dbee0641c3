"""What hosts are told: groups, who is elsewhere, routers; and which host carries which router."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from network import NetworkCloud, network_cloud
from tokens import DEMO

from minicloud.hostnet.wiring import HostWiring
from minicloud.kit.clock import now
from minicloud.network.hints import Hint, Hints
from minicloud.network.host_store import HostRow, Placed
from minicloud.network.models import hosts
from minicloud.network.router_placement import moves


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[NetworkCloud]:
    with network_cloud(tmp_path) as cloud:
        yield cloud


def boot(cloud: NetworkCloud, network_id: str, host: str, **more: Any) -> dict[str, Any]:
    return cloud.make("port", "service", network_id=network_id, project_id=DEMO,
                      **{"binding:host_id": host, **more})  # fmt: skip


def report(cloud: NetworkCloud, host: str, **said: Any) -> HostWiring:
    body = {"host": said}
    answer = cloud.ask("PUT", f"/minicloud-host-wiring/{host}", 200, "service", json=body)
    return msgspec.convert(answer["wiring"], HostWiring)


def outside(cloud: NetworkCloud) -> str:
    network_id: str = cloud.make("network", "admin", **{"router:external": True})["id"]
    cloud.make("subnet", "admin", network_id=network_id, cidr="172.24.4.0/24", ip_version=4,
               enable_dhcp=False)  # fmt: skip
    return network_id


def routed(cloud: NetworkCloud, network_id: str, external: str) -> str:
    router_id: str = cloud.make("router", external_gateway_info={"network_id": external})["id"]
    (subnet_id,) = cloud.show("network", network_id)["subnets"]
    body = {"subnet_id": subnet_id}
    cloud.ask("PUT", f"/routers/{router_id}/add_router_interface", 200, json=body)
    return router_id


def silence(cloud: NetworkCloud, host: str) -> None:
    """The host has not been heard of for a minute."""
    with cloud.database.write() as tx:
        tx.execute(sa.update(hosts).where(hosts.c.name == host).values(last_seen=now() - 60))


def test_a_host_knows_its_groups_and_the_members_that_their_rules_name(
    cloud: NetworkCloud,
) -> None:
    network_id = cloud.network()
    here, there = boot(cloud, network_id, "lab1"), boot(cloud, network_id, "lab2")
    wiring = report(cloud, "lab1")
    (group,) = wiring.groups
    assert [group.id] == here["security_groups"]
    remote = {rule.remote_set for rule in group.rules if rule.direction == "ingress"}
    assert remote == {group.id}
    (members,) = wiring.sets
    assert set(members.addresses) == {port["fixed_ips"][0]["ip_address"] for port in (here, there)}
    (port,) = wiring.ports
    assert (port.secured, port.up, port.groups) == (True, True, [group.id])


def test_hosts_know_who_is_elsewhere_on_their_networks_and_of_no_other(
    cloud: NetworkCloud,
) -> None:
    one, two = cloud.network(), cloud.network("10.1.0.0/24")
    report(cloud, "lab2", tunnel_address="192.0.2.2")
    boot(cloud, one, "lab1")
    there = boot(cloud, one, "lab2")
    boot(cloud, two, "lab2")
    wiring = report(cloud, "lab1", tunnel_address="192.0.2.1")
    (network,) = wiring.networks
    assert network.segment > 0
    assert wiring.tunnel_ip == "192.0.2.1"
    assert network.remotes is not None
    (remote,) = network.remotes
    assert (remote.mac, remote.host_ip) == (there["mac_address"], "192.0.2.2")
    assert list(remote.addresses) == [there["fixed_ips"][0]["ip_address"]]
    cloud.ask("DELETE", f"/ports/{there['id']}", 204, "service")
    (network,) = report(cloud, "lab1").networks
    assert network.remotes == []


def test_a_port_is_awaited_where_its_guest_is_on_its_way_to(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    report(cloud, "lab1", tunnel_address="192.0.2.1")
    port = boot(cloud, network_id, "lab1", **{"binding:profile": {"minicloud_index": 0}})
    path = f"/ports/{port['id']}"

    def put(**values: Any) -> Any:
        return cloud.ask("PUT", path, 200, "service", json={"port": values})["port"]

    put(**{"binding:profile": {"minicloud_index": 0, "migrating_to": "lab2"}})
    (awaited,) = report(cloud, "lab2", tunnel_address="192.0.2.2").ports
    assert (awaited.id, awaited.awaited) == (port["id"], True)
    (network,) = report(cloud, "lab2").networks
    assert network.remotes is not None
    assert [(each.mac, each.host_ip) for each in network.remotes] == [
        (port["mac_address"], "192.0.2.1")
    ]
    (bound,) = report(cloud, "lab1").ports
    assert not bound.awaited
    assert report(cloud, "lab3").ports == []
    put(**{"binding:host_id": "lab2"})
    (bound,) = report(cloud, "lab2").ports
    assert not bound.awaited
    assert report(cloud, "lab1").ports == []
    put(**{"binding:profile": {"minicloud_index": 0}, "binding:host_id": "lab1"})
    assert report(cloud, "lab2").ports == []
    wrong = {"port": {"binding:profile": {"migrating_to": 5}}}
    cloud.ask("PUT", path, 400, "service", json=wrong)
    cloud.ask("PUT", path, 400, "service",
              json={"port": {"binding:profile": {"migrating_to": "x" * 256}}})  # fmt: skip


def test_a_router_is_on_one_gateway_host_and_the_others_know_where(cloud: NetworkCloud) -> None:
    network_id, external = cloud.network(), outside(cloud)
    port = boot(cloud, network_id, "lab2")
    router_id = routed(cloud, network_id, external)
    assert report(cloud, "lab2", tunnel_address="192.0.2.2").routers == []
    carrying = report(cloud, "lab1", tunnel_address="192.0.2.1", is_gateway=True)
    (router,) = carrying.routers
    assert router.id == router_id
    assert [list(leg.addresses) for leg in router.legs] == [["10.0.0.1/26"]]
    assert router.gateway is not None and router.next_hops == ["172.24.4.1"]
    assert {network.id for network in carrying.networks} == {network_id, external}
    body = {"floatingip": {"floating_network_id": external, "port_id": port["id"]}}
    floating = cloud.ask("POST", "/floatingips", 201, json=body)["floatingip"]
    (router,) = report(cloud, "lab1", tunnel_address="192.0.2.1", is_gateway=True).routers
    fixed = port["fixed_ips"][0]["ip_address"]
    assert router.floating_ips == [(floating["floating_ip_address"], fixed)]
    other = report(cloud, "lab2", tunnel_address="192.0.2.2")
    (network,) = other.networks
    assert network.remotes is not None
    assert [remote.host_ip for remote in network.remotes] == ["192.0.2.1"]
    assert dict(other.reach)[floating["floating_ip_address"]] == "192.0.2.1"
    assert len(other.reach) == 2, "and the router's own address outside"


def test_a_router_leaves_a_host_that_fell_silent_and_no_other(cloud: NetworkCloud) -> None:
    external = outside(cloud)
    routers = {routed(cloud, cloud.network(f"10.{n}.0.0/24"), external) for n in range(4)}
    told = {
        host: {router.id for router in report(cloud, host, is_gateway=True).routers}
        for host in ("lab1", "lab2")
    }
    assert (told["lab1"], told["lab2"]) == (routers, set()), "what works is not moved"
    silence(cloud, "lab1")
    assert {router.id for router in report(cloud, "lab2", is_gateway=True).routers} == routers
    assert report(cloud, "lab1", is_gateway=True).routers == [], "it is too late"


def test_a_router_that_answers_stays_with_its_silent_host(cloud: NetworkCloud) -> None:
    """It works on; another in its place would only get into its way."""
    router_id = routed(cloud, cloud.network(), outside(cloud))
    gateway = cloud.show("router", router_id)["external_gateway_info"]
    there = gateway["external_fixed_ips"][0]["ip_address"]
    report(cloud, "lab1", is_gateway=True)
    silence(cloud, "lab1")

    def asked(**said: Any) -> tuple[list[str], list[str]]:
        body = {"host": {"is_gateway": True, **said}}
        told = cloud.ask("PUT", "/minicloud-host-wiring/lab2", 200, "service", json=body)["wiring"]
        return told["silent"], [router["id"] for router in told["routers"]]

    assert asked(unreachable=[]) == ([there], [])
    assert asked(unreachable=["192.0.2.9"]) == ([there], [])
    assert asked(unreachable=[there]) == ([there], [router_id])
    assert asked(unreachable=[there]) == ([], [router_id])
    # An operator has the last word.
    report(cloud, "lab1", is_gateway=True)
    silence(cloud, "lab2")
    assert report(cloud, "lab1", is_gateway=True, unreachable=[]).routers == []
    agents = cloud.ask("GET", "/agents?host=lab2", 200, "admin")["agents"]
    off = {"agent": {"admin_state_up": False}}
    cloud.ask("PUT", f"/agents/{agents[0]['id']}", 200, "admin", json=off)
    assert len(report(cloud, "lab1", is_gateway=True, unreachable=[]).routers) == 1


@pytest.mark.parametrize(
    "body", [{"tunnel_address": "x"}, {"physical_networks": ["\n"]}, {"x": 1}, {"unreachable": [1]}]
)
def test_a_report_that_makes_no_sense_is_refused(cloud: NetworkCloud, body: object) -> None:
    path = "/minicloud-host-wiring/lab1"
    assert cloud.call("PUT", path, "service", json={"host": body}).status_code == 400
    cloud.refused("PUT", path, 403, "PolicyNotAuthorized", json={"host": {}})


def host(name: str, age: float = 0, **more: Any) -> HostRow:
    values = {"is_gateway": True, "admin_state_up": True, **more}
    return HostRow(name=name, last_seen=100 - age, **values)


def placed(number: int, where: str = "", needs: str = "") -> Placed:
    return Placed(id=f"r{number}", host=where, physical_network=needs)


@pytest.mark.parametrize(
    ("routers", "living", "moved"),
    [
        ([placed(1, "a")], [host("a", 14), host("b")], {}),
        ([placed(1, "a")], [host("a", 16), host("b")], {"r1": "b"}),
        ([placed(1, "a")], [host("a", 16)], {}),
        ([placed(1)], [host("a", is_gateway=False), host("b")], {"r1": "b"}),
        ([placed(1, "a")], [host("a", admin_state_up=False), host("b")], {"r1": "b"}),
        ([placed(n) for n in range(4)], [host("a"), host("b")],
         {"r0": "a", "r1": "b", "r2": "a", "r3": "b"}),
        ([placed(1, "a"), placed(2)], [host("a"), host("b")], {"r2": "b"}),
        ([placed(1, needs="lan")], [host("a"), host("b", physical_networks=["lan"])], {"r1": "b"}),
        ([placed(1, needs="lan")], [host("a")], {}),
    ],
)  # fmt: skip
def test_where_routers_go(
    routers: list[Placed], living: list[HostRow], moved: dict[str, str]
) -> None:
    found = moves(routers, living, now=100, down_after_s=15)
    assert {router.id: chosen for router, chosen in found} == moved


MARK = Hint(things={"mark"})


class Listener:
    """Takes hints, and can wait for what was told so far."""

    def __init__(self) -> None:
        self._heard: queue.Queue[Hint] = queue.Queue()
        self.hints = Hints(self._heard.put)
        self.hints.start()

    def so_far(self) -> list[Hint]:
        """What was heard since the last time; there is something."""
        heard = [self._heard.get(timeout=10)]
        while not self._heard.empty():
            heard.append(self._heard.get())
        return heard

    def settle(self) -> None:
        """Everything that was told has been heard."""
        self.hints.changed(MARK)
        while self._heard.get(timeout=10) != MARK:
            self.hints.changed(MARK)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.hints.stop()


def test_hosts_are_told_whom_a_change_may_concern(tmp_path: Path, listener: Listener) -> None:
    with network_cloud(tmp_path, hints=listener.hints) as cloud:
        network_id = cloud.network()
        listener.settle()
        port = boot(cloud, network_id, "lab1")
        (hint,) = listener.so_far()
        assert set(hint.things) == {network_id, *port["security_groups"]}
        assert hint.origin == "lab1"
        (group_id,) = port["security_groups"]
        cloud.make("security_group_rule", security_group_id=group_id, direction="ingress",
                   protocol="tcp", port_range_min=22, port_range_max=22)  # fmt: skip
        assert listener.so_far() == [Hint()]
        cloud.ask("GET", "/ports", 200)
        cloud.refused("DELETE", "/ports/" + group_id, 404, "PortNotFound")
        boot(cloud, network_id, "lab2")
        (hint,) = listener.so_far()
        assert hint.origin == "lab2", "neither a question nor a refusal is a change"


def test_changes_close_together_make_one_hint() -> None:
    one, two = Hint(things={"a"}, origin="x"), Hint(things={"b"}, origin="x")
    assert one.and_also(two) == Hint(things={"a", "b"}, origin="x")
    assert one.and_also(Hint(things={"b"}, origin="y")).origin == ""
    assert one.and_also(Hint()) == Hint()
