"""What guests may send and receive: their own addresses, and what their groups' rules allow."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hostnet_world import OPEN, Plug, a_network, a_port, group, ingress, rule, wiring
from private_host import Guest, missing, run

from minicloud.domain import ids
from minicloud.hostnet import namespaces
from minicloud.hostnet.host import HostNetwork
from minicloud.hostnet.wiring import (
    AddressSet,
    GroupWiring,
    HostWiring,
    PortWiring,
)

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

NETWORK = a_network(1)
SSH = ingress("tcp", 22)


class Server:
    """A TCP server in a guest that answers each line with itself."""

    def __init__(self, guest: Guest, port: int) -> None:
        self._listener = namespaces.run_in(
            guest.name, lambda: socket.create_server(("", port), backlog=8)
        )
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(1024):
                connection.sendall(data)
        except OSError:
            return

    def close(self) -> None:
        self._listener.close()


def connect(
    guest: Guest | None, address: str, port: int, wait: float = 1.5
) -> socket.socket | None:
    """A connection from a guest (None: the host); None if nobody answers."""

    def dial() -> socket.socket | None:
        try:
            return socket.create_connection((address, port), timeout=1.5)
        except OSError:
            return None

    return namespaces.run_in(guest.name if guest else None, dial)


def is_open(guest: Guest | None, address: str, port: int) -> bool:
    made = connect(guest, address, port)
    if made is None:
        return False
    made.close()
    return True


def is_alive(connection: socket.socket) -> bool:
    connection.settimeout(1.5)
    try:
        connection.sendall(b"x")
        return connection.recv(16) != b""
    except OSError:
        return False


@pytest.fixture
def two(host: HostNetwork, plug: Plug) -> Iterator[tuple[Guest, Guest]]:
    """A client in the open group, and a server that listens on 22 and 80, in ``web``."""
    web = group("web")
    client, server = a_port(NETWORK, 11), a_port(NETWORK, 12, groups=[web.id])
    host.sync(picture(web, client, server))
    first, second = (plug(NETWORK, port, by_hand=True) for port in (client, server))
    servers = [Server(second, port) for port in (22, 80)]
    yield first, second
    for one in servers:
        one.close()


def picture(
    web: GroupWiring, *ports: PortWiring, sets: list[AddressSet] | None = None
) -> HostWiring:
    whole = wiring(*((NETWORK, port) for port in ports))
    return msgspec.structs.replace(whole, groups=[OPEN, web], sets=sets or [])


def change(host: HostNetwork, *rules: object, sets: list[AddressSet] | None = None) -> None:
    """The group ``web`` has just these rules from now on."""
    client, server = a_port(NETWORK, 11), a_port(NETWORK, 12, groups=[group("web").id])
    started = time.monotonic()
    host.sync(picture(group("web", *rules), client, server, sets=sets))
    assert time.monotonic() - started < 1


def test_a_rule_opens_a_port_of_a_running_guest_and_cuts_it_off(
    host: HostNetwork, two: tuple[Guest, Guest]
) -> None:
    client, _ = two
    address = "10.20.1.12"
    assert not is_open(client, address, 22)
    assert not client.answers(address)
    change(host, SSH)
    held = connect(client, address, 22)
    assert held is not None and is_alive(held)
    assert not is_open(client, address, 80)
    assert not client.answers(address)
    change(host, SSH, ingress("tcp", 80), ingress("icmp"))
    assert is_open(client, address, 80)
    assert client.answers(address)
    assert is_alive(held), "what stays allowed is not disturbed"
    change(host, ingress("tcp", 80), ingress("icmp"))
    assert not is_alive(held), "an established connection is cut with its rule"
    assert not is_open(client, address, 22)
    assert is_open(client, address, 80)


def test_answers_come_back_without_a_rule_and_stop_with_the_rule_that_let_the_question_out(
    host: HostNetwork, two: tuple[Guest, Guest]
) -> None:
    client, server = two
    listener = Server(client, 8080)
    assert not is_open(server, "10.20.1.11", 8080), "nothing may leave"
    change(host, rule("egress", "tcp", 8080))
    held = connect(server, "10.20.1.11", 8080)
    assert held is not None and is_alive(held)
    change(host)
    assert not is_alive(held)
    listener.close()


def test_members_of_a_group_are_let_in_by_their_addresses(
    host: HostNetwork, two: tuple[Guest, Guest]
) -> None:
    client, _ = two
    friends = ids.derive("group", "friends")
    from_friends = ingress("tcp", 22, remote_set=friends)
    change(host, from_friends, sets=[AddressSet(id=friends, addresses=["10.20.1.99"])])
    assert not is_open(client, "10.20.1.12", 22)
    change(host, from_friends, sets=[AddressSet(id=friends, addresses=["10.20.1.11"])])
    held = connect(client, "10.20.1.12", 22)
    assert held is not None and is_alive(held)
    change(host, from_friends, sets=[AddressSet(id=friends, addresses=[])])
    assert not is_alive(held)


def test_a_port_of_a_group_that_nobody_told_of_receives_nothing(
    host: HostNetwork, plug: Plug
) -> None:
    client = plug(NETWORK, a_port(NETWORK, 11), by_hand=True)
    stranger = a_port(NETWORK, 12, groups=[ids.derive("group", "unknown")])
    guest = plug(NETWORK, stranger, by_hand=True)
    assert not host.is_told(stranger.id)
    assert guest.dhcp()["ip"] == "10.20.1.12", "but it gets its address"
    assert not client.answers("10.20.1.12")
    assert not guest.answers("10.20.1.11")


def test_a_stateless_group_judges_every_packet_by_its_rules(
    host: HostNetwork, two: tuple[Guest, Guest]
) -> None:
    client, _ = two
    plain = msgspec.structs.replace(group("web", SSH), stateful=False)
    ports = (a_port(NETWORK, 11), a_port(NETWORK, 12, groups=[plain.id]))
    host.sync(picture(plain, *ports))
    assert not is_open(client, "10.20.1.12", 22), "answers need a rule of their own"
    answers = msgspec.structs.replace(plain, rules=[*plain.rules, rule("egress", "tcp", 1, 65535)])
    host.sync(picture(answers, *ports))
    assert is_open(client, "10.20.1.12", 22)


def test_two_networks_with_the_same_addresses_share_no_connections(
    host: HostNetwork, plug: Plug
) -> None:
    one, two = a_network(1, "10.20.7.0/24"), a_network(2, "10.20.7.0/24")
    closed = group("closed")
    ports = [
        (network, a_port(network, number, groups=[OPEN.id if number == 11 else closed.id]))
        for network in (one, two)
        for number in (11, 12)
    ]
    host.sync(msgspec.structs.replace(wiring(*ports), groups=[OPEN, closed]))
    guests = {port.id: plug(network, port, by_hand=True) for network, port in ports}
    inviting = group("closed", ingress("tcp", 22))
    host.sync(msgspec.structs.replace(wiring(*ports), groups=[OPEN, inviting]))
    servers = [Server(guests[port.id], 22) for _, port in ports if port.groups == [closed.id]]
    clients = [guests[port.id] for _, port in ports if port.groups == [OPEN.id]]
    for client in clients:
        assert is_open(client, "10.20.7.12", 22)
    for server in servers:
        server.close()


@pytest.mark.parametrize("secured", [True, False])
def test_spoofed_frames_are_dropped_unless_the_port_is_not_secured(
    host: HostNetwork, plug: Plug, secured: bool
) -> None:
    port = msgspec.structs.replace(a_port(NETWORK, 11), secured=secured)
    guest = plug(NETWORK, port, by_hand=True)
    other = plug(NETWORK, a_port(NETWORK, 12), by_hand=True)
    assert guest.answers("10.20.1.12")
    guest.run("ip", "address", "add", "10.20.1.66/24", "dev", "eth0")
    assert guest.answers("10.20.1.12", source="10.20.1.66") is not secured
    neighbours = other.run("ip", "neighbour", "show", "10.20.1.66")
    assert ("lladdr" in neighbours) is not secured


def test_an_allowed_address_pair_is_allowed_and_no_more(host: HostNetwork, plug: Plug) -> None:
    pairs = [("fa:16:3e:00:aa:01", "10.20.1.64/28")]
    port = msgspec.structs.replace(a_port(NETWORK, 11), pairs=pairs)
    guest = plug(NETWORK, port, by_hand=True)
    plug(NETWORK, a_port(NETWORK, 12), by_hand=True)
    guest.run("ip", "address", "add", "10.20.1.66/24", "dev", "eth0")
    assert not guest.answers("10.20.1.12", source="10.20.1.66"), "not with the port's own MAC"
    guest.run("ip", "link", "add", "link", "eth0", "name", "mv0", "type", "macvlan")
    guest.run("ip", "link", "set", "mv0", "address", "fa:16:3e:00:aa:01", "up")
    guest.run("ip", "address", "flush", "dev", "eth0")
    guest.run("ip", "address", "add", "10.20.1.66/24", "dev", "mv0")
    assert guest.answers("10.20.1.12", source="10.20.1.66")
    guest.run("ip", "address", "replace", "10.20.1.90/24", "dev", "mv0")
    assert not guest.answers("10.20.1.12", source="10.20.1.90")


def test_a_guest_serves_nobody_dhcp(host: HostNetwork, plug: Plug, tmp_path: Path) -> None:
    quiet = a_network(3, enable_dhcp=False, dhcp_ip=None)
    rogue = plug(quiet, a_port(quiet, 11), by_hand=True)
    victim = plug(quiet, a_port(quiet, 12))
    server = [
        "dnsmasq", "--conf-file=", "--port=0", "--interface=eth0", "--bind-interfaces",
        "--dhcp-range=10.20.3.50,10.20.3.60,60s", "--dhcp-authoritative", "--user=root",
        f"--pid-file={tmp_path / 'rogue.pid'}", f"--dhcp-leasefile={tmp_path / 'rogue.leases'}",
    ]  # fmt: skip
    rogue.run(*server)
    try:
        assert victim.dhcp() == {}
        free = msgspec.structs.replace(a_port(quiet, 11), secured=False)
        host.ensure_port(quiet, free)
        assert victim.dhcp()["ip"].startswith("10.20.3."), "it would have answered"
    finally:
        run("kill", (tmp_path / "rogue.pid").read_text().strip())


def test_a_port_that_is_down_passes_nothing(host: HostNetwork, plug: Plug) -> None:
    port = a_port(NETWORK, 11)
    guest = plug(NETWORK, port, by_hand=True)
    plug(NETWORK, a_port(NETWORK, 12), by_hand=True)
    assert guest.answers("10.20.1.12")
    host.ensure_port(NETWORK, msgspec.structs.replace(port, up=False))
    assert not guest.answers("10.20.1.12")
    host.ensure_port(NETWORK, port)
    assert guest.answers("10.20.1.12")


def test_a_strangers_masquerading_does_not_touch_bridged_packets(
    host: HostNetwork, two: tuple[Guest, Guest]
) -> None:
    """As Docker does for its own range, which a tenant may have chosen, too."""
    run("nft", "add", "table", "ip", "theirs")
    run("nft", "add chain ip theirs post { type nat hook postrouting priority 100; }")
    run("nft", "add", "rule", "ip", "theirs", "post", "ip", "saddr", "10.20.1.0/24", "masquerade")
    client, _ = two
    change(host, SSH)
    held = connect(client, "10.20.1.12", 22)
    assert held is not None and is_alive(held)
    assert held.getsockname()[0] == "10.20.1.11"
    entries = run("conntrack", "-L", "-p", "tcp", "--dport", "22")
    assert "dst=10.20.1.11" in entries
    run("nft", "delete", "table", "ip", "theirs")


def test_a_rule_for_many_members_takes_no_time(host: HostNetwork) -> None:
    """Two hundred members, and one rule more: only the group's own chains are sent."""
    members = [a_port(NETWORK, number) for number in range(10, 210)]
    whole = wiring(*((NETWORK, port) for port in members))
    host.sync(whole)
    more = msgspec.structs.replace(OPEN, rules=[*OPEN.rules, ingress("tcp", 443)])
    started = time.monotonic()
    host.sync(msgspec.structs.replace(whole, groups=[more]))
    took = time.monotonic() - started
    print(f"a rule for 200 members: {took * 1000:.0f} ms")
    assert took < 1
