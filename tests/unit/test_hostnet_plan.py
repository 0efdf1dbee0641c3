"""The difference between desired state and kernel: computed, so checked without a kernel."""

from __future__ import annotations

import msgspec
import pytest

from minicloud.domain import ids
from minicloud.domain.errors import HostProblem
from minicloud.hostnet import names
from minicloud.hostnet.gateway import Transfer, plan_routes, transfer
from minicloud.hostnet.plan import plan_network, plan_port, plan_removal, plan_strays
from minicloud.hostnet.port_rules import link_local
from minicloud.hostnet.view import HostView, Link, Route, Space, parse_links, parse_rules
from minicloud.hostnet.wiring import (
    HostWiring,
    NetworkWiring,
    PortWiring,
    RemotePort,
    SubnetWiring,
)

NETWORK = NetworkWiring(
    id="0000002a-0000-4000-8000-000000000001",
    mtu=1450,
    subnets=[
        SubnetWiring(
            id=ids.derive("subnet"), cidr="10.0.0.0/24", gateway_ip="10.0.0.1", dhcp_ip="10.0.0.2"
        )
    ],
)
PORT = PortWiring(
    id="11111111-0000-4000-8000-000000000001",
    mac="fa:16:3e:00:00:01",
    network_id=NETWORK.id,
    device_id="server",
)
SPACE = ids.netns_name(NETWORK.id)
BRIDGE, BRIDGE_LEG, HOST_LEG, TAP = (
    ids.bridge_name(NETWORK.id),
    names.bridge_leg(NETWORK.id),
    names.host_leg(NETWORK.id),
    ids.tap_name(PORT.id),
)
PAIR = transfer(NETWORK.id, Space())
SETTINGS = "forward_delay 0 mcast_snooping 0 nf_call_iptables 1 nf_call_ip6tables 1"
HERE, THERE, ELSEWHERE = "192.0.2.1", "192.0.2.2", "192.0.2.3"
FAR = RemotePort(mac="fa:16:3e:00:00:09", host_ip=THERE)


def link(name: str, **values: object) -> Link:
    return msgspec.convert({"name": name, "up": True, **values}, Link)


def settled() -> HostView:
    """The view of a host that has NETWORK and PORT complete."""
    root = Space(
        links={
            item.name: item
            for item in (
                link(
                    BRIDGE, kind="bridge", mtu=1450, forward_delay=0, mcast_snooping=0, judged=True
                ),
                link(BRIDGE_LEG, kind="veth", mtu=1450, master=BRIDGE, learning=False),
                link(HOST_LEG, kind="veth", addresses=[f"{PAIR.host}/31"]),
                link(TAP, kind="tun", mtu=1450, master=BRIDGE, learning=False),
            )
        },
        forwards=frozenset({(names.gateway_mac(NETWORK.id), BRIDGE_LEG, ""), (PORT.mac, TAP, "")}),
        routes=[
            Route(destination="10.0.0.0/24", device=HOST_LEG, via=str(PAIR.inside)),
            Route(destination=f"{PAIR.host}/31", device=HOST_LEG, connected=True),
        ],
    )
    tenant = ["10.0.0.2/24", "169.254.169.254/32"]
    mac = names.gateway_mac(NETWORK.id)
    inside = Space(
        links={
            item.name: item
            for item in (
                link("lo", mtu=65536),
                link(
                    "tenant",
                    mtu=1450,
                    mac=mac,
                    addresses=tenant,
                    addresses_6=[f"{link_local(mac)}/64", "fe80::a9fe:a9fe/64"],
                ),
                link("uplink", addresses=[f"{PAIR.inside}/31"]),
            )
        },
        routes=[Route(destination="default", device="uplink", via=str(PAIR.host))],
    )
    return HostView(root=root, spaces={SPACE: inside})


def with_link(view: HostView, name: str, **values: object) -> HostView:
    changed = {**view.root.links, name: msgspec.structs.replace(view.root.links[name], **values)}
    return HostView(
        root=msgspec.structs.replace(view.root, links=changed),
        spaces=view.spaces,
    )


