"""Routers, their interfaces and gateways, floating IPs and port forwardings over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from network import NetworkCloud, network_cloud
from tokens import DEMO

from minicloud.network import router_store

NOWHERE = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def cloud(database_url: str) -> Iterator[NetworkCloud]:
    with network_cloud(Path(), url=database_url) as cloud:
        yield cloud


class World:
    """An external network, a tenant's network, and a router between them."""

    def __init__(self, cloud: NetworkCloud) -> None:
        self.cloud = cloud
        self.public = cloud.network(
            "172.24.4.0/24", token="admin", **{"router:external": True, "shared": False}
        )
        self.private = cloud.network("10.0.0.0/26")
        self.subnet = cloud.show("network", self.private)["subnets"][0]
        self.router = cloud.make(
            "router", name="r", external_gateway_info={"network_id": self.public}
        )["id"]
        self.connected = self.connect(subnet_id=self.subnet)

    def put(self, path: str, status: int = 200, token: str = "demo", **body: Any) -> Any:
        return self.cloud.ask("PUT", path, status, token, json=body)

    def connect(self, status: int = 200, router: str = "", **body: str) -> Any:
        path = f"/routers/{router or self.router}/add_router_interface"
        return self.put(path, status, **body)

    def disconnect(self, status: int = 200, **body: str) -> Any:
        return self.put(f"/routers/{self.router}/remove_router_interface", status, **body)

    def floating(self, **values: Any) -> dict[str, Any]:
        return self.cloud.make("floatingip", floating_network_id=self.public, **values)

    def port(self, **values: Any) -> dict[str, Any]:
        return self.cloud.make("port", network_id=self.private, **values)


@pytest.fixture
def world(cloud: NetworkCloud) -> World:
    return World(cloud)


def kind(answer: Any) -> str:
    name: str = answer["NeutronError"]["type"]
    return name


def test_a_router_has_a_gateway_and_interfaces(world: World) -> None:
    cloud = world.cloud
    router = cloud.show("router", world.router)
    info = router["external_gateway_info"]
    assert info["network_id"] == world.public
    assert info["enable_snat"] is True
    assert info["external_fixed_ips"][0]["ip_address"].startswith("172.24.4.")
    assert router["status"] == "ACTIVE"
    assert world.connected == {
        "id": world.router,
        "tenant_id": DEMO,
        "project_id": DEMO,
        "port_id": world.connected["port_id"],
        "network_id": world.private,
        "subnet_id": world.subnet,
        "subnet_ids": [world.subnet],
    }
    inside = cloud.show("port", world.connected["port_id"])
    assert inside["fixed_ips"] == [{"subnet_id": world.subnet, "ip_address": "10.0.0.1"}]
    assert (inside["device_owner"], inside["device_id"]) == (
        "network:router_interface",
        world.router,
    )
    outside = cloud.ask("GET", "/ports?device_owner=network:router_gateway", 200, "admin")["ports"]
    assert [port["device_id"] for port in outside] == [world.router]
    assert outside[0]["project_id"] == ""
    assert cloud.ask("GET", "/ports?device_owner=network:router_gateway", 200)["ports"] == []
    for port in (inside, outside[0]):
        cloud.refused("DELETE", f"/ports/{port['id']}", 409, "ServicePortInUse", token="admin")
    cloud.refused("DELETE", f"/routers/{world.router}", 409, "RouterInUse")
    cloud.refused("DELETE", f"/subnets/{world.subnet}", 409, "SubnetInUse")
    cloud.refused("DELETE", f"/networks/{world.private}", 409, "NetworkInUse")
    cloud.refused("DELETE", f"/networks/{world.public}", 409, "NetworkInUse", token="admin")
    world.disconnect(subnet_id=world.subnet)
    cloud.refused("GET", f"/ports/{inside['id']}", 404, "PortNotFound")
    cloud.ask("DELETE", f"/routers/{world.router}", 204)
    assert cloud.ask("GET", "/ports", 200, "admin")["ports"] == []


