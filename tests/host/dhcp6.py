"""A DHCPv6 client of few words: asks for an address as RFC 8415 has it, and returns it."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct

_SOLICIT, _ADVERTISE, _REQUEST, _REPLY = 1, 2, 3, 7
_CLIENT_ID, _SERVER_ID, _IA_NA, _IA_ADDR, _ELAPSED = 1, 2, 3, 5, 8
_EVERYBODY = "ff02::1:2"


def address_by_dhcp(device: str, name: bytes) -> str:
    """The address that a server gives; "" if none does. In the namespace of the caller.

    ``name``: what the client calls itself, its DUID.
    """
    index = socket.if_nametoindex(device)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as opened:
        opened.bind(("::", 546))
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        opened.settimeout(2)
        mine = _option(_CLIENT_ID, name) + _option(_ELAPSED, bytes(2))
        lease = _option(_IA_NA, struct.pack("!III", 1, 0, 0))
        for _ in range(5):
            offer = _ask(opened, index, _SOLICIT, mine + lease)
            if _SERVER_ID not in offer or _IA_NA not in offer:
                continue
            chosen = mine + _option(_SERVER_ID, offer[_SERVER_ID]) + _option(_IA_NA, offer[_IA_NA])
            given = _options(_ask(opened, index, _REQUEST, chosen).get(_IA_NA, b"")[12:])
            if _IA_ADDR in given:
                return str(ipaddress.IPv6Address(given[_IA_ADDR][:16]))
    return ""


def by_mac(mac: str) -> bytes:
    """The DUID of a client that has no name but its MAC address."""
    return struct.pack("!HH", 3, 1) + bytes.fromhex(mac.replace(":", ""))


def _ask(opened: socket.socket, index: int, kind: int, body: bytes) -> dict[int, bytes]:
    transaction = os.urandom(3)
    opened.sendto(bytes([kind]) + transaction + body, (_EVERYBODY, 547, 0, index))
    try:
        answer = opened.recv(4096)
    except TimeoutError:
        return {}
    return _options(answer[4:]) if answer[1:4] == transaction else {}


def _option(code: int, data: bytes) -> bytes:
    return struct.pack("!HH", code, len(data)) + data


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        code, length = struct.unpack_from("!HH", data)
        found[code] = data[4 : 4 + length]
        data = data[4 + length :]
    return found
