"""What is told of the cloud itself: agents, zones, addresses that are left, a first network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from network import NetworkCloud, network_cloud
from tokens import DEMO

from minicloud.kit import clock
from minicloud.network.agents import agent_id
from minicloud.network.models import hosts, routers

NOWHERE = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def cloud(database_url: str) -> Iterator[NetworkCloud]:
    with network_cloud(Path(), url=database_url) as cloud:
        yield cloud


def report(cloud: NetworkCloud, host: str, *, ago_s: float = 0) -> str:
    """As a host that asked for its wiring; its agent's id."""
    cloud.ask("PUT", f"/minicloud-host-wiring/{host}", 200, "service",
              json={"host": {"is_gateway": True}})  # fmt: skip
    if ago_s:
        with cloud.database.write() as tx:
            seen = {"last_seen": clock.now() - ago_s}
            tx.execute(sa.update(hosts).where(hosts.c.name == host).values(**seen))
    return agent_id(host)


def test_hosts_are_agents(cloud: NetworkCloud) -> None:
    living, dead = report(cloud, "lab1"), report(cloud, "lab2", ago_s=3600)
    cloud.refused("GET", "/agents", 403, "PolicyNotAuthorized")
    found = cloud.ask("GET", "/agents", 200, "admin")["agents"]
    assert {(agent["host"], agent["alive"]) for agent in found} == {("lab1", True), ("lab2", False)}
    assert cloud.ask("GET", "/agents?alive=False&fields=id", 200, "admin") == {
        "agents": [{"id": dead}]
    }
    body = {"agent": {"admin_state_up": False, "description": "out of order"}}
    changed = cloud.ask("PUT", f"/agents/{living}", 200, "admin", json=body)["agent"]
    assert (changed["admin_state_up"], changed["description"]) == (False, "out of order")
    cloud.refused("DELETE", f"/agents/{living}", 409, "AgentInUse", token="admin")
    cloud.ask("DELETE", f"/agents/{dead}", 204, "admin")
    cloud.refused("GET", f"/agents/{dead}", 404, "AgentNotFound", token="admin")
    zones = cloud.ask("GET", "/availability_zones?resource=network", 200)["availability_zones"]
    cloud.make("router", availability_zone_hints=["nova"])
    cloud.refused("POST", "/routers", 404, "AvailabilityZoneNotFound",
                  json={"router": {"availability_zone_hints": ["moon"]}})  # fmt: skip
    assert zones == [{"name": "nova", "resource": "network", "state": "unavailable"}]


def test_agents_serve_networks_and_carry_routers(cloud: NetworkCloud) -> None:
    agent = report(cloud, "lab1")
    network_id, router_id = cloud.network(), cloud.make("router")["id"]
    cloud.make("port", "service", network_id=network_id, project_id=DEMO,
               **{"binding:host_id": "lab1"})  # fmt: skip

    def ids(path: str) -> list[str]:
        (found,) = cloud.ask("GET", path, 200, "admin").values()
        return [each["id"] for each in found]

    assert ids(f"/networks/{network_id}/dhcp-agents") == [agent]
    assert ids(f"/agents/{agent}/dhcp-networks") == [network_id]
    with cloud.database.write() as tx:
        tx.execute(sa.update(routers).values(host=""))
    assert ids(f"/routers/{router_id}/l3-agents") == []
    path = f"/agents/{agent}/l3-routers"
    cloud.ask("POST", path, 201, "admin", json={"router_id": router_id})
    cloud.ask("POST", path, 201, "admin", json={"router_id": router_id})
    assert ids(path) == [router_id]
    assert ids(f"/routers/{router_id}/l3-agents") == [agent]
    other = report(cloud, "lab2")
    cloud.refused("POST", f"/agents/{other}/l3-routers", 409, "RouterHostedByL3Agent",
                  token="admin", json={"router_id": router_id})  # fmt: skip
    cloud.ask("PUT", "/minicloud-host-wiring/lab3", 200, "service", json={"host": {}})
    cloud.refused("POST", f"/agents/{agent_id('lab3')}/l3-routers", 409, "InvalidL3Agent",
                  token="admin", json={"router_id": router_id})  # fmt: skip
    cloud.ask("DELETE", f"{path}/{router_id}", 204, "admin")
    cloud.refused("DELETE", f"{path}/{router_id}", 409, "RouterNotHostedByL3Agent", token="admin")
    cloud.refused("GET", f"/agents/{NOWHERE}/l3-routers", 404, "AgentNotFound", token="admin")


def test_addresses_are_counted(cloud: NetworkCloud) -> None:
    network_id = cloud.network("10.0.0.0/29")
    cloud.make("subnet", network_id=network_id, cidr="fd00::/48", ip_version=6)
    cloud.make("port", network_id=network_id)
    (found,) = cloud.ask("GET", "/network-ip-availabilities?ip_version=4", 200, "admin")[
        "network_ip_availabilities"
    ]
    assert (found["total_ips"], found["used_ips"], found["network_name"]) == (5, 1, "net")
    path = f"/network-ip-availabilities/{network_id}"
    whole = cloud.ask("GET", path, 200, "admin")["network_ip_availability"]
    assert whole["total_ips"] == 5 + 2**80 - 2
    assert [part["used_ips"] for part in whole["subnet_ip_availability"]] == [1, 1]
    cloud.refused("GET", path, 403, "PolicyNotAuthorized")


def defaults(cloud: NetworkCloud) -> None:
    cloud.network("172.24.4.0/24", "admin", **{"router:external": True, "is_default": True})
    for values in ({"prefixes": ["10.8.0.0/16"], "default_prefixlen": 24},
                   {"prefixes": ["fd00::/48"], "default_prefixlen": 64}):  # fmt: skip
        cloud.make("subnetpool", "admin", shared=True, is_default=True, **values)


def test_a_project_gets_a_first_network(cloud: NetworkCloud) -> None:
    path = f"/auto-allocated-topology/{DEMO}"
    for query in ("", "?fields=dry-run"):
        cloud.refused("GET", path + query, 409, "AutoAllocationFailure")
    defaults(cloud)
    cloud.refused("DELETE", path, 404, "AutoAllocatedTopologyNotFound")
    dry = cloud.ask("GET", path + "?fields=dry-run&fields=id", 200)["auto_allocated_topology"]
    assert dry["id"] == "dry-run=pass"
    assert cloud.ask("GET", "/routers", 200)["routers"] == []
    made = cloud.ask("GET", path, 200)["auto_allocated_topology"]
    assert cloud.ask("GET", "/auto-allocated-topology/None", 200) == {
        "auto_allocated_topology": made
    }
    assert cloud.show("network", made["id"])["project_id"] == DEMO
    subnets: list[dict[str, Any]] = cloud.ask("GET", "/subnets?network_id=" + made["id"], 200)[
        "subnets"
    ]
    assert {subnet["cidr"] for subnet in subnets} == {"10.8.0.0/24", "fd00::/64"}
    (router,) = cloud.ask("GET", "/routers", 200)["routers"]
    assert router["external_gateway_info"] is not None
    interfaces = cloud.ask("GET", f"/ports?device_id={router['id']}", 200)["ports"]
    assert len(interfaces) == 2
    cloud.refused("GET", path, 403, "PolicyNotAuthorized", token="alt")
    port = cloud.make("port", network_id=made["id"])
    cloud.refused("DELETE", path, 409, "NetworkInUse")
    cloud.ask("DELETE", f"/ports/{port['id']}", 204)
    cloud.ask("DELETE", path, 204)
    assert cloud.ask("GET", "/routers", 200)["routers"] == []
