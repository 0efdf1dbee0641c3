"""The network service answers whatever comes."""

from __future__ import annotations

import os
from pathlib import Path

from fuzz import fuzz
from network import network_cloud
from tokens import ALT

from minicloud.network.agents import agent_id

LIST = ("limit", "marker", "sort_key", "sort_dir", "page_reverse", "fields", "id", "name",
        "network_id", "fixed_ips", "shared", "tags", "not-tags-any", "mtu")  # fmt: skip
SECONDS = float(os.environ.get("MINICLOUD_FUZZ_SECONDS", "60"))


def test_no_request_breaks_the_network_service(tmp_path: Path) -> None:
    with network_cloud(tmp_path) as cloud:
        network_id = cloud.network()
        subnets = [subnet["id"] for subnet in cloud.ask("GET", "/subnets", 200)["subnets"]]
        port = cloud.make("port", network_id=network_id)
        group = cloud.make("security_group", name="web")
        rule = group["security_group_rules"][0]
        external = cloud.network("172.24.4.0/24", "admin", **{"router:external": True})
        gateway = {"external_gateway_info": {"network_id": external}}
        router = cloud.make("router", **gateway)["id"]
        cloud.ask("PUT", f"/routers/{router}/add_router_interface", 200,
                  json={"subnet_id": subnets[0]})  # fmt: skip
        floating = cloud.make("floatingip", floating_network_id=external)["id"]
        forward = {"protocol": "tcp", "internal_port": 22, "external_port": 22,
                   "internal_port_id": port["id"]}  # fmt: skip
        path = f"/floatingips/{floating}/port_forwardings"
        forwarding = cloud.ask("POST", path, 201, json={"port_forwarding": forward})
        scope = cloud.make("address_scope", ip_version=4)["id"]
        pool = cloud.make("subnetpool", prefixes=["10.8.0.0/16"], default_prefixlen=24)["id"]
        addresses = cloud.make("address_group", addresses=["192.0.2.0/24"])["id"]
        policy = cloud.make("rbac_policy", object_type="network", object_id=network_id,
                            action="access_as_shared", target_tenant=ALT)["id"]  # fmt: skip
        cloud.ask("PUT", "/minicloud-host-wiring/lab1", 200, "service",
                  json={"host": {"is_gateway": True}})  # fmt: skip
        known = {
            "id": [network_id, *subnets, port["id"], group["id"], rule["id"], router, floating,
                   scope, pool, addresses, policy, agent_id("lab1")],
            "other": [forwarding["port_forwarding"]["id"], router],
            "network_id": [network_id, external],
            "floating_network_id": [external],
            "subnet_id": subnets,
            "port_id": [port["id"]],
            "internal_port_id": [port["id"]],
            "router_id": [router],
            "subnetpool_id": [pool],
            "address_scope_id": [scope],
            "object_id": [network_id],
            "remote_address_group_id": [addresses],
            "security_group_id": [group["id"]],
            "remote_group_id": [group["id"]],
            "ip_address": ["10.0.0.5", "10.0.0.6", "fd00::5"],
            "nexthop": ["10.0.0.9"],
            "destination": ["192.0.2.0/24", "fd01::/64"],
            "cidr": ["10.9.0.0/24", "fd00::/64"],
            "prefixes": ["10.9.0.0/24", "fd00::/64"],
            "addresses": ["10.9.0.0/24", "fd00::/64"],
        }  # fmt: skip
        admin = {"X-Auth-Token": "admin"}
        answered = fuzz(cloud.url, headers=admin, known=known, queries=LIST, seconds=SECONDS)
    assert answered > 200
