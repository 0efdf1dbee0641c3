"""Routers on a real kernel: between networks, outside and in, as guests and neighbours see it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hostnet_world import OPEN, Plug, a_network, a_port, wiring
from killers import kill_at, killers
from private_host import Guest, Space, answers, links, missing, private_host, run
from test_hostnet_guard import Server, connect, is_alive, is_open

from minicloud.domain import ids
from minicloud.hostnet import names, namespaces
from minicloud.hostnet.host import HostNetwork
from minicloud.hostnet.metadata import MetadataProxy
from minicloud.hostnet.wiring import (
    Forwarding,
    HostWiring,
    NetworkWiring,
    PortWiring,
    RemotePort,
    RouterLeg,
    RouterWiring,
)

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

ONE, TWO = a_network(1), a_network(2)
EXTERNAL = msgspec.structs.replace(
    a_network(9, "172.24.4.0/24", dhcp_ip=None, enable_dhcp=False), external=True, mtu=1500
)
PORTS = {ONE.id: a_port(ONE, 11), TWO.id: a_port(TWO, 11)}
FLOATING = "172.24.4.50"


def leg(network: NetworkWiring, host: int) -> RouterLeg:
    prefix = network.subnets[0].cidr.rpartition(".")[0]
    return RouterLeg(
        port_id=ids.derive("leg", network.id),
        network_id=network.id,
        mac=f"fa:16:3e:99:00:{int(network.id[:2], 16):02x}",
        addresses=[f"{prefix}.{host}/24"],
    )


def router(*networks: NetworkWiring, **more: Any) -> RouterWiring:
    values: dict[str, Any] = {
        "legs": [leg(network, 1) for network in networks],
        "gateway": leg(EXTERNAL, 10),
        "next_hops": ["172.24.4.1"],
        **more,
    }
    return RouterWiring(id=ids.derive("router"), **values)


def picture(
    carried: Sequence[RouterWiring], *ports: tuple[NetworkWiring, PortWiring], **more: Any
) -> HostWiring:
    whole = wiring(*ports)
    networks = {network.id: network for network in (*whole.networks, ONE, TWO, EXTERNAL)}
    return msgspec.structs.replace(whole, networks=list(networks.values()), routers=carried, **more)


BOTH = ((ONE, PORTS[ONE.id]), (TWO, PORTS[TWO.id]))


def test_a_network_without_a_router_has_no_way_out(
    host: HostNetwork, plug: Plug, outside: Space
) -> None:
    guest = plug(ONE, PORTS[ONE.id])
    assert guest.dhcp()["ip"] == "10.20.1.11"
    assert not guest.answers("203.0.113.2")
    assert answers("10.20.1.11"), "but its host gets in"
    assert "X-Instance-ID" in guest.fetch("http://169.254.169.254/")


def test_guests_get_out_through_their_router_and_across_it(
    host: HostNetwork, plug: Plug, outside: Space
) -> None:
    host.sync(picture([router(ONE, TWO)], *BOTH))
    assert host.sync(picture([router(ONE, TWO)], *BOTH)) == []
    one, two = (plug(network, port) for network, port in BOTH)
    assert one.dhcp() and two.dhcp()
    assert one.answers("10.20.2.11")
    assert one.answers("203.0.113.2")
    assert one.answers("172.24.4.1")
    assert not outside.answers("10.20.1.11")
    host.sync(picture([router(ONE, TWO, snat=False)], *BOTH))
    assert not one.answers("203.0.113.2"), "its own address means nothing there"


def test_without_snat_the_own_address_is_seen(
    host: HostNetwork, plug: Plug, outside: Space
) -> None:
    host.sync(picture([router(ONE, snat=False)], BOTH[0]))
    one = plug(*BOTH[0], by_hand=True)
    run("ip", "route", "add", "10.20.1.0/24", "via", "172.24.4.10", check=False)
    run("ip", "route", "replace", "10.20.1.0/24", "via", "172.24.4.10")
    assert one.answers("172.24.4.1")


def test_a_floating_ip_leads_in_and_out_and_takes_its_connections_along(
    host: HostNetwork, plug: Plug, outside: Space
) -> None:
    outside.run("ip", "route", "add", "172.24.4.0/24", "via", "203.0.113.1")
    floating = router(ONE, TWO, floating_ips=[(FLOATING, "10.20.1.11")])
    host.sync(picture([floating], *BOTH))
    one, two = (plug(network, port, by_hand=True) for network, port in BOTH)
    server, far = Server(one, 22), Server(one, 80)
    assert answers(FLOATING)
    assert outside.answers(FLOATING)
    assert is_open(two, FLOATING, 80), "its neighbours reach it under that address, too"
    assert is_open(one, FLOATING, 80), "and so it does itself"
    held = connect(None, FLOATING, 22)
    assert held is not None and is_alive(held)
    host.sync(picture([router(ONE, TWO)], *BOTH))
    assert not is_alive(held)
    assert not answers(FLOATING)
    assert one.answers("172.24.4.1"), "by the shared address"
    server.close()
    far.close()


def test_a_guest_with_a_floating_ip_is_seen_under_it(
    host: HostNetwork, plug: Plug, outside: Space
) -> None:
    one = plug(*BOTH[0], by_hand=True)
    for floating, seen in (([(FLOATING, "10.20.1.11")], FLOATING), ([], "172.24.4.10")):
        host.sync(picture([router(ONE, floating_ips=floating)], BOTH[0]))
        run("conntrack", "-F", check=False)
        assert one.answers("172.24.4.1")
        name = names.router_space(ids.derive("router"))
        entries = namespaces.run_in(name, lambda: run("conntrack", "-L", "-p", "icmp"))
        assert f"dst={seen}" in entries


def test_a_port_of_a_floating_ip_leads_to_a_port_of_a_guest(
    host: HostNetwork, plug: Plug, outside: Space
) -> None:
    forwarding = Forwarding(
        floating_ip=FLOATING, protocol="tcp", external_port="2222", internal_ip="10.20.1.11",
        internal_port="22",
    )  # fmt: skip
    host.sync(picture([router(ONE, forwardings=[forwarding])], BOTH[0]))
    server = Server(plug(*BOTH[0], by_hand=True), 22)
    assert is_open(None, FLOATING, 2222)
    assert not is_open(None, FLOATING, 22)
    server.close()


def test_metadata_reaches_a_guest_that_asks_by_its_default_route(
    host: HostNetwork, plug: Plug
) -> None:
    host.sync(picture([router(ONE, TWO)], *BOTH))
    guests = [plug(network, port, by_hand=True) for network, port in BOTH]
    for guest, (network, port) in zip(guests, BOTH, strict=True):
        said = json.loads(guest.fetch("http://169.254.169.254/"))
        assert said["X-Instance-ID"] == port.device_id
        assert said["X-Minicloud-Network-ID"] == network.id


def test_a_router_with_extra_routes_and_one_that_is_down(
    host: HostNetwork, plug: Plug, outside: Space
) -> None:
    more = router(ONE, TWO, routes=[("192.0.2.0/24", "10.20.2.11")])
    host.sync(picture([more], *BOTH))
    one, two = (plug(network, port, by_hand=True) for network, port in BOTH)
    two.run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0")
    free = msgspec.structs.replace(PORTS[TWO.id], secured=False)
    host.ensure_port(TWO, free)
    assert one.answers("192.0.2.1")
    host.sync(picture([router(ONE, TWO)], *BOTH))
    host.ensure_port(TWO, free)
    assert not one.answers("192.0.2.1")
    assert one.answers("10.20.2.11")
    host.sync(picture([router(ONE, TWO, up=False)], *BOTH))
    assert not one.answers("10.20.2.11")


def test_a_router_that_goes_leaves_nothing_behind(host: HostNetwork) -> None:
    host.sync(picture([router(ONE)], BOTH[0]))
    assert names.router_space(ids.derive("router")) in namespaces.listed()
    host.sync(picture([], BOTH[0]))
    assert names.router_space(ids.derive("router")) not in namespaces.listed()
    assert "172.24.4" not in run("ip", "route")
    assert ids.bridge_name(EXTERNAL.id) not in run("ip", "link")
    host.sync(picture([router(ONE)], BOTH[0]))
    host.purge()
    assert namespaces.listed() == set()


@pytest.mark.parametrize(
    "command",
    [
        "ip -n {space} address del 10.20.1.1/24 dev {inner}",
        "ip -n {space} address del 172.24.4.50/32 dev {outer}",
        "ip -n {space} route del default",
        "ip netns exec {space} nft flush ruleset",
        "ip netns del {space}",
        "ip link del {bridge}",
        "ip address del 172.24.4.1/24 dev {bridge}",
    ],
)
def test_what_a_stranger_broke_of_a_router_is_mended(
    host: HostNetwork, plug: Plug, outside: Space, command: str
) -> None:
    floating = router(ONE, floating_ips=[(FLOATING, "10.20.1.11")])
    desired = picture([floating], BOTH[0])
    host.sync(desired)
    guest = plug(*BOTH[0], by_hand=True)
    assert answers(FLOATING)
    assert host.sync(desired) == []
    run(
        *command.format(
            space=names.router_space(floating.id),
            inner=names.inside(leg(ONE, 1).port_id),
            outer=names.outside(leg(EXTERNAL, 1).port_id),
            bridge=ids.bridge_name(EXTERNAL.id),
        ).split()
    )
    assert host.sync(desired) != []
    assert host.sync(desired) == []
    assert answers(FLOATING)
    assert guest.answers("203.0.113.2")


def test_addresses_on_other_hosts_are_reached_through_them(
    host: HostNetwork, outside: Space
) -> None:
    """``outside`` is in place of the other host."""
    outside.run("ip", "address", "add", "172.24.4.77/32", "dev", "lo")
    outside.run("ip", "route", "add", "172.24.4.0/24", "via", "203.0.113.1")
    carried = [router(ONE)]
    reach = [("172.24.4.77", "203.0.113.2"), ("172.24.4.78", "192.0.2.200")]
    host.sync(picture(carried, BOTH[0], reach=reach))
    assert answers("172.24.4.77")
    name = names.router_space(ids.derive("router"))
    asked = ["busybox", "ping", "-c", "1", "-W", "2", "172.24.4.77"]
    namespaces.run_in(name, lambda: run(*asked))
    host.sync(picture(carried, BOTH[0]))
    assert not answers("172.24.4.77")


def test_a_guest_of_another_host_gets_its_own_metadata_by_the_router(
    host: HostNetwork, plug: Plug
) -> None:
    """Plugged in here without security, under an address that is said to be elsewhere."""
    remote = RemotePort(
        mac="fa:16:3e:00:00:21", host_ip="", addresses=["10.20.1.33"], device_id="a-far-server"
    )
    network = msgspec.structs.replace(ONE, remotes=[remote])
    port = msgspec.structs.replace(PORTS[ONE.id], secured=False)
    whole = picture([router(ONE)], (network, port))
    networks = [network if item.id == network.id else item for item in whole.networks]
    host.sync(msgspec.structs.replace(whole, networks=networks, groups=[OPEN]))
    guest = plug(network, port)
    guest.configure("10.20.1.33/24", "10.20.1.1")
    assert json.loads(guest.fetch("http://169.254.169.254/"))["X-Instance-ID"] == "a-far-server"


@pytest.mark.skipif(shutil.which("iptables") is None, reason="needs iptables")
def test_beside_a_firewall_that_drops_what_is_forwarded(
    host: HostNetwork, plug: Plug, outside: Space
) -> None:
    run("iptables", "-P", "FORWARD", "DROP")
    outside.run("ip", "route", "add", "172.24.4.0/24", "via", "203.0.113.1")
    floating = router(ONE, floating_ips=[(FLOATING, "10.20.1.11")])
    host.sync(picture([floating], BOTH[0]))
    guest = plug(*BOTH[0], by_hand=True)
    assert guest.answers("203.0.113.2")
    assert outside.answers(FLOATING)
    host.purge()
    assert run("iptables", "-S", "FORWARD") == "-P FORWARD DROP\n"


def test_a_flat_network_has_the_wire_in_its_bridge_and_the_host_is_no_gateway(
    proxy: MetadataProxy, outside: Space, tmp_path: Path
) -> None:
    """``outside`` is the network's real gateway, at the other end of the wire."""
    run("ip", "address", "flush", "dev", "eth9")
    outside.run("ip", "address", "add", "172.24.4.1/24", "dev", "eth0")
    wires = {"lan": "eth9"}
    host = HostNetwork(state_dir=tmp_path / "state", metadata=None, physical_networks=wires)
    flat = msgspec.structs.replace(EXTERNAL, physical_network="lan")
    floating = router(ONE, floating_ips=[(FLOATING, "10.20.1.11")])
    whole = picture([floating], BOTH[0])
    networks = [flat if item.id == flat.id else item for item in whole.networks]
    desired = msgspec.structs.replace(whole, networks=networks)
    host.sync(desired)
    assert host.sync(desired) == []
    guest = Guest("flat", host.ensure_port(*BOTH[0]), BOTH[0][1].mac, tmp_path)
    guest.configure("10.20.1.11/24", "10.20.1.1")
    assert guest.answers("172.24.4.1")
    assert outside.answers(FLOATING)
    assert "172.24.4" not in run("ip", "address")
    outside.run("sysctl", "-qw", "net.ipv4.neigh.eth0.locktime=0")
    host.sync(msgspec.structs.replace(desired, routers=[router(ONE)]))
    known = ["ip", "neighbour", "replace", FLOATING, "dev", "eth0", "nud", "reachable"]
    outside.run(*known, "lladdr", "02:00:00:00:00:99")
    host.sync(desired)
    now = outside.run("ip", "neighbour", "show", FLOATING)
    assert leg(EXTERNAL, 10).mac in now, "neighbours are told where the address is now"
    guest.close()
    host.purge()
    assert "eth9" in run("ip", "link"), "the wire is the host's"


