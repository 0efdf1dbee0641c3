"""A host of a test's own inside this process, and guests on it, without touching the machine.

``private_host()`` moves the calling thread into new network and mount namespaces with an empty
/run/netns and back again; threads and processes started meanwhile stay inside. A ``Guest`` does
what QEMU does: it holds the port's TAP and copies frames, here to a device in a namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from dhcp6 import address_by_dhcp, by_mac

from minicloud.hostnet import namespaces

_CLONE_FS = 0x00000200
_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_TUNSETIFF = 0x400454CA
_TAP_NO_PI_VNET_HDR = 0x0002 | 0x1000 | 0x4000

TOOLS = ("ip", "nft", "dnsmasq", "busybox")
_LIBC = ctypes.CDLL(None, use_errno=True)


def missing() -> str | None:
    """Why a private host cannot be made here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"needs {', '.join(absent)}" if absent else None


@contextlib.contextmanager
def private_host() -> Iterator[None]:
    """Be on an empty host until the end of the block."""
    directory = Path.cwd()
    spaces = {
        kind: os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY)
        for kind, name in ((_CLONE_NEWNET, "net"), (_CLONE_NEWNS, "mnt"))
    }
    try:
        _check(_LIBC.unshare(_CLONE_NEWNS | _CLONE_NEWNET))
        _check(_LIBC.mount(b"none", b"/", None, _MS_REC_PRIVATE, None))
        _check(_LIBC.mount(b"run", b"/run", b"tmpfs", 0, None))
        namespaces.DIRECTORY.mkdir()
        run("ip", "link", "set", "lo", "up")
        yield
    finally:
        # A thread that shares its root directory with others may not change mounts.
        _check(_LIBC.unshare(_CLONE_FS))
        for kind, handle in spaces.items():
            _check(_LIBC.setns(handle, kind))
            os.close(handle)
        os.chdir(directory)


@contextlib.contextmanager
def private_network() -> Iterator[None]:
    """Be on a network of a loopback interface alone until the end of the block, as above."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _check(_LIBC.unshare(_CLONE_NEWNET))
        run("ip", "link", "set", "lo", "up")
        yield
    finally:
        _check(_LIBC.setns(before, _CLONE_NEWNET))
        os.close(before)


def run(*argv: str, check: bool = True) -> str:
    """Run a command on the host and return what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
    return done.stdout


def answers(address: str, *, source: str | None = None) -> bool:
    """Whether the host gets an answer to a ping."""
    return _ping(None, address, source)


class Space:
    """A namespace of the test's own."""

    def __init__(self, name: str) -> None:
        self.name = name
        run("ip", "netns", "add", name)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *argv: str, check: bool = True) -> str:
        return namespaces.run_in(self.name, lambda: run(*argv, check=check))

    def answers(self, address: str, *, source: str | None = None) -> bool:
        return _ping(self.name, address, source)

    def fetch(self, url: str, *headers: str) -> str:
        """The body of an HTTP answer, or ``HTTP <status>``."""
        options = [option for header in headers for option in ("--header", header)]
        where = ["busybox", "wget", "-q", "-Y", "off", "-O", "-", *options, url]
        done = namespaces.run_in(
            self.name, lambda: subprocess.run(where, capture_output=True, text=True, check=False)
        )
        if "server returned error" in done.stderr:
            return done.stderr.partition("server returned error: HTTP/1.1 ")[2].split(" ")[0]
        assert done.returncode == 0, done.stderr
        return done.stdout


