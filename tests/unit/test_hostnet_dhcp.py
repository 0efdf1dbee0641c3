"""What dnsmasq is told: its command line and its files, as text."""

from __future__ import annotations

from pathlib import Path

import msgspec

from minicloud.hostnet.dhcp import (
    arguments,
    has_taken_leases,
    hosts_text,
    kept_leases,
    upstream_text,
)
from minicloud.hostnet.wiring import NetworkWiring, PortWiring, SubnetWiring

SUBNET = SubnetWiring(id="s1", cidr="10.0.0.0/24", gateway_ip="10.0.0.1", dhcp_ip="10.0.0.2")
NETWORK = NetworkWiring(id="n1", mtu=1450, subnets=[SUBNET])
PORT = PortWiring(
    id="p1",
    mac="FA:16:3E:00:00:01",
    network_id="n1",
    device_id="server",
    fixed_ips=[("s1", "10.0.0.11")],
    hostname="web",
)
LEASES = (
    "1800000000 fa:16:3e:00:00:01 10.0.0.11 web 01:fa:16:3e:00:00:01\n"
    "1800000000 fa:16:3e:00:00:02 10.0.0.12 db *\n"
)


def with_subnet(**values: object) -> NetworkWiring:
    return msgspec.structs.replace(NETWORK, subnets=[msgspec.structs.replace(SUBNET, **values)])


def test_a_subnet_is_served_with_all_its_options() -> None:
    argv = arguments(NETWORK, Path("/d"))
    assert "--dhcp-range=set:s1,10.0.0.0,static,255.255.255.0,86400" in argv
    assert "--dhcp-option=tag:s1,option:router,10.0.0.1" in argv
    assert "--dhcp-option=tag:s1,option:mtu,1450" in argv
    assert "--dhcp-option=tag:s1,option:dns-server,10.0.0.2" in argv
    assert (
        "--dhcp-option=tag:s1,option:classless-static-route,"
        "169.254.169.254/32,10.0.0.2,0.0.0.0/0,10.0.0.1" in argv
    )
    assert "--no-ping" in argv
    assert "--pid-file=/d/pid" in argv


def test_a_subnet_without_a_gateway_offers_no_router() -> None:
    argv = arguments(with_subnet(gateway_ip=None), Path("/d"))
    assert "--dhcp-option=tag:s1,option:router" in argv
    assert not any("0.0.0.0/0" in word for word in argv)


def test_name_servers_and_routes_of_the_subnet_are_offered() -> None:
    network = with_subnet(
        dns_nameservers=["192.0.2.53", "fd00::53"], host_routes=[("10.9.0.0/16", "10.0.0.9")]
    )
    argv = arguments(network, Path("/d"))
    assert "--dhcp-option=tag:s1,option:dns-server,192.0.2.53" in argv
    assert any("10.9.0.0/16,10.0.0.9" in word for word in argv)


def test_a_host_has_one_line_with_mac_address_and_name() -> None:
    assert hosts_text(NETWORK, [PORT]) == "fa:16:3e:00:00:01,10.0.0.11,web\n"


def test_a_name_is_made_fit_for_a_host_or_made_up() -> None:
    odd = msgspec.structs.replace(PORT, hostname="My Server, No.1\n")
    assert hosts_text(NETWORK, [odd]).endswith(",my-server--no-1\n")
    none = msgspec.structs.replace(PORT, hostname="日本")
    assert hosts_text(NETWORK, [none]).endswith(",host-10-0-0-11\n")


def test_a_subnet_without_dhcp_has_no_hosts() -> None:
    assert hosts_text(with_subnet(enable_dhcp=False), [PORT]) == ""
    assert hosts_text(with_subnet(dhcp_ip=None), [PORT]) == ""


def test_only_name_servers_that_a_namespace_can_reach_are_asked() -> None:
    text = "# a\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nsearch x\n"
    assert upstream_text(text) == "nameserver 192.0.2.53\n"


def test_a_lease_of_another_guest_on_a_hosts_address_is_noticed() -> None:
    same = "fa:16:3e:00:00:01,10.0.0.11,web\n"
    other = "fa:16:3e:00:00:99,10.0.0.11,web\n"
    assert not has_taken_leases(LEASES, same)
    assert has_taken_leases(LEASES, other)
    assert kept_leases(LEASES, same) == LEASES.splitlines(keepends=True)[0]
    assert kept_leases(LEASES, other) == ""