def test_a_guest_on_an_external_network_has_the_host_as_its_gateway(
    host: HostNetwork, plug: Plug, outside: Space
) -> None:
    port = a_port(EXTERNAL, 60)
    desired = picture([router(ONE)], (EXTERNAL, port), BOTH[0])
    host.sync(desired)
    guest = plug(EXTERNAL, port)
    guest.configure("172.24.4.60/24", "172.24.4.1")
    host.sync(desired)
    assert host.sync(desired) == []
    assert guest.answers("203.0.113.2")
    assert answers("172.24.4.60")
    one = plug(*BOTH[0], by_hand=True)
    assert one.answers("172.24.4.60")
    shut = msgspec.structs.replace(port, groups=[ids.derive("group", "unknown")])
    host.ensure_port(EXTERNAL, shut)
    assert not answers("172.24.4.60"), "its groups hold against the host, too"


def test_a_rebooted_host_comes_back_with_all_it_had(tmp_path: Path) -> None:
    floating = router(ONE, floating_ips=[(FLOATING, "10.20.1.11")])
    desired = picture([floating], *BOTH)
    state = tmp_path / "state"
    with private_host():
        HostNetwork(state_dir=state, metadata=None).sync(desired)
        before = links(), namespaces.listed()
    with private_host():
        again = HostNetwork(state_dir=state, metadata=None)
        assert again.restore() != []
        assert (links(), namespaces.listed()) == before
        guest = Guest("back", ids.tap_name(BOTH[0][1].id), BOTH[0][1].mac, tmp_path)
        guest.configure("10.20.1.11/24", "10.20.1.1")
        assert answers(FLOATING)
        guest.close()
        again.purge()


