"""Networks across two hosts, as their guests see it; and a router that moves between them."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from hostnet_world import OPEN, a_network, a_port, group, ingress, wiring
from private_host import Guest, missing, run
from several_hosts import FarHost, join
from test_hostnet_guard import Server, connect, is_open
from test_hostnet_routers import EXTERNAL, FLOATING, leg, router

from minicloud.compute.wiring import is_reachable
from minicloud.domain import ids
from minicloud.hostnet import names, namespaces
from minicloud.hostnet.wiring import HostWiring, NetworkWiring, PortWiring, RemotePort, RouterWiring

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

HERE, THERE = "192.0.2.1", "192.0.2.2"
ONE = msgspec.structs.replace(a_network(1), segment=101)
SAME_RANGE = msgspec.structs.replace(a_network(2, "10.20.1.0/24"), segment=102)
A, B = a_port(ONE, 11), a_port(ONE, 12)
STRANGER = a_port(SAME_RANGE, 12)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[FarHost, FarHost]]:
    made = [FarHost(tmp_path / name) for name in ("here", "there")]
    for host, name in zip(made, ("here", "there"), strict=True):
        (tmp_path / name).mkdir(exist_ok=True)
        host.do(lambda: run("ip", "link", "set", "lo", "up"))
    join(made[0], made[1], (HERE, THERE))
    yield made[0], made[1]
    for host in made:
        host.close()


def seen(network: NetworkWiring, remotes: Sequence[tuple[PortWiring, str]]) -> NetworkWiring:
    """The network as a host is told of it that has not these ports."""
    told = [
        RemotePort(
            mac=port.mac, host_ip=host, addresses=[port.fixed_ips[0][1]], device_id=port.device_id
        )
        for port, host in remotes
    ]
    return msgspec.structs.replace(network, remotes=told)


def picture(own: str, *ports: tuple[NetworkWiring, PortWiring]) -> HostWiring:
    return msgspec.structs.replace(wiring(*ports), tunnel_ip=own)


def spread(hosts: tuple[FarHost, FarHost]) -> tuple[Guest, Guest, Guest]:
    """A here, B and the stranger there."""
    here, there = hosts
    mine, theirs = seen(ONE, [(B, THERE)]), seen(ONE, [(A, HERE)])
    strange = seen(SAME_RANGE, [])
    here.do(lambda: here.network.sync(picture(HERE, (mine, A))))
    there.do(lambda: there.network.sync(picture(THERE, (theirs, B), (strange, STRANGER))))
    return (
        here.plug(mine, A, "10.20.1.11"),
        there.plug(theirs, B, "10.20.1.12"),
        there.plug(strange, STRANGER, "10.20.1.12"),
    )


def pings(host: FarHost, guest: Guest, address: str, size: int) -> bool:
    """With a packet of ``size`` bytes of payload that must not be cut up."""
    argv = ["ping", "-M", "do", "-c", "1", "-W", "2", "-s", str(size), address]

    def ask() -> bool:
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    return host.do(lambda: namespaces.run_in(guest.name, ask))


def test_a_network_spans_hosts_with_packets_of_full_size(hosts: tuple[FarHost, FarHost]) -> None:
    here, there = hosts
    near, _, strange = spread(hosts)
    here.do(lambda: near.run("ip", "link", "set", "eth0", "mtu", "1450"))
    assert here.do(lambda: near.answers("10.20.1.12"))
    tunnel = names.tunnel(ONE.id)
    shown = json.loads(here.do(lambda: run("ip", "-j", "-d", "link", "show", tunnel)))[0]
    assert (shown["mtu"], shown["linkinfo"]["info_data"]["learning"]) == (1450, False)
    neighbours = here.do(lambda: near.run("ip", "neighbour", "show", "10.20.1.12"))
    assert B.mac in neighbours, "and not the stranger's with the same address"
    assert not there.do(lambda: strange.answers("10.20.1.11")), "another network of one range"


@pytest.mark.skipif(
    subprocess.run(["sh", "-c", "command -v ping"], capture_output=True, check=False).returncode
    != 0,
    reason="needs ping",
)
def test_full_packets_pass_uncut(hosts: tuple[FarHost, FarHost]) -> None:
    here, there = hosts
    near, far, _ = spread(hosts)
    here.do(lambda: near.run("ip", "link", "set", "eth0", "mtu", "1450"))
    there.do(lambda: far.run("ip", "link", "set", "eth0", "mtu", "1450"))
    assert here.do(lambda: near.answers("10.20.1.12"))
    assert pings(here, near, "10.20.1.12", 1422)
    assert not pings(here, near, "10.20.1.12", 1423)


def test_groups_hold_across_hosts(hosts: tuple[FarHost, FarHost]) -> None:
    here, there = hosts
    near, far, _ = spread(hosts)
    web = group("web", ingress("tcp", 22))
    closed = a_port(ONE, 12, groups=[web.id])
    theirs = seen(ONE, [(A, HERE)])
    whole = msgspec.structs.replace(picture(THERE, (theirs, closed)), groups=[OPEN, web])
    servers = there.do(lambda: [Server(far, port) for port in (22, 80)])
    there.do(lambda: there.network.sync(whole))
    assert here.do(lambda: is_open(near, "10.20.1.12", 22))
    assert not here.do(lambda: is_open(near, "10.20.1.12", 80))
    for server in servers:
        server.close()


def test_frames_go_only_to_the_hosts_that_have_a_port(hosts: tuple[FarHost, FarHost]) -> None:
    here, there = hosts
    near, _, _ = spread(hosts)
    assert here.do(lambda: near.answers("10.20.1.12"))
    alone = seen(ONE, [])
    here.do(lambda: here.network.sync(picture(HERE, (alone, A))))
    assert names.tunnel(ONE.id) not in here.do(lambda: run("ip", "link"))
    assert not here.do(lambda: near.answers("10.20.1.12"))
    assert there.do(lambda: there.network.sync(picture(THERE))) != []


def test_each_host_serves_its_own_guests_dhcp(hosts: tuple[FarHost, FarHost]) -> None:
    here, there = hosts
    near, far, _ = spread(hosts)
    there.do(lambda: run("ip", "link", "set", names.bridge_leg(ONE.id), "down"))
    assert here.do(near.dhcp)["ip"] == "10.20.1.11"
    assert there.do(far.dhcp) == {}, "the other host's does not answer in its place"


def carrying(carried: Sequence[RouterWiring], own: str, *ports: tuple[NetworkWiring, PortWiring],
             network: NetworkWiring) -> HostWiring:  # fmt: skip
    whole = picture(own, *ports)
    networks = {item.id: item for item in (*whole.networks, network)}
    if carried:
        networks[EXTERNAL.id] = EXTERNAL
    return msgspec.structs.replace(whole, networks=list(networks.values()), routers=carried)


def test_a_router_goes_to_another_host_and_its_floating_ips_with_it(
    hosts: tuple[FarHost, FarHost],
) -> None:
    here, there = hosts
    floating = router(ONE, floating_ips=[(FLOATING, "10.20.1.11")])
    leg = floating.legs[0]
    inner = RemotePort(mac=leg.mac, host_ip="", addresses=["10.20.1.1"])

    def place(carrier: FarHost) -> None:
        """A is here; the router is where it is said."""
        where = HERE if carrier is here else THERE
        away = msgspec.structs.replace(inner, host_ip=where)
        mine = msgspec.structs.replace(ONE, remotes=[] if carrier is here else [away])
        theirs = seen(ONE, [(A, HERE)])
        is_here = carrier is here
        wired = carrying([floating] if is_here else [], HERE, (mine, A), network=mine)
        far = carrying([] if is_here else [floating], THERE, network=theirs)
        reach = [(FLOATING, where), ("172.24.4.10", where)]
        here.do(
            lambda: here.network.sync(
                msgspec.structs.replace(wired, reach=[] if is_here else reach)
            )
        )
        there.do(
            lambda: there.network.sync(msgspec.structs.replace(far, reach=reach if is_here else []))
        )

    place(here)
    guest = here.plug(msgspec.structs.replace(ONE, remotes=None), A, "10.20.1.11")
    for carrier in (here, there, here):
        place(carrier)
        assert here.do(lambda: guest.answers("172.24.4.1"))
        for host in (here, there):
            assert host.do(lambda: _answers(FLOATING)), (carrier is here, host is here)
            assert host.do(lambda: is_reachable("172.24.4.10")), "the router itself refuses"


def test_floating_ips_on_two_hosts_see_each_other_as_such(
    hosts: tuple[FarHost, FarHost],
) -> None:
    here, there = hosts
    others = "172.24.4.60"
    near = router(ONE, floating_ips=[(FLOATING, "10.20.1.11")])
    legs = router(SAME_RANGE).legs
    gateway = leg(EXTERNAL, 20)
    far = RouterWiring(
        id=ids.derive("router", "far"),
        legs=legs,
        gateway=msgspec.structs.replace(gateway, port_id=ids.derive("far"), mac=legs[0].mac),
        next_hops=["172.24.4.1"],
        floating_ips=[(others, "10.20.1.12")],
    )
    mine, theirs = seen(ONE, []), seen(SAME_RANGE, [])
    for host, carried, own, pair, reach in (
        (here, near, HERE, (mine, A), [(others, THERE)]),
        (there, far, THERE, (theirs, STRANGER), [(FLOATING, HERE)]),
    ):
        whole = carrying([carried], own, pair, network=pair[0])
        host.do(
            lambda host=host, whole=whole, reach=reach: host.network.sync(
                msgspec.structs.replace(whole, reach=reach)
            )
        )
    guest = here.plug(mine, A, "10.20.1.11")
    server = there.plug(theirs, STRANGER, "10.20.1.12")
    listener = there.do(
        lambda: namespaces.run_in(server.name, lambda: socket.create_server(("", 80)))
    )
    with listener, here.do(lambda: connect(guest, others, 80)):
        accepted, (seen_as, _) = listener.accept()
        accepted.close()
    assert seen_as == FLOATING


def test_a_machine_is_known_to_live_by_its_refusal(hosts: tuple[FarHost, FarHost]) -> None:
    here, there = hosts
    assert here.do(lambda: is_reachable(THERE))
    assert not here.do(lambda: is_reachable("192.0.2.99", 0.5))
    drop = "table ip off { chain in { type filter hook input priority 0; policy drop; }; }"
    there.do(lambda: run("nft", drop))
    assert not here.do(lambda: is_reachable(THERE, 0.5))
    there.do(lambda: run("ip", "link", "set", "under0", "down"))
    assert not here.do(lambda: is_reachable(THERE, 0.5))


def _answers(address: str) -> bool:
    argv = ["busybox", "ping", "-c", "1", "-W", "2", address]
    return any(
        subprocess.run(argv, capture_output=True, check=False).returncode == 0 for _ in range(2)
    )


def test_a_tunnel_takes_frames_from_its_partners_alone(hosts: tuple[FarHost, FarHost]) -> None:
    here, there = hosts
    near, _, _ = spread(hosts)
    assert here.do(lambda: near.answers("10.20.1.12"))
    there.do(lambda: run("ip", "address", "add", "192.0.2.99/24", "dev", "under0"))
    tunnel = names.tunnel(ONE.id)
    there.do(lambda: run("ip", "link", "set", tunnel, "type", "vxlan", "local", "192.0.2.99"))
    assert not here.do(lambda: near.answers("10.20.1.12")), "whoever else sends is not heard"
    assert ids.bridge_name(ONE.id) in here.do(lambda: run("ip", "link"))
