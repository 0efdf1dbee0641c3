"""openstacksdk and the openstack command against the network service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest
from clients.command_line import CommandLine
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
    run = CommandLine(
        "--os-auth-type", "admin_token", "--os-endpoint", cloud.url, "--os-token", "admin"
    )
    run("network create --external --share public")
    run("subnet create --network public --subnet-range 172.24.4.0/24 --no-dhcp public-subnet")
    assert run("subnet show public-subnet -f value -c cidr") == "172.24.4.0/24"


class World:
    """A public and a private network with a router between, made with openstacksdk."""

    def __init__(self, cloud: NetworkCloud) -> None:
        self.demo, self.admin = connection(cloud, "demo"), connection(cloud, "admin")
        self.public = self.admin.create_network(name="public", is_router_external=True)
        self.admin.create_subnet(network_id=self.public.id, cidr="172.24.4.0/24", ip_version=4)
        self.private = self.demo.create_network(name="private")
        self.subnet = self.demo.create_subnet(
            network_id=self.private.id, cidr="10.0.0.0/26", ip_version=4
        )
        self.router = self.demo.create_router(
            name="r1", external_gateway_info={"network_id": self.public.id}
        )
        self.demo.add_interface_to_router(self.router, subnet=self.subnet.id)


@pytest.fixture
def world(cloud: NetworkCloud) -> World:
    return World(cloud)


def test_the_sdk_routes_and_floats(world: World) -> None:
    demo = world.demo
    port = demo.create_port(network_id=world.private.id, name="p")
    floating = demo.create_ip(floating_network_id=world.public.id, port_id=port.id)
    assert (floating.status, floating.router_id) == ("ACTIVE", world.router.id)
    assert demo.find_ip(floating.floating_ip_address).id == floating.id
    assert demo.find_available_ip() is None
    found = demo.ips(port_id=port.id, fixed_ip_address=floating.fixed_ip_address)
    assert [each.id for each in found] == [floating.id]
    assert [each.name for each in demo.routers(name="r1", is_ha=False)] == ["r1"]
    with pytest.raises(openstack.exceptions.ConflictException):
        demo.remove_interface_from_router(world.router, subnet=world.subnet.id)
    assert demo.update_ip(floating, port_id=None).status == "DOWN"
    assert demo.find_available_ip().id == floating.id
    forward = demo.create_port_forwarding(
        floatingip_id=floating.id, internal_port_id=port.id, internal_port=22,
        external_port=2222, protocol="tcp",
    )  # fmt: skip
    assert [each.id for each in demo.port_forwardings(floating)] == [forward.id]
    changed = demo.update_port_forwarding(forward, floating, external_port=2223)
    assert changed.external_port == 2223
    demo.delete_port_forwarding(forward, floating, ignore_missing=False)
    routes = {"router": {"routes": [{"destination": "192.0.2.0/24", "nexthop": "10.0.0.9"}]}}
    assert len(demo.add_extra_routes_to_router(world.router, routes).routes) == 1
    assert demo.remove_extra_routes_from_router(world.router, routes).routes == []
    demo.set_tags(floating, ["a"])
    assert [each.id for each in demo.ips(tags="a")] == [floating.id]
    demo.delete_ip(floating, ignore_missing=False)
    demo.delete_port(port, ignore_missing=False)
    demo.remove_interface_from_router(world.router, subnet=world.subnet.id)
    demo.delete_router(world.router, ignore_missing=False)


def test_the_sdk_shares_and_cuts(world: World) -> None:
    demo, admin = world.demo, world.admin
    scope = demo.create_address_scope(name="scope", ip_version=4)
    pool = demo.create_subnet_pool(
        name="pool", prefixes=["10.9.0.0/16"], default_prefix_length=24, address_scope_id=scope.id
    )
    assert [each.id for each in demo.subnet_pools(name="pool", is_shared=False)] == [pool.id]
    network = demo.create_network(name="pooled")
    subnet = demo.create_subnet(network_id=network.id, ip_version=4, subnet_pool_id=pool.id)
    assert subnet.cidr == "10.9.0.0/24"
    assert demo.get_network(network.id).ipv4_address_scope_id == scope.id
    policy = demo.create_rbac_policy(
        object_type="network", object_id=network.id, action="access_as_shared",
        target_project_id="e" * 32,
    )  # fmt: skip
    found = demo.rbac_policies(object_type="network", target_project_id="e" * 32)
    assert [each.id for each in found] == [policy.id]
    group = demo.create_address_group(name="offices", addresses=["192.0.2.1/32"])
    demo.add_addresses_to_address_group(group, ["198.51.100.0/24"])
    assert len(demo.get_address_group(group.id).addresses) == 2
    assert [each.name for each in demo.ports(fixed_ips="ip_address_substr=10.0.0")] == [""]
    assert [each.name for each in demo.networks(is_shared=False, any_tags="x")] == []
    usage = {each.network_id: each for each in admin.network_ip_availabilities()}
    assert usage[network.id].total_ips == 253
    stale = network.revision_number
    demo.update_network(network.id, description="x", if_revision=stale)
    with pytest.raises(openstack.exceptions.PreconditionFailedException):
        demo.update_network(network.id, description="y", if_revision=stale)


def test_the_sdk_cleans_a_project_up(world: World, cloud: NetworkCloud) -> None:
    """The order in which openstacksdk's own clean-up removes things works."""
    demo = world.demo
    port = demo.create_port(network_id=world.private.id)
    floating = demo.create_ip(floating_network_id=world.public.id, port_id=port.id)
    demo.delete_ip(floating)
    demo.delete_port(port)
    for interface in demo.ports(device_owner="network:router_interface"):
        demo.remove_interface_from_router(interface.device_id, port=interface.id)
    demo.delete_router(world.router)
    demo.delete_network(world.private)
    assert list(demo.ports()) == []
    assert [each.name for each in demo.networks()] == ["public"]