def test_a_settled_network_needs_nothing() -> None:
    changes = plan_network(NETWORK, settled(), [PORT])
    done = (changes.remove, changes.root, changes.forwards, changes.inside, changes.words)
    assert done == ([], [], [], [], [])
    assert not changes.rebuilt
    assert plan_port(PORT, NETWORK.mtu, settled().root) == []


def test_a_network_is_made_in_an_order_that_works() -> None:
    changes = plan_network(NETWORK, HostView(root=Space()), [PORT])
    verbs = [" ".join(line.split()[:2]) + " " + line.split()[-1] for line in changes.root]
    assert verbs.index(f"netns add {SPACE}") < verbs.index(f"link add {SPACE}")
    assert changes.root[0].startswith(f"link add name {BRIDGE} type bridge")
    assert f"route replace 10.0.0.0/24 via {PAIR.inside} dev {HOST_LEG}" in changes.root
    assert changes.root[-1] == f"link set dev {TAP} mtu 1450 master {BRIDGE} up"
    assert "address replace 169.254.169.254/32 dev tenant" in changes.inside
    assert changes.inside[-1] == f"route replace default via {PAIR.host} dev uplink"
    assert changes.rebuilt


def test_a_half_made_namespace_is_made_again() -> None:
    changes = plan_network(NETWORK, HostView(root=Space(), spaces={SPACE: None}), [PORT])
    assert changes.remove == [f"netns del {SPACE}"]
    assert f"netns add {SPACE}" in changes.root


def test_a_pair_that_lost_its_end_is_made_again() -> None:
    view = settled()
    inside = view.spaces[SPACE]
    assert inside is not None
    rest = {name: item for name, item in inside.links.items() if name != "tenant"}
    half = HostView(root=view.root, spaces={SPACE: msgspec.structs.replace(inside, links=rest)})
    changes = plan_network(NETWORK, half, [PORT])
    assert changes.remove == [f"link del dev {BRIDGE_LEG}"]
    assert changes.rebuilt


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"mtu": 1500}, f"link set dev {BRIDGE} mtu 1450 up"),
        ({"up": False}, f"link set dev {BRIDGE} mtu 1450 up"),
        ({"mcast_snooping": 1}, f"link set dev {BRIDGE} type bridge {SETTINGS}"),
        ({"judged": False}, f"link set dev {BRIDGE} type bridge {SETTINGS}"),
    ],
)
def test_a_changed_bridge_is_set_right(values: dict[str, object], line: str) -> None:
    assert plan_network(NETWORK, with_link(settled(), BRIDGE, **values), [PORT]).root == [line]


def test_a_tap_is_made_or_set_right() -> None:
    assert plan_port(PORT, 1450, Space())[0] == f"tuntap add dev {TAP} mode tap vnet_hdr"
    loose = with_link(settled(), TAP, master=None)
    assert plan_port(PORT, 1450, loose.root) == [
        f"link set dev {TAP} mtu 1450 master {BRIDGE} up",
    ]


def spread(*remotes: RemotePort) -> NetworkWiring:
    return msgspec.structs.replace(NETWORK, segment=42, remotes=list(remotes))


def test_the_bridge_is_told_who_is_where_and_learns_nothing() -> None:
    forwards = plan_network(NETWORK, HostView(root=Space()), [PORT]).forwards
    assert f"link set dev {TAP} learning off" in forwards
    assert f"fdb replace {PORT.mac} dev {TAP} master static" in forwards
    assert not any("dst" in line for line in forwards)


def test_a_network_reaches_just_the_hosts_that_have_a_port_of_it() -> None:
    changes = plan_network(spread(FAR), settled(), [PORT], tunnel_ip=HERE)
    tunnel = names.tunnel(NETWORK.id)
    assert changes.root[0].startswith(
        f"link add name {tunnel} type vxlan id 42 local {HERE} dstport 4789 nolearning"
    )
    assert changes.forwards == [
        f"link set dev {tunnel} learning off",
        f"fdb append 00:00:00:00:00:00 dev {tunnel} dst {THERE} self permanent",
        f"fdb replace {FAR.mac} dev {tunnel} master static",
        f"fdb replace {FAR.mac} dev {tunnel} dst {THERE} self permanent",
    ]


