"""What a router tells its networks of itself: IPv6 router advertisements, sent by a dnsmasq.

It runs in the router's namespace and outlives this process. Addresses and names are given out
on every guest's own host (``dhcp.py``); this one only says where the way out is.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from ipaddress import ip_interface, ip_network
from pathlib import Path

from minicloud.hostnet import names, namespaces
from minicloud.hostnet.dhcp import ranges_6
from minicloud.hostnet.dnsmasq import Running
from minicloud.hostnet.kernel import Kernel
from minicloud.hostnet.router_plan import legs_of
from minicloud.hostnet.wiring import NetworkWiring, RouterLeg, RouterWiring, SubnetWiring


def router_arguments(
    router: RouterWiring, networks: Mapping[str, NetworkWiring], directory: Path
) -> list[str]:
    """The command line of what advertises a router to its networks; [] where nothing is to be."""
    argv = []
    for leg in legs_of(router):
        if leg.is_outer:
            continue
        network = networks[leg.port.network_id]
        advertised = [
            subnet
            for subnet in network.subnets
            if subnet.ip_version == 6 and subnet.ra_mode and _is_on(leg.port, subnet)
        ]
        if advertised:
            argv += [f"--interface={leg.device}"]
            argv += [f"--ra-param={leg.device},mtu:{network.mtu},30,1800"]
        argv += [
            argument
            for subnet in advertised
            for argument in ranges_6(subnet, subnet.ra_mode, leg.device)
        ]
    if not argv or not router.up:
        return []
    return [
        "dnsmasq",
        "--conf-file=",
        "--no-hosts",
        "--no-resolv",
        "--port=0",
        "--bind-interfaces",
        "--except-interface=lo",
        f"--pid-file={directory / 'pid'}",
        f"--dhcp-leasefile={directory / 'leases'}",
        f"--log-facility={directory / 'log'}",
        "--quiet-dhcp6",
        "--quiet-ra",
        "--user=root",
        "--enable-ra",
        *argv,
    ]


class Advertisements:
    """One process a router at most. ``directory``: where their files are."""

    def __init__(self, directory: Path, kernel: Kernel) -> None:
        self._directory = directory
        self._kernel = kernel

    def ensure(self, router: RouterWiring, networks: Mapping[str, NetworkWiring]) -> list[str]:
        """Advertise the router as it is; what was done, in words. HostProblem."""
        place = self._directory / router.id
        argv = router_arguments(router, networks, place)
        if not argv:
            return self.stop(router.id)
        name = names.router_space(router.id)
        running = Running.find(place / "pid")
        if running is not None and running.serves(argv, namespaces.inode(name)):
            return []
        if running is not None:
            running.end()
        place.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._kernel.run(argv, "", name)
        return [f"started the advertisements of router {router.id}"]

    def stop(self, router_id: str) -> list[str]:
        place = self._directory / router_id
        if not place.is_dir():
            return []
        running = Running.find(place / "pid")
        if running:
            running.end()
        shutil.rmtree(place, ignore_errors=True)
        return [f"stopped the advertisements of router {router_id}"]

    def known(self) -> list[str]:
        """The ids of the routers that have files here, running or not."""
        if not self._directory.is_dir():
            return []
        return sorted(entry.name for entry in self._directory.iterdir() if entry.is_dir())

    def remove_directory(self) -> None:
        """Remove the directory if nothing is left in it."""
        with contextlib.suppress(OSError):
            self._directory.rmdir()


def _is_on(leg: RouterLeg, subnet: SubnetWiring) -> bool:
    range_ = ip_network(subnet.cidr, strict=False)
    return any(ip_interface(address).ip in range_ for address in leg.addresses)
