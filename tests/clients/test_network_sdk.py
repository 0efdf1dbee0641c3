"""openstacksdk and the openstack command against the network service."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cloud"))

from network import NetworkCloud, network_cloud
from tokens import DEMO

pytestmark = pytest.mark.clients


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[NetworkCloud]:
    with network_cloud(tmp_path) as cloud:
        yield cloud


def connection(cloud: NetworkCloud, token: str) -> Any:
    return openstack.connect(
        auth_type="admin_token", auth={"endpoint": cloud.url, "token": token}, region_name="x",
        load_yaml_config=False, load_envvars=False,
    ).network  # fmt: skip


def test_the_sdk_makes_finds_and_removes_everything(cloud: NetworkCloud) -> None:
    demo, admin = connection(cloud, "demo"), connection(cloud, "admin")
    network = demo.create_network(name="private", description="mine")
    subnet = demo.create_subnet(
        name="private-subnet", network_id=network.id, cidr="10.0.0.0/26", ip_version=4
    )
    assert subnet.gateway_ip == "10.0.0.1"
    wanted = [{"network_id": network.id, "name": f"p{n}"} for n in range(5)]
    ports = list(demo.create_ports(wanted))
    assert len({port.fixed_ips[0]["ip_address"] for port in ports}) == 5
    assert len(list(demo.ports(limit=2, network_id=network.id))) == 5
    address = ports[0].fixed_ips[0]["ip_address"]
    assert [p.id for p in demo.ports(fixed_ips=f"ip_address={address}")] == [ports[0].id]
    assert demo.find_network("private").id == network.id
    assert demo.find_port("p3").id == ports[3].id
    demo.set_tags(network, ["a", "b"])
    assert demo.get_network(network.id).tags == ["a", "b"]
    bound = admin.update_port(ports[0], binding_host_id="lab1", device_owner="compute:nova")
    assert bound.binding_vif_type == "bridge"
    assert demo.find_extension("security-group") is not None
    assert demo.find_extension("l3-ha") is None
    with pytest.raises(openstack.exceptions.ConflictException):
        demo.delete_network(network)
    for port in ports:
        demo.delete_port(port, ignore_missing=False)
    demo.delete_network(network, ignore_missing=False)
    assert demo.find_network("private") is None


def test_the_sdk_groups_rules_and_quotas(cloud: NetworkCloud) -> None:
    demo, admin = connection(cloud, "demo"), connection(cloud, "admin")
    group = demo.create_security_group(name="web")
    rule = demo.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="tcp",
        port_range_min=80, port_range_max=80,
    )  # fmt: skip
    assert len(demo.get_security_group(group.id).security_group_rules) == 3
    assert {each.name for each in demo.security_groups()} == {"default", "web"}
    demo.delete_security_group_rule(rule, ignore_missing=False)
    demo.delete_security_group(group, ignore_missing=False)
    assert demo.get_quota(DEMO).ports == 500
    admin.update_quota(DEMO, networks=7)
    assert demo.get_quota(DEMO, details=True).networks["limit"] == 7
    assert demo.get_quota_default(DEMO).networks == 100
    admin.delete_quota(DEMO)
    assert demo.get_quota(DEMO).networks == 100


def test_the_command_makes_the_installers_network(cloud: NetworkCloud) -> None:
    def run(*words: str) -> str:
        command = [
            str(Path(sys.executable).parent / "openstack"),
            *("--os-auth-type", "admin_token", "--os-endpoint", cloud.url, "--os-token", "admin"),
            *words,
        ]
        environment = {"PATH": os.environ["PATH"], "HOME": str(Path.cwd() / "none")}
        return subprocess.run(
            command, check=True, text=True, capture_output=True, timeout=120, env=environment
        ).stdout.strip()

    run("network", "create", "--external", "--share", "public")
    run("subnet", "create", "--network", "public", "--subnet-range", "172.24.4.0/24", "--no-dhcp",
        "public-subnet")  # fmt: skip
    assert run("subnet", "show", "public-subnet", "-f", "value", "-c", "cidr") == "172.24.4.0/24"
