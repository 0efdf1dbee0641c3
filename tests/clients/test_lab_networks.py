"""Networks between real guests on two lab hosts, and in from this machine."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clients.conftest import LiveCloud
from clients.test_lab import lab

pytestmark = [pytest.mark.clients, pytest.mark.host]

NAME = "lab-networks"
_DOWN_S = 15
"""Seconds after which a silent gateway host's routers move, unless configured otherwise."""


def until(condition: Callable[[], Any], limit_s: float = 120) -> Any:
    give_up_at = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < give_up_at, "it never came about"
        time.sleep(0.2)  # pacing of a poll: the condition is the loop's
    return found


class Lab:
    """Two guests, ``lab1`` and ``lab2``, each on the host of its name, with floating IPs."""

    def __init__(self, cloud: Any, key: Path) -> None:
        self.cloud = cloud
        self._key = key
        self.floating: dict[str, str] = {}
        self.fixed: dict[str, str] = {}

    def build(self) -> None:
        network = self.cloud.network.create_network(name=NAME)
        subnet = self.cloud.network.create_subnet(
            name=NAME, network_id=network.id, ip_version=4, cidr="10.77.0.0/24"
        )
        outside = self.cloud.network.find_network("public")
        self.router = self.cloud.network.create_router(
            name=NAME, external_gateway_info={"network_id": outside.id}
        )
        self.cloud.network.add_interface_to_router(self.router, subnet_id=subnet.id)
        group = self.cloud.network.create_security_group(name=NAME)
        self.rules = {
            protocol: self.cloud.network.create_security_group_rule(
                security_group_id=group.id, direction="ingress", protocol=protocol,
                port_range_min=port, port_range_max=port,
            )
            for protocol, port in (("tcp", 22), ("icmp", None))
        }  # fmt: skip
        self.group = group
        public = subprocess.run(
            ["ssh-keygen", "-y", "-f", str(self._key)], capture_output=True, text=True, check=True
        ).stdout.strip()
        self.cloud.compute.create_keypair(name=NAME, public_key=public)
        image = self.cloud.image.find_image("tiny")
        flavor = self.cloud.compute.find_flavor("m1.nano")
        servers = {
            host: self.cloud.compute.create_server(
                name=f"{NAME}-{host}", image_id=image.id, flavor_id=flavor.id, key_name=NAME,
                networks=[{"uuid": network.id}], availability_zone=f"nova:{host}",
                security_groups=[{"name": NAME}],
            )
            for host in ("lab1", "lab2")
        }  # fmt: skip
        for host, server in servers.items():
            self.cloud.compute.wait_for_server(server, wait=240)
            (port,) = self.cloud.network.ports(device_id=server.id)
            self.fixed[host] = port.fixed_ips[0]["ip_address"]
            made = self.cloud.network.create_ip(floating_network_id=outside.id, port_id=port.id)
            self.floating[host] = made.floating_ip_address

    def remove(self) -> None:
        network = self.cloud.network
        for server in self.cloud.compute.servers(name=NAME):
            self.cloud.compute.delete_server(server)
            self.cloud.compute.wait_for_delete(server, wait=120)
        for address in self.floating.values():
            network.delete_ip(network.find_ip(address))
        for router in network.routers(name=NAME):
            for port in network.ports(device_id=router.id, device_owner="network:router_interface"):
                network.remove_interface_from_router(router, port_id=port.id)
            network.delete_router(router)
        for found in network.networks(name=NAME):
            network.delete_network(found)
        for group in network.security_groups(name=NAME):
            network.delete_security_group(group)
        self.cloud.compute.delete_keypair(NAME)

    def guest(self, host: str, command: str, limit_s: float = 20) -> str | None:
        """What a command prints in a guest, by ssh to its floating IP; None if it fails."""
        words = ["ssh", "-i", str(self._key), "-o", "StrictHostKeyChecking=no",
                 "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=5",
                 f"cirros@{self.floating[host]}", command]  # fmt: skip
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, check=False, timeout=limit_s
            )
        except subprocess.TimeoutExpired:
            return None
        return done.stdout if done.returncode == 0 else None

    def carriers(self) -> set[str]:
        """The hosts that have the router's namespace; this machine is ``""``."""
        name = f"minicloud-router-{self.router.id}"
        listed = {host: lab("sh", host, "ip", "netns") for host in ("lab1", "lab2")}
        here = ["ip", "netns"]
        listed[""] = subprocess.run(here, capture_output=True, text=True, check=True).stdout
        return {host for host, text in listed.items() if name in text}


