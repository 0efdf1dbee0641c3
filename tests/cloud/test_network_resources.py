"""Networks, subnets, ports and their bindings over HTTP, as clients and compute use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from network import NetworkCloud, network_cloud
from tokens import ALT, DEMO

from minicloud.hostnet.wiring import HostWiring, NetworkWiring, PortWiring

MAC = "fa:16:3e:00:00:77"
SERVER = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[NetworkCloud]:
    with network_cloud(tmp_path) as cloud:
        yield cloud


def bound(cloud: NetworkCloud, network_id: str, host: str = "lab1", **more: Any) -> dict[str, Any]:
    values = {
        "project_id": DEMO,
        "device_id": SERVER,
        "device_owner": "compute:nova",
        "binding:host_id": host,
        **more,
    }
    return cloud.make("port", "service", network_id=network_id, **values)


def as_json(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def test_versions_and_extensions(cloud: NetworkCloud) -> None:
    root = requests.get(cloud.url + "/", timeout=10).json()
    assert root["versions"][0]["links"][0]["href"] == cloud.url + "/v2.0/"
    assert requests.get(cloud.url + "/v2.0/", timeout=10).json()["resources"]
    aliases = {each["alias"] for each in cloud.ask("GET", "/extensions", 200)["extensions"]}
    assert "security-group" in aliases
    assert "l3-ha" not in aliases
    cloud.refused("GET", "/extensions/l3-ha", 404, "ExtensionNotFound")
    cloud.refused("GET", "/vpnservices", 404, "HTTPNotFound")
    answer = requests.get(cloud.url + "/v2.0/networks", timeout=10)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == 401
    assert answer.headers["X-Openstack-Request-Id"].startswith("req-")


def test_a_subnet_has_sensible_defaults(cloud: NetworkCloud) -> None:
    network = cloud.make("network", name="private")
    subnet = cloud.make("subnet", network_id=network["id"], cidr="10.0.0.5/26", ip_version=4)
    assert subnet["cidr"] == "10.0.0.0/26"
    assert subnet["gateway_ip"] == "10.0.0.1"
    assert subnet["allocation_pools"] == [{"start": "10.0.0.2", "end": "10.0.0.62"}]
    assert subnet["enable_dhcp"] is True
    assert subnet["tenant_id"] == subnet["project_id"] == DEMO
    assert cloud.show("network", network["id"])["subnets"] == [subnet["id"]]


def test_the_installers_networks_can_be_made(cloud: NetworkCloud) -> None:
    public = cloud.make("network", "admin", **{"name": "public", "router:external": True,
                                               "shared": True, "admin_state_up": True})  # fmt: skip
    assert public["router:external"] is True
    assert public["is_default"] is False
    made = cloud.make("subnet", "admin", network_id=public["id"], cidr="172.24.4.0/24",
                      ip_version=4, enable_dhcp=False, name="public-subnet")  # fmt: skip
    assert made["enable_dhcp"] is False
    private = cloud.make("network", "admin", name="private", project_id=DEMO)
    subnet = cloud.make("subnet", "admin", network_id=private["id"], cidr="10.0.0.0/26",
                        ip_version=4, project_id=DEMO)  # fmt: skip
    assert subnet["project_id"] == DEMO
    names = {each["name"] for each in cloud.ask("GET", "/networks", 200)["networks"]}
    assert names == {"public", "private"}
    assert cloud.ask("GET", "/networks", 200, "alt")["networks"][0]["name"] == "public"


def test_what_is_invisible_is_404_and_what_is_not_ones_own_is_403(cloud: NetworkCloud) -> None:
    mine = cloud.network()
    cloud.refused("GET", f"/networks/{mine}", 404, "NetworkNotFound", token="alt")
    cloud.refused("DELETE", f"/networks/{mine}", 404, "NetworkNotFound", token="alt")
    cloud.refused("GET", "/networks/private", 404, "NetworkNotFound")
    shared = cloud.network("10.9.0.0/24", token="admin", shared=True)
    body = {"network": {"name": "x"}}
    cloud.refused("PUT", f"/networks/{shared}", 403, "PolicyNotAuthorized", json=body)
    cloud.refused("DELETE", f"/networks/{shared}", 403, "PolicyNotAuthorized")
    cloud.refused("POST", "/networks", 403, "PolicyNotAuthorized", token="reader", json=body)
    for attribute in ("shared", "router:external"):
        body = {"network": {attribute: True}}
        cloud.refused("POST", "/networks", 403, "PolicyNotAuthorized", json=body)
        cloud.refused("PUT", f"/networks/{mine}", 403, "PolicyNotAuthorized", json=body)
    body = {"network": {"name": "x", "project_id": ALT}}
    cloud.refused("POST", "/networks", 403, "PolicyNotAuthorized", json=body)
    cloud.ask("POST", "/networks", 201, json={"network": {"shared": False}})


def test_updates_count_revisions(cloud: NetworkCloud) -> None:
    network = cloud.make("network", name="a")
    changed = cloud.ask("PUT", f"/networks/{network['id']}", 200,
                        json={"network": {"name": "b", "mtu": 1400}})["network"]  # fmt: skip
    assert (changed["name"], changed["mtu"]) == ("b", 1400)
    assert changed["revision_number"] == network["revision_number"] + 1
    body = {"network": {"provider:segmentation_id": 5}}
    cloud.refused("PUT", f"/networks/{network['id']}", 400, "HTTPBadRequest", json=body)


def test_bulk_creates_all_or_nothing(cloud: NetworkCloud) -> None:
    body = {"networks": [{"name": "a"}, {"name": "b"}]}
    assert len(cloud.ask("POST", "/networks", 201, json=body)["networks"]) == 2
    network_id = cloud.network("10.0.0.0/29")
    many = {"ports": [{"network_id": network_id}] * 6}
    cloud.refused("POST", "/ports", 409, "IpAddressGenerationFailure", json=many)
    assert cloud.ask("GET", "/ports", 200)["ports"] == []
    cloud.ask("POST", "/ports", 201, json={"ports": [{"network_id": network_id}] * 5})
    cloud.refused("POST", "/ports", 400, "HTTPBadRequest", json={"port": {}, "ports": []})


def test_a_port_takes_the_address_it_asks_for(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    subnet_id = cloud.show("network", network_id)["subnets"][0]
    port = cloud.make("port", network_id=network_id, mac_address="FA:16:3E:00:00:01",
                      fixed_ips=[{"ip_address": "10.0.0.9"}])  # fmt: skip
    assert port["fixed_ips"] == [{"subnet_id": subnet_id, "ip_address": "10.0.0.9"}]
    assert port["mac_address"] == "fa:16:3e:00:00:01"

    def refused(status: int, kind: str, **values: Any) -> None:
        body = {"port": {"network_id": network_id, **values}}
        cloud.refused("POST", "/ports", status, kind, json=body)

    refused(409, "IpAddressAlreadyAllocated", fixed_ips=[{"ip_address": "10.0.0.9"}])
    refused(409, "IpAddressAlreadyAllocated", fixed_ips=[{"ip_address": "10.0.0.1"}])
    refused(409, "MacAddressInUse", mac_address="fa:16:3e:00:00:01")
    refused(400, "InvalidIpForNetwork", fixed_ips=[{"ip_address": "10.0.1.9"}])
    refused(400, "InvalidIpForSubnet",
            fixed_ips=[{"subnet_id": subnet_id, "ip_address": "10.0.0.63"}])  # fmt: skip
    refused(400, "InvalidInput", fixed_ips=[{"subnet_id": SERVER}])
    refused(400, "InvalidInput", mac_address="01:00:00:00:00:01")
    assert cloud.make("port", network_id=network_id, fixed_ips=[])["fixed_ips"] == []
    two = cloud.make("port", network_id=network_id, fixed_ips=[{"subnet_id": subnet_id}] * 2)
    assert len({fixed["ip_address"] for fixed in two["fixed_ips"]}) == 2


def test_an_update_keeps_addresses_that_stay(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    port = cloud.make("port", network_id=network_id)
    fixed = port["fixed_ips"][0]
    body = {"port": {"fixed_ips": [{"subnet_id": fixed["subnet_id"]}, {"ip_address": "10.0.0.50"}]}}
    if fixed["ip_address"] == "10.0.0.50":
        body["port"]["fixed_ips"][1]["ip_address"] = "10.0.0.51"
    changed = cloud.ask("PUT", f"/ports/{port['id']}", 200, json=body)["port"]
    assert changed["fixed_ips"][0] == fixed
    assert len(changed["fixed_ips"]) == 2


def test_binding_answers_all_that_compute_needs(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    cloud.refused("POST", "/ports", 403, "PolicyNotAuthorized",
                  json={"port": {"network_id": network_id, "binding:host_id": "lab1"}})  # fmt: skip
    assert "binding:host_id" not in cloud.make("port", network_id=network_id)
    port = bound(cloud, network_id, dns_name="web-1")
    assert port["project_id"] == DEMO
    assert port["status"] == "ACTIVE"
    assert port["binding:vif_type"] == "bridge"
    details = port["binding:vif_details"]
    assert details["tap"] == "tap" + port["id"][:11]
    assert details["bridge_name"] == "brm" + network_id[:11]
    network = msgspec.convert(details["wiring"]["network"], NetworkWiring)
    wired = msgspec.convert(details["wiring"]["port"], PortWiring)
    assert wired.hostname == "web-1"
    assert wired.fixed_ips == [
        (port["fixed_ips"][0]["subnet_id"], port["fixed_ips"][0]["ip_address"])
    ]
    dhcp = cloud.ask("GET", "/ports?device_owner=network:dhcp", 200)["ports"]
    assert [each["device_id"] for each in dhcp] == [f"dhcp-{network_id}"]
    assert network.subnets[0].dhcp_ip == dhcp[0]["fixed_ips"][0]["ip_address"]
    # The hosts read these very keys: a key of one side only would be lost silently.
    assert details["wiring"]["network"] == as_json(network)
    assert details["wiring"]["port"] == as_json(wired)


def test_a_users_own_port_can_be_bound_by_a_service_for_them(cloud: NetworkCloud) -> None:
    port = cloud.make("port", network_id=cloud.network())
    body = {"port": {"device_id": SERVER, "binding:host_id": "lab1"}}
    path = f"/ports/{port['id']}"
    cloud.refused("PUT", path, 403, "PolicyNotAuthorized", json=body)
    with_service = {"X-Service-Token": "service"}
    changed = cloud.ask("PUT", path, 200, json=body, headers=with_service)["port"]
    assert changed["binding:host_id"] == "lab1"
    other = {"port": {"device_id": "22222222-2222-4333-8444-555555555555"}}
    cloud.refused("PUT", path, 409, "PortInUse", json=other, headers=with_service)
    cloud.ask("PUT", path, 404, "alt", json=body, headers=with_service)
    free = {"port": {"device_id": "", "binding:host_id": ""}}
    assert cloud.ask("PUT", path, 200, json=free, headers=with_service)["port"]["status"] == "DOWN"


def test_a_host_asks_for_all_its_wiring(cloud: NetworkCloud) -> None:
    first, second = cloud.network(), cloud.network("10.1.0.0/24")
    here = [bound(cloud, first), bound(cloud, second), bound(cloud, first)]
    bound(cloud, first, "lab2")
    cloud.refused("GET", "/minicloud-host-wiring/lab1", 403, "PolicyNotAuthorized")
    raw = cloud.ask("GET", "/minicloud-host-wiring/lab1", 200, "service")["wiring"]
    wiring = msgspec.convert(raw, HostWiring)
    assert {port.id for port in wiring.ports} == {port["id"] for port in here}
    assert {network.id for network in wiring.networks} == {first, second}
    assert raw == as_json(wiring)
    empty = cloud.ask("GET", "/minicloud-host-wiring/nowhere", 200, "service")["wiring"]
    assert msgspec.convert(empty, HostWiring) == HostWiring()


def test_a_device_has_one_port_for_an_index(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    profile = {"binding:profile": {"minicloud_index": 0}}
    port = bound(cloud, network_id, **profile)
    values = {"network_id": network_id, "device_id": SERVER, "project_id": DEMO, **profile}
    cloud.refused("POST", "/ports", 409, "PortInUse", token="service", json={"port": values})
    body = {"port": {"device_id": "", "binding:profile": {}}}
    cloud.ask("PUT", f"/ports/{port['id']}", 200, "service", json=body)
    cloud.make("port", "service", **values)


def test_what_is_in_use_stays(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    subnet_id = cloud.show("network", network_id)["subnets"][0]
    port = bound(cloud, network_id)
    cloud.refused("DELETE", f"/networks/{network_id}", 409, "NetworkInUse")
    cloud.refused("DELETE", f"/subnets/{subnet_id}", 409, "SubnetInUse")
    dhcp = cloud.ask("GET", "/ports?device_owner=network:dhcp", 200)["ports"][0]
    cloud.refused("DELETE", f"/ports/{dhcp['id']}", 409, "ServicePortInUse")
    cloud.ask("DELETE", f"/ports/{port['id']}", 204)
    cloud.ask("DELETE", f"/networks/{network_id}", 204)
    assert cloud.ask("GET", "/ports", 200)["ports"] == []
    cloud.refused("GET", f"/subnets/{subnet_id}", 404, "SubnetNotFound")


def test_dhcp_can_be_turned_off_and_on(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    path = f"/subnets/{cloud.show('network', network_id)['subnets'][0]}"
    bound(cloud, network_id)
    for enabled, expected in ((False, 0), (True, 1)):
        cloud.ask("PUT", path, 200, json={"subnet": {"enable_dhcp": enabled}})
        dhcp = cloud.ask("GET", "/ports?device_owner=network:dhcp", 200)["ports"]
        assert len(dhcp) == expected


def test_subnets_that_make_no_sense_are_refused(cloud: NetworkCloud) -> None:
    network_id = cloud.network()

    def refused(status: int, kind: str, **values: Any) -> None:
        body = {"subnet": {"network_id": network_id, "ip_version": 4, **values}}
        cloud.refused("POST", "/subnets", status, kind, json=body)

    refused(400, "InvalidInput", cidr="10.0.0.32/27")
    refused(400, "InvalidInput", cidr="10.1.0.0/24", gateway_ip="10.2.0.1")
    refused(409, "GatewayConflictWithAllocationPools", cidr="10.1.0.0/24",
            allocation_pools=[{"start": "10.1.0.1", "end": "10.1.0.9"}])  # fmt: skip
    refused(400, "OutOfBoundsAllocationPool", cidr="10.1.0.0/24",
            allocation_pools=[{"start": "10.1.0.9", "end": "10.1.1.9"}])  # fmt: skip
    refused(400, "HTTPBadRequest", cidr="10.1.0.0/33")
    refused(400, "InvalidInput", cidr="fd00::/64")
    refused(404, "NetworkNotFound", network_id=SERVER, cidr="10.1.0.0/24")


def test_tags(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    path = f"/networks/{network_id}/tags"
    cloud.ask("PUT", path, 200, json={"tags": ["b", "a"]})
    cloud.ask("PUT", path + "/c", 201)
    assert cloud.ask("GET", path, 200) == {"tags": ["a", "b", "c"]}
    cloud.ask("DELETE", path + "/b", 204)
    cloud.ask("GET", path + "/a", 204)
    cloud.refused("GET", path + "/b", 404, "TagNotFound")
    for query, found in (("tags=a,c", 1), ("tags=a,b", 0), ("tags-any=a,b", 1), ("not-tags=a", 0)):
        assert len(cloud.ask("GET", f"/networks?{query}", 200)["networks"]) == found
    cloud.ask("DELETE", path, 204)
    assert cloud.show("network", network_id)["tags"] == []


def test_a_networks_dns_servers_reach_the_wiring(tmp_path: Path) -> None:
    with network_cloud(tmp_path, dns_servers=["192.0.2.1"]) as cloud:
        port = bound(cloud, cloud.network())
        subnet = port["binding:vif_details"]["wiring"]["network"]["subnets"][0]
        assert subnet["dns_nameservers"] == ["192.0.2.1"]
        assert cloud.ask("GET", "/subnets", 200)["subnets"][0]["dns_nameservers"] == []


def test_a_port_may_use_further_addresses(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    pairs = [{"ip_address": "10.0.0.0/28"}, {"ip_address": "FD00::1", "mac_address": MAC}]
    port = cloud.make("port", network_id=network_id, allowed_address_pairs=pairs)
    path = f"/ports/{port['id']}"
    assert port["allowed_address_pairs"] == [
        {"ip_address": "10.0.0.0/28", "mac_address": port["mac_address"]},
        {"ip_address": "fd00::1", "mac_address": MAC},
    ]

    def refused(status: int, kind: str, **values: Any) -> None:
        cloud.refused("PUT", path, status, kind, json={"port": values})

    refused(409, "AddressPairAndPortSecurityRequired", port_security_enabled=False,
            security_groups=[])  # fmt: skip
    refused(400, "DuplicateAddressPairInRequest", allowed_address_pairs=[pairs[0]] * 2)
    refused(400, "AllowedAddressPairExhausted",
            allowed_address_pairs=[{"ip_address": f"10.1.0.{n}"} for n in range(11)])  # fmt: skip
    refused(400, "HTTPBadRequest", allowed_address_pairs=[{"ip_address": "x"}])
    refused(400, "HTTPBadRequest", allowed_address_pairs=[{"mac_address": MAC}])
    bare = {"port_security_enabled": False, "security_groups": [], "allowed_address_pairs": []}
    assert cloud.ask("PUT", path, 200, json={"port": bare})["port"]["allowed_address_pairs"] == []


def test_a_port_has_dhcp_options_of_its_own(cloud: NetworkCloud) -> None:
    boot = {"opt_name": "bootfile-name", "opt_value": "pxelinux.0"}
    server = {"opt_name": "tftp-server", "opt_value": "192.0.2.1", "ip_version": 4}
    port = cloud.make("port", network_id=cloud.network(), extra_dhcp_opts=[boot, server])
    path = f"/ports/{port['id']}"
    assert port["extra_dhcp_opts"] == [{**boot, "ip_version": 4}, server]
    changes = [{"opt_name": "tftp-server", "opt_value": None}, {**boot, "opt_value": "other.0"}]
    body = {"port": {"extra_dhcp_opts": changes}}
    changed = cloud.ask("PUT", path, 200, json=body)["port"]["extra_dhcp_opts"]
    assert changed == [{**boot, "opt_value": "other.0", "ip_version": 4}]
    body = {"port": {"extra_dhcp_opts": [boot, boot]}}
    cloud.refused("PUT", path, 400, "HTTPBadRequest", json=body)


def test_nobody_makes_a_routers_port_by_hand(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    for owner in ("router_interface", "router_gateway", "floatingip", "dhcp"):
        body = {"port": {"network_id": network_id, "device_id": SERVER,
                         "device_owner": f"network:{owner}"}}  # fmt: skip
        cloud.refused("POST", "/ports", 400, "InvalidInput", json=body)
    subnet_id = cloud.show("network", network_id)["subnets"][0]
    path = f"/routers/{cloud.make('router')['id']}/add_router_interface"
    port_id = cloud.ask("PUT", path, 200, json={"subnet_id": subnet_id})["port_id"]
    for values in ({"device_id": ""}, {"device_owner": ""}, {"fixed_ips": []},
                   {"mac_address": "fa:16:3e:00:00:09"}):  # fmt: skip
        body = {"port": values}
        cloud.refused("PUT", f"/ports/{port_id}", 409, "ServicePortInUse", json=body)
    cloud.ask("PUT", f"/ports/{port_id}", 200, json={"port": {"name": "inside"}})


def test_a_bound_port_keeps_its_mac(cloud: NetworkCloud) -> None:
    port = bound(cloud, cloud.network())
    body = {"port": {"mac_address": MAC}}
    cloud.refused("PUT", f"/ports/{port['id']}", 409, "PortBound", json=body)


def test_resources_are_made_with_tags(cloud: NetworkCloud) -> None:
    network_id = cloud.network(tags=["b", "a"])
    assert cloud.show("network", network_id)["tags"] == ["a", "b"]
    body = {"ports": [{"network_id": network_id, "tags": [name]} for name in ("x", "y")]}
    made = cloud.ask("POST", "/ports", 201, json=body)["ports"]
    assert [port["tags"] for port in made] == [["x"], ["y"]]
    for noun in ("router", "security_group"):
        assert cloud.make(noun, tags=["t"])["tags"] == ["t"]