@pytest.mark.parametrize(
    ("network", "tunnel_ip"),
    [
        (spread(), HERE),
        (spread(FAR), ""),
        (spread(msgspec.structs.replace(FAR, host_ip="")), HERE),
        (msgspec.structs.replace(spread(FAR), segment=0), HERE),
    ],
    ids=["nobody elsewhere", "no address here", "no address there", "no overlay"],
)
def test_a_network_without_a_way_has_no_tunnel(network: NetworkWiring, tunnel_ip: str) -> None:
    changes = plan_network(network, settled(), [PORT], tunnel_ip=tunnel_ip)
    assert (changes.root, changes.forwards) == ([], [])


def tunnelled(*forwards: tuple[str, str, str]) -> HostView:
    view, tunnel = settled(), names.tunnel(NETWORK.id)
    made = link(
        tunnel, kind="vxlan", mtu=1450, master=BRIDGE, learning=False, segment=42, local=HERE,
        port=4789,
    )  # fmt: skip
    root = msgspec.structs.replace(
        view.root,
        links={**view.root.links, tunnel: made},
        forwards=view.root.forwards | set(forwards),
    )
    return HostView(root=root, spaces=view.spaces)


def test_a_port_that_moved_is_followed() -> None:
    tunnel = names.tunnel(NETWORK.id)
    everybody = "00:00:00:00:00:00"
    view = tunnelled((everybody, tunnel, THERE), (FAR.mac, tunnel, ""), (FAR.mac, tunnel, THERE))
    moved = msgspec.structs.replace(FAR, host_ip=ELSEWHERE)
    assert plan_network(spread(FAR), view, [PORT], tunnel_ip=HERE).forwards == []
    assert plan_network(spread(moved), view, [PORT], tunnel_ip=HERE).forwards == [
        f"fdb del {everybody} dev {tunnel} dst {THERE} self",
        f"fdb append {everybody} dev {tunnel} dst {ELSEWHERE} self permanent",
        f"fdb replace {FAR.mac} dev {tunnel} dst {ELSEWHERE} self permanent",
    ]


def test_what_is_for_an_awaited_guest_goes_on_to_where_it_is() -> None:
    tunnel = names.tunnel(NETWORK.id)
    awaited = msgspec.structs.replace(PORT, awaited=True)
    itself = msgspec.structs.replace(FAR, mac=PORT.mac)
    forwards = plan_network(
        spread(itself), HostView(root=Space()), [awaited], tunnel_ip=HERE
    ).forwards
    assert f"link set dev {TAP} learning off" in forwards
    assert f"fdb replace {PORT.mac} dev {tunnel} master static" in forwards
    assert not any(f"dev {TAP} master" in line for line in forwards)
    # It has come: what leads away from here goes.
    view = tunnelled((PORT.mac, tunnel, ""), (PORT.mac, tunnel, THERE))
    away = msgspec.structs.replace(
        view, root=msgspec.structs.replace(
            view.root, forwards=view.root.forwards - {(PORT.mac, TAP, "")}
        )
    )  # fmt: skip
    come = plan_network(spread(FAR), away, [PORT], tunnel_ip=HERE).forwards
    assert f"fdb replace {PORT.mac} dev {TAP} master static" in come
    assert f"fdb del {PORT.mac} dev {tunnel} dst {THERE} self" in come


def test_a_tunnel_of_another_address_is_made_again_and_one_without_use_goes() -> None:
    tunnel = names.tunnel(NETWORK.id)
    changes = plan_network(spread(FAR), tunnelled(), [PORT], tunnel_ip=ELSEWHERE)
    assert changes.remove == [f"link del dev {tunnel}"]
    assert f"local {ELSEWHERE}" in changes.root[0]
    keep = HostWiring(networks=[spread()], ports=[PORT], tunnel_ip=HERE)
    assert plan_strays(keep, [PORT.id], tunnelled()).links == [tunnel]


