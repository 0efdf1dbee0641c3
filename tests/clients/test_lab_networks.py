"""Networks as real guests on two lab hosts see them, and from outside."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator

import pytest
from clients.conftest import LiveCloud, until
from clients.lab_guests import SECOND, SIDE, Guest, Lab, lab_guests, on_host, who
from clients.test_lab import lab

pytestmark = [pytest.mark.clients, pytest.mark.host]

_OFF = "table ip off { chain in { type filter hook prerouting priority -300; policy drop; }; }"
"""Packet filter of a machine that hears nothing any more."""
_FLOW = 9000
_ANOTHER = "fa:16:3e:00:00:99"
_STOLEN = ("10.78.0.98", "10.78.0.99")


@pytest.fixture(scope="module")
def guests(live_cloud: LiveCloud) -> Iterator[Lab]:
    with lab_guests(live_cloud) as made:
        yield made


def is_named(guest: Guest, words: list[str]) -> bool:
    return words[:1] == [f"lab-networks-{guest.name}"]


def seen_as(words: list[str]) -> str:
    return words[1].strip("[]").removeprefix("::ffff:")


def fragments(guest: Guest) -> list[int]:
    """How many packets the guest has cut up and how many pieces it has got, by IPv4 and IPv6."""
    lines = guest.says("grep ^Ip: /proc/net/snmp; cat /proc/net/snmp6").splitlines()
    four = dict(zip(lines[0].split(), lines[1].split(), strict=True))
    six = dict(line.split() for line in lines[2:])
    return [
        int(value)
        for value in (
            four["FragCreates"], four["ReasmReqds"], six["Ip6FragCreates"], six["Ip6ReasmReqds"],
        )
    ]  # fmt: skip


def test_guests_on_two_hosts_exchange_packets_of_full_size_uncut(guests: Lab) -> None:
    a1, a2 = guests.a1, guests.a2
    mtu = guests.a.network.mtu
    for guest in (a1, a2):
        assert guest.says("cat /sys/class/net/eth0/mtu") == str(mtu)
    until(lambda: a1.says("ip -6 address show dev eth0").find(a1.address_6) > 0)
    until(lambda: a2.says("ip -6 address show dev eth0").find(a2.address_6) > 0)
    before = fragments(a1) + fragments(a2)
    until(lambda: a1.pings(SECOND, f"-s {mtu - 28}"))
    until(lambda: a1.pings(a2.address_6, f"-s {mtu - 48}"))
    assert fragments(a1) + fragments(a2) == before


def test_guests_of_two_projects_with_the_same_addresses_do_not_meet(guests: Lab) -> None:
    a1, a2, b1, b2 = guests.a1, guests.a2, guests.b1, guests.b2
    for asker, asked in ((a1, a2), (a2, a1), (b1, b2), (b2, b1)):
        words = until(lambda asker=asker, asked=asked: asker.asks(asked.address))
        assert is_named(asked, words), asker.name
    # An address that only a guest of the one project has: none of the other's gets there.
    network = guests.a.cloud.network
    network.update_port(a2.device, allowed_address_pairs=[{"ip_address": "10.77.0.30"}])
    a2.says("ip address add 10.77.0.30/24 dev eth0")
    try:
        assert is_named(a2, until(lambda: a1.asks("10.77.0.30")))
        assert not b1.asks("10.77.0.30")
        assert not b2.asks("10.77.0.30")
    finally:
        a2.says("ip address del 10.77.0.30/24 dev eth0")
        network.update_port(a2.device, allowed_address_pairs=[])


def test_each_guest_gets_its_own_metadata_whatever_its_address(guests: Lab) -> None:
    for place in ("169.254.169.254", "[fe80::a9fe:a9fe%eth0]"):
        ask = f"wget -q -O - http://{place}/openstack/latest/meta_data.json"
        for guest in guests.guests:
            said = until(lambda guest=guest, ask=ask: guest.run(ask))
            assert json.loads(said)["uuid"] == guest.server.id, guest.name


def steal(guest: Guest) -> str:
    """Send under an address, and answer for it, and for another under another MAC address."""
    first, second = _STOLEN
    return guest.says(f"""
        own=$(cat /sys/class/net/eth1/address)
        ip address add {second}/24 dev eth1
        ping -c 2 -w 4 -I {second} {SIDE[1]} >/dev/null && echo answered
        arping -q -A -c 2 -w 4 -I eth1 -s {second} {second}
        ip address del {second}/24 dev eth1
        ip link set eth1 down; ip link set eth1 address {_ANOTHER}; ip link set eth1 up
        ip address add {first}/24 dev eth1
        arping -q -A -c 2 -w 4 -I eth1 -s {first} {first}
        ip address del {first}/24 dev eth1
        ip link set eth1 down; ip link set eth1 address $own; ip link set eth1 up
        true""")


def believed(guest: Guest) -> dict[str, str]:
    """address -> MAC, as the guest knows its neighbours on ``side``."""
    lines = guest.says("cat /proc/net/arp").splitlines()[1:]
    return {words[0]: words[3] for words in map(str.split, lines) if words[5] == "eth1"}


def test_what_does_not_bear_a_guests_own_addresses_arrives_nowhere(guests: Lab) -> None:
    thief, victim = guests.a1, guests.a2
    victim.says("echo 1 >/proc/sys/net/ipv4/conf/eth1/arp_accept")
    until(lambda: thief.pings(SIDE[1]))
    assert steal(thief) == ""
    assert not believed(victim).keys() & set(_STOLEN)
    # The same with leave to do so: then it is believed.
    first, second = _STOLEN
    pairs = [{"ip_address": second}, {"ip_address": first, "mac_address": _ANOTHER}]
    guests.a.cloud.network.update_port(thief.side, allowed_address_pairs=pairs)
    until(lambda: steal(thief) == "answered")
    own = thief.side.mac_address
    until(lambda: believed(victim).items() >= {second: own, first: _ANOTHER}.items())
    guests.a.cloud.network.update_port(thief.side, allowed_address_pairs=[])
    until(lambda: thief.pings(SIDE[1]))


def test_a_guest_that_plays_dhcp_server_is_not_heard(guests: Lab) -> None:
    rogue, victim = guests.a1, guests.a2
    network = guests.a.cloud.network
    rule = guests.a.allow("udp", 67)
    settings = "\\n".join(
        (
            "start 10.78.0.66", "end 10.78.0.66", "max_leases 1", "interface eth1", "auto_time 0",
            "lease_file /tmp/leases", "option subnet 255.255.255.0",
        )
    )  # fmt: skip
    rogue.says(
        f"touch /tmp/leases; printf '{settings}\\n' >/tmp/udhcpd.conf; "
        "(udhcpd -f /tmp/udhcpd.conf </dev/null >/tmp/udhcpd.log 2>&1 &)"
    )
    victim.says(
        "printf '#!/bin/sh\\n[ \"$1\" != bound ] || echo $ip\\n' >/tmp/print; chmod 755 /tmp/print"
    )
    ask = "udhcpc -i eth1 -n -q -f -t 3 -T 2 -s /tmp/print 2>/dev/null; true"
    try:
        until(lambda: victim.says(ask) or "OFFER" in rogue.says("cat /tmp/udhcpd.log"))
        assert victim.says(ask) == "", "it was asked, and offered"
        network.update_port(rogue.side, port_security_enabled=False, security_group_ids=[])
        until(lambda: victim.says(ask) == "10.78.0.66")
    finally:
        network.update_port(
            rogue.side, port_security_enabled=True, security_group_ids=[guests.a.group.id]
        )
        network.delete_security_group_rule(rule)
        rogue.says("killall udhcpd; true")


def test_a_rule_opens_and_shuts_a_port_and_cuts_what_goes_through_it(guests: Lab) -> None:
    a1, a2 = guests.a1, guests.a2
    a2.says(f"(nc -ll -p {_FLOW} -e cat </dev/null >/dev/null 2>&1 &)")
    connect = f"echo | timeout 4 nc -w 2 {SECOND} {_FLOW}"
    assert not a1.run(connect)
    rule = guests.a.allow("tcp", _FLOW)
    until(lambda: a1.run(connect))
    a1.says(
        f"((while usleep 100000; do echo; done) | nc {SECOND} {_FLOW} >/tmp/flow 2>/dev/null &)"
    )

    def flows() -> bool:
        first, second = a1.says("wc -c </tmp/flow; sleep 2; wc -c </tmp/flow").split()
        return int(second) > int(first)

    until(flows)
    guests.a.cloud.network.delete_security_group_rule(rule)
    until(lambda: not flows())
    assert not a1.run(connect)
    again = guests.a.allow("tcp", _FLOW)
    until(flows)
    guests.a.cloud.network.delete_security_group_rule(again)
    a1.says("killall nc; true")
    a2.says("killall nc; true")


def test_a_rule_that_this_machine_goes_by_is_there_at_once(guests: Lab) -> None:
    address = guests.a.give_floating_ip(guests.a2)
    network = guests.a.cloud.network
    key = (4, "icmp", None)
    argv = ["ping", "-c", "1", "-W", "1", address]

    def answers() -> bool:
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    until(answers)
    network.delete_security_group_rule(guests.a.rules[key])
    until(lambda: not answers(), 10)
    guests.a.rules[key] = guests.a.allow("icmp")
    until(answers, 10)
    guests.a.take_floating_ip(guests.a2)
    until(lambda: not answers())


def test_floating_ips_lead_in_from_every_host_and_are_seen_outside(guests: Lab) -> None:
    a, b = guests.a, guests.b
    near, far, other = guests.a1, guests.a2, guests.b1
    addresses = [(a, near), (a, far), (b, other)]
    for site, guest in addresses:
        site.give_floating_ip(guest)
    for _, guest in addresses:
        assert is_named(guest, until(lambda guest=guest: who(guest.floating)))
        for host in ("lab1", "lab2"):
            ping = ("ping", "-c", "1", "-W", "5", guest.floating)
            until(lambda host=host, ping=ping: on_host(host, *ping))
    # From one project's guests to another's, each by its own router.
    for asker in (near, far):
        words = until(lambda asker=asker: asker.asks(other.floating))
        assert is_named(other, words) and seen_as(words) == asker.floating
    assert far.pings("172.24.4.1")
    a.take_floating_ip(far)
    until(lambda: seen_as(far.asks(other.floating) or ["", ""]) == a.gateway)
    assert far.pings("172.24.4.1")
    address = near.floating
    for site, guest in ((a, near), (b, other)):
        site.take_floating_ip(guest)
    until(lambda: not who(address))


def test_guests_make_themselves_the_ipv6_addresses_of_their_ports(guests: Lab) -> None:
    leg = next(
        port
        for port in guests.a.cloud.network.ports(device_id=guests.a.router.id)
        if any(one["ip_address"] == "fd77:1::1" for one in port.fixed_ips)
    )
    tail = leg.mac_address.replace(":", "")[-4:]
    for guest in (guests.a1, guests.a2):
        until(lambda guest=guest: guest.address_6 in guest.says("ip -6 address show dev eth0"))
        route = until(lambda guest=guest: guest.says("ip -6 route show default"))
        assert route.startswith("default via fe80::") and tail in route
    assert guests.a1.pings(guests.a2.address_6)
    assert guests.a2.pings("fd77:1::1")


def test_guests_are_given_the_ipv6_addresses_of_their_ports(guests: Lab) -> None:
    both = (guests.a1, guests.a2)
    for guest in both:
        guest.ask_dhcp_6("eth1")
    for guest in both:
        shown = "ip -6 address show dev eth1"
        until(lambda guest=guest, shown=shown: guest.side_address_6 in guest.says(shown))
    until(lambda: guests.a1.pings(guests.a2.side_address_6))


def heard_of(guests: Lab, host: str) -> str:
    (agent,) = guests.a.cloud.network.agents(host=host)
    return str(agent.last_heartbeat_at)


def test_a_router_stays_where_it_works_and_survives_its_machine(guests: Lab) -> None:
    """First the daemon falls silent, then its machine does."""
    site = guests.a
    (carrier,) = until(site.carriers)
    if carrier == socket.gethostname():
        pytest.skip("this machine itself carries the router, and is not to be silenced")
    near, far = sorted(site.guests, key=lambda each: each.host != carrier)
    addresses = [site.give_floating_ip(guest) for guest in (near, far)]
    for address in addresses:
        until(lambda address=address: who(address))
    agents = site.cloud.network.agents
    pid = "$(cat /run/minicloud/compute.pid)"
    lab("sh", carrier, "bash", "-c", f"kill -STOP {pid}")
    try:
        until(lambda: not all(agent.is_alive for agent in agents(host=carrier)))
        for _ in range(2):  # whoever might move it has had the occasion to
            seen = {agent.host: str(agent.last_heartbeat_at) for agent in agents()}
            for host in seen.keys() - {carrier}:
                until(lambda host=host, seen=seen: seen[host] != heard_of(guests, host))
        assert site.carriers() == {carrier}
        for guest, address in zip((near, far), addresses, strict=True):
            assert is_named(guest, who(address))
            assert on_host(far.host, "ping", "-c", "1", "-W", "5", address)
            assert guest.pings("172.24.4.1")
        lab("sh", carrier, "nft", _OFF)
        until(lambda: site.carriers() - {carrier})
        until(lambda: is_named(far, who(addresses[1])))
        until(lambda: on_host(far.host, "ping", "-c", "1", "-W", "5", addresses[1]))
        until(lambda: far.pings("172.24.4.1"))
    finally:
        on_host(carrier, "nft", "delete", "table", "ip", "off")
        lab("sh", carrier, "bash", "-c", f"kill -CONT {pid}")
    until(lambda: carrier not in site.carriers())
    for guest, address in zip((near, far), addresses, strict=True):
        until(lambda guest=guest: guest.pings("172.24.4.1"))
        until(lambda guest=guest, address=address: is_named(guest, who(address)))
        site.take_floating_ip(guest)