@pytest.fixture(scope="module")
def two(live_cloud: LiveCloud) -> Iterator[Lab]:
    lab("2")
    cloud = live_cloud.connect("minicloud-admin")
    made = Lab(cloud, live_cloud.key)
    try:
        made.build()
        yield made
    finally:
        made.remove()
        lab("down")


def test_floating_ips_lead_from_this_machine_to_guests_on_other_hosts(two: Lab) -> None:
    for host in ("lab1", "lab2"):
        until(lambda host=host: two.guest(host, "true") is not None, 240)
    said = two.guest("lab1", "wget -q -O - http://169.254.169.254/openstack/latest/meta_data.json")
    assert said is not None and f"{NAME}-lab1" in said, "each its own metadata"
    assert two.guest("lab1", "ping -c 1 -W 5 172.24.4.1") is not None


def test_guests_on_two_hosts_exchange_packets_of_full_size(two: Lab) -> None:
    target = two.fixed["lab2"]
    assert until(lambda: two.guest("lab1", f"ping -c 1 -W 5 -s 1422 {target}"), 60)


def test_a_rule_shuts_and_opens_a_running_guest_within_a_second_or_so(two: Lab) -> None:
    address = two.floating["lab2"]
    argv = ["ping", "-c", "1", "-W", "1", address]

    def answers() -> bool:
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    assert until(answers, 20)
    two.cloud.network.delete_security_group_rule(two.rules["icmp"])
    until(lambda: not answers(), 10)
    two.cloud.network.create_security_group_rule(
        security_group_id=two.group.id, direction="ingress", protocol="icmp"
    )
    until(answers, 10)


def test_compute_killed_in_the_middle_leaves_what_was_meant(two: Lab) -> None:
    """Guests go on while it is away, and what changed meanwhile is done when it is back."""
    kill = "kill -KILL $(cat /run/minicloud/compute.pid)"
    lab("sh", "lab2", "bash", "-c", kill)
    rule = two.cloud.network.create_security_group_rule(
        security_group_id=two.group.id, direction="ingress", protocol="tcp",
        port_range_min=8080, port_range_max=8080,
    )  # fmt: skip
    lab("sh", "lab2", "bash", "-c", f"{kill} || true")
    assert two.guest("lab2", "true") is not None, "its guest's traffic was not interrupted"
    listing = ("sh", "lab2", "nft", "list", "table", "bridge", "minicloud")
    until(lambda: "tcp dport 8080" in lab(*listing), 60)
    two.cloud.network.delete_security_group_rule(rule)
    until(lambda: "tcp dport 8080" not in lab(*listing), 30)


def test_a_router_survives_its_host(two: Lab) -> None:
    """The daemon falls silent, as it does with its host; another gateway host takes over."""
    (carrier,) = until(two.carriers, 30)
    if not carrier:
        pytest.skip("this machine itself carries the router, and is not to be silenced")
    pid = "$(cat /run/minicloud/compute.pid)"
    lab("sh", carrier, "bash", "-c", f"kill -STOP {pid}")
    try:
        until(lambda: two.carriers() - {carrier}, _DOWN_S + 30)
        lab("sh", carrier, "ip", "netns", "delete", f"minicloud-router-{two.router.id}")
        other = "lab2" if carrier == "lab1" else "lab1"
        until(lambda: two.guest(other, "true") is not None, 60)
    finally:
        lab("sh", carrier, "bash", "-c", f"kill -CONT {pid}")
    until(lambda: carrier not in two.carriers(), 60)
    for host in ("lab1", "lab2"):
        until(lambda host=host: two.guest(host, "ping -c 1 -W 5 172.24.4.1") is not None, 60)
