"""DHCP and DNS for one network: a dnsmasq inside its namespace, which outlives this process.

The files are rewritten, and the process is told or started again, only where they differ from
what is wanted. A process is signalled only if its own command line says that we started it.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, ip_address
from pathlib import Path

from minicloud.domain import ids
from minicloud.hostnet import names, namespaces
from minicloud.hostnet.gateway import ipv4_subnets
from minicloud.hostnet.kernel import Kernel
from minicloud.hostnet.plan import METADATA_ADDRESS
from minicloud.hostnet.state import write_atomically
from minicloud.hostnet.wiring import NetworkWiring, PortWiring, SubnetWiring

LEASE_SECONDS = 86400
_STOP_SECONDS = 2.0
_RESOLV_FILES = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))


def served_subnets(network: NetworkWiring) -> list[SubnetWiring]:
    return [subnet for subnet in ipv4_subnets(network) if subnet.enable_dhcp and subnet.dhcp_ip]


def arguments(network: NetworkWiring, directory: Path) -> list[str]:
    """The command line of a network's dnsmasq, whose files are in ``directory``."""
    argv = [
        "dnsmasq",
        "--conf-file=",
        "--no-hosts",
        f"--resolv-file={directory / 'resolv.conf'}",
        "--bind-interfaces",
        f"--interface={names.TENANT}",
        "--except-interface=lo",
        f"--pid-file={directory / 'pid'}",
        f"--dhcp-hostsfile={directory / 'hosts'}",
        f"--dhcp-leasefile={directory / 'leases'}",
        f"--log-facility={directory / 'log'}",
        "--quiet-dhcp",
        "--dhcp-authoritative",
        "--no-ping",
        "--user=root",
    ]
    for subnet in served_subnets(network):
        argv += _subnet_arguments(network, subnet)
    return argv


def hosts_text(network: NetworkWiring, ports: Iterable[PortWiring]) -> str:
    """Who gets which address and name: one line a port and subnet."""
    served = {subnet.id for subnet in served_subnets(network)}
    lines: set[str] = set()
    for port in ports:
        seen: set[str] = set()
        for subnet_id, address in port.fixed_ips:
            if subnet_id in served and subnet_id not in seen and ":" not in address:
                seen.add(subnet_id)
                lines.add(f"{port.mac.lower()},{address},{_hostname(port, address)}\n")
    return "".join(sorted(lines))


def upstream_text(resolv_conf: str) -> str:
    """The name servers of a resolv.conf that can be reached from a namespace, as another one."""
    servers = [
        words[1]
        for words in (line.split() for line in resolv_conf.splitlines())
        if len(words) >= 2 and words[0] == "nameserver"
    ]
    return "".join(f"nameserver {server}\n" for server in servers if _is_elsewhere(server))


def has_taken_leases(leases: str, hosts: str) -> bool:
    """Whether a lease keeps one of the hosts' addresses for a guest that is gone.

    dnsmasq would rather refuse the new owner than give it that address.
    """
    owners = {address: mac for mac, address, _ in (line.split(",") for line in hosts.split())}
    return any(owners.get(address, mac) != mac for mac, address in _lease_pairs(leases))


def kept_leases(leases: str, hosts: str) -> str:
    """``leases`` without those whose address has no owner, or another one."""
    owners = {address: mac for mac, address, _ in (line.split(",") for line in hosts.split())}
    return "".join(
        f"{line}\n"
        for line in leases.splitlines()
        if all(owners.get(address) == mac for mac, address in _lease_pairs(line))
    )


class Dhcp:
    """The dnsmasq processes of this host, one a network. ``directory``: where their files are."""

    def __init__(self, directory: Path, kernel: Kernel) -> None:
        self._directory = directory
        self._kernel = kernel

    def ensure(
        self, network: NetworkWiring, ports: Iterable[PortWiring], *, rebuilt: bool = False
    ) -> list[str]:
        """Make the network's DHCP serve just ``ports``; returns what was done, in words.

        ``rebuilt``: the device it listens on was made anew. Raises HostProblem if dnsmasq does
        not start.
        """
        if not served_subnets(network):
            return self.stop(network.id)
        place = self._place(network.id)
        place.mkdir(mode=0o755, parents=True, exist_ok=True)
        argv = arguments(network, place)
        hosts = hosts_text(network, ports)
        changed = write_if_changed(place / "hosts", hosts)
        write_if_changed(place / "resolv.conf", upstream_text(_own_resolv_conf()))
        running = _Running.find(place / "pid")
        fit = running is not None and running.serves(argv, namespaces.inode(_space(network.id)))
        if running and fit and not rebuilt and not has_taken_leases(_text(place / "leases"), hosts):
            if changed:
                running.signal(signal.SIGHUP)
                return [f"told DHCP of network {network.id} its hosts"]
            return []
        if running:
            running.end()
        leases = place / "leases"
        write_if_changed(leases, kept_leases(_text(leases), hosts))
        self._kernel.run(argv, "", _space(network.id))
        return [f"started DHCP of network {network.id}"]

    def is_running(self, network: NetworkWiring) -> bool:
        """Whether all is as after ``ensure``, as far as the process goes."""
        if not served_subnets(network):
            return True
        place = self._place(network.id)
        running = _Running.find(place / "pid")
        return running is not None and running.serves(
            arguments(network, place), namespaces.inode(_space(network.id))
        )

    def stop(self, network_id: str) -> list[str]:
        """End the network's DHCP and remove its files."""
        place = self._place(network_id)
        if not place.is_dir():
            return []
        running = _Running.find(place / "pid")
        if running:
            running.end()
        shutil.rmtree(place, ignore_errors=True)
        return [f"stopped DHCP of network {network_id}"]

    def known(self) -> list[str]:
        """The ids of the networks that have files here, running or not."""
        if not self._directory.is_dir():
            return []
        return sorted(entry.name for entry in self._directory.iterdir() if entry.is_dir())

    def remove_directory(self) -> None:
        """Remove the directory if nothing is left in it."""
        with contextlib.suppress(OSError):
            self._directory.rmdir()

    def _place(self, network_id: str) -> Path:
        return self._directory / network_id


