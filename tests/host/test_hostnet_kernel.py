"""A host's networking on a real kernel, as its guests and its neighbours see it.

Each test has a host of its own inside network and mount namespaces; nothing of the machine is
touched.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest
from hostnet_world import Plug, a_network, a_port, wiring
from killers import kill_at, killers
from private_host import Space, answers, links, missing, run, trace

from minicloud.domain import ids
from minicloud.hostnet import names, namespaces
from minicloud.hostnet.host import HostNetwork
from minicloud.hostnet.metadata import MetadataProxy
from minicloud.hostnet.wiring import HostWiring, NetworkWiring

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]


def test_a_guest_gets_its_address_name_routes_and_mtu_by_dhcp(plug: Plug) -> None:
    network = a_network(1, dns_nameservers=["203.0.113.53"])
    offer = plug(network, a_port(network, 11, "Web_1")).dhcp()
    assert offer["ip"] == "10.20.1.11"
    assert offer["hostname"] == "web-1"
    assert offer["mtu"] == "1450"
    assert offer["dns"] == "203.0.113.53"
    assert offer["router"] == "10.20.1.1"
    assert offer["staticroutes"].split() == [
        *("169.254.169.254/32", "10.20.1.2"),
        *("0.0.0.0/0", "10.20.1.1"),
    ]


def test_host_and_guests_reach_each_other(plug: Plug) -> None:
    network = a_network(1)
    first, second = (plug(network, a_port(network, number)) for number in (11, 12))
    assert first.dhcp() and second.dhcp()
    assert answers("10.20.1.11")
    assert first.answers("10.20.1.12")
    assert first.answers("10.20.1.2")


def test_a_guest_without_a_default_route_answers_the_host(plug: Plug) -> None:
    network = a_network(1, gateway_ip=None)
    guest = plug(network, a_port(network, 11))
    offer = guest.dhcp()
    assert "router" not in offer
    assert offer["staticroutes"].split() == ["169.254.169.254/32", "10.20.1.2"]
    assert answers("10.20.1.11")


def test_metadata_tells_guests_apart_by_network_and_address(plug: Plug) -> None:
    one, two = a_network(1, "10.20.7.0/24"), a_network(2, "10.20.7.0/24")
    ports = [a_port(one, 11), a_port(two, 11)]
    for port, network in zip(ports, (one, two), strict=True):
        guest = plug(network, port)
        assert guest.dhcp()["ip"] == "10.20.7.11"
        url = "http://169.254.169.254/openstack/latest/meta_data.json"
        said = json.loads(guest.fetch(url, "X-Instance-ID: another", "X-Forwarded-For: 1.2.3.4"))
        assert said["path"] == "/openstack/latest/meta_data.json"
        assert said["X-Instance-ID"] == port.device_id
        assert said["X-Tenant-ID"] == "a-project"
        assert said["X-Forwarded-For"] == "10.20.7.11"


def test_the_second_network_of_a_range_works_inside_but_the_host_keeps_the_first(
    plug: Plug, host: HostNetwork
) -> None:
    one, two = a_network(1, "10.20.7.0/24"), a_network(2, "10.20.7.0/24")
    first, second = plug(one, a_port(one, 11)), plug(two, a_port(two, 12))
    third = plug(two, a_port(two, 13))
    for guest in (first, second, third):
        assert guest.dhcp()
    assert second.answers("10.20.7.13")
    assert not first.answers("10.20.7.12")
    assert answers("10.20.7.11")
    assert not answers("10.20.7.12")
    host.ensure_no_port(a_port(one, 11).id)
    assert host.restore() != []
    assert answers("10.20.7.12"), "the range is free again"


def test_nobody_but_the_host_gets_in_and_nobody_across(plug: Plug, outside: Space) -> None:
    one, two = a_network(1), a_network(2)
    first, _ = (plug(net, a_port(net, 11), by_hand=True) for net in (one, two))
    assert not first.answers("10.20.2.11")
    assert answers("10.20.2.11")
    outside.run("ip", "route", "add", "10.20.0.0/16", "via", "203.0.113.1")
    assert not outside.answers("10.20.1.11")


@pytest.mark.skipif(shutil.which("iptables") is None, reason="needs iptables")
def test_beside_a_firewall_that_drops_forwarded_packets(
    plug: Plug, outside: Space, host: HostNetwork
) -> None:
    run("iptables", "-P", "FORWARD", "DROP")
    network = a_network(1)
    first, second = plug(network, a_port(network, 11)), plug(network, a_port(network, 12))
    assert first.dhcp() and second.dhcp()
    assert answers("10.20.1.11")
    assert first.answers("10.20.1.12")
    assert host.restore() == []
    host.purge()
    assert run("iptables", "-S", "FORWARD") == "-P FORWARD DROP\n"


def test_only_a_guests_own_addresses_pass(plug: Plug) -> None:
    network = a_network(1)
    guest, other = (plug(network, a_port(network, number), by_hand=True) for number in (11, 12))
    assert guest.answers("10.20.1.12")
    guest.run("ip", "address", "add", "10.20.1.66/24", "dev", "eth0")
    assert not guest.answers("10.20.1.12", source="10.20.1.66")
    assert "10.20.1.66" not in other.run("ip", "neighbour")
    guest.run("ip", "link", "set", "eth0", "address", "fa:16:3e:66:66:66")
    other.run("ip", "neighbour", "flush", "all")
    assert not guest.answers("10.20.1.12")


def test_a_guest_does_not_reach_the_host_past_its_gateway(plug: Plug, outside: Space) -> None:
    """The bridge's own device would take what is addressed to it and route it on."""
    one, two = a_network(1), a_network(2)
    guest = plug(one, a_port(one, 11), by_hand=True)
    plug(two, a_port(two, 11), by_hand=True)
    bridge = json.loads(run("ip", "-j", "link", "show", ids.bridge_name(one.id)))[0]["address"]
    neighbour = ["ip", "neighbour", "replace", "10.20.1.99", "lladdr", bridge, "dev", "eth0"]
    guest.run(*neighbour)
    guest.run("ip", "route", "replace", "203.0.113.0/24", "via", "10.20.1.99")
    assert not guest.answers("203.0.113.1")
    assert not guest.answers("203.0.113.2")


