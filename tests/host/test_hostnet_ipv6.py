"""IPv6 on a real kernel: addresses by SLAAC and DHCPv6, the way out, and who may say what."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

import msgspec
import pytest
from hostnet_world import Plug, a_network, a_port, wiring
from private_host import Guest, missing

from minicloud.domain import ids
from minicloud.hostnet.host import HostNetwork
from minicloud.hostnet.port_rules import link_local
from minicloud.hostnet.wiring import (
    DhcpOption,
    NetworkWiring,
    PortWiring,
    RouterLeg,
    RouterWiring,
    SubnetWiring,
)

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]


def network_6(number: int, mode: str) -> NetworkWiring:
    subnet = SubnetWiring(
        id=ids.derive("subnet6", number),
        cidr=f"fd00:{number}::/64",
        ip_version=6,
        gateway_ip=f"fd00:{number}::1",
        dhcp_ip=f"fd00:{number}::2",
        ra_mode=mode,
        address_mode=mode,
    )
    return msgspec.structs.replace(a_network(number), subnets=[subnet])


def port_6(network: NetworkWiring, host: int) -> PortWiring:
    port = a_port(a_network(int(network.subnets[0].cidr[5])), host)
    subnet = network.subnets[0]
    prefix = subnet.cidr.partition("::")[0]
    own = link_local(port.mac).removeprefix("fe80::")
    address = (
        f"{prefix}::{host:x}"
        if subnet.address_mode == "dhcpv6-stateful"
        else (f"{prefix}:0:0:0:{own}".replace("0:0:0:", ":", 1).replace(":::", "::"))
    )
    return msgspec.structs.replace(port, fixed_ips=[(subnet.id, address)])


def router_6(*networks: NetworkWiring) -> RouterWiring:
    legs = [
        RouterLeg(
            port_id=ids.derive("leg6", network.id),
            network_id=network.id,
            mac=f"fa:16:3e:98:00:{network.subnets[0].cidr[5]:0>2}",
            addresses=[f"{network.subnets[0].gateway_ip}/64"],
        )
        for network in networks
    ]
    return RouterWiring(id=ids.derive("router6"), legs=legs)


def plugged(host: HostNetwork, plug: Plug, network: NetworkWiring, port: PortWiring) -> Guest:
    """A guest that takes router advertisements as it comes up."""
    guest = plug(network, port)
    guest.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=2", check=False)
    guest.run("ip", "link", "set", "eth0", "down")
    guest.run("ip", "link", "set", "eth0", "up")
    return guest


def globals_of(guest: Guest) -> list[str]:
    entries = json.loads(guest.run("ip", "-6", "-j", "address", "show", "dev", "eth0"))
    return [
        item["local"]
        for entry in entries
        for item in entry.get("addr_info", ())
        if item.get("scope") == "global" and not item.get("tentative")
    ]


def eventually(condition: Callable[[], object], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)  # pacing of a poll: the condition is the loop's
    return True


def test_a_guest_makes_itself_the_address_that_it_may_use(host: HostNetwork, plug: Plug) -> None:
    network = network_6(1, "slaac")
    ports = [port_6(network, number) for number in (11, 12)]
    host.sync(wiring(*((network, port) for port in ports)))
    guest, other = (plugged(host, plug, network, port) for port in ports)
    wanted = ports[0].fixed_ips[0][1]
    assert eventually(lambda: wanted in globals_of(guest)), globals_of(guest)
    assert eventually(lambda: globals_of(other))
    assert "default" not in guest.run("ip", "-6", "route"), "nobody is a router here"
    assert "mtu 1450" in guest.run("ip", "-6", "route", "show", "dev", "eth0") or (
        guest.run("cat", "/proc/sys/net/ipv6/conf/eth0/mtu").strip() == "1450"
    )
    assert eventually(lambda: guest.answers(ports[1].fixed_ips[0][1]))
    guest.run("ip", "address", "add", "fd00:1::bad/64", "dev", "eth0", "nodad")
    assert not guest.answers(ports[1].fixed_ips[0][1], source="fd00:1::bad")


def test_a_routers_advertisements_lead_out_and_a_guests_own_lead_nowhere(
    host: HostNetwork, plug: Plug
) -> None:
    one, two = network_6(1, "slaac"), network_6(2, "slaac")
    ports = [(one, port_6(one, 11)), (two, port_6(two, 11))]
    whole = wiring(*ports)
    host.sync(msgspec.structs.replace(whole, routers=[router_6(one, two)]))
    assert host.sync(msgspec.structs.replace(whole, routers=[router_6(one, two)])) == []
    first, second = (plugged(host, plug, *item) for item in ports)
    assert eventually(lambda: globals_of(first) and globals_of(second))
    assert eventually(lambda: "default via fe80:" in first.run("ip", "-6", "route"))
    target = ports[1][1].fixed_ips[0][1]
    assert eventually(lambda: first.answers(target))


@pytest.mark.parametrize("secured", [True, False])
def test_a_guest_announces_nobody_elses_address(
    host: HostNetwork, plug: Plug, secured: bool
) -> None:
    network = network_6(1, "slaac")
    ports = [port_6(network, number) for number in (11, 12)]
    liar_port = msgspec.structs.replace(port_6(network, 13), secured=secured)
    host.sync(wiring(*((network, port) for port in (*ports, liar_port))))
    victim, liar = plug(network, ports[0]), plug(network, liar_port)
    victim.run("ip", "address", "add", f"{ports[0].fixed_ips[0][1]}/64", "dev", "eth0", "nodad")
    target = ports[1].fixed_ips[0][1]
    known = ["ip", "neighbour", "replace", target, "dev", "eth0", "nud", "reachable"]
    victim.run(*known, "lladdr", ports[1].mac)

    def is_fooled() -> bool:
        liar.announce_6(target, ports[0].mac)
        return liar_port.mac in victim.run("ip", "neighbour", "show", target)

    assert eventually(is_fooled, 3) is not secured


def test_a_guest_gets_its_address_by_dhcpv6(host: HostNetwork, plug: Plug) -> None:
    network = network_6(3, "dhcpv6-stateful")
    option = DhcpOption(ip_version=6, name="ntp-server", value="[fd00:3::99]")
    port = msgspec.structs.replace(port_6(network, 11), dhcp_options=[option])
    host.sync(wiring((network, port)))
    guest = plugged(host, plug, network, port)
    assert eventually(lambda: "fe80" in guest.run("ip", "-6", "address", "show", "-tentative"))
    assert eventually(lambda: guest.dhcp_6() == "fd00:3::b"), "the port's own address"


def test_a_guest_installed_anew_gets_its_address_by_dhcpv6(host: HostNetwork, plug: Plug) -> None:
    """It calls itself something else than the one before it, whose lease still runs."""
    network = network_6(3, "dhcpv6-stateful")
    port, neighbour = port_6(network, 11), port_6(network, 12)
    host.sync(wiring((network, port), (network, neighbour)))
    guest = plugged(host, plug, network, port)
    shown = ("ip", "-6", "address", "show", "-tentative")
    assert eventually(lambda: "fe80" in guest.run(*shown))
    assert eventually(lambda: guest.dhcp_6() == "fd00:3::b")
    host.ensure_no_port(port.id)
    anew = plugged(host, plug, network, port)
    assert eventually(lambda: "fe80" in anew.run(*shown))
    other = bytes.fromhex("0002000009bf0102030405060708")
    assert eventually(lambda: anew.dhcp_6(other) == "fd00:3::b")


@pytest.mark.parametrize("mode", ["slaac", "dhcpv6-stateful"])
def test_metadata_is_to_be_had_without_any_ipv4(host: HostNetwork, plug: Plug, mode: str) -> None:
    """At Neutron's link-local address."""
    network = network_6(1, mode)
    ports = [port_6(network, number) for number in (11, 12)]
    host.sync(wiring(*((network, port) for port in ports)))
    for port in ports:
        guest = plugged(host, plug, network, port)
        own = link_local(port.mac)
        settled = partial(guest.run, "ip", "-6", "address", "show", "dev", "eth0", "-tentative")
        assert eventually(lambda own=own, settled=settled: own in settled())
        url = "http://[fe80::a9fe:a9fe%eth0]/openstack/latest/meta_data.json"
        said = json.loads(guest.fetch(url))
        assert said["X-Instance-ID"] == port.device_id
        assert said["X-Forwarded-For"] == own


def test_single_ports_have_dhcp_options_of_their_own(host: HostNetwork, plug: Plug) -> None:
    network = a_network(1)
    options = [DhcpOption(ip_version=4, name="mtu", value="1300")]
    special = msgspec.structs.replace(a_port(network, 11), dhcp_options=options)
    guest, plain = plug(network, special), plug(network, a_port(network, 12))
    assert guest.dhcp()["mtu"] == "1300"
    assert plain.dhcp()["mtu"] == "1450"
    host.ensure_port(network, msgspec.structs.replace(special, dhcp_options=[]))
    assert guest.dhcp()["mtu"] == "1450"


def test_the_modes_are_told_apart(host: HostNetwork, plug: Plug) -> None:
    """Stateless: the guest makes its own address, and may ask for the rest."""
    network = network_6(4, "dhcpv6-stateless")
    port = port_6(network, 11)
    host.sync(wiring((network, port)))
    guest = plugged(host, plug, network, port)
    assert eventually(lambda: port.fixed_ips[0][1] in globals_of(guest))