def test_the_gateway_can_be_changed_and_cleared(world: World) -> None:
    cloud, path = world.cloud, f"/routers/{world.router}"

    def gateway(token: str = "admin", status: int = 200, **info: Any) -> Any:
        return world.put(path, status, token, router={"external_gateway_info": info})

    info = gateway(network_id=world.public, enable_snat=False)["router"]["external_gateway_info"]
    assert info["enable_snat"] is False
    wanted = [{"ip_address": "172.24.4.77"}]
    info = gateway(network_id=world.public, external_fixed_ips=wanted)["router"]
    assert info["external_gateway_info"]["external_fixed_ips"][0]["ip_address"] == "172.24.4.77"
    assert info["external_gateway_info"]["enable_snat"] is True
    assert kind(gateway("demo", 403, network_id=world.public, enable_snat=False)) == (
        "PolicyNotAuthorized"
    )
    assert kind(gateway(status=400, network_id=world.private)) == "BadRequest"
    assert kind(gateway(status=404, network_id=NOWHERE)) == "NetworkNotFound"
    assert kind(gateway(status=400, enable_snat=True)) == "HTTPBadRequest"
    assert world.put(path, router={"external_gateway_info": None})["router"][
        "external_gateway_info"
    ] is None  # fmt: skip
    owners = {port["device_owner"] for port in cloud.ask("GET", "/ports", 200, "admin")["ports"]}
    assert "network:router_gateway" not in owners
    empty = cloud.make("network", "admin", **{"router:external": True})["id"]
    assert kind(gateway(status=400, network_id=empty)) == "BadRequest"


def test_interfaces_that_make_no_sense_are_refused(world: World) -> None:
    cloud = world.cloud
    assert kind(world.connect(400, subnet_id=world.subnet)) == "BadRequest"
    assert kind(world.connect(400)) == "BadRequest"
    assert kind(world.connect(400, subnet_id=world.subnet, port_id=NOWHERE)) == "BadRequest"
    assert kind(world.connect(404, subnet_id=NOWHERE)) == "SubnetNotFound"
    assert kind(world.connect(404, port_id=NOWHERE)) == "PortNotFound"
    overlapping = cloud.show("network", cloud.network("10.0.0.0/24"))["subnets"][0]
    assert kind(world.connect(400, subnet_id=overlapping)) == "BadRequest"
    closed = cloud.make("network")["id"]
    none = cloud.make("subnet", network_id=closed, cidr="10.7.0.0/24", gateway_ip=None)["id"]
    assert kind(world.connect(400, subnet_id=none)) == "BadRequest"
    used = world.port(device_id="a-server")
    assert kind(world.connect(409, port_id=used["id"])) == "PortInUse"
    bare = world.port(fixed_ips=[])
    assert kind(world.connect(400, port_id=bare["id"])) == "BadRequest"
    other = cloud.make("router")["id"]
    assert kind(world.connect(409, other, subnet_id=world.subnet)) == "IpAddressAlreadyAllocated"
    through = world.port()
    assert world.connect(router=other, port_id=through["id"])["subnet_ids"] == [world.subnet]
    assert cloud.show("port", through["id"])["security_groups"] == []
    assert kind(world.disconnect(404, port_id=through["id"])) == "RouterInterfaceNotFound"
    assert kind(world.disconnect(404, subnet_id=NOWHERE)) == "RouterInterfaceNotFoundForSubnet"
    answer = world.disconnect(400, subnet_id=overlapping, port_id=world.connected["port_id"])
    assert kind(answer) == "SubnetMismatchForPort"
    path = f"/routers/{world.router}/add_router_interface"
    cloud.refused("PUT", path, 404, "RouterNotFound", token="alt", json={"subnet_id": NOWHERE})


def test_extra_routes_lead_to_neighbours(world: World) -> None:
    cloud, path = world.cloud, f"/routers/{world.router}"
    first = {"destination": "192.0.2.0/24", "nexthop": "10.0.0.9"}
    second = {"destination": "198.51.100.0/24", "nexthop": "10.0.0.10"}
    assert world.put(path, router={"routes": [first]})["router"]["routes"] == [first]
    added = world.put(path + "/add_extraroutes", router={"routes": [second, first]})
    assert added["router"]["routes"] == [first, second]
    assert kind(world.disconnect(409, subnet_id=world.subnet)) == "RouterInterfaceInUseByRoute"
    left = world.put(path + "/remove_extraroutes", router={"routes": [first]})["router"]["routes"]
    assert left == [second]
    for route in (
        {"destination": "192.0.2.0/24", "nexthop": "10.9.0.9"},
        {"destination": "192.0.2.0/24", "nexthop": "10.0.0.1"},
    ):
        cloud.refused("PUT", path, 400, "InvalidRoutes", json={"router": {"routes": [route]}})
    bad = {"destination": "192.0.2.0/24", "nexthop": "fd00::1"}
    cloud.refused("PUT", path, 400, "InvalidInput", json={"router": {"routes": [bad]}})
    twice = {"router": {"routes": [first, first]}}
    cloud.refused("PUT", path, 400, "HTTPBadRequest", json=twice)
    many = [{"destination": f"192.0.{n}.0/24", "nexthop": "10.0.0.9"} for n in range(31)]
    cloud.refused("PUT", path, 400, "RoutesExhausted", json={"router": {"routes": many}})


