"""The packet filter's text: what is let through is decided here, and needs no kernel to check."""

from __future__ import annotations

import pytest

from minicloud.hostnet import rules
from minicloud.hostnet.view import TableKey
from minicloud.hostnet.wiring import PortWiring

PORT = PortWiring(
    id="11111111-0000-4000-8000-000000000001",
    mac="fa:16:3e:00:00:01",
    network_id="0000002a-0000-4000-8000-000000000001",
    device_id="server",
    fixed_ips=[("a", "10.0.0.11"), ("b", "fd00::11")],
)


def test_a_port_may_use_its_own_addresses_only() -> None:
    chain = rules.port_table([PORT]).chains["from-tap11111111-00"]
    assert "ether saddr != fa:16:3e:00:00:01 drop" in chain
    assert "ether type arp arp saddr ip != { 0.0.0.0/32, 10.0.0.11 } drop" in chain
    assert "ether type ip ip saddr != { 10.0.0.11 } drop" in chain
    assert "ether type ip6 ip6 saddr != { ::, fe80::/10, fd00::11 } drop" in chain
    assert "udp sport { 67, 547 } drop" in chain


def test_a_port_without_addresses_sends_no_ipv4() -> None:
    bare = PortWiring(id=PORT.id, mac=PORT.mac, network_id=PORT.network_id, device_id="x")
    chain = rules.port_table([bare]).chains["from-tap11111111-00"]
    assert "ether type ip drop" in chain


def test_the_text_replaces_the_table_whole() -> None:
    text = rules.port_table([PORT]).text()
    head = "table bridge minicloud\ndelete table bridge minicloud\ntable bridge minicloud {\n"
    assert text.startswith(head)
    assert 'iifname vmap { "tap11111111-00" : jump from-tap11111111-00 }' in text
    assert text.count("{") == text.count("}")


def test_no_ports_make_a_table_that_is_valid() -> None:
    assert "vmap" not in rules.port_table([]).text()


def loaded(table: rules.Table) -> dict[TableKey, dict[str, int]]:
    chains = {name: len(lines) for name, lines in table.chains.items()}
    return {table.key: {**chains, table.marker: 0}}


def test_a_loaded_table_is_recognised() -> None:
    table = rules.port_table([PORT])
    assert table.is_loaded(loaded(table))
    assert not table.is_loaded({})


@pytest.mark.parametrize("chain", ["from-tap11111111-00", "arriving", "upward"])
def test_a_table_that_lost_rules_is_noticed(chain: str) -> None:
    table = rules.port_table([PORT])
    broken = loaded(table)
    broken[table.key][chain] = 0
    assert not table.is_loaded(broken)


def test_a_table_of_other_ports_is_noticed() -> None:
    other = PortWiring(
        id=PORT.id, mac="fa:16:3e:00:00:02", network_id=PORT.network_id, device_id="server"
    )
    assert not rules.port_table([PORT]).is_loaded(loaded(rules.port_table([other])))


def test_the_order_of_ports_makes_no_difference() -> None:
    other = PortWiring(
        id="22222222-0000-4000-8000-000000000001",
        mac="fa:16:3e:00:00:02",
        network_id=PORT.network_id,
        device_id="server",
    )
    assert rules.port_table([PORT, other]).text() == rules.port_table([other, PORT]).text()