class Guest(Space):
    """A machine behind a TAP: ``eth0`` with the MAC address, not configured."""

    def __init__(self, name: str, tap: str, mac: str, directory: Path) -> None:
        super().__init__(name)
        self._directory = directory
        self._mac = mac
        self._outer = _attach(tap)
        self._inner = namespaces.run_in(name, lambda: _attach("eth0"))
        self._stop, self._stopper = os.pipe()
        self._relay = threading.Thread(target=self._copy, daemon=True)
        self._relay.start()
        self.run("ip", "link", "set", "eth0", "address", mac, "up")

    def close(self) -> None:
        os.close(self._stopper)
        self._relay.join()
        for handle in (self._outer, self._inner, self._stop):
            os.close(handle)

    def configure(self, address: str, gateway: str) -> None:
        """Set an address with prefix length by hand."""
        self.run("ip", "address", "replace", address, "dev", "eth0")
        self.run("ip", "route", "replace", "default", "via", gateway)

    def dhcp(self) -> dict[str, str]:
        """Configure by DHCP, as udhcpc and its usual script do; returns what was offered.

        An empty result: nobody offered anything.
        """
        script, offer = self._directory / f"{self.name}.sh", self._directory / f"{self.name}.offer"
        offer.unlink(missing_ok=True)
        script.write_text(_DHCP_SCRIPT.format(offer=offer))
        script.chmod(0o755)
        options = [option for name in _DHCP_OPTIONS for option in ("-O", name)]
        client = ["busybox", "udhcpc", "-f", "-q", "-n", "-t", "3", "-T", "1", "-i", "eth0"]
        self.run(*client, "-s", str(script), *options, check=False)
        if not offer.exists():
            return {}
        return dict(line.split("=", 1) for line in offer.read_text().splitlines())

    def dhcp_6(self, name: bytes = b"") -> str:
        """The address that DHCPv6 gives; "" if none. ``name``: the DUID, unless made of the MAC."""
        duid = name or by_mac(self._mac)
        return namespaces.run_in(self.name, lambda: address_by_dhcp("eth0", duid))

    def announce_6(self, target: str, to_mac: str) -> None:
        """Send a neighbour advertisement: ``target`` has this guest's MAC address."""
        mine, theirs = (bytes.fromhex(mac.replace(":", "")) for mac in (self._mac, to_mac))
        sender, everybody = (
            socket.inet_pton(socket.AF_INET6, text) for text in (_link_local(mine), "ff02::1")
        )
        body = struct.pack("!BBHI", 136, 0, 0, 0x20000000)
        body += socket.inet_pton(socket.AF_INET6, target) + bytes([2, 1]) + mine
        pseudo = sender + everybody + struct.pack("!IBBBB", len(body), 0, 0, 0, 58)
        body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
        header = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + sender + everybody
        frame = theirs + mine + struct.pack("!H", 0x86DD) + header + body

        def send() -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as opened:
                opened.bind(("eth0", 0x86DD))
                opened.send(frame)

        namespaces.run_in(self.name, send)

    def _copy(self) -> None:
        ways = {self._outer: self._inner, self._inner: self._outer}
        while True:
            ready, _, _ = select.select([*ways, self._stop], [], [])
            if self._stop in ready:
                return
            for handle in ready:
                try:
                    os.write(ways[handle], os.read(handle, 70000))
                except OSError:  # the device is down or gone: the frame is lost, as on a wire
                    if not namespaces.listed():
                        return


def _link_local(mac: bytes) -> str:
    octets = bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    return "fe80::" + ":".join(octets[at : at + 2].hex() for at in range(0, 8, 2))


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


_DHCP_OPTIONS = ("staticroutes", "mtu", "dns", "hostname", "router", "subnet")
_DHCP_SCRIPT = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip address replace $ip/$mask dev eth0
[ -z "$mtu" ] || ip link set dev eth0 mtu $mtu
set -- $staticroutes
while [ $# -ge 2 ]; do ip route replace $1 via $2; shift 2; done
env | grep -E '^(ip|mask|mtu|dns|hostname|router|staticroutes|serverid)=' > {offer}.new
mv {offer}.new {offer}
"""


def links() -> set[str]:
    return {entry["ifname"] for entry in json.loads(run("ip", "-j", "link"))}


def trace() -> dict[str, object]:
    """All that a host's networking consists of, to compare before and after."""
    return {
        "links": links(),
        "addresses": run("ip", "-o", "-4", "address"),
        "routes": run("ip", "route", "show", "table", "all"),
        "rules": run("nft", "list", "ruleset"),
        "namespaces": namespaces.listed(),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


def _attach(name: str) -> int:
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP_NO_PI_VNET_HDR))
    return handle


def _ping(space: str | None, address: str, source: str | None) -> bool:
    origin = ["-I", source] if source else []
    argv = ["busybox", "ping", "-c", "1", "-W", "1", *origin, address]
    # The first may be lost to whoever is just being looked for.
    for _ in range(2):
        done = namespaces.run_in(
            space, lambda: subprocess.run(argv, capture_output=True, text=True, check=False)
        )
        if done.returncode == 0:
            return True
    return False


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
