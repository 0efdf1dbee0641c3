"""Many clients and two daemons on one database: nothing is given twice, no limit is passed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from network import QUOTA, NetworkCloud, network_cloud
from tokens import ALT, DEMO

Clouds = list[NetworkCloud]


@contextlib.contextmanager
def two_daemons(url: str, **more: Any) -> Iterator[Clouds]:
    with (
        network_cloud(Path(), url=url, **more) as one,
        network_cloud(Path(), url=url, **more) as two,
    ):
        yield [one, two]


def at_once(clouds: Clouds, work: Callable[[NetworkCloud, int], Any], times: int) -> list[Any]:
    with ThreadPoolExecutor(12) as pool:
        return list(pool.map(lambda n: work(clouds[n % 2], n), range(times)))


def status(cloud: NetworkCloud, noun: str, token: str, **values: Any) -> tuple[int, str]:
    path = f"/{noun.replace('_', '-')}s"
    answer = cloud.call("POST", path, token, json={noun: values})
    body = answer.json()
    return answer.status_code, body.get("NeutronError", {}).get("type", "")


def test_no_address_and_no_mac_is_given_twice(database_url: str) -> None:
    with two_daemons(database_url) as clouds:
        network_id = clouds[0].network("10.0.0.0/27", token="admin", shared=True)

        def boot(cloud: NetworkCloud, n: int) -> tuple[int, str]:
            # Two projects, so that no project's lock keeps the tries apart; bound ones want
            # their DHCP port besides.
            values = {"project_id": DEMO if n % 3 else ALT, "binding:host_id": f"lab{n % 2}"}
            return status(cloud, "port", "service", network_id=network_id, **values)

        results = at_once(clouds, boot, 40)
        # 30 host addresses, less the gateway and the DHCP port.
        assert results.count((201, "")) == 28
        assert results.count((409, "IpAddressGenerationFailure")) == 12
        ports = clouds[1].ask("GET", "/ports", 200, "admin")["ports"]
        given = [fixed["ip_address"] for port in ports for fixed in port["fixed_ips"]]
        assert len(given) == len(set(given)) == 29
        assert "10.0.0.1" not in given
        assert len({port["mac_address"] for port in ports}) == 29
        assert len([port for port in ports if port["device_owner"] == "network:dhcp"]) == 1


def test_one_wish_for_an_address_wins(database_url: str) -> None:
    with two_daemons(database_url) as clouds:
        network_id = clouds[0].network(token="admin", shared=True)
        wish = {"network_id": network_id, "fixed_ips": [{"ip_address": "10.0.0.20"}],
                "mac_address": "fa:16:3e:00:00:02"}  # fmt: skip
        results = at_once(clouds, lambda cloud, n: status(cloud, "port", "admin", **wish)[0], 12)
        assert sorted(results) == [201] + [409] * 11


def test_bulk_requests_do_not_block_one_another(database_url: str) -> None:
    with two_daemons(database_url) as clouds:
        networks = [
            clouds[0].network(f"10.{n}.0.0/24", token="admin", shared=True) for n in range(2)
        ]

        def boot(cloud: NetworkCloud, n: int) -> int:
            order = networks if n % 2 else networks[::-1]
            body = {"ports": [{"network_id": order[m % 2]} for m in range(6)]}
            token = "demo" if n % 3 else "alt"
            return int(cloud.call("POST", "/ports", token, json=body).status_code)

        assert set(at_once(clouds, boot, 16)) == {201}
        ports = clouds[0].ask("GET", "/ports", 200, "admin")["ports"]
        given = {(p["network_id"], p["fixed_ips"][0]["ip_address"]) for p in ports}
        assert len(given) == len(ports) == 96


def test_a_quota_is_never_passed(database_url: str) -> None:
    with two_daemons(database_url, quota={**QUOTA, "network": 5, "security_group": 4}) as clouds:
        for noun, room in (("network", 5), ("security_group", 3)):
            results = at_once(
                clouds, lambda cloud, n, noun=noun: status(cloud, noun, "demo", name=f"n{n}"), 16
            )
            assert results.count((201, "")) == room
            assert results.count((409, "OverQuota")) == 16 - room


def test_a_project_gets_one_default_group(database_url: str) -> None:
    with two_daemons(database_url) as clouds:
        at_once(clouds, lambda cloud, n: cloud.ask("GET", "/security-groups", 200), 16)
        groups = clouds[0].ask("GET", "/security-groups", 200)["security_groups"]
        assert [group["name"] for group in groups] == ["default"]
        assert len(groups[0]["security_group_rules"]) == 4


def test_a_device_gets_one_port_for_an_index(database_url: str) -> None:
    with two_daemons(database_url) as clouds:
        network_id = clouds[0].network()
        values = {"network_id": network_id, "project_id": DEMO, "device_id": "s1",
                  "binding:host_id": "lab1", "binding:profile": {"minicloud_index": 0}}  # fmt: skip
        results = at_once(
            clouds, lambda cloud, n: status(cloud, "port", "service", **values)[0], 10
        )
        assert sorted(results) == [201] + [409] * 9


def test_deletes_and_creates_leave_nothing_half(database_url: str) -> None:
    """A network that is deleted while ports come ends with its ports or without anything."""
    with two_daemons(database_url) as clouds:
        for _ in range(4):
            network_id = clouds[0].network()

            def race(cloud: NetworkCloud, n: int, network_id: str = network_id) -> int:
                if n == 5:
                    answer = cloud.call("DELETE", f"/networks/{network_id}")
                else:
                    body = {"port": {"network_id": network_id}}
                    answer = cloud.call("POST", "/ports", json=body)
                return int(answer.status_code)

            results = at_once(clouds, race, 10)
            path = f"/ports?network_id={network_id}"
            ports = clouds[0].ask("GET", path, 200)["ports"]
            assert set(results) <= {201, 204, 404, 409}
            assert results.count(201) == len(ports)
            if results[5] == 204:
                assert ports == []
                clouds[0].ask("GET", f"/networks/{network_id}", 404)


def test_rules_and_groups_go_together(database_url: str) -> None:
    with two_daemons(database_url) as clouds:
        for _ in range(3):
            group = clouds[0].make("security_group", name="web")
            rules = [rule["id"] for rule in group["security_group_rules"]]

            def race(cloud: NetworkCloud, n: int, group: Any = group, rules: Any = rules) -> int:
                if n == 3:
                    answer = cloud.call("DELETE", f"/security-groups/{group['id']}")
                elif n < 2:
                    answer = cloud.call("DELETE", f"/security-group-rules/{rules[n]}")
                else:
                    rule = {
                        "security_group_id": group["id"],
                        "direction": "ingress",
                        "protocol": "tcp",
                        "port_range_min": n + 1,
                        "port_range_max": 99,
                    }
                    answer = cloud.call(
                        "POST", "/security-group-rules", json={"security_group_rule": rule}
                    )
                return int(answer.status_code)

            assert set(at_once(clouds, race, 8)) <= {201, 204, 404}
            clouds[0].ask("GET", f"/security-groups/{group['id']}", 404)


def outside(cloud: NetworkCloud) -> str:
    return cloud.network("172.24.4.0/27", token="admin", **{"router:external": True})


def test_a_subnet_is_connected_to_one_router(database_url: str) -> None:
    with two_daemons(database_url) as clouds:
        network_id = clouds[0].network()
        subnet_id = clouds[0].show("network", network_id)["subnets"][0]
        routers = [clouds[0].make("router")["id"] for _ in range(2)]

        def connect(cloud: NetworkCloud, n: int) -> int:
            path = f"/routers/{routers[n % 2]}/add_router_interface"
            return int(cloud.call("PUT", path, json={"subnet_id": subnet_id}).status_code)

        results = at_once(clouds, connect, 12)
        assert results.count(200) == 1
        assert set(results) == {200, 400, 409}
        owner = "network:router_interface"
        assert len(clouds[0].ask("GET", f"/ports?device_owner={owner}", 200)["ports"]) == 1


def test_overlapping_subnets_do_not_meet_in_a_router(database_url: str) -> None:
    with two_daemons(database_url) as clouds:
        subnets = [
            clouds[0].show("network", clouds[0].network(f"10.0.0.0/{length}"))["subnets"][0]
            for length in (24, 25, 26, 27)
        ]
        router_id = clouds[0].make("router")["id"]

        def connect(cloud: NetworkCloud, n: int) -> int:
            path = f"/routers/{router_id}/add_router_interface"
            return int(cloud.call("PUT", path, json={"subnet_id": subnets[n % 4]}).status_code)

        results = at_once(clouds, connect, 8)
        assert results.count(200) == 1
        assert results.count(400) == 7


def test_an_address_gets_one_floating_ip(database_url: str) -> None:
    with two_daemons(database_url) as clouds:
        external, network_id = outside(clouds[0]), clouds[0].network()
        subnet_id = clouds[0].show("network", network_id)["subnets"][0]
        gateway = {"external_gateway_info": {"network_id": external}}
        router = clouds[0].make("router", **gateway)["id"]
        path = f"/routers/{router}/add_router_interface"
        clouds[0].ask("PUT", path, 200, json={"subnet_id": subnet_id})
        port_id = clouds[0].make("port", network_id=network_id)["id"]
        wanted = {"floating_network_id": external, "port_id": port_id}
        results = at_once(
            clouds, lambda cloud, n: status(cloud, "floatingip", "demo", **wanted), 10
        )
        assert results.count((201, "")) == 1
        assert results.count((409, "FloatingIPPortAlreadyAssociated")) == 9
        # 30 host addresses, less the network's gateway, the router's, and the one given.
        results = at_once(
            clouds,
            lambda cloud, n: status(cloud, "floatingip", "demo", floating_network_id=external),
            30,
        )
        assert results.count((201, "")) == 27
        assert results.count((409, "IpAddressGenerationFailure")) == 3
        floating = clouds[0].ask("GET", "/floatingips", 200)["floatingips"]
        assert len({each["floating_ip_address"] for each in floating}) == 28


def test_an_interface_goes_or_a_floating_ip_comes(database_url: str) -> None:
    """Never a floating IP that leads through a router that is no longer connected."""
    with two_daemons(database_url) as clouds:
        external, network_id = outside(clouds[0]), clouds[0].network()
        subnet_id = clouds[0].show("network", network_id)["subnets"][0]
        gateway = {"external_gateway_info": {"network_id": external}}
        path = f"/routers/{clouds[0].make('router', **gateway)['id']}"
        port_id = clouds[0].make("port", network_id=network_id)["id"]
        for _ in range(4):
            clouds[0].ask("PUT", path + "/add_router_interface", 200, json={"subnet_id": subnet_id})

            def race(cloud: NetworkCloud, n: int) -> int:
                if n:
                    body = {"floating_network_id": external, "port_id": port_id}
                    answer = cloud.call("POST", "/floatingips", json={"floatingip": body})
                else:
                    answer = cloud.call("PUT", path + "/remove_router_interface",
                                        json={"subnet_id": subnet_id})  # fmt: skip
                return int(answer.status_code)

            removed, associated = at_once(clouds, race, 2)
            assert (removed, associated) in ((200, 404), (409, 201))
            for each in clouds[0].ask("GET", "/floatingips", 200)["floatingips"]:
                clouds[0].ask("DELETE", f"/floatingips/{each['id']}", 204)
            if removed == 409:
                body = {"subnet_id": subnet_id}
                clouds[0].ask("PUT", path + "/remove_router_interface", 200, json=body)


def test_a_pool_is_cut_without_overlap(database_url: str) -> None:
    with two_daemons(database_url) as clouds:
        pool_id = clouds[0].make("subnetpool", prefixes=["10.8.0.0/24"], default_prefixlen=28)["id"]
        networks = [clouds[0].make("network")["id"] for _ in range(20)]

        def cut(cloud: NetworkCloud, n: int) -> tuple[int, str]:
            wanted = {"network_id": networks[n], "ip_version": 4, "subnetpool_id": pool_id}
            return status(cloud, "subnet", "demo", **wanted)

        results = at_once(clouds, cut, 20)
        assert results.count((201, "")) == 16
        assert results.count((409, "SubnetAllocationError")) == 4
        subnets = clouds[0].ask("GET", "/subnets", 200)["subnets"]
        assert len({subnet["cidr"] for subnet in subnets}) == 16


def test_a_project_gets_one_first_network(database_url: str) -> None:
    with two_daemons(database_url) as clouds:
        clouds[0].network("172.24.4.0/27", "admin", **{"router:external": True, "is_default": True})
        clouds[0].make("subnetpool", "admin", prefixes=["10.8.0.0/16"], default_prefixlen=24,
                       shared=True, is_default=True)  # fmt: skip
        path = f"/auto-allocated-topology/{DEMO}"
        made = at_once(clouds, lambda cloud, n: cloud.ask("GET", path, 200), 8)
        assert len({each["auto_allocated_topology"]["id"] for each in made}) == 1
        assert len(clouds[0].ask("GET", "/routers", 200)["routers"]) == 1
        subnets = clouds[0].ask("GET", f"/subnets?project_id={DEMO}", 200)["subnets"]
        assert len(subnets) == 1
