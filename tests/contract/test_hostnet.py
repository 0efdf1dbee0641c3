"""What the compute daemon relies on, for the fake host networking and the real one alike."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from minicloud.domain import ids
from minicloud.domain.errors import HostProblem, Invalid
from minicloud.hostnet import namespaces
from minicloud.hostnet.contract import HostNetworking
from minicloud.hostnet.fake import FakeHostNetwork
from minicloud.hostnet.host import HostNetwork
from minicloud.hostnet.wiring import HostWiring, NetworkWiring, PortWiring, SubnetWiring

sys.path.append(str(Path(__file__).parents[1] / "host"))
from private_host import links, missing, private_host

Make = Callable[[], HostNetworking]
Taps = Callable[[], set[str]]


def network(number: int) -> NetworkWiring:
    subnet = SubnetWiring(
        id=ids.derive("subnet", number),
        cidr=f"10.30.{number}.0/24",
        gateway_ip=f"10.30.{number}.1",
        dhcp_ip=f"10.30.{number}.2",
    )
    return NetworkWiring(id=ids.derive("network", number), mtu=1450, subnets=[subnet])


def port(on: NetworkWiring, host: int) -> PortWiring:
    subnet = on.subnets[0]
    return PortWiring(
        id=ids.derive("port", on.id, host),
        mac=f"fa:16:3e:00:00:{host:02x}",
        network_id=on.id,
        device_id=ids.derive("server", host),
        fixed_ips=[(subnet.id, f"{subnet.cidr[:-4]}{host}")],
    )


def tap(item: PortWiring) -> str:
    return ids.tap_name(item.id)


A, B = network(1), network(2)
A1, A2, B1 = port(A, 11), port(A, 12), port(B, 11)


@pytest.fixture(
    params=[
        "fake",
        pytest.param(
            "real",
            marks=[
                pytest.mark.host,
                pytest.mark.skipif(missing() is not None, reason=str(missing())),
            ],
        ),
    ]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Make, Taps]]:
    """How to start the host networking (again), and how to see the TAPs that there are."""
    if request.param == "fake":
        yield (
            lambda: FakeHostNetwork(tmp_path),
            lambda: set(FakeHostNetwork(tmp_path).taps()),
        )
        return
    with private_host():
        yield (
            lambda: HostNetwork(state_dir=tmp_path, metadata=None),
            lambda: {name for name in links() if name.startswith("tap")},
        )
        HostNetwork(state_dir=tmp_path, metadata=None).purge()


@pytest.fixture
def make(world: tuple[Make, Taps]) -> Make:
    return world[0]


@pytest.fixture
def taps(world: tuple[Make, Taps]) -> Taps:
    return world[1]


def test_a_port_is_wired_and_unwired_however_often_one_asks(make: Make, taps: Taps) -> None:
    host = make()
    assert host.ensure_port(A, A1) == tap(A1)
    assert host.ensure_port(A, A1) == tap(A1)
    assert taps() == {tap(A1)}
    assert host.ports() == {A1.id}
    host.ensure_no_port(A1.id)
    host.ensure_no_port(A1.id)
    assert taps() == set()
    assert host.ports() == set()


def test_an_unknown_port_is_fine_to_unwire(make: Make) -> None:
    make().ensure_no_port(ids.new_id())


def test_ports_do_not_disturb_one_another(make: Make, taps: Taps) -> None:
    host = make()
    for net, item in ((A, A1), (A, A2), (B, B1)):
        host.ensure_port(net, item)
    host.ensure_no_port(A1.id)
    assert taps() == {tap(A2), tap(B1)}
    host.ensure_no_port(A2.id)
    assert taps() == {tap(B1)}


def test_a_pass_makes_just_what_is_desired(make: Make, taps: Taps) -> None:
    host = make()
    host.ensure_port(A, A1)
    desired = HostWiring(networks=[A, B], ports=[A2, B1])
    assert host.sync(desired) != []
    assert taps() == {tap(A2), tap(B1)}
    assert host.sync(desired) == []
    assert host.sync(HostWiring()) != []
    assert taps() == set()


def test_a_new_process_knows_what_the_old_one_was_told(make: Make, taps: Taps) -> None:
    make().ensure_port(A, A1)
    again = make()
    assert again.ports() == {A1.id}
    assert again.restore() == []
    again.ensure_no_port(A1.id)
    assert taps() == set()


def test_a_changed_port_is_taken_over(make: Make, taps: Taps) -> None:
    host = make()
    host.ensure_port(A, A1)
    changed = msgspec.structs.replace(A1, mac="fa:16:3e:00:00:99")
    assert host.ensure_port(A, changed) == tap(A1)
    assert host.sync(HostWiring(networks=[A], ports=[changed])) == []


def test_a_picture_older_than_a_change_does_not_undo_it(make: Make, taps: Taps) -> None:
    host = make()
    host.ensure_port(A, A1)
    asked = time.monotonic()
    host.ensure_port(A, A2)
    host.ensure_no_port(A1.id)
    host.sync(HostWiring(networks=[A], ports=[A1]), as_of=asked)
    assert taps() == {tap(A2)}


def test_what_is_not_well_formed_is_refused_and_changes_nothing(make: Make, taps: Taps) -> None:
    host = make()
    with pytest.raises(Invalid):
        host.ensure_port(A, msgspec.structs.replace(A1, mac="x"))
    with pytest.raises(Invalid):
        host.sync(HostWiring(ports=[A1]))
    assert taps() == set()
    assert host.ports() == set()


def test_many_threads_may_ask_at_once(make: Make, taps: Taps) -> None:
    host = make()
    items = [port(net, number) for net in (A, B) for number in range(20, 24)]
    problems: list[Exception] = []

    def wire(item: PortWiring) -> None:
        try:
            host.ensure_port(A if item.network_id == A.id else B, item)
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=wire, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert taps() == {tap(item) for item in items}


def test_a_port_goes_although_its_network_is_broken(make: Make, taps: Taps) -> None:
    host = make()
    host.ensure_port(A, A1)
    host.ensure_port(A, A2)
    namespace = namespaces.DIRECTORY / ids.netns_name(A.id)
    if namespace.exists():
        subprocess.run(["ip", "netns", "del", namespace.name], check=True)
    host.ensure_no_port(A1.id)
    assert taps() == {tap(A2)}
    host.restore()
    assert host.restore() == []


def test_purge_removes_all_and_can_be_repeated(make: Make, taps: Taps) -> None:
    host = make()
    host.ensure_port(A, A1)
    assert host.purge() != []
    assert host.purge() == []
    assert taps() == set()
    assert make().ports() == set()
    host.ensure_port(A, A1)
    assert taps() == {tap(A1)}


def test_the_fake_fails_when_told_to_and_finishes_later(tmp_path: Path) -> None:
    fake = FakeHostNetwork(tmp_path)
    FakeHostNetwork(tmp_path).fail("ensure_port", "no more devices")
    with pytest.raises(HostProblem):
        fake.ensure_port(A, A1)
    assert fake.taps() == set()
    fake.fail("ensure_port", None)
    assert fake.restore() != []
    assert fake.taps() == {tap(A1)}
    fake.lose_tap(A1.id)
    assert fake.restore() != []
