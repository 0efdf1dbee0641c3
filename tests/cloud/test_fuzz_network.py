"""The network service answers whatever comes."""

from __future__ import annotations

from pathlib import Path

from fuzz import fuzz
from network import network_cloud

LIST = ("limit", "marker", "sort_key", "sort_dir", "page_reverse", "fields", "id", "name",
        "network_id", "fixed_ips", "shared", "tags", "not-tags-any", "mtu")  # fmt: skip


def test_no_request_breaks_the_network_service(tmp_path: Path) -> None:
    with network_cloud(tmp_path) as cloud:
        network_id = cloud.network()
        subnets = [subnet["id"] for subnet in cloud.ask("GET", "/subnets", 200)["subnets"]]
        port = cloud.make("port", network_id=network_id)
        group = cloud.make("security_group", name="web")
        rule = group["security_group_rules"][0]
        known = {
            "id": [network_id, *subnets, port["id"], group["id"], rule["id"]],
            "network_id": [network_id],
            "subnet_id": subnets,
            "security_group_id": [group["id"]],
            "remote_group_id": [group["id"]],
            "ip_address": ["10.0.0.5", "10.0.0.6"],
            "cidr": ["10.9.0.0/24", "fd00::/64"],
        }
        answered = fuzz(cloud.url, headers={"X-Auth-Token": "admin"}, known=known, queries=LIST)
    assert answered > 200
