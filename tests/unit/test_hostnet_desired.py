"""Desired states: checked, put together, stored, and compared in time."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from minicloud.domain import ids
from minicloud.domain.errors import Invalid
from minicloud.hostnet.desired import normal, with_port, without_port
from minicloud.hostnet.recency import Recency
from minicloud.hostnet.state import StateFile, Stored
from minicloud.hostnet.wiring import HostWiring, NetworkWiring, PortWiring, SubnetWiring

SUBNET = SubnetWiring(id=ids.derive("s"), cidr="10.0.0.0/24", gateway_ip="10.0.0.1")
NETWORK = NetworkWiring(id=ids.derive("n"), mtu=1450, subnets=(SUBNET,))


def port(number: int) -> PortWiring:
    return PortWiring(
        id=ids.derive("p", number),
        mac=f"fa:16:3e:00:00:{number:02x}",
        network_id=NETWORK.id,
        device_id="server",
        fixed_ips=((SUBNET.id, f"10.0.0.{number}"),),
    )


def test_the_same_state_has_one_form() -> None:
    one = with_port(with_port(HostWiring(), NETWORK, port(1)), NETWORK, port(2))
    other = normal(HostWiring(networks=(NETWORK,), ports=(port(2), port(1))))
    assert one == other
    assert with_port(one, NETWORK, port(2)) == one


def test_a_network_goes_with_its_last_port() -> None:
    two = normal(HostWiring(networks=[NETWORK], ports=[port(1), port(2)]))
    one = without_port(two, port(1).id)
    assert len(one.networks) == 1
    assert without_port(one, port(2).id) == HostWiring(networks=[], ports=[])


@pytest.mark.parametrize(
    "values",
    [
        {"id": "x\nlink del eth0"},
        {"mac": "fa:16:3e:00:00:01 drop; }"},
        {"fixed_ips": [("s", "10.0.0.1; flush ruleset")]},
        {"network_id": "../../etc"},
        {"network_id": ids.derive("another")},
    ],
)
def test_a_port_that_is_not_well_formed_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        normal(HostWiring(networks=[NETWORK], ports=[msgspec.structs.replace(port(1), **values)]))


@pytest.mark.parametrize(
    "values",
    [
        {"cidr": "10.0.0.0"},
        {"cidr": "10.0.0.0/24 dev eth0"},
        {"gateway_ip": "gateway"},
        {"dhcp_ip": "10.0.0.300"},
        {"dns_nameservers": ["dns.example"]},
        {"host_routes": [("10.0.0.0/8", "there")]},
    ],
)
def test_a_subnet_that_is_not_well_formed_is_refused(values: dict[str, object]) -> None:
    network = msgspec.structs.replace(NETWORK, subnets=[msgspec.structs.replace(SUBNET, **values)])
    with pytest.raises(Invalid):
        with_port(HostWiring(), network, port(1))


def test_the_stored_state_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.json"
    wiring = with_port(HostWiring(), NETWORK, port(1))
    StateFile(path).write(Stored(wiring=wiring, switched_on_forwarding=True))
    assert StateFile(path).value == Stored(wiring=wiring, switched_on_forwarding=True)
    assert path.stat().st_mode & 0o077 == 0


def test_an_unreadable_state_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"wiring": {"networks": [')
    assert StateFile(path).value == Stored()


def test_ports_changed_since_a_picture_are_left_as_they_are() -> None:
    now = 10.0
    recency = Recency(lambda: now)
    recency.note(port(1).id)
    now = 20.0
    recency.note(port(2).id)
    recency.note(port(3).id)
    have = normal(HostWiring(networks=[NETWORK], ports=[port(1), port(2)]))
    picture = normal(HostWiring(networks=[NETWORK], ports=[port(3)]))
    merged = recency.merged(have, picture, as_of=15.0)
    assert {item.id for item in merged.ports} == {port(2).id}
    assert recency.merged(have, picture, as_of=None) == picture
    assert recency.merged(have, picture, as_of=25.0) == picture
