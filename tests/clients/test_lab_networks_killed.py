"""kill -9 of a host's compute daemon in the middle of what it does for networks, with real guests.

Whatever the moment, the end is as it was asked for, and what guests send meanwhile arrives.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clients.conftest import LiveCloud, until
from clients.lab_guests import SECOND, Guest, Lab, lab_guests, on_host, who

from minicloud.domain import ids

pytestmark = [pytest.mark.clients, pytest.mark.host]

MOMENTS = (0.0, 0.1, 0.3)
"""Seconds after the request. A host is told within a hundredth, and needs a few tenths."""
_PORT = 9000


class Compute:
    """The compute daemon of a host, seen from this machine."""

    def __init__(self, host: str) -> None:
        self._host = (on_host(host, "readlink", "/proc/self/ns/uts") or "").strip()

    def process(self) -> int | None:
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                name = (entry / "cmdline").read_bytes().split(b"\0")[0]
                if (
                    name == b"minicloud-compute"
                    and str((entry / "ns/uts").readlink()) == self._host
                ):
                    return int(entry.name)
        return None

    def kill(self) -> None:
        os.kill(until(self.process), signal.SIGKILL)

    def killed_in(self, request: Callable[[], Any], moment_s: float) -> None:
        """Make a request, and kill the daemon a moment after."""
        asking = threading.Thread(target=_try, args=(request,))
        asking.start()
        time.sleep(moment_s)  # the moment itself is what is tested
        self.kill()
        asking.join()


def _try(request: Callable[[], Any]) -> None:
    with contextlib.suppress(Exception):  # who is asked may be killed: the end is looked at
        request()


@pytest.fixture(scope="module")
def guests(live_cloud: LiveCloud) -> Iterator[Lab]:
    with lab_guests(live_cloud) as made:
        yield made


@pytest.fixture(autouse=True)
def traffic(guests: Lab) -> Iterator[None]:
    """Packets between the two hosts all the while, none of which may be lost."""
    sender = guests.a1
    until(lambda: sender.pings(SECOND))
    sender.says(f"(ping -i 0.2 {SECOND} </dev/null >/tmp/traffic 2>&1 &)")
    yield
    sender.says("killall -INT ping; while pidof ping; do usleep 100000; done >/dev/null; true")
    counted = sender.says("grep transmitted /tmp/traffic").split()
    sent, received = int(counted[0]), int(counted[3])
    assert sent > 10
    assert sent - received <= 1, "the last answer may have been under way"


def is_plugged(guest: Guest, port: Any) -> bool:
    return on_host(guest.host, "ip", "link", "show", "dev", ids.tap_name(port.id)) is not None


@pytest.mark.parametrize(
    ("way", "moment_s"), [("slaac", 0.0), ("slaac", 0.15), ("dhcpv6", 0.05), ("dhcpv6", 0.3)]
)
def test_a_port_is_wired_or_not_at_all(guests: Lab, way: str, moment_s: float) -> None:
    guest, site = guests.a2, guests.a
    compute = Compute(guest.host)
    network = site.network if way == "slaac" else site.side
    port = site.port(network, "10.77.0.40" if way == "slaac" else "10.78.0.40")
    address = next(one["ip_address"] for one in port.fixed_ips if ":" in one["ip_address"])
    api = site.cloud.compute

    def attached() -> bool:
        return port.id in {each.port_id for each in api.server_interfaces(guest.server)}

    def settled() -> str:
        """Whether it is attached, once all agree on that and nothing is under way."""
        shown = site.cloud.network.get_port(port.id)
        if api.get_server(guest.server.id).task_state:
            return ""
        if attached():
            return "attached" if is_plugged(guest, port) and shown.status == "ACTIVE" else ""
        return "" if is_plugged(guest, port) or shown.device_id else "not attached"

    try:
        compute.killed_in(
            lambda: api.create_server_interface(guest.server, port_id=port.id), moment_s
        )
        if until(settled) == "not attached":
            until(lambda: _done(lambda: api.create_server_interface(guest.server, port_id=port.id)))
            assert until(settled) == "attached"
        device = until(
            lambda: guest.run(f"grep -l {port.mac_address} /sys/class/net/*/address")
        ).split("/")[4]
        guest.says(f"ip link set {device} up")
        if way == "dhcpv6":
            guest.ask_dhcp_6(device)
        until(lambda: address in guest.says(f"ip -6 address show dev {device}"))
        if way == "slaac":
            until(lambda: guests.a1.pings(address))
        compute.killed_in(
            lambda: api.delete_server_interface(port.id, server=guest.server), moment_s
        )
        if until(settled) == "attached":
            api.delete_server_interface(port.id, server=guest.server)
        until(lambda: not is_plugged(guest, port) and not attached())
        until(lambda: guest.run(f"! grep -q {port.mac_address} /sys/class/net/*/address") == "")
    finally:
        site.cloud.network.delete_port(port)


def _done(request: Callable[[], Any]) -> bool:
    try:
        request()
    except Exception:  # the daemon may still be on its way back
        return False
    return True


def test_a_rule_holds_once_it_was_changed(guests: Lab) -> None:
    guest, site = guests.a2, guests.a
    compute = Compute(guest.host)
    guest.says(f"(nc -ll -p {_PORT} -e cat </dev/null >/dev/null 2>&1 &)")
    connect = f"echo | timeout 4 nc -w 2 {SECOND} {_PORT}"
    for moment_s in MOMENTS:
        made: list[Any] = []
        compute.killed_in(lambda made=made: made.append(site.allow("tcp", _PORT)), moment_s)
        until(lambda: guests.a1.run(connect))
        drop = site.cloud.network.delete_security_group_rule
        compute.killed_in(lambda made=made, drop=drop: drop(made[0]), moment_s)
        until(lambda: not guests.a1.run(connect))
    guest.says("killall nc; true")


def test_a_floating_ip_leads_in_once_it_was_given(guests: Lab) -> None:
    site, guest = guests.a, guests.a2
    (carrier,) = until(site.carriers)
    compute = Compute(carrier)
    for moment_s in MOMENTS:
        compute.killed_in(lambda: site.give_floating_ip(guest), moment_s)
        address = guest.floating
        until(lambda address=address: who(address)[:1] == [f"lab-networks-{guest.name}"])
        compute.killed_in(lambda: site.take_floating_ip(guest), moment_s)
        until(lambda address=address: not who(address))


def test_guests_get_their_metadata_again(guests: Lab) -> None:
    ask = "wget -q -O - http://169.254.169.254/openstack/latest/meta_data.json"
    for moment_s in MOMENTS:
        for guest in (guests.a1, guests.b1):
            Compute(guest.host).killed_in(lambda guest=guest: guest.run(ask), moment_s + 0.5)
            said = until(lambda guest=guest: guest.run(ask))
            assert json.loads(said)["uuid"] == guest.server.id
