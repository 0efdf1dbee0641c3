"""IPv6 subnets over HTTP: modes, addresses that follow from the MAC, routers with both versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from network import NetworkCloud, network_cloud

SLAAC = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
STATEFUL = {"ipv6_ra_mode": "dhcpv6-stateful", "ipv6_address_mode": "dhcpv6-stateful"}
MAC = "fa:16:3e:00:00:01"
EUI = "f816:3eff:fe00:1"


@pytest.fixture
def cloud(database_url: str) -> Iterator[NetworkCloud]:
    with network_cloud(Path(), url=database_url) as cloud:
        yield cloud


def subnet(cloud: NetworkCloud, network_id: str, cidr: str, **values: Any) -> dict[str, Any]:
    return cloud.make("subnet", network_id=network_id, ip_version=6, cidr=cidr, **values)


def addresses(port: dict[str, Any]) -> list[str]:
    return [fixed["ip_address"] for fixed in port["fixed_ips"]]


def test_a_subnet_has_sensible_defaults(cloud: NetworkCloud) -> None:
    network_id = cloud.make("network")["id"]
    routes = [{"destination": "fd01::/48", "nexthop": "fd00:1::9"}]
    made = subnet(
        cloud, network_id, "FD00:1::5/64", dns_nameservers=["FD00::53"], host_routes=routes
    )
    assert made["cidr"] == "fd00:1::/64"
    assert made["gateway_ip"] == "fd00:1::1"
    assert made["allocation_pools"] == [
        {"start": "fd00:1::2", "end": "fd00:1::ffff:ffff:ffff:ffff"}
    ]
    assert made["dns_nameservers"] == ["fd00::53"]
    assert (made["ip_version"], made["ipv6_ra_mode"], made["ipv6_address_mode"]) == (6, None, None)
    found = cloud.ask("GET", "/subnets?ip_version=6&ipv6_ra_mode=", 200)["subnets"]
    assert [each["id"] for each in found] == [made["id"]]
    outside = subnet(cloud, network_id, "fd00:2::/64", gateway_ip="fe80::1")
    assert outside["gateway_ip"] == "fe80::1"


def test_a_port_gets_an_address_of_each_version(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    stateful = subnet(cloud, network_id, "fd00::/64", **STATEFUL)
    slaac = subnet(cloud, network_id, "fd00:1::/64", **SLAAC)
    port = cloud.make("port", network_id=network_id, mac_address=MAC)
    four, managed, own = addresses(port)
    assert four.startswith("10.0.0.")
    assert managed.startswith("fd00::")
    assert own == f"fd00:1::{EUI}"
    asked = cloud.make("port", network_id=network_id, fixed_ips=[{"subnet_id": stateful["id"]}])
    assert [fixed["subnet_id"] for fixed in asked["fixed_ips"]] == [stateful["id"], slaac["id"]]
    wish = {"subnet_id": slaac["id"], "ip_address": "fd00:1::9"}
    body = {"port": {"network_id": network_id, "fixed_ips": [wish]}}
    cloud.refused("POST", "/ports", 400, "AllocationOnAutoAddressSubnet", json=body)
    same = {"port": {"fixed_ips": port["fixed_ips"]}}
    kept = cloud.ask("PUT", f"/ports/{port['id']}", 200, json=same)["port"]
    assert addresses(kept) == addresses(port)
    moved = cloud.ask("PUT", f"/ports/{port['id']}", 200,
                      json={"port": {"mac_address": "fa:16:3e:00:00:02"}})["port"]  # fmt: skip
    assert addresses(moved) == [four, managed, "fd00:1::f816:3eff:fe00:2"]
    found = cloud.ask("GET", f"/ports?fixed_ips=ip_address={managed}", 200)["ports"]
    assert [each["id"] for each in found] == [port["id"]]


def test_ports_that_are_there_get_an_address_of_a_new_slaac_subnet(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    port = cloud.make("port", network_id=network_id, mac_address=MAC)
    made = subnet(cloud, network_id, "fd00::/64", **SLAAC)
    assert addresses(cloud.show("port", port["id"]))[1] == f"fd00::{EUI}"
    cloud.ask("DELETE", f"/subnets/{made['id']}", 204)
    assert addresses(cloud.show("port", port["id"])) == addresses(port)


def test_modes_that_make_no_sense_are_refused(cloud: NetworkCloud) -> None:
    network_id = cloud.make("network")["id"]

    def refused(**values: Any) -> None:
        body = {"subnet": {"network_id": network_id, "ip_version": 6, "cidr": "fd00::/64"} | values}
        kinds = ("InvalidInput", "HTTPBadRequest", "OutOfBoundsAllocationPool")
        assert cloud.ask("POST", "/subnets", 400, json=body)["NeutronError"]["type"] in kinds

    refused(ipv6_ra_mode="slaac", ipv6_address_mode="dhcpv6-stateful")
    refused(cidr="fd00::/80", **SLAAC)
    refused(enable_dhcp=False, **SLAAC)
    refused(ipv6_ra_mode="sometimes")
    refused(cidr="10.0.0.0/24", ip_version=4, **SLAAC)
    refused(cidr="10.0.0.0/24")
    refused(cidr="fd00::/64", ip_version=4)
    refused(cidr="::/64")
    refused(host_routes=[{"destination": "10.0.0.0/8", "nexthop": "fd00::1"}])
    refused(allocation_pools=[{"start": "10.0.0.1", "end": "10.0.0.9"}])


def test_a_routers_ipv6_subnets_share_a_port(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    four = cloud.show("network", network_id)["subnets"][0]
    first = subnet(cloud, network_id, "fd00::/64", **SLAAC)["id"]
    second = subnet(cloud, network_id, "fd00:1::/64", **STATEFUL)["id"]
    outside = subnet(cloud, network_id, "fd00:2::/64", ipv6_address_mode="slaac")["id"]
    path = f"/routers/{cloud.make('router')['id']}"
    ports = [
        cloud.ask("PUT", path + "/add_router_interface", 200, json={"subnet_id": name})["port_id"]
        for name in (four, first, second)
    ]
    assert ports[0] != ports[1] == ports[2]
    assert addresses(cloud.show("port", ports[1])) == ["fd00::1", "fd00:1::1"]
    body = {"subnet_id": outside}
    cloud.refused("PUT", path + "/add_router_interface", 400, "BadRequest", json=body)
    cloud.refused("DELETE", f"/subnets/{first}", 409, "SubnetInUse")
    for name in (first, second):
        cloud.ask("PUT", path + "/remove_router_interface", 200, json={"subnet_id": name})
    cloud.refused("GET", f"/ports/{ports[1]}", 404, "PortNotFound")
