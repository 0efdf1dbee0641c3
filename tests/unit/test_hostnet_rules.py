"""The packet filter's text: what is let through is decided here, and needs no kernel to check."""

from __future__ import annotations

import msgspec
import pytest

from minicloud.domain import ids
from minicloud.hostnet.group_rules import address_sets, group_chains
from minicloud.hostnet.port_rules import link_local, port_table
from minicloud.hostnet.rules import state_table
from minicloud.hostnet.state import with_zones
from minicloud.hostnet.table import Table
from minicloud.hostnet.view import TableKey
from minicloud.hostnet.wiring import (
    AddressSet,
    GroupWiring,
    HostWiring,
    NetworkWiring,
    PortWiring,
    RuleWiring,
)

GROUP = GroupWiring(id="99999999-0000-4000-8000-000000000001")
PORT = PortWiring(
    id="11111111-0000-4000-8000-000000000001",
    mac="fa:16:3e:00:00:01",
    network_id="0000002a-0000-4000-8000-000000000001",
    device_id="server",
    fixed_ips=[("a", "10.0.0.11"), ("b", "fd00::11")],
    groups=[GROUP.id],
)
OTHER = msgspec.structs.replace(
    PORT,
    id="22222222-0000-4000-8000-000000000001",
    mac="fa:16:3e:00:00:02",
    fixed_ips=[("a", "10.0.0.12")],
)
TAP = "tap11111111-00"


def table(*ports: PortWiring, groups: tuple[GroupWiring, ...] = (GROUP,), **more: object) -> Table:
    return port_table(HostWiring(ports=ports, groups=groups, **more))  # type: ignore[arg-type]


def test_a_port_may_use_its_own_addresses_only() -> None:
    chain = table(PORT).chains[f"from-{TAP}"]
    assert "ether saddr != { fa:16:3e:00:00:01 } drop" in chain
    assert (
        "ether type arp arp saddr ether . arp saddr ip != "
        "{ fa:16:3e:00:00:01 . 0.0.0.0, fa:16:3e:00:00:01 . 10.0.0.11 } drop" in chain
    )
    assert "ether type ip ip saddr != { 10.0.0.11 } drop" in chain
    own = "::, fd00::11, fe80::f816:3eff:fe00:1"
    assert f"ether type ip6 ip6 saddr != {{ {own} }} drop" in chain


def test_a_port_without_addresses_sends_no_ipv4() -> None:
    bare = msgspec.structs.replace(PORT, fixed_ips=[])
    assert "ether type ip  drop" in table(bare).chains[f"from-{TAP}"]


def test_a_pair_is_allowed_with_its_own_mac_alone() -> None:
    pairs = [("fa:16:3e:00:00:07", "10.0.0.64/28"), ("fa:16:3e:00:00:07", "10.0.0.65")]
    chain = table(msgspec.structs.replace(PORT, pairs=pairs)).chains[f"from-{TAP}"]
    assert (
        "ether type ip ether saddr . ip saddr != "
        "{ fa:16:3e:00:00:01 . 10.0.0.11, fa:16:3e:00:00:07 . 10.0.0.64/28 } drop" in chain
    )


def test_a_port_that_is_not_secured_is_not_judged_but_kept_from_the_host() -> None:
    made = table(msgspec.structs.replace(PORT, secured=False))
    assert made.maps["arriving"] == made.maps["leaving"] == made.maps["entering"] == {}
    assert made.maps["upward"] == {TAP: "drop"}


def test_a_port_that_is_down_is_cut_off() -> None:
    made = table(msgspec.structs.replace(PORT, up=False))
    assert made.maps["arriving"] == made.maps["entering"] == {TAP: "drop"}


def test_the_guests_of_an_external_network_reach_the_host_that_is_their_gateway() -> None:
    network = NetworkWiring(id=PORT.network_id, mtu=1500, external=True)
    made = table(PORT, networks=[network])
    assert made.maps["upward"] == {}


def test_ports_of_the_same_groups_share_their_judgement() -> None:
    made = table(PORT, OTHER)
    assert len(set(made.maps["leaving"].values())) == 1
    assert made.maps["leaving"] == table(OTHER, PORT).maps["leaving"]