def test_an_address_goes_to_its_next_owner_although_it_is_leased(
    plug: Plug, host: HostNetwork
) -> None:
    network = a_network(1)
    old, new = a_port(network, 11, mac=1), a_port(network, 11, mac=2)
    assert plug(network, a_port(network, 12)).dhcp()
    assert plug(network, old).dhcp()["ip"] == "10.20.1.11"
    host.ensure_no_port(old.id)
    assert plug(network, new).dhcp()["ip"] == "10.20.1.11"


def test_nothing_to_do_is_quick_and_changes_nothing(host: HostNetwork) -> None:
    one, two = a_network(1), a_network(2)
    desired = wiring((one, a_port(one, 11)), (one, a_port(one, 12)), (two, a_port(two, 11)))
    assert host.sync(desired) != []
    before = trace()
    started = time.monotonic()
    assert host.sync(desired) == []
    print(f"idle sync: {(time.monotonic() - started) * 1000:.1f} ms")
    assert trace() == before
    processes = host.kernel.started
    started = time.monotonic()
    assert host.ensure_port(one, a_port(one, 12)) == ids.tap_name(a_port(one, 12).id)
    print(f"known port: {(time.monotonic() - started) * 1000:.1f} ms")
    assert host.kernel.started == processes


def test_a_new_port_costs_few_processes(host: HostNetwork) -> None:
    network = a_network(1)
    costs = []
    for number in range(11, 16):
        started, processes = time.monotonic(), host.kernel.started
        host.ensure_port(network, a_port(network, number))
        costs.append(host.kernel.started - processes)
        print(f"port: {(time.monotonic() - started) * 1000:.1f} ms, {costs[-1]} processes")
    assert costs[0] <= 8
    assert max(costs[1:]) <= 3
    started, processes = time.monotonic(), host.kernel.started
    host.ensure_no_port(a_port(network, 15).id)
    print(f"gone: {(time.monotonic() - started) * 1000:.1f} ms")
    assert host.kernel.started - processes <= 2