def test_a_floating_ip_leads_to_a_port(world: World) -> None:
    cloud, port = world.cloud, world.port()
    floating = world.floating(description="web")
    assert floating["status"] == "DOWN"
    assert floating["floating_ip_address"].startswith("172.24.4.")
    assert floating["port_id"] is floating["fixed_ip_address"] is floating["router_id"] is None
    path = f"/floatingips/{floating['id']}"
    changed = world.put(path, floatingip={"port_id": port["id"]})["floatingip"]
    assert changed["status"] == "ACTIVE"
    assert changed["router_id"] == world.router
    assert changed["fixed_ip_address"] == port["fixed_ips"][0]["ip_address"]
    assert changed["port_details"]["mac_address"] == port["mac_address"]
    body = {"floatingip": {"floating_network_id": world.public, "port_id": port["id"]}}
    cloud.refused("POST", "/floatingips", 409, "FloatingIPPortAlreadyAssociated", json=body)
    answer = world.disconnect(409, subnet_id=world.subnet)
    assert kind(answer) == "RouterInterfaceInUseByFloatingIP"
    body = {"router": {"external_gateway_info": {}}}
    cloud.refused("PUT", f"/routers/{world.router}", 409,
                  "RouterExternalGatewayInUseByFloatingIp", json=body)  # fmt: skip
    found = cloud.ask("GET", f"/floatingips?floating_ip_address={floating['floating_ip_address']}"
                      f"&port_id={port['id']}&status=ACTIVE", 200)["floatingips"]  # fmt: skip
    assert [each["id"] for each in found] == [floating["id"]]
    assert cloud.ask("GET", "/floatingips", 200, "alt")["floatingips"] == []
    cloud.refused("GET", path, 404, "FloatingIPNotFound", token="alt")
    released = world.put(path, floatingip={"port_id": None})["floatingip"]
    assert (released["status"], released["port_id"]) == ("DOWN", None)
    world.put(path, floatingip={"port_id": port["id"]})
    cloud.ask("DELETE", f"/ports/{port['id']}", 204)
    assert cloud.show("floatingip", floating["id"])["router_id"] is None
    cloud.ask("DELETE", path, 204)
    owners = {each["device_owner"] for each in cloud.ask("GET", "/ports", 200, "admin")["ports"]}
    assert "network:floatingip" not in owners


def test_a_floating_ip_follows_its_ports_address(world: World) -> None:
    port = world.port(fixed_ips=[{"ip_address": "10.0.0.9"}, {"ip_address": "10.0.0.10"}])
    body = {"floating_network_id": world.public, "port_id": port["id"]}
    world.cloud.refused("POST", "/floatingips", 400, "BadRequest", json={"floatingip": body})
    floating = world.floating(port_id=port["id"], fixed_ip_address="10.0.0.10")
    world.put(f"/ports/{port['id']}", port={"fixed_ips": [{"ip_address": "10.0.0.10"}]})
    assert world.cloud.show("floatingip", floating["id"])["port_id"] == port["id"]
    world.put(f"/ports/{port['id']}", port={"fixed_ips": [{"ip_address": "10.0.0.11"}]})
    assert world.cloud.show("floatingip", floating["id"])["port_id"] is None


