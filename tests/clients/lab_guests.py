"""Two projects with guests on two lab hosts and on this machine, and ways to look inside them.

Both projects' networks have one range. Of project ``a``: ``a1`` on ``lab1``, ``a2`` on ``lab2``,
each with a second device on the network ``side``, which has no DHCP for IPv4 and stateful DHCPv6.
Of project ``b``: ``b1`` on ``lab1`` with the address of ``a1``, ``b2`` here with that of ``a2``.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clients.conftest import LiveCloud, until
from clients.test_lab import lab

from minicloud.domain import ids

NAME = "lab-networks"
FIRST, SECOND = "10.77.0.10", "10.77.0.20"
"""The addresses of ``a1`` and ``b1``, and of ``a2`` and ``b2``."""
SIDE = ("10.78.0.10", "10.78.0.20")
WHO = 8080
"""The TCP port at which every guest says its name and who asks."""
_COMMAND_S = 90
_NO_CONNECTION = 255
"""What ssh ends with where it is not the command that fails."""
_LONG_S = 300
"""Until guests are there, on a machine that has much else to do."""
_WHO = "#!/bin/sh\\necho\\necho $(hostname) $REMOTE_ADDR\\n"


def on_host(host: str, *words: str, limit_s: float = 60) -> str | None:
    """What a command prints on a lab host or on this machine; None if it fails."""
    try:
        if host != socket.gethostname():
            return lab("sh", host, *words)
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=limit_s)
    except (AssertionError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def who(address: str) -> list[str]:
    """What a guest says to this machine: its name, and the address that it sees."""
    try:
        with urllib.request.urlopen(f"http://{address}:{WHO}/cgi-bin/who", timeout=5) as answer:
            words: list[str] = answer.read().decode().split()
            return words
    except OSError:
        return []


class Guest:
    """``device``: the port of its first device; ``side``: that of its second one, if it has any.

    ``sockets``: a directory for its connection.
    """

    def __init__(
        self, name: str, host: str, key: Path, sockets: Path, device: Any, side: Any = None
    ) -> None:
        self.name = name
        self.host = host
        self.device = device
        self.side = side
        self.server: Any = None
        self.floating = ""
        self._key = key
        self._socket = sockets / name

    @property
    def address(self) -> str:
        return _address(self.device, 4)

    @property
    def address_6(self) -> str:
        return _address(self.device, 6)

    @property
    def side_address_6(self) -> str:
        return _address(self.side, 6)

    def run(self, script: str) -> str | None:
        """What a script of root's prints in the guest; None if it ends with another code than 0.

        By ssh out of the network's namespace on the guest's own host, so that no router takes
        part, and over one connection, since its beginning takes an emulated machine a second.
        """
        target = f"root@{self.address}"
        for _ in range(2):
            argv = ["ssh", "-S", str(self._socket), "-o", "ProxyCommand=false", target, script]
            try:
                done = subprocess.run(
                    argv, capture_output=True, text=True, check=False, timeout=_COMMAND_S
                )
            except subprocess.TimeoutExpired:
                return None
            if done.returncode != _NO_CONNECTION:
                return done.stdout if done.returncode == 0 else None
            on_host(
                self.host, "ip", "netns", "exec", ids.netns_name(self.device.network_id),
                "timeout", "60", "ssh", "-fNM", "-S", str(self._socket), "-i", str(self._key),
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "ConnectTimeout=20", "-o", "BatchMode=yes", "-o", "ControlPersist=30", target,
            )  # fmt: skip
        return None

    def is_now_on(self, host: str) -> None:
        """It has moved: the network's namespace on its host before may be gone."""
        leave = ["ssh", "-S", str(self._socket), "-O", "exit", "guest"]
        subprocess.run(leave, capture_output=True, check=False)
        self.host = host

    def says(self, script: str) -> str:
        """The same, without white space around; the script has to end well."""
        printed = self.run(script)
        assert printed is not None, f"{self.name}: {script}"
        return printed.strip()

    def asks(self, address: str) -> list[str]:
        """The name of the guest at an address, and the address under which it sees this one;
        nothing if nobody answers.
        """
        url = f"http://{address}:{WHO}/cgi-bin/who"
        return (self.run(f"timeout 5 wget -q -O - {url}") or "").split()

    def ask_dhcp_6(self, device: str) -> None:
        """Ask for an IPv6 address by a device, as the demo image does by its first one."""
        self.says(
            f"sed s/eth0/{device}/ /etc/dhcp6c.conf >/tmp/dhcp6c.conf; killall dhcp6c; "
            "while pidof dhcp6c >/dev/null; do usleep 100000; done; "
            f"dhcp6c -c /tmp/dhcp6c.conf {device}"
        )

    def pings(self, address: str, *options: str) -> bool:
        return self.run(f"ping -c 2 -w 5 {' '.join(options)} {address}") is not None


