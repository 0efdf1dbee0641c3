"""Gratuitous ARP: tells the neighbours of an address which device has it now."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address

from minicloud.hostnet import namespaces

_ARP = 0x0806
_BROADCAST = b"\xff" * 6


def announce(namespace: str, device: str, mac: str, addresses: Iterable[str]) -> None:
    """Say of each IPv4 address on ``device`` inside ``namespace`` that ``mac`` has it.

    A device that is down says nothing: who asks will be answered when it is up.
    """
    frames = [_frame(bytes.fromhex(mac.replace(":", "")), address) for address in addresses]

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as opened:
            opened.bind((device, _ARP))
            for frame in frames:
                opened.send(frame)

    if frames:
        with contextlib.suppress(OSError):
            namespaces.run_in(namespace, send)


def _frame(mac: bytes, address: str) -> bytes:
    packed = IPv4Address(address).packed
    header = struct.pack("!6s6sH", _BROADCAST, mac, _ARP)
    body = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, packed, bytes(6), packed)
    return (header + body).ljust(60, b"\0")