def test_a_restart_finds_all_as_it_was(
    host: HostNetwork, proxy: MetadataProxy, tmp_path: Path
) -> None:
    network = a_network(1)
    host.ensure_port(network, a_port(network, 11))
    server = _dnsmasq_pid(tmp_path, network)
    again = HostNetwork(state_dir=tmp_path / "state", metadata=None)
    assert again.ports() == {a_port(network, 11).id}
    assert again.restore() == []
    again.ensure_port(network, a_port(network, 12))
    assert _dnsmasq_pid(tmp_path, network) == server
    assert os.getsid(server) != os.getsid(0), "who ends our session's processes spares it"


BREAKAGES = {
    "packet filter emptied": "nft flush table bridge minicloud",
    "packet filter gone": "nft delete table ip minicloud",
    "bridge leg gone": "ip link del {bridge_leg}",
    "host leg gone": "ip link del {host_leg}",
    "TAP taken off the bridge": "ip link set {tap} nomaster",
    "bridge's MTU changed": "ip link set {bridge} mtu 1400",
    "default route gone": "ip -n {space} route del default",
    "address gone": "ip -n {space} address del 10.20.1.2/24 dev tenant",
    "address added": "ip -n {space} address add 10.9.9.9/24 dev tenant",
    "transfer address gone": "ip -n {space} address del {inside}/31 dev uplink",
    "device down": "ip -n {space} link set tenant down",
    "host's route gone": "ip route del 10.20.1.0/24",
    "namespace gone": "ip netns del {space}",
    "DHCP killed": "kill -KILL {dnsmasq}",
}


@pytest.mark.parametrize("command", BREAKAGES.values(), ids=BREAKAGES.keys())
def test_what_a_stranger_broke_is_mended(
    host: HostNetwork, tmp_path: Path, plug: Plug, command: str
) -> None:
    network, port = a_network(1), a_port(a_network(1), 11)
    guest = plug(network, port)
    assert guest.dhcp()["ip"] == "10.20.1.11"
    assert guest.answers("10.20.1.2"), "and has learnt the namespace's MAC address"
    desired = wiring((network, port))
    leg = json.loads(run("ip", "-j", "address", "show", names.host_leg(network.id)))[0]
    values = {
        "space": ids.netns_name(network.id),
        "bridge": ids.bridge_name(network.id),
        "bridge_leg": names.bridge_leg(network.id),
        "host_leg": names.host_leg(network.id),
        "tap": ids.tap_name(port.id),
        "inside": str(ip_address(leg["addr_info"][0]["local"]) + 1),
        "dnsmasq": str(_dnsmasq_pid(tmp_path, network)),
    }
    run(*command.format(**values).split())
    assert host.sync(desired) != []
    assert host.sync(desired) == []
    assert guest.dhcp()["ip"] == "10.20.1.11"
    assert answers("10.20.1.11")
    assert "X-Instance-ID" in guest.fetch("http://169.254.169.254/")


def test_sync_removes_what_is_not_desired(host: HostNetwork) -> None:
    one, two = a_network(1), a_network(2)
    empty = trace()
    keep = (one, a_port(one, 11))
    host.sync(wiring(keep))
    only_one = trace()
    host.sync(wiring(keep, (one, a_port(one, 12)), (two, a_port(two, 11))))
    host.sync(wiring(keep))
    assert trace()["links"] == only_one["links"]
    assert trace()["namespaces"] == only_one["namespaces"]
    host.sync(HostWiring())
    assert trace()["links"] == empty["links"]
    assert trace()["rules"] == empty["rules"]


