"""DHCP and DNS for one network: a dnsmasq inside its namespace, which outlives this process.

The files are rewritten, and the process is told or started again, only where they differ from
what is wanted.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path

from minicloud.domain import ids
from minicloud.hostnet import names, namespaces
from minicloud.hostnet.dnsmasq import Running, write_if_changed
from minicloud.hostnet.kernel import Kernel
from minicloud.hostnet.router_plan import METADATA_ADDRESS
from minicloud.hostnet.wiring import (
    DhcpOption,
    NetworkWiring,
    PortWiring,
    SubnetWiring,
)

LEASE_SECONDS = 86400
_RESOLV_FILES = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))


def served_subnets(network: NetworkWiring) -> list[SubnetWiring]:
    """Those that guests get something for from here: addresses, or the word that they may."""
    return [
        subnet
        for subnet in network.subnets
        if subnet.enable_dhcp
        and subnet.dhcp_ip
        and (subnet.ip_version == 4 or subnet.address_mode or subnet.ra_mode)
    ]


def gives_addresses(subnet: SubnetWiring) -> bool:
    return subnet.ip_version == 4 or subnet.address_mode == "dhcpv6-stateful"


def arguments(
    network: NetworkWiring, directory: Path, ports: Iterable[PortWiring] = ()
) -> list[str]:
    """The command line of a network's dnsmasq, whose files are in ``directory``.

    Options that single ports have are in it, since dnsmasq does not survive all changes of a file
    of them.
    """
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
        *_port_options(ports),
    ]
    served = served_subnets(network)
    if any(subnet.ra_mode for subnet in served):
        # It is no router itself: guests get their prefix from it, and no default route.
        argv += ["--enable-ra", f"--ra-param={names.TENANT},mtu:{network.mtu},60,0"]
    for subnet in served:
        argv += (_arguments_4 if subnet.ip_version == 4 else _arguments_6)(network, subnet)
    return argv


def hosts_text(network: NetworkWiring, ports: Iterable[PortWiring]) -> str:
    """Who gets which address and name: one line a port and subnet."""
    served = {subnet.id for subnet in served_subnets(network) if gives_addresses(subnet)}
    lines: set[str] = set()
    for port in ports:
        seen: set[str] = set()
        tag = f"set:{_tag(port)}," if port.dhcp_options else ""
        for subnet_id, address in port.fixed_ips:
            if subnet_id in served and subnet_id not in seen:
                seen.add(subnet_id)
                shown = f"[{address}]" if ":" in address else address
                lines.add(f"{port.mac.lower()},{tag}{shown},{_hostname(port, address)}\n")
    return "".join(sorted(lines))


def upstream_text(resolv_conf: str) -> str:
    """The name servers of a resolv.conf that can be reached from a namespace, as another one."""
    servers = [
        words[1]
        for words in (line.split() for line in resolv_conf.splitlines())
        if len(words) >= 2 and words[0] == "nameserver"
    ]
    return "".join(f"nameserver {server}\n" for server in servers if _is_elsewhere(server))


def has_taken_leases(leases: str, hosts: str, before: str = "") -> bool:
    """Whether a lease keeps one of the hosts' addresses for a guest that is gone.

    dnsmasq would rather refuse the new owner than give it that address. ``before``: the hosts
    that there were, since IPv6 leases do not say whose they are.
    """
    owners = _owners(hosts)
    taken = any(owners.get(address, mac) != mac for mac, address in _lease_pairs(leases))
    return taken or not _moved(before, hosts).isdisjoint(_leases_6(leases))


def kept_leases(leases: str, hosts: str, before: str = "") -> str:
    """``leases`` without those whose address has no owner, or another one."""
    owners = _owners(hosts)
    moved = _moved(before, hosts)
    return "".join(
        f"{line}\n"
        for line in leases.splitlines()
        if all(owners.get(address) == mac for mac, address in _lease_pairs(line))
        and moved.isdisjoint(_leases_6(line))
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
        members = list(ports)
        argv = arguments(network, place, members)
        hosts, before = hosts_text(network, members), _text(place / "hosts")
        changed = write_if_changed(place / "hosts", hosts)
        write_if_changed(place / "resolv.conf", upstream_text(_own_resolv_conf()))
        running = Running.find(place / "pid")
        fit = running is not None and running.serves(argv, namespaces.inode(_space(network.id)))
        taken = has_taken_leases(_text(place / "leases"), hosts, before)
        if running and fit and not rebuilt and not taken:
            if changed:
                running.signal(signal.SIGHUP)
                return [f"told DHCP of network {network.id} its hosts"]
            return []
        if running:
            running.end()
        leases = place / "leases"
        write_if_changed(leases, kept_leases(_text(leases), hosts, before))
        self._kernel.run(argv, "", _space(network.id))
        return [f"started DHCP of network {network.id}"]

    def is_running(self, network: NetworkWiring, ports: Iterable[PortWiring]) -> bool:
        """Whether all is as after ``ensure``, as far as the process goes."""
        if not served_subnets(network):
            return True
        place = self._place(network.id)
        running = Running.find(place / "pid")
        return running is not None and running.serves(
            arguments(network, place, ports), namespaces.inode(_space(network.id))
        )

    def stop(self, network_id: str) -> list[str]:
        """End the network's DHCP and remove its files."""
        place = self._place(network_id)
        if not place.is_dir():
            return []
        running = Running.find(place / "pid")
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


