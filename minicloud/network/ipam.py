"""Address arithmetic of subnets: pools, candidates, MACs. Pure, and the heart of IPAM.

Addresses are integers here; one below 2**32 is IPv4, for no IPv6 subnet lies there. Nothing
enumerates a pool: a /8 or a /64 costs what a /28 costs. Which addresses are taken is the caller's
to know; that none is given twice is the database's.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import msgspec

from minicloud.domain.errors import Conflict, Invalid

WINDOW = 256
"""How many neighbouring addresses are looked at together."""
_TRIES = 4
_MAC_LIMIT = 1 << 24
_FIRST_IPV6 = 1 << 32
Range = IPv4Network | IPv6Network


class Pool(msgspec.Struct, frozen=True, order=True):
    """Addresses ``first`` to ``last``, both included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1


def number_of(address: str) -> int:
    """The integer of an address. Invalid."""
    try:
        found = ip_address(address)
    except ValueError:
        raise Invalid(reason=f"'{address}' is not a valid IP address.") from None
    if found.version == 6 and (int(found) < _FIRST_IPV6 or getattr(found, "scope_id", None)):
        raise Invalid(reason=f"'{address}' is not an IP address that a port can have.")
    return int(found)


def address_of(number: int) -> str:
    return str(IPv4Address(number) if number < _FIRST_IPV6 else IPv6Address(number))


def version_of(number: int) -> int:
    return 4 if number < _FIRST_IPV6 else 6


def parse_cidr(text: str) -> Range:
    """The network that ``text`` names; host bits are dropped. Invalid."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise Invalid(reason=f"'{text}' is not a valid CIDR.") from None
    longest = 30 if network.version == 4 else 127
    if "/" not in text or not 1 <= network.prefixlen <= longest:
        raise Invalid(reason=f"'{text}' needs a prefix length from 1 to {longest}.")
    if (
        network.is_loopback
        or network.is_multicast
        or network.is_link_local
        or network.network_address.is_unspecified
        or (network.version == 6 and int(network.network_address) < _FIRST_IPV6)
    ):
        raise Invalid(reason=f"'{text}' is not a range that guests can use.")
    return network


def hosts_of(network: Range) -> Pool:
    """All addresses but the network's own and, in IPv4, the broadcast address."""
    last = int(network.broadcast_address) - (1 if network.version == 4 else 0)
    return Pool(int(network.network_address) + 1, last)


def eui64(network: Range, mac: str) -> int:
    """The address that an interface with ``mac`` gives itself in an IPv6 ``network`` of 64 bits."""
    octets = bytes.fromhex(mac.replace(":", ""))
    interface = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return int(network.network_address) + int.from_bytes(interface, "big")


def default_pools(network: Range, gateway: int | None) -> list[Pool]:
    """Everything that a host may have, without the gateway."""
    hosts = hosts_of(network)
    if gateway is None or not hosts.first <= gateway <= hosts.last:
        return [hosts]
    halves = (Pool(hosts.first, gateway - 1), Pool(gateway + 1, hosts.last))
    return [pool for pool in halves if pool.size > 0]


def check_pools(network: Range, gateway: int | None, pools: Sequence[Pool]) -> None:
    """Raise Invalid or Conflict, each with Neutron's type, unless ``pools`` fit."""
    hosts = hosts_of(network)
    for pool in pools:
        if pool.size <= 0:
            raise Invalid(
                type="InvalidAllocationPool", reason=f"The allocation pool {_range(pool)} is empty."
            )
        if pool.first < hosts.first or pool.last > hosts.last:
            raise Invalid(
                type="OutOfBoundsAllocationPool",
                reason=f"The allocation pool {_range(pool)} is not within {network}.",
            )
        if gateway is not None and pool.first <= gateway <= pool.last:
            raise Conflict(
                type="GatewayConflictWithAllocationPools",
                reason=f"Gateway {address_of(gateway)} is inside the allocation pool "
                f"{_range(pool)}.",
            )
    ordered = sorted(pools)
    for left, right in itertools.pairwise(ordered):
        if right.first <= left.last:
            raise Conflict(
                type="OverlappingAllocationPools",
                reason=f"The allocation pools {_range(left)} and {_range(right)} overlap.",
            )


def windows(pools: Sequence[Pool], rng: random.Random) -> Iterator[Pool]:
    """Ranges to look for a free address in: a few at random, which is enough unless the pools
    are nearly full. One whole pass, where that is no more than a few windows.
    """
    sizes = [pool.size for pool in pools]
    if not sizes:
        return
    if sum(sizes) <= WINDOW * _TRIES:
        pieces = [piece for pool in pools for piece in _pieces(pool)]
        rng.shuffle(pieces)
        yield from pieces
        return
    for pool in rng.choices(pools, weights=sizes, k=_TRIES):
        first = rng.randint(pool.first, max(pool.first, pool.last - WINDOW + 1))
        yield Pool(first, min(pool.last, first + WINDOW - 1))


def pick(window: Pool, taken: set[int], rng: random.Random) -> int | None:
    """A free address of ``window``; None if all are taken."""
    free = [number for number in range(window.first, window.last + 1) if number not in taken]
    return rng.choice(free) if free else None


def first_gap(pools: Sequence[Pool], taken: Iterable[int]) -> int | None:
    """The lowest free address, from the sorted ``taken``: exact, for pools nearly full."""
    ordered = iter(taken)
    current = next(ordered, None)
    for pool in sorted(pools):
        number = pool.first
        while number <= pool.last:
            while current is not None and current < number:
                current = next(ordered, None)
            if current != number:
                return number
            number += 1
    return None


def new_mac(prefix: str, rng: random.Random) -> str:
    """A random MAC below ``prefix`` (three octets, ``fa:16:3e``)."""
    tail = rng.randrange(_MAC_LIMIT)
    return f"{prefix}:{tail >> 16:02x}:{tail >> 8 & 255:02x}:{tail & 255:02x}"


def _pieces(pool: Pool) -> Iterator[Pool]:
    for first in range(pool.first, pool.last + 1, WINDOW):
        yield Pool(first, min(pool.last, first + WINDOW - 1))


def _range(pool: Pool) -> str:
    return f"{address_of(pool.first)}-{address_of(pool.last)}"