def test_a_local_port_is_a_member_of_its_group_before_anybody_tells() -> None:
    members = AddressSet(id=GROUP.id, addresses=["10.0.0.99"])
    made = table(PORT, sets=[members])
    assert made.sets[f"members4-{GROUP.id}"].elements == ["10.0.0.11", "10.0.0.99"]
    assert made.sets[f"members6-{GROUP.id}"].elements == ["fd00::11"]


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({}, ("ether type ip accept", "ether type ip accept")),
        (
            {"protocol": "tcp", "port_range_min": 22, "port_range_max": 22},
            (
                "ether type ip meta l4proto 6 th dport 22 accept",
                "ether type ip meta l4proto 6 th sport 22 accept",
            ),
        ),
        (
            {"protocol": "17", "port_range_min": 1, "port_range_max": 9,
             "remote_ip_prefix": "10.0.0.0/8"},
            (
                "ether type ip ip saddr 10.0.0.0/8 meta l4proto 17 th dport 1-9 accept",
                "ether type ip ip daddr 10.0.0.0/8 meta l4proto 17 th sport 1-9 accept",
            ),
        ),
        (
            {"protocol": "icmp", "port_range_min": 8, "port_range_max": 0},
            (
                "ether type ip meta l4proto 1 icmp type 8 icmp code 0 accept",
                "ether type ip meta l4proto 1 accept",
            ),
        ),
        (
            {"ethertype": "IPv6", "protocol": "icmp", "remote_ip_prefix": "::/0"},
            (
                "ether type ip6 meta l4proto 58 accept",
                "ether type ip6 meta l4proto 58 accept",
            ),
        ),
        (
            {"protocol": "vrrp"},
            ("ether type ip meta l4proto 112 accept", "ether type ip meta l4proto 112 accept"),
        ),
        (
            {"remote_set": "g"},
            (
                "ether type ip ip saddr @members4-g accept",
                "ether type ip ip daddr @members4-g accept",
            ),
        ),
    ],
)  # fmt: skip
def test_a_rule_and_its_mirror_image(values: dict[str, str], lines: tuple[str, str]) -> None:
    rule = msgspec.convert({"direction": "ingress", "ethertype": "IPv4", **values}, RuleWiring)
    chains = group_chains(GroupWiring(id="x", rules=[rule]), {"g": AddressSet(id="g")})
    assert (chains["in-x"], chains["back-out-x"]) == ([lines[0]], [lines[1]])
    assert chains["out-x"] == chains["back-in-x"] == []


def test_a_rule_about_addresses_that_nobody_told_allows_nothing() -> None:
    rule = RuleWiring(direction="ingress", ethertype="IPv4", remote_set="unknown")
    assert group_chains(GroupWiring(id="x", rules=[rule]), {})["in-x"] == []


def test_a_stateless_group_has_no_way_back() -> None:
    group = msgspec.structs.replace(GROUP, stateful=False)
    made = table(PORT, groups=(group,))
    assert not any(name.startswith("back-") for name in made.chains)
    assert not any("mark" in line for lines in made.chains.values() for line in lines)


def test_sets_hold_no_overlaps() -> None:
    sets = address_sets(AddressSet(id="s", addresses=["10.0.0.1", "10.0.0.0/24", "::/0", "::1"]))
    assert sets["members4-s"].elements == ["10.0.0.0/24"]
    assert sets["members6-s"].elements == ["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]


def test_the_text_replaces_the_table_whole() -> None:
    text = table(PORT).text()
    head = "table bridge minicloud\ndelete table bridge minicloud\ntable bridge minicloud {\n"
    assert text.startswith(head)
    assert f'"{TAP}" : jump from-{TAP}' in text
    assert text.count("{") == text.count("}")


def loaded(made: Table) -> dict[TableKey, dict[str, int]]:
    chains = {name: len(lines) for name, lines in made.chains.items()}
    return {made.key: {**chains, made.marker: 0}}


def test_a_loaded_table_is_recognised() -> None:
    made = table(PORT)
    assert made.is_loaded(loaded(made))
    assert not made.is_loaded({})
    assert not made.is_loaded(loaded(table(OTHER)))


@pytest.mark.parametrize("chain", [f"from-{TAP}", "arriving", "upward"])
def test_a_table_that_lost_rules_is_noticed(chain: str) -> None:
    made = table(PORT)
    broken = loaded(made)
    broken[made.key][chain] = 0
    assert not made.is_loaded(broken)


def test_one_more_port_sends_that_port_alone() -> None:
    old, new = table(PORT), table(PORT, OTHER)
    lines = new.changes(old).splitlines()
    assert not any(TAP in line for line in lines)
    assert "add chain bridge minicloud from-tap22222222-00" in lines
    assert any(line.startswith("add element bridge minicloud arriving") for line in lines)
    assert lines[-1] == f"delete chain bridge minicloud {old.marker}"
    assert new.changes(new) == ""


def test_a_port_less_goes_from_the_maps_before_its_chains_go() -> None:
    lines = table(PORT).changes(table(PORT, OTHER)).splitlines()
    out = lines.index('delete element bridge minicloud arriving { "tap22222222-00" }')
    assert out < lines.index("delete chain bridge minicloud from-tap22222222-00")


def test_every_network_has_a_zone_of_its_own_and_keeps_it() -> None:
    first = [NetworkWiring(id=f"0000000{n}-0000-4000-8000-000000000001", mtu=1450) for n in (1, 2)]
    zones = with_zones({}, HostWiring(networks=first))
    assert len(set(zones.values())) == 2, "although both would begin at the same"
    later = with_zones(zones, HostWiring(networks=first[1:]))
    assert later == {first[1].id: zones[first[1].id]}
    assert f'"brm1" : {zones[first[0].id]}' in state_table({"brm1": zones[first[0].id]}).text()


def test_the_address_that_ipv6_makes_of_a_mac() -> None:
    assert link_local("fa:16:3e:00:00:01") == "fe80::f816:3eff:fe00:1"
    assert ids.tap_name(PORT.id) == TAP
