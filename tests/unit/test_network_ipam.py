"""Address arithmetic: whatever the pools, an address is found while there is one, never twice."""

from __future__ import annotations

import random
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicloud.domain.errors import Conflict, Invalid
from minicloud.network import ipam
from minicloud.network.ipam import Pool

BASE = int(IPv4Network("10.0.0.0/8").network_address)


@st.composite
def pool_sets(draw: st.DrawFn) -> list[Pool]:
    edges = sorted(draw(st.sets(st.integers(0, 3000), min_size=2, max_size=8)))
    return [
        Pool(BASE + first, BASE + last - 1)
        for first, last in zip(edges[::2], edges[1::2], strict=False)
    ]


def take(pools: list[Pool], taken: set[int], rng: random.Random) -> int | None:
    for window in ipam.windows(pools, rng):
        number = ipam.pick(window, taken, rng)
        if number is not None:
            return number
    return ipam.first_gap(pools, sorted(taken))


@given(pool_sets(), st.integers(0, 2**32), st.data())
def test_every_address_is_given_once_until_none_is_left(
    pools: list[Pool], seed: int, data: st.DataObject
) -> None:
    rng = random.Random(seed)
    everything = {n for pool in pools for n in range(pool.first, pool.last + 1)}
    left = data.draw(st.integers(0, min(40, len(everything))))
    free = set(rng.sample(sorted(everything), left))
    taken = everything - free
    for _ in range(left):
        number = take(pools, taken, rng)
        assert number in free
        assert number not in taken
        taken.add(number)
    assert take(pools, taken, rng) is None


def test_a_large_pool_is_looked_at_in_few_small_windows() -> None:
    pool = ipam.default_pools(IPv4Network("10.0.0.0/8"), BASE + 1)
    windows = list(ipam.windows(pool, random.Random(1)))
    assert 1 <= len(windows) <= 8
    assert all(window.size <= ipam.WINDOW for window in windows)


def test_the_gateway_is_no_guests_address() -> None:
    network = IPv4Network("10.0.0.0/29")
    middle = int(network.network_address) + 3
    assert [pool.size for pool in ipam.default_pools(network, middle)] == [2, 3]
    with pytest.raises(Conflict):
        ipam.check_pools(network, middle, [Pool(middle - 1, middle + 1)])


@pytest.mark.parametrize(
    "text",
    ["10.0.0.0", "10.0.0.0/31", "10.0.0.0/0", "127.0.0.0/8", "224.0.0.0/24", "169.254.0.0/16",
     "fe80::/64", "::/64", "ff02::/16", "fd00::/128", "::a00:0/104", "x/24", "10.0.0.0/33", ""],
)  # fmt: skip
def test_ranges_that_guests_cannot_use_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        ipam.parse_cidr(text)


def test_pools_outside_or_overlapping_are_refused() -> None:
    network = IPv4Network("10.0.0.0/24")
    first = int(network.network_address)
    for pools in ([Pool(first, first + 9)], [Pool(first + 250, first + 255)],
                  [Pool(first + 9, first + 5)], [Pool(first + 5, first + 9)] * 2):  # fmt: skip
        with pytest.raises((Invalid, Conflict)):
            ipam.check_pools(network, None, pools)


def test_a_mac_has_the_prefix_and_six_octets() -> None:
    mac = ipam.new_mac("fa:16:3e", random.Random(3))
    assert mac.startswith("fa:16:3e:")
    assert len(mac) == 17