class Site:
    """A project with a network, a router and a security group."""

    def __init__(self, cloud: Any, key: Path, sockets: Path) -> None:
        self.cloud = cloud
        self.guests: list[Guest] = []
        self._sockets = sockets
        self._key = key
        network = cloud.network
        self.project_id = cloud.current_project_id
        self.network = network.create_network(name=NAME, project_id=self.project_id)
        self.subnet = self._subnet(self.network, "10.77.0.0/24", 4)
        self.outside = network.find_network("public")
        self.router = network.create_router(
            name=NAME,
            project_id=self.project_id,
            external_gateway_info={"network_id": self.outside.id},
        )
        network.add_interface_to_router(self.router, subnet_id=self.subnet.id)
        self.group = network.create_security_group(name=NAME, project_id=self.project_id)
        self.rules = {
            (version, protocol, port): self.allow(protocol, port, version=version)
            for version, protocol, port in (
                (4, "tcp", 22), (4, "tcp", WHO), (4, "icmp", None), (6, "ipv6-icmp", None),
            )
        }  # fmt: skip
        public = ["ssh-keygen", "-y", "-f", str(key)]
        shown = subprocess.run(public, capture_output=True, text=True, check=True).stdout.strip()
        cloud.compute.create_keypair(name=self._keypair, public_key=shown)

    @property
    def _keypair(self) -> str:
        return f"{NAME}-{self.project_id}"

    @property
    def gateway(self) -> str:
        """The router's own address outside."""
        shown = self.cloud.network.get_router(self.router.id).external_gateway_info
        return str(shown["external_fixed_ips"][0]["ip_address"])

    def allow(self, protocol: str, port: int | None = None, *, version: int = 4) -> Any:
        return self.cloud.network.create_security_group_rule(
            security_group_id=self.group.id, direction="ingress", protocol=protocol,
            port_range_min=port, port_range_max=port, ethertype=f"IPv{version}",
        )  # fmt: skip

    def add_ipv6(self) -> None:
        """Addresses that guests make themselves, and a second network with those that are given."""
        slaac = self._subnet(self.network, "fd77:1::/64", 6, mode="slaac")
        self.cloud.network.add_interface_to_router(self.router, subnet_id=slaac.id)
        self.side = self.cloud.network.create_network(name=NAME, project_id=self.project_id)
        self._subnet(self.side, "10.78.0.0/24", 4, enable_dhcp=False, gateway_ip=None)
        self._subnet(self.side, "fd77:2::/64", 6, mode="dhcpv6-stateful")

    def _subnet(self, network: Any, cidr: str, version: int, *, mode: str = "", **more: Any) -> Any:
        if mode:
            more |= {"ipv6_ra_mode": mode, "ipv6_address_mode": mode}
        return self.cloud.network.create_subnet(
            name=NAME, network_id=network.id, ip_version=version, cidr=cidr,
            project_id=self.project_id, **more,
        )  # fmt: skip

    def port(self, network: Any, address: str) -> Any:
        subnets = self.cloud.network.subnets(network_id=network.id)
        fixed = [
            {"subnet_id": subnet.id, **({"ip_address": address} if subnet.ip_version == 4 else {})}
            for subnet in subnets
        ]
        return self.cloud.network.create_port(
            name=NAME, network_id=network.id, project_id=self.project_id, fixed_ips=fixed,
            security_group_ids=[self.group.id],
        )  # fmt: skip

    def launch(self, name: str, host: str, address: str, side_address: str = "") -> Guest:
        side = self.port(self.side, side_address) if side_address else None
        device = self.port(self.network, address)
        guest = Guest(name, host, self._key, self._sockets, device, side)
        compute = self.cloud.compute
        guest.server = compute.create_server(
            name=f"{NAME}-{name}", image_id=self.cloud.image.find_image("tiny").id,
            flavor_id=compute.find_flavor("m1.nano").id, key_name=self._keypair,
            networks=[{"port": port.id} for port in (guest.device, guest.side) if port],
            availability_zone=f"nova:{host}",
        )  # fmt: skip
        self.guests.append(guest)
        return guest

    def give_floating_ip(self, guest: Guest) -> str:
        made = self.cloud.network.create_ip(
            floating_network_id=self.outside.id, port_id=guest.device.id
        )
        guest.floating = made.floating_ip_address
        return guest.floating

    def take_floating_ip(self, guest: Guest) -> None:
        self.cloud.network.delete_ip(self.cloud.network.find_ip(guest.floating))
        guest.floating = ""

    def remove(self) -> None:
        network, compute = self.cloud.network, self.cloud.compute
        servers = list(compute.servers(name=NAME))
        for server in servers:
            compute.delete_server(server)
        for server in servers:
            compute.wait_for_delete(server, wait=_LONG_S)
        mine = {"project_id": self.project_id}
        for address in network.ips(**mine):
            network.delete_ip(address)
        for router in network.routers(name=NAME, **mine):
            for port in network.ports(device_id=router.id):
                if port.device_owner == "network:router_interface":
                    network.remove_interface_from_router(router, port_id=port.id)
            network.delete_router(router)
        for port in network.ports(name=NAME, **mine):
            network.delete_port(port)
        for found in network.networks(name=NAME, **mine):
            network.delete_network(found)
        for group in network.security_groups(name=NAME, **mine):
            network.delete_security_group(group)
        compute.delete_keypair(self._keypair)

    def carriers(self) -> set[str]:
        """The hosts that have the router's namespace."""
        name = f"minicloud-router-{self.router.id}"
        hosts = ("lab1", "lab2", socket.gethostname())
        return {host for host in hosts if name in (on_host(host, "ip", "netns") or "")}


