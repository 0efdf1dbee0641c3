"""Security groups, their rules and quotas over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from network import QUOTA, NetworkCloud, network_cloud
from tokens import ALT, DEMO


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[NetworkCloud]:
    with network_cloud(tmp_path) as cloud:
        yield cloud


def default_of(cloud: NetworkCloud, token: str = "demo") -> dict[str, Any]:
    found = cloud.ask("GET", "/security-groups?name=default", 200, token)["security_groups"]
    group: dict[str, Any] = found[0]
    return group


def test_the_default_group_lets_out_and_lets_its_own_in(cloud: NetworkCloud) -> None:
    group = default_of(cloud)
    rules = {(rule["direction"], rule["ethertype"], rule["remote_group_id"])
             for rule in group["security_group_rules"]}  # fmt: skip
    assert rules == {
        ("egress", "IPv4", None), ("egress", "IPv6", None),
        ("ingress", "IPv4", group["id"]), ("ingress", "IPv6", group["id"]),
    }  # fmt: skip
    port = cloud.make("port", network_id=cloud.network())
    assert port["security_groups"] == [group["id"]]
    assert default_of(cloud, "alt")["id"] != group["id"]
    path = f"/security-groups/{group['id']}"
    cloud.refused("DELETE", path, 409, "SecurityGroupCannotRemoveDefault")
    body = {"security_group": {"name": "x"}}
    cloud.refused("PUT", path, 409, "SecurityGroupCannotUpdateDefault", json=body)
    body = {"security_group": {"name": "default"}}
    cloud.refused("POST", "/security-groups", 409, "SecurityGroupDefaultAlreadyExists", json=body)
    found = cloud.ask("GET", f"/security-groups?tenant_id={'9' * 32}", 200, "admin")
    assert [each["name"] for each in found["security_groups"]] == ["default"]


def test_groups_of_others_are_invisible(cloud: NetworkCloud) -> None:
    group = cloud.make("security_group", name="web")
    cloud.refused("GET", f"/security-groups/{group['id']}", 404, "SecurityGroupNotFound",
                  token="alt")  # fmt: skip
    network_id = cloud.network(token="admin", shared=True)
    body = {"port": {"network_id": network_id, "security_groups": [group["id"]]}}
    cloud.refused("POST", "/ports", 404, "SecurityGroupNotFound", token="alt", json=body)
    port = cloud.make("port", network_id=network_id, security_groups=[group["id"]])
    cloud.refused("DELETE", f"/security-groups/{group['id']}", 409, "SecurityGroupInUse")
    changed = {"port": {"security_groups": []}}
    assert cloud.ask("PUT", f"/ports/{port['id']}", 200, json=changed)["port"][
        "security_groups"] == []  # fmt: skip
    cloud.ask("DELETE", f"/security-groups/{group['id']}", 204)


def test_rules(cloud: NetworkCloud) -> None:
    group = cloud.make("security_group", name="web", description="for\nthe web")
    assert len(group["security_group_rules"]) == 2
    ssh = {
        "security_group_id": group["id"],
        "direction": "ingress",
        "protocol": "tcp",
        "port_range_min": 22,
        "port_range_max": 22,
        "remote_ip_prefix": "10.0.0.1/8",
    }
    rule = cloud.make("security_group_rule", **ssh)
    assert rule["remote_ip_prefix"] == "10.0.0.0/8"
    assert rule["ethertype"] == "IPv4"

    def refused(status: int, kind: str, **values: Any) -> None:
        body = {"security_group_rule": {**ssh, **values}}
        cloud.refused("POST", "/security-group-rules", status, kind, json=body)

    refused(409, "SecurityGroupRuleExists")
    refused(409, "SecurityGroupRuleExists", protocol="6", remote_ip_prefix="10.0.0.0/8")
    refused(400, "SecurityGroupInvalidPortRange", port_range_min=30)
    refused(400, "SecurityGroupProtocolRequiredWithPorts", protocol=None)
    refused(400, "SecurityGroupRuleInvalidProtocol", protocol="carrier-pigeon")
    refused(400, "SecurityGroupRuleParameterConflict", ethertype="IPv6")
    refused(400, "SecurityGroupRuleInvalidEtherType", ethertype="IPv5")
    refused(400, "SecurityGroupMultipleRemoteEntites", remote_group_id=group["id"])
    refused(400, "SecurityGroupMissingIcmpType", protocol="icmp", port_range_min=None)
    refused(404, "SecurityGroupNotFound", security_group_id="0" * 32)
    path = f"/security-group-rules/{rule['id']}"
    assert cloud.ask("GET", path, 200)["security_group_rule"]["id"] == rule["id"]
    found = cloud.ask("GET", f"/security-group-rules?security_group_id={group['id']}", 200)
    assert len(found["security_group_rules"]) == 3
    cloud.refused("GET", path, 404, "SecurityGroupRuleNotFound", token="alt")
    cloud.ask("DELETE", path, 204)
    cloud.refused("DELETE", path, 404, "SecurityGroupRuleNotFound")


def test_quotas(tmp_path: Path) -> None:
    with network_cloud(tmp_path, quota={**QUOTA, "network": 2}) as cloud:
        assert cloud.ask("GET", f"/quotas/{DEMO}", 200)["quota"] == {**QUOTA, "network": 2}
        cloud.refused("GET", f"/quotas/{ALT}", 403, "PolicyNotAuthorized")
        for _ in range(2):
            cloud.make("network")
        cloud.refused("POST", "/networks", 409, "OverQuota", json={"network": {}})
        body = {"quota": {"network": 3}}
        cloud.refused("PUT", f"/quotas/{DEMO}", 403, "PolicyNotAuthorized", json=body)
        changed = cloud.ask("PUT", f"/quotas/{DEMO}", 200, "admin", json=body)["quota"]
        assert changed["network"] == 3
        cloud.make("network")
        details = cloud.ask("GET", f"/quotas/{DEMO}/details.json", 200)["quota"]["network"]
        assert details == {"limit": 3, "used": 3, "reserved": 0}
        assert cloud.ask("GET", f"/quotas/{DEMO}/default", 200)["quota"]["network"] == 2
        assert [each["project_id"] for each in cloud.ask("GET", "/quotas", 200, "admin")["quotas"]
                ] == [DEMO]  # fmt: skip
        low = {"quota": {"network": 1, "check_limit": True}}
        cloud.ask("PUT", f"/quotas/{DEMO}", 409, "admin", json=low)
        for wrong in ({"colour": 1}, {"network": -2}, {"network": "x"}, {"network": True}):
            cloud.ask("PUT", f"/quotas/{DEMO}", 400, "admin", json={"quota": wrong})
        cloud.ask("DELETE", f"/quotas/{DEMO}", 204, "admin")
        assert cloud.ask("GET", f"/quotas/{DEMO}", 200)["quota"]["network"] == 2


def test_administrators_choose_what_new_groups_begin_with(cloud: NetworkCloud) -> None:
    path = "/default-security-group-rules"
    usual = cloud.ask("GET", path, 200)["default_security_group_rules"]
    assert {(rule["direction"], rule["remote_group_id"]) for rule in usual} == {
        ("egress", None),
        ("ingress", "PARENT"),
    }
    rule = {"direction": "ingress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}
    body = {"default_security_group_rule": rule}
    cloud.refused("POST", path, 403, "PolicyNotAuthorized", json=body)
    made = cloud.ask("POST", path, 201, "admin", json=body)["default_security_group_rule"]
    assert (made["used_in_default_sg"], made["used_in_non_default_sg"]) == (False, True)
    cloud.refused("POST", path, 409, "DefaultSecurityGroupRuleExists", token="admin", json=body)
    rules = cloud.make("security_group")["security_group_rules"]
    assert [r["port_range_min"] for r in rules if r["direction"] == "ingress"] == [22]
    (default,) = cloud.ask("GET", "/security-groups?name=default", 200)["security_groups"]
    assert all(r["remote_group_id"] == default["id"] for r in default["security_group_rules"]
               if r["direction"] == "ingress")  # fmt: skip
    cloud.ask("DELETE", f"{path}/{made['id']}", 204, "admin")
    cloud.refused("GET", f"{path}/{made['id']}", 404, "DefaultSecurityGroupRuleNotFound")
    assert len(cloud.make("security_group")["security_group_rules"]) == 2