class _Running:
    """A dnsmasq of ours, held by a handle that cannot come to mean another process."""

    def __init__(self, pid: int, handle: int, argv: Sequence[str]) -> None:
        self._pid = pid
        self._handle = handle
        self._argv = argv

    @classmethod
    def find(cls, pid_file: Path) -> _Running | None:
        """The process of a pid file, if it lives and its command line names that very file."""
        try:
            pid = int(pid_file.read_text())
            handle = os.pidfd_open(pid)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError):
            argv = []
        if not argv:
            # Dead or dying: its sockets stand in the way of the next one until it is gone.
            _has_ended(handle)
        if f"--pid-file={pid_file}" not in argv:
            os.close(handle)
            return None
        return cls(pid, handle, argv)

    def __del__(self) -> None:
        os.close(self._handle)

    def serves(self, argv: Sequence[str], space: int | None) -> bool:
        """Whether it runs with ``argv`` in the namespace whose identity is ``space``."""
        try:
            found = Path(f"/proc/{self._pid}/ns/net").stat().st_ino
        except (FileNotFoundError, ProcessLookupError):
            return False
        return list(self._argv[1:]) == list(argv[1:]) and found == space

    def signal(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._handle, number)
        except ProcessLookupError:
            return

    def end(self) -> None:
        """SIGTERM, then SIGKILL; returns when it is gone."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.signal(number)
            if _has_ended(self._handle):
                return


def _has_ended(handle: int) -> bool:
    """Wait for the end of a process, but not for long."""
    waiter = select.poll()
    waiter.register(handle, select.POLLIN)
    return bool(waiter.poll(_STOP_SECONDS * 1000))


def write_if_changed(path: Path, text: str) -> bool:
    """Write ``text`` in one step unless it is there already; whether it was written."""
    if path.exists() and path.read_text() == text:
        return False
    write_atomically(path, text.encode(), mode=0o644)
    return True


def _subnet_arguments(network: NetworkWiring, subnet: SubnetWiring) -> list[str]:
    cidr = IPv4Network(subnet.cidr, strict=False)
    tag = f"tag:{subnet.id}"
    own = str(subnet.dhcp_ip)
    routes = [(f"{METADATA_ADDRESS}/32", own), *subnet.host_routes]
    if subnet.gateway_ip:
        routes.append(("0.0.0.0/0", subnet.gateway_ip))
    pairs = ",".join(f"{target},{hop}" for target, hop in routes if ":" not in hop)
    servers = [server for server in subnet.dns_nameservers if ":" not in server]
    router = f",{subnet.gateway_ip}" if subnet.gateway_ip else ""  # empty: send none at all
    return [
        f"--dhcp-range=set:{subnet.id},{cidr.network_address},static,{cidr.netmask},{LEASE_SECONDS}",
        f"--dhcp-option={tag},option:router{router}",
        f"--dhcp-option={tag},option:classless-static-route,{pairs}",
        f"--dhcp-option={tag},option:dns-server,{','.join(servers) or own}",
        f"--dhcp-option={tag},option:mtu,{network.mtu}",
    ]


def _hostname(port: PortWiring, address: str) -> str:
    kept = "".join(
        letter if letter.isascii() and letter.isalnum() else "-" for letter in port.hostname.lower()
    )
    return kept.strip("-")[:63].rstrip("-") or f"host-{address.replace('.', '-')}"


def _lease_pairs(leases: str) -> list[tuple[str, str]]:
    """(MAC, address) of each lease; a line is: expiry, MAC, address, name, client id."""
    fields = [line.split() for line in leases.splitlines()]
    return [(words[1].lower(), words[2]) for words in fields if len(words) >= 4]


def _is_elsewhere(server: str) -> bool:
    try:
        address = ip_address(server)
    except ValueError:
        return False
    return address.version == 4 and not address.is_loopback


def _own_resolv_conf() -> str:
    """systemd-resolved's file comes first: /etc has only its address on the loopback then."""
    for path in _RESOLV_FILES:
        if path.is_file():
            return path.read_text(errors="replace")
    return ""


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _space(network_id: str) -> str:
    return ids.netns_name(network_id)