def test_a_subnets_first_address_is_deleted_last_and_the_wanted_ones_said_again() -> None:
    view = settled()
    inside = view.spaces[SPACE]
    assert inside is not None
    tenant = msgspec.structs.replace(
        inside.links["tenant"], addresses=["10.9.0.1/24", "10.9.0.2/24", "169.254.169.254/32"]
    )
    links = {**inside.links, "tenant": tenant}
    other = HostView(root=view.root, spaces={SPACE: msgspec.structs.replace(inside, links=links)})
    assert plan_network(NETWORK, other, [PORT]).inside == [
        "address del 10.9.0.2/24 dev tenant",
        "address del 10.9.0.1/24 dev tenant",
        "address replace 10.0.0.2/24 dev tenant",
        "address replace 169.254.169.254/32 dev tenant",
    ]


def test_transfer_addresses_come_from_the_id_and_step_aside() -> None:
    assert str(PAIR.host) == "198.18.0.84"
    taken = Space(routes=[Route(destination="198.18.0.80/29", device="eth0")])
    assert str(transfer(NETWORK.id, taken).host) == "198.18.0.88"
    whole_range = Space(routes=[Route(destination="198.18.0.0/15", device="vpn")])
    assert transfer(NETWORK.id, whole_range) == PAIR


def test_transfer_addresses_that_are_there_stay() -> None:
    leg = link(HOST_LEG, addresses=["198.19.0.6/31"])
    assert str(transfer(NETWORK.id, Space(links={HOST_LEG: leg})).host) == "198.19.0.6"


def test_a_host_that_uses_the_whole_transfer_range_is_told_so() -> None:
    halves = [
        Route(destination=destination, device="eth0")
        for destination in ("198.18.0.0/16", "198.19.0.0/16")
    ]
    with pytest.raises(HostProblem):
        transfer(NETWORK.id, Space(routes=halves))


@pytest.mark.parametrize("rival", ["10.0.0.0/24", "10.0.0.128/25", "10.0.0.0/8"])
def test_a_range_that_the_host_reaches_otherwise_gets_no_route(rival: str) -> None:
    root = Space(routes=[Route(destination=rival, device="eth0")])
    routes = plan_routes(NETWORK, PAIR, root)
    assert routes.add == []
    assert rival in routes.skipped[0] and "eth0" in routes.skipped[0]


def test_a_default_route_in_one_or_two_pieces_is_no_rival() -> None:
    ways = ("default", "0.0.0.0/1", "128.0.0.0/1")
    root = Space(routes=[Route(destination=way, device="eth0") for way in ways])
    assert len(plan_routes(NETWORK, PAIR, root).add) == 1


def test_a_route_to_a_subnet_that_is_gone_goes() -> None:
    bare = msgspec.structs.replace(NETWORK, subnets=[])
    routes = plan_routes(bare, PAIR, settled().root)
    assert routes.delete == [f"route del 10.0.0.0/24 dev {HOST_LEG}"]


def test_two_networks_planned_in_one_pass_do_not_claim_the_same() -> None:
    other = msgspec.structs.replace(NETWORK, id="0000002a-1111-4000-8000-000000000001")
    first = plan_network(NETWORK, HostView(root=Space()), [PORT])
    second = plan_network(other, HostView(root=Space(routes=first.claims)), [PORT])
    assert len(second.skipped) == 1
    assert any("198.18.0.86/31" in line for line in second.root)