def test_floating_ips_that_make_no_sense_are_refused(world: World) -> None:
    cloud = world.cloud

    def refused(status: int, kind: str, token: str = "demo", **values: Any) -> None:
        body = {"floatingip": {"floating_network_id": world.public, **values}}
        cloud.refused("POST", "/floatingips", status, kind, token=token, json=body)

    refused(400, "BadRequest", floating_network_id=world.private)
    refused(404, "NetworkNotFound", floating_network_id=NOWHERE)
    refused(404, "PortNotFound", port_id=NOWHERE)
    (outside,) = cloud.show("router", world.router)["external_gateway_info"]["external_fixed_ips"]
    free = next(each for each in ("172.24.4.9", "172.24.4.10") if each != outside["ip_address"])
    refused(403, "PolicyNotAuthorized", floating_ip_address=free)
    apart = cloud.make("port", network_id=cloud.network("10.5.0.0/24"))
    refused(404, "ExternalGatewayForFloatingIPNotFound", port_id=apart["id"])
    refused(400, "BadRequest", port_id=world.port(fixed_ips=[])["id"])
    inside = world.port(fixed_ips=[{"ip_address": "10.0.0.50"}])
    refused(400, "BadRequest", port_id=inside["id"], fixed_ip_address="10.0.0.60")
    wish = {"floating_network_id": world.public, "floating_ip_address": free}
    made = cloud.make("floatingip", "admin", **wish)
    assert made["floating_ip_address"] == free
    refused(409, "IpAddressAlreadyAllocated", "admin", floating_ip_address=free)


def test_single_ports_are_forwarded(world: World) -> None:
    cloud, port, floating = world.cloud, world.port(), world.floating()
    path = f"/floatingips/{floating['id']}/port_forwardings"

    def forward(status: int = 201, **values: Any) -> Any:
        wanted = {"internal_port_id": port["id"], "protocol": "tcp", **values}
        return cloud.ask("POST", path, status, json={"port_forwarding": wanted})

    made = forward(internal_port=22, external_port=2222, description="ssh")["port_forwarding"]
    assert made["internal_ip_address"] == port["fixed_ips"][0]["ip_address"]
    assert (made["external_port"], made["external_port_range"]) == (2222, "2222")
    ranges = {"internal_port_range": "80:89", "external_port_range": "8080:8089"}
    wide = forward(**ranges)["port_forwarding"]
    assert "external_port" not in wide
    forward(protocol="udp", internal_port=53, external_port=2222)
    shown = cloud.show("floatingip", floating["id"])
    assert shown["router_id"] == world.router
    assert len(shown["port_forwardings"]) == 3
    assert kind(forward(409, internal_port=1, external_port=8085)) == (
        "FloatingIPPortForwardingExternalPortInUse"
    )
    assert kind(forward(400, internal_port_range="1:2", external_port_range="1:3")) == "BadRequest"
    assert kind(forward(400, internal_port=5)) == "BadRequest"
    assert kind(forward(404, internal_port_id=NOWHERE, internal_port=1, external_port=1)) == (
        "PortNotFound"
    )
    body = {"floatingip": {"port_id": port["id"]}}
    cloud.refused("PUT", f"/floatingips/{floating['id']}", 409,
                  "FloatingIPInUseByPortForwarding", json=body)  # fmt: skip
    assert kind(world.disconnect(409, subnet_id=world.subnet)) == "RouterInterfaceInUseByFloatingIP"
    one = f"{path}/{made['id']}"
    changed = world.put(one, port_forwarding={"external_port": 2223})["port_forwarding"]
    assert (changed["external_port"], changed["internal_port"]) == (2223, 22)
    found = cloud.ask("GET", f"{path}?external_port=2223&fields=id", 200)["port_forwardings"]
    assert found == [{"id": made["id"]}]
    cloud.ask("DELETE", one, 204)
    cloud.refused("GET", one, 404, "PortForwardingNotFound")
    cloud.ask("DELETE", f"/ports/{port['id']}", 204)
    shown = cloud.show("floatingip", floating["id"])
    assert (shown["router_id"], shown["port_forwardings"]) == (None, [])


def test_all_of_a_router_is_read_at_once(world: World) -> None:
    port = world.port()
    floating = world.floating(port_id=port["id"])
    with world.cloud.database.read() as tx:
        assert router_store.router_ids_on_networks(tx, [world.private]) == [world.router]
        assert router_store.router_ids_of_host(tx, "lab1") == []
        (routed,) = router_store.routed(tx, [world.router])
    assert [each.id for each in routed.interfaces] == [world.connected["port_id"]]
    assert routed.gateway is not None
    assert routed.gateway.network_id == world.public
    assert [each.id for each in routed.floating_ips] == [floating["id"]]
    assert routed.forwardings == []