def _arguments_4(network: NetworkWiring, subnet: SubnetWiring) -> list[str]:
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


def _arguments_6(_network: NetworkWiring, subnet: SubnetWiring) -> list[str]:
    servers = [server for server in subnet.dns_nameservers if ":" in server]
    shown = ",".join(f"[{server}]" for server in servers or [str(subnet.dhcp_ip)])
    return [
        *ranges_6(subnet, subnet.address_mode or subnet.ra_mode, subnet.id),
        f"--dhcp-option=tag:{subnet.id},option6:dns-server,{shown}",
    ]


def ranges_6(subnet: SubnetWiring, mode: str, tag: str) -> list[str]:
    """``slaac``: addresses are the guests' own; ``dhcpv6-stateless``: and the rest is asked for;
    ``dhcpv6-stateful``: addresses are asked for, too.
    """
    cidr = IPv6Network(subnet.cidr, strict=False)
    words = {"slaac": "ra-only", "dhcpv6-stateless": "ra-stateless"}.get(mode, "static")
    length, seconds = cidr.prefixlen, LEASE_SECONDS
    return [f"--dhcp-range=set:{tag},{cidr.network_address},{words},{length},{seconds}"]


def _port_options(ports: Iterable[PortWiring]) -> list[str]:
    return [
        f"--dhcp-option=tag:{_tag(port)},{_option(option)}"
        for port in sorted(ports, key=lambda port: port.id)
        for option in port.dhcp_options
    ]


def _tag(port: PortWiring) -> str:
    return f"port-{port.id}"


def _option(option: DhcpOption) -> str:
    """As dnsmasq takes it: by number or by name, in the version that it is for."""
    kind = "option6" if option.ip_version == 6 else "option"
    name = option.name.removeprefix("option6:").removeprefix("option:")
    if name.isdigit() and option.ip_version == 4:
        return f"{name},{option.value}"
    return f"{kind}:{name},{option.value}"


def _owners(hosts: str) -> dict[str, str]:
    """address -> MAC, of the lines of a file of hosts."""
    found = {}
    for line in hosts.split():
        words = [word for word in line.split(",") if not word.startswith("set:")]
        found[words[1].strip("[]")] = words[0]
    return found


def _hostname(port: PortWiring, address: str) -> str:
    kept = "".join(
        letter if letter.isascii() and letter.isalnum() else "-" for letter in port.hostname.lower()
    )
    plain = address.replace(".", "-").replace(":", "-").strip("-")
    return kept.strip("-")[:63].rstrip("-") or f"host-{plain}"


def _lease_pairs(leases: str) -> list[tuple[str, str]]:
    """(MAC, address) of each lease; a line is: expiry, MAC, address, name, client id."""
    fields = [line.split() for line in leases.splitlines()]
    return [
        (words[1].lower(), words[2]) for words in fields if len(words) >= 4 and ":" not in words[2]
    ]


def _leases_6(leases: str) -> list[str]:
    fields = [line.split() for line in leases.splitlines()]
    return [words[2] for words in fields if len(words) >= 4 and ":" in words[2]]


def _moved(before: str, hosts: str) -> set[str]:
    """The addresses that had an owner before and have none now, or another one."""
    owners = _owners(hosts)
    return {address for address, mac in _owners(before).items() if owners.get(address) != mac}


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