_VICTIM = """
import sys, msgspec
from pathlib import Path
from minicloud.hostnet.host import HostNetwork
from minicloud.hostnet.metadata import MetadataProxy
from minicloud.hostnet.wiring import HostWiring
desired = msgspec.json.decode(sys.argv[2], type=HostWiring)
HostNetwork(state_dir=Path(sys.argv[1]), metadata=None).sync(desired)
"""


@pytest.mark.parametrize("comes", [True, False])
def test_killed_anywhere_a_router_is_finished_by_the_next_pass(
    host: HostNetwork, tmp_path: Path, outside: Space, comes: bool
) -> None:
    """With a floating IP, a tunnel to another host, and a route to what it has."""
    remote = RemotePort(mac="fa:16:3e:00:00:22", host_ip="203.0.113.2", addresses=["10.20.1.22"])
    far = msgspec.structs.replace(ONE, segment=7, remotes=[remote])
    floating = router(ONE, floating_ips=[(FLOATING, "10.20.1.11")])
    bare = picture([], BOTH[0])
    whole = picture([floating], BOTH[0], reach=[("172.24.4.77", "203.0.113.2")])
    networks = [far if item.id == far.id else item for item in whole.networks]
    full = msgspec.structs.replace(whole, networks=networks, tunnel_ip="203.0.113.1")
    start, desired = (bare, full) if comes else (full, bare)
    tools = killers(tmp_path)
    for at in range(1, 40):
        host.sync(start)
        text = msgspec.json.encode(desired).decode()
        died = kill_at(at, tools, _VICTIM, str(tmp_path / "state"), text)
        host = HostNetwork(state_dir=tmp_path / "state", metadata=None)
        host.sync(desired)
        assert host.sync(desired) == []
        assert (names.router_space(floating.id) in namespaces.listed()) is comes
        assert (names.tunnel(ONE.id) in links()) is comes
        assert ("172.24.4.77" in run("ip", "route")) is comes
        if not died:
            assert at > 3
            return
    pytest.fail("the victim never came to its end")