def test_a_port_younger_than_the_picture_stays(host: HostNetwork) -> None:
    network = a_network(1)
    host.ensure_port(network, a_port(network, 11))
    asked = time.monotonic()
    host.ensure_port(network, a_port(network, 12))
    host.sync(wiring((network, a_port(network, 11))), as_of=asked)
    assert ids.tap_name(a_port(network, 12).id) in links()
    host.sync(wiring((network, a_port(network, 11))), as_of=time.monotonic())
    assert ids.tap_name(a_port(network, 12).id) not in links()


def test_purge_leaves_nothing_of_ours_and_all_of_others(
    host: HostNetwork, outside: Space, tmp_path: Path
) -> None:
    run("ip", "link", "add", "brmine", "type", "bridge")
    run("ip", "link", "add", "brm-other", "type", "bridge")
    run("ip", "tuntap", "add", "dev", "tap12345678-9a", "mode", "tap")
    run("ip", "netns", "add", "minicloud-of-mine")
    run("nft", "add", "table", "ip", "theirs")
    before = trace()
    one, two = a_network(1), a_network(2, "10.20.1.0/24")
    host.ensure_port(one, a_port(one, 11))
    host.ensure_port(two, a_port(two, 11))
    server = _dnsmasq_pid(tmp_path, one)
    assert host.purge() != []
    assert trace() == before
    assert not _is_alive(server)
    assert list((tmp_path / "state").iterdir()) == []
    assert host.purge() == []


def test_a_foreign_process_behind_a_stale_pid_file_lives_on(
    host: HostNetwork, tmp_path: Path
) -> None:
    network = a_network(1)
    host.ensure_port(network, a_port(network, 11))
    pid_file = tmp_path / "state" / "dhcp" / network.id / "pid"
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        pid_file.write_text(str(stranger.pid))
        host.ensure_no_port(a_port(network, 11).id)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


_VICTIM = """
import sys, msgspec
from pathlib import Path
from minicloud.hostnet.host import HostNetwork
from minicloud.hostnet.wiring import HostWiring
state, words = Path(sys.argv[1]), sys.argv[2]
desired = msgspec.json.decode(sys.argv[3], type=HostWiring)
host = HostNetwork(state_dir=state, metadata=None)
if words == "plug":
    for port in desired.ports:
        network = next(item for item in desired.networks if item.id == port.network_id)
        host.ensure_port(network, port)
else:
    for port in desired.ports:
        host.ensure_no_port(port.id)
"""


@pytest.mark.parametrize(("words", "keep"), [("plug", "0"), ("plug", "3"), ("unplug", "3")])
def test_killed_anywhere_the_next_pass_finishes(
    host: HostNetwork, tmp_path: Path, words: str, keep: str
) -> None:
    one, two = a_network(1), a_network(2)
    stays = (one, a_port(one, 11))
    comes_and_goes = [(one, a_port(one, 12)), (two, a_port(two, 11))]
    everything = wiring(stays, *comes_and_goes)
    victims = msgspec.json.encode(wiring(*comes_and_goes)).decode()
    desired = everything if words == "plug" else wiring(stays)
    start = wiring(stays) if words == "plug" else everything
    tools = killers(tmp_path)
    for at in range(1, 40):
        host.sync(start)
        died = kill_at(at, tools, _VICTIM, str(tmp_path / "state"), words, victims, keep=keep)
        host = HostNetwork(state_dir=tmp_path / "state", metadata=None)
        host.sync(desired)
        assert host.sync(desired) == []
        assert {link for link in links() if link.startswith("tap")} == {
            ids.tap_name(port.id) for port in desired.ports
        }
        wanted = {ids.netns_name(network.id) for network in desired.networks}
        assert namespaces.listed() == wanted
        if not died:
            print(f"{at - 1} places to be killed at")
            assert at > 3
            return
    pytest.fail("the victim never came to its end")


def _is_alive(pid: int) -> bool:
    """A dead process without a parent that asks for it has no command line left."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


def _dnsmasq_pid(tmp_path: Path, network: NetworkWiring) -> int:
    return int((tmp_path / "state" / "dhcp" / network.id / "pid").read_text())
