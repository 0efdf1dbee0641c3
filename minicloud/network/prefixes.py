"""Arithmetic of the prefixes that subnet pools cut subnets from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any

from minicloud.domain.errors import Invalid
from minicloud.network.ipam import Range


def parse(texts: Sequence[str]) -> list[Range]:
    """The prefixes in order, neighbours joined. Invalid unless they are CIDRs of one version."""
    found: list[Any] = []
    for text in texts:
        try:
            found.append(ip_network(text, strict=False))
        except ValueError:
            raise Invalid(reason=f"'{text}' is not a valid CIDR.") from None
    if not found:
        raise Invalid(reason="A subnet pool needs prefixes.")
    if len({prefix.version for prefix in found}) > 1:
        raise Invalid(
            type="PrefixVersionMismatch",
            reason="Cannot mix IPv4 and IPv6 prefixes in a subnet pool.",
        )
    return list(collapse_addresses(found))


def covers(prefixes: Iterable[Range], wanted: Range) -> bool:
    """Whether one of the prefixes holds all of ``wanted``."""
    return any(_within(wanted, prefix) for prefix in prefixes)


def overlap(left: Iterable[Range], right: Sequence[Range]) -> bool:
    return any(one.overlaps(other) for one in left for other in right)


def without(prefixes: Iterable[Range], gone: Iterable[Range]) -> list[Range]:
    """``prefixes`` less those in ``gone``, which may be parts of them."""
    left: list[Any] = list(prefixes)
    for hole in gone:
        kept: list[Any] = []
        for prefix in left:
            if _within(hole, prefix):
                kept += prefix.address_exclude(hole)
            elif not _within(prefix, hole):
                kept.append(prefix)
        left = kept
    return list(collapse_addresses(left))


def first_free(prefixes: Iterable[Range], taken: Iterable[Range], length: int) -> Range | None:
    """The lowest network of ``length`` within the prefixes that overlaps with none ``taken``."""
    used = sorted((int(net.network_address), int(net.broadcast_address)) for net in taken)
    for prefix in prefixes:
        if prefix.prefixlen > length:
            continue
        size = 1 << (prefix.max_prefixlen - length)
        start = int(prefix.network_address)
        for first, last in used:
            if last >= start and first < start + size:
                start = (last // size + 1) * size
        if start + size - 1 <= int(prefix.broadcast_address):
            kind = IPv4Network if prefix.version == 4 else IPv6Network
            return kind((start, length))
    return None


def share(range_: Range) -> int:
    """How much of a quota it takes: addresses in IPv4, networks of 64 bits in IPv6."""
    bits = 32 if range_.version == 4 else 64
    return 1 << max(0, bits - range_.prefixlen)


def _within(inner: Range, outer: Range) -> bool:
    return (
        inner.version == outer.version
        and inner.network_address in outer
        and inner.prefixlen >= outer.prefixlen
    )