def test_only_our_own_strays_go() -> None:
    strangers = [
        link("brmine", kind="bridge"),
        link("virbr0", kind="bridge"),
        link("mch-other", kind="veth"),
        link("tap22222222-00", kind="tun", master="brq22222222-00"),
        link("tap33333333-00", kind="tun"),
        link("brm44444444-00", kind="dummy"),
    ]
    ours = settled()
    links = {**ours.root.links, **{item.name: item for item in strangers}}
    spaces = {**ours.spaces, "minicloud-elsewhere": Space(), "qdhcp-1": Space()}
    del spaces["minicloud-elsewhere"], spaces["qdhcp-1"]
    view = HostView(root=Space(links=links), spaces=spaces)
    strays = plan_strays(HostWiring(), [], view)
    assert set(strays.links) == {BRIDGE, BRIDGE_LEG, HOST_LEG, TAP}
    assert strays.links[-1] == BRIDGE, "members go first"
    assert strays.namespaces == [SPACE]
    known = "33333333-0000-4000-8000-000000000001"
    assert "tap33333333-00" in plan_strays(HostWiring(), [known], view).links
    keep = HostWiring(networks=[NETWORK], ports=[PORT])
    assert plan_strays(keep, [PORT.id], view).lines == []


def test_a_network_is_removed_as_far_as_it_is_there() -> None:
    assert plan_removal(NETWORK.id, [PORT.id], HostView(root=Space())).lines == []
    assert plan_removal(NETWORK.id, [PORT.id], settled()).lines == [
        f"link del dev {TAP}",
        f"link del dev {BRIDGE_LEG}",
        f"link del dev {HOST_LEG}",
        f"link del dev {BRIDGE}",
        f"netns del {SPACE}",
    ]


def test_what_the_tools_print_is_understood() -> None:
    addresses = (
        '[{"ifname":"brm1","flags":["UP"],"mtu":1450,"address":"aa:bb:cc:dd:ee:ff",'
        '"linkinfo":{"info_kind":"bridge","info_data":{"forward_delay":0,"mcast_snooping":1}},'
        '"addr_info":[{"family":"inet","local":"10.0.0.1","prefixlen":24},'
        '{"family":"inet6","local":"fe80::1","prefixlen":64}]}]\n'
    )
    routes = '[{"dst":"default","gateway":"10.0.0.9","dev":"eth0"},{"dst":"10.1.1.1","dev":"x"}]\n'
    ruleset = (
        '{"nftables": [{"table": {"family": "ip", "name": "filter"}},'
        '{"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "policy": "drop"}},'
        '{"rule": {"family": "ip", "table": "filter", "chain": "FORWARD"}}]}'
    )
    forwards = (
        '[{"mac":"02:00:00:00:00:01","ifname":"tap1","flags":[],"master":"brm1","state":"static"},'
        '{"mac":"02:00:00:00:00:02","ifname":"brm1","flags":["self"],"state":"permanent"},'
        '{"mac":"02:00:00:00:00:03","ifname":"mcv1","dst":"192.0.2.2","flags":["self"],'
        '"state":"permanent"}]'
    )
    links, found, entries = parse_links(addresses + routes, forwards)
    assert links["brm1"] == link(
        "brm1",
        kind="bridge",
        mac="aa:bb:cc:dd:ee:ff",
        mtu=1450,
        addresses=["10.0.0.1/24"],
        addresses_6=["fe80::1/64"],
        forward_delay=0,
        mcast_snooping=1,
    )
    assert [route.destination for route in found] == ["default", "10.1.1.1/32"]
    assert entries == {
        ("02:00:00:00:00:01", "tap1", ""),
        ("02:00:00:00:00:03", "mcv1", "192.0.2.2"),
    }
    seen = parse_rules(ruleset)
    assert seen.tables == {("ip", "filter"): {"FORWARD": 1}}
    assert (seen.forward_drops, seen.forward_drops_6) == (True, False)


@pytest.mark.parametrize("routes", ["[ ]\n", "[]", ""])
def test_no_routes_at_all_are_understood(routes: str) -> None:
    assert parse_links("[{}]\n" + routes, "") == ({}, [], frozenset())


def test_transfer_gives_the_namespace_the_next_address() -> None:
    assert str(Transfer(host=PAIR.host).inside) == "198.18.0.85"
