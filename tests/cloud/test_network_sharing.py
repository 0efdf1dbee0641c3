"""What projects share, and the prefixes and addresses that many use: policies, scopes, pools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from network import NetworkCloud, network_cloud
from tokens import ALT, DEMO

NOWHERE = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def cloud(database_url: str) -> Iterator[NetworkCloud]:
    with network_cloud(Path(), url=database_url) as cloud:
        yield cloud


def policy(cloud: NetworkCloud, object_id: str, token: str = "demo", **values: str) -> str:
    wanted = {
        "object_type": "network",
        "action": "access_as_shared",
        "target_tenant": ALT,
        "object_id": object_id,
        **values,
    }
    made: str = cloud.make("rbac_policy", token, **wanted)["id"]
    return made


def ids(cloud: NetworkCloud, path: str, token: str) -> list[str]:
    (found,) = cloud.ask("GET", path, 200, token).values()
    return [each["id"] for each in found]


def test_a_network_is_shared_with_one_project(cloud: NetworkCloud) -> None:
    network_id = cloud.network()
    body = {"port": {"network_id": network_id}}
    cloud.refused("POST", "/ports", 404, "NetworkNotFound", token="alt", json=body)
    shared = policy(cloud, network_id)
    assert cloud.show("network", network_id, "alt")["shared"] is True
    assert cloud.show("network", network_id)["shared"] is False
    assert ids(cloud, "/networks?shared=True", "alt") == [network_id]
    assert ids(cloud, "/networks?shared=True", "demo") == []
    assert len(ids(cloud, "/subnets?shared=true", "alt")) == 1
    port = cloud.make("port", "alt", network_id=network_id)
    item = f"/rbac-policies/{shared}"
    cloud.refused("DELETE", item, 409, "RbacPolicyInUse")
    cloud.refused("PUT", item, 409, "RbacPolicyInUse",
                  json={"rbac_policy": {"target_tenant": "someone"}})  # fmt: skip
    cloud.refused("PUT", item, 403, "PolicyNotAuthorized",
                  json={"rbac_policy": {"target_tenant": "*"}})  # fmt: skip
    cloud.ask("DELETE", f"/ports/{port['id']}", 204, "alt")
    cloud.refused("GET", item, 404, "RbacPolicyNotFound", token="alt")
    cloud.ask("DELETE", item, 204)
    cloud.refused("GET", f"/networks/{network_id}", 404, "NetworkNotFound", token="alt")


def test_the_shared_flag_and_the_policies_say_the_same(cloud: NetworkCloud) -> None:
    network_id = cloud.network(token="admin", shared=True)
    (shared,) = cloud.ask("GET", "/rbac-policies", 200, "admin")["rbac_policies"]
    assert (shared["object_id"], shared["target_tenant"]) == (network_id, "*")
    cloud.ask("PUT", f"/networks/{network_id}", 200, "admin", json={"network": {"shared": True}})
    assert cloud.ask("GET", "/rbac-policies", 200, "admin")["rbac_policies"] == [shared]
    port = cloud.make("port", network_id=network_id)
    body = {"network": {"shared": False}}
    path = f"/networks/{network_id}"
    cloud.refused("PUT", path, 409, "InvalidSharedSetting", token="admin", json=body)
    policy(cloud, network_id, "admin", target_tenant=DEMO)
    assert cloud.ask("PUT", path, 200, "admin", json=body)["network"]["shared"] is False
    assert cloud.show("network", network_id)["shared"] is True
    cloud.ask("GET", path, 404, "alt")
    everybody = policy(cloud, network_id, "admin", target_tenant="*")
    assert cloud.show("network", network_id, "alt")["shared"] is True
    cloud.ask("DELETE", f"/rbac-policies/{everybody}", 204, "admin")
    cloud.ask("DELETE", f"/ports/{port['id']}", 204)
    cloud.ask("DELETE", path, 204, "admin")
    assert cloud.ask("GET", "/rbac-policies", 200, "admin")["rbac_policies"] == []


def test_a_network_can_be_external_for_some(cloud: NetworkCloud) -> None:
    network_id = cloud.network("172.24.4.0/24", token="admin")
    values = {"action": "access_as_external", "target_tenant": DEMO}
    external = policy(cloud, network_id, "admin", **values)
    assert cloud.show("network", network_id)["router:external"] is True
    cloud.ask("GET", f"/networks/{network_id}", 404, "alt")
    router = cloud.make("router", external_gateway_info={"network_id": network_id})
    cloud.refused("DELETE", f"/rbac-policies/{external}", 409, "RbacPolicyInUse", token="admin")
    cloud.refused("POST", "/ports", 403, "PolicyNotAuthorized",
                  json={"port": {"network_id": network_id}})  # fmt: skip
    body = {"network": {"router:external": False}}
    cloud.refused("PUT", f"/networks/{network_id}", 409, "ExternalNetworkInUse", token="admin",
                  json=body)  # fmt: skip
    cloud.ask("DELETE", f"/routers/{router['id']}", 204)
    cloud.ask("DELETE", f"/rbac-policies/{external}", 204, "admin")
    assert cloud.show("network", network_id, "admin")["router:external"] is False


def test_policies_that_make_no_sense_are_refused(cloud: NetworkCloud) -> None:
    network_id = cloud.network()

    def refused(status: int, kind: str, token: str = "demo", **values: Any) -> None:
        wanted = {
            "object_type": "network",
            "action": "access_as_shared",
            "target_tenant": ALT,
            "object_id": network_id,
            **values,
        }
        cloud.refused("POST", "/rbac-policies", status, kind, token=token,
                      json={"rbac_policy": wanted})  # fmt: skip

    policy(cloud, network_id)
    refused(409, "DuplicateRbacPolicy")
    refused(404, "NetworkNotFound", token="alt")
    refused(404, "NetworkNotFound", object_id=NOWHERE)
    refused(404, "AddressScopeNotFound", object_type="address_scope")
    refused(400, "InvalidInput", action="access_as_other")
    refused(400, "HTTPBadRequest", object_type="qos_policy")
    refused(403, "PolicyNotAuthorized", target_tenant="*")
    refused(403, "PolicyNotAuthorized", action="access_as_external")


def test_security_groups_and_address_groups_are_shared(cloud: NetworkCloud) -> None:
    group = cloud.make("security_group", name="web")["id"]
    body = {"port": {"network_id": cloud.network("10.1.0.0/24", "alt"), "security_groups": [group]}}
    cloud.refused("POST", "/ports", 404, "SecurityGroupNotFound", token="alt", json=body)
    policy(cloud, group, object_type="security_group")
    assert cloud.show("security_group", group, "alt")["shared"] is True
    cloud.ask("POST", "/ports", 201, "alt", json=body)
    rule = {"security_group_id": group, "direction": "ingress"}
    cloud.refused("POST", "/security-group-rules", 403, "PolicyNotAuthorized", token="alt",
                  json={"security_group_rule": rule})  # fmt: skip
    addresses = cloud.make("address_group", name="offices", addresses=["192.0.2.1"])
    assert addresses["addresses"] == ["192.0.2.1/32"]
    made = cloud.make("security_group_rule", **rule, remote_address_group_id=addresses["id"])
    assert made["remote_address_group_id"] == addresses["id"]
    cloud.refused("POST", "/security-group-rules", 409, "SecurityGroupRuleExists", json={
        "security_group_rule": {**rule, "remote_address_group_id": addresses["id"]}})  # fmt: skip
    item = f"/address-groups/{addresses['id']}"
    wanted = {"addresses": ["2001:db8::/64", "198.51.100.7/24"]}
    changed = cloud.ask("PUT", item + "/add_addresses", 200, json=wanted)["address_group"]
    assert changed["addresses"] == ["192.0.2.1/32", "2001:db8::/64", "198.51.100.0/24"]
    cloud.refused("PUT", item + "/add_addresses", 400, "AddressesAlreadyExist", json=wanted)
    cloud.ask("PUT", item + "/remove_addresses", 200, json=wanted)
    cloud.refused("PUT", item + "/remove_addresses", 404, "AddressesNotFound", json=wanted)
    cloud.refused("DELETE", item, 409, "AddressGroupInUse")
    cloud.ask("GET", item, 404, "alt")
    policy(cloud, addresses["id"], object_type="address_group")
    cloud.ask("GET", item, 200, "alt")
    cloud.ask("DELETE", f"/security-group-rules/{made['id']}", 204)
    cloud.ask("DELETE", item, 204)


def test_a_group_keeps_its_way_with_answers_while_ports_have_it(cloud: NetworkCloud) -> None:
    group = cloud.make("security_group", stateful=False)
    assert group["stateful"] is False
    path, body = f"/security-groups/{group['id']}", {"security_group": {"stateful": True}}
    port = cloud.make("port", network_id=cloud.network(), security_groups=[group["id"]])
    cloud.refused("PUT", path, 409, "SecurityGroupInUse", json=body)
    cloud.ask("DELETE", f"/ports/{port['id']}", 204)
    assert cloud.ask("PUT", path, 200, json=body)["security_group"]["stateful"] is True


def pool(cloud: NetworkCloud, token: str = "demo", **values: Any) -> dict[str, Any]:
    wanted = {"prefixes": ["10.8.0.0/16"], "default_prefixlen": 24, **values}
    return cloud.make("subnetpool", token, **wanted)


def test_subnets_are_cut_from_a_pool(cloud: NetworkCloud) -> None:
    made = pool(cloud, prefixes=["10.8.0.0/24", "10.8.1.0/24"], default_prefixlen=25)
    assert made["prefixes"] == ["10.8.0.0/23"]
    assert (made["min_prefixlen"], made["max_prefixlen"], made["ip_version"]) == (8, 32, 4)

    def cut(status: int = 201, **values: Any) -> Any:
        network_id = cloud.make("network")["id"]
        wanted = {"network_id": network_id, "ip_version": 4, "subnetpool_id": made["id"], **values}
        return cloud.ask("POST", "/subnets", status, json={"subnet": wanted})

    def kind(answer: Any) -> str:
        name: str = answer["NeutronError"]["type"]
        return name

    assert cut(prefixlen=26)["subnet"]["cidr"] == "10.8.0.0/26"
    first = cut()["subnet"]
    assert (first["cidr"], first["subnetpool_id"]) == ("10.8.0.128/25", made["id"])
    assert cut(prefixlen=26)["subnet"]["cidr"] == "10.8.0.64/26"
    assert cut(cidr="10.8.1.64/26")["subnet"]["cidr"] == "10.8.1.64/26"
    assert kind(cut(409, cidr="10.8.1.0/25")) == "SubnetAllocationError"
    assert cut()["subnet"]["cidr"] == "10.8.1.128/25"
    assert kind(cut(409)) == "SubnetAllocationError"
    assert kind(cut(400, prefixlen=7)) == "MinPrefixSubnetAllocationError"
    assert kind(cut(404, subnetpool_id=NOWHERE)) == "SubnetPoolNotFound"
    assert kind(
        cut(400, network_id=first["network_id"], subnetpool_id=None, cidr="10.9.0.0/24")
    ) == ("NetworkSubnetPoolAffinityError")
    cloud.refused("DELETE", f"/subnetpools/{made['id']}", 400, "SubnetPoolDeleteError")
    path = f"/subnetpools/{made['id']}"
    added = cloud.ask("PUT", path + "/add_prefixes", 200, json={"prefixes": ["10.9.0.0/24"]})
    assert added == {"prefixes": ["10.8.0.0/23", "10.9.0.0/24"]}
    cloud.refused("PUT", path + "/remove_prefixes", 400, "IllegalSubnetPoolPrefixUpdate",
                  json={"prefixes": ["10.8.0.0/26"]})  # fmt: skip
    left = cloud.ask("PUT", path + "/remove_prefixes", 200, json={"prefixes": ["10.9.0.128/25"]})
    assert left == {"prefixes": ["10.8.0.0/23", "10.9.0.0/25"]}
    body = {"subnetpool": {"prefixes": ["10.8.0.0/24"]}}
    cloud.refused("PUT", path, 400, "IllegalSubnetPoolPrefixUpdate", json=body)
    body = {"subnetpool": {"name": "x", "default_quota": 256}}
    assert cloud.ask("PUT", path, 200, json=body)["subnetpool"]["default_quota"] == 256
    assert kind(cut(409, prefixlen=26)) == "SubnetPoolQuotaExceeded"
    assert "subnets" in cloud.ask("GET", f"/subnets?subnetpool_id={made['id']}", 200)


def test_there_is_one_default_pool_of_a_version(cloud: NetworkCloud) -> None:
    network_id = cloud.make("network")["id"]
    wanted = {"network_id": network_id, "ip_version": 4, "use_default_subnetpool": True}
    cloud.refused("POST", "/subnets", 400, "BadRequest", json={"subnet": wanted})
    body = {"subnetpool": {"prefixes": ["10.8.0.0/16"], "is_default": True}}
    cloud.refused("POST", "/subnetpools", 403, "PolicyNotAuthorized", json=body)
    made = pool(cloud, "admin", is_default=True, shared=True)
    cloud.refused("POST", "/subnetpools", 400, "InvalidInput", token="admin", json=body)
    pool(cloud, "admin", prefixes=["fd00::/48"], default_prefixlen=64, is_default=True)
    assert cloud.show("subnetpool", made["id"])["shared"] is True
    assert cloud.make("subnet", **wanted)["cidr"] == "10.8.0.0/24"


def test_prefixes_are_unique_in_an_address_scope(cloud: NetworkCloud) -> None:
    scope = cloud.make("address_scope", name="s", ip_version=4)["id"]
    made = pool(cloud, address_scope_id=scope)
    network = cloud.make("network")
    cloud.make("subnet", network_id=network["id"], ip_version=4, subnetpool_id=made["id"])
    assert cloud.show("network", network["id"])["ipv4_address_scope"] == scope

    def refused(status: int, kind: str, **values: Any) -> None:
        body = {"subnetpool": {"prefixes": ["10.8.4.0/24"], "address_scope_id": scope, **values}}
        cloud.refused("POST", "/subnetpools", status, kind, json=body)

    refused(409, "AddressScopePrefixConflict")
    refused(400, "IllegalSubnetPoolIpVersionAssociationError", prefixes=["fd00::/48"])
    refused(404, "AddressScopeNotFound", address_scope_id=NOWHERE)
    refused(400, "HTTPBadRequest", prefixes=[])
    refused(400, "PrefixVersionMismatch", prefixes=["fd00::/48", "10.0.0.0/8"])
    refused(400, "IllegalSubnetPoolPrefixBounds", min_prefixlen=24, max_prefixlen=20)
    cloud.refused("DELETE", f"/address-scopes/{scope}", 409, "AddressScopeInUse")
    cloud.refused("PUT", f"/address-scopes/{scope}", 403, "PolicyNotAuthorized",
                  json={"address_scope": {"shared": True}})  # fmt: skip
    path = f"/subnetpools/{made['id']}"
    cloud.ask("PUT", path, 200, json={"subnetpool": {"address_scope_id": None}})
    cloud.ask("DELETE", f"/address-scopes/{scope}", 204)


def test_a_networks_subnets_can_be_taken_into_a_pool(cloud: NetworkCloud) -> None:
    made = pool(cloud)
    network_id = cloud.network("10.9.0.0/24")
    path = f"/subnetpools/{made['id']}/onboard_network_subnets"
    cloud.ask("PUT", path, 200, json={"network_id": network_id})
    assert cloud.show("subnetpool", made["id"])["prefixes"] == ["10.8.0.0/16", "10.9.0.0/24"]
    assert cloud.ask("GET", f"/subnets?subnetpool_id={made['id']}", 200)["subnets"]


def test_flat_networks_lie_on_physical_ones(tmp_path: Path) -> None:
    with network_cloud(tmp_path, physical_networks=["public", "lab"]) as cloud:
        flat = {"provider:network_type": "flat", "provider:physical_network": "public"}
        made = cloud.make("network", "admin", **flat)
        assert made["provider:segmentation_id"] is None
        assert (made["provider:network_type"], made["mtu"]) == ("flat", 1500)
        assert ids(cloud, "/networks?provider:physical_network=public", "admin") == [made["id"]]

        def refused(status: int, kind: str, token: str = "admin", **values: Any) -> None:
            body = {"network": {**flat, **values}}
            cloud.refused("POST", "/networks", status, kind, token=token, json=body)

        refused(409, "FlatNetworkInUse")
        refused(400, "InvalidInput", **{"provider:physical_network": "nowhere"})
        refused(400, "InvalidInput", **{"provider:physical_network": None})
        refused(400, "InvalidInput", **{"provider:segmentation_id": 7})
        refused(400, "InvalidInput", **{"provider:network_type": "vlan"})
        refused(400, "InvalidInput", mtu=9000, **{"provider:physical_network": "lab"})
        refused(400, "InvalidInput", is_default=True, **{"provider:physical_network": "lab"})
        refused(403, "PolicyNotAuthorized", token="demo")
        default = {"is_default": True, "router:external": True}
        cloud.make("network", "admin", **default)
        refused(409, "DefaultExternalNetworkExists",
                **{"provider:physical_network": "lab", **default})  # fmt: skip