class Lab:
    """Both sites, with guests that answer."""

    def __init__(self, a: Site, b: Site) -> None:
        self.a, self.b = a, b
        a.add_ipv6()
        self.a1 = a.launch("a1", "lab1", FIRST, SIDE[0])
        self.a2 = a.launch("a2", "lab2", SECOND, SIDE[1])
        self.b1 = b.launch("b1", "lab1", FIRST)
        self.b2 = b.launch("b2", socket.gethostname(), SECOND)
        for site in (a, b):
            for guest in site.guests:
                guest.server = site.cloud.compute.wait_for_server(guest.server, wait=_LONG_S)
        for guest in self.guests:
            script = (
                f"mkdir -p /tmp/www/cgi-bin; printf '{_WHO}' >/tmp/www/cgi-bin/who; "
                "chmod 755 /tmp/www/cgi-bin/who; "
                f"pidof httpd || httpd -p {WHO} -h /tmp/www"
            )
            until(lambda guest=guest, script=script: guest.run(script) is not None, _LONG_S)
        for guest, address in ((self.a1, SIDE[0]), (self.a2, SIDE[1])):
            guest.says(f"ip link set eth1 mtu 1450 up; ip address add {address}/24 dev eth1")

    @property
    def guests(self) -> list[Guest]:
        return [*self.a.guests, *self.b.guests]


@contextlib.contextmanager
def lab_guests(live_cloud: LiveCloud) -> Iterator[Lab]:
    """Two lab hosts with the guests; in the end all of it is gone."""
    lab("2")
    admin = live_cloud.connect("minicloud-admin")
    with contextlib.ExitStack() as stack:
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab")))
        stack.callback(lab, "down")
        project = admin.identity.create_project(name=NAME, domain_id="default")
        stack.callback(admin.identity.delete_project, project)
        admin.identity.assign_project_role_to_user(
            project, admin.current_user_id, admin.identity.find_role("admin")
        )
        sites = []
        for cloud in (admin, admin.connect_as_project(project)):
            sites.append(Site(cloud, live_cloud.key, sockets))
            stack.callback(sites[-1].remove)
        yield Lab(*sites)


def _address(port: Any, version: int) -> str:
    mark = ":" if version == 6 else "."
    return next(one["ip_address"] for one in port.fixed_ips if mark in one["ip_address"])
