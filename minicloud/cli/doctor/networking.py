"""Whether this kernel and its firewalls let guests have a network.

What has to be tried is tried in a network namespace that is gone again afterwards.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from minicloud.cli.doctor.finding import Finding, fail, ok, unknown, warn
from minicloud.cli.doctor.machine import AS_ROOT, Machine, run
from minicloud.domain.errors import HostProblem
from minicloud.hostnet.kernel import Kernel
from minicloud.hostnet.port_rules import port_table
from minicloud.hostnet.rules import host_table, state_table, untouched_table
from minicloud.hostnet.wiring import HostWiring, PortWiring

_DEVICES = (
    ("a bridge", "link add name br0 type bridge", "modprobe bridge"),
    ("a TAP", "tuntap add dev tap0 mode tap", "modprobe tun; in a container, give it /dev/net/tun"),
    ("a veth pair", "link add name veth0 type veth peer name veth1", "modprobe veth"),
    (
        "a tunnel",
        "link add name vx0 type vxlan id 1 local 192.0.2.1 dstport 4789",
        "modprobe vxlan",
    ),
)
"""(what, the line for ``ip``, how to get it)"""
_PRIVILEGED = "In a container, run it privileged (it needs NET_ADMIN and SYS_ADMIN)."
_BRIDGE_NF = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_FIREWALLD = Path("/etc/firewalld/firewalld.conf")
_OUR_RULES = "--comment minicloud"
_INSTALL = "Install them: apt install iproute2 nftables dnsmasq-base"


def programs(_machine: Machine) -> Finding:
    """What host networking calls."""
    wanted = (["ip", "-V"], ["nft", "--version"], ["dnsmasq", "--version"])
    missing = [argv[0] for argv in wanted if run(argv) is None]
    if missing:
        return fail(f"{', '.join(missing)} cannot be run.", _INSTALL)
    return ok("ip, nft and dnsmasq are installed.")


def devices(machine: Machine) -> Finding:
    """Namespaces, bridges, TAPs and veth pairs."""
    if not machine.is_root:
        return unknown("Only root can try bridges, TAPs and namespaces.", AS_ROOT)
    kernel = Kernel()
    try:
        with _namespace(kernel) as name:
            for what, line, remedy in _DEVICES:
                try:
                    kernel.ip_batch([line], name)
                except HostProblem as problem:
                    return fail(f"The kernel makes no {what[2:]}: {problem.message}.", remedy)
    except HostProblem as problem:
        return fail(f"There is no network namespace to be had: {problem.message}.", _PRIVILEGED)
    return ok("Namespaces, bridges, TAPs, veth pairs and VXLAN devices can be made.")


def connections(machine: Machine) -> Finding:
    """Whether bridged packets can pass the IP hooks, where connections are tracked."""
    if not machine.is_root:
        return unknown("Only root can try it.", AS_ROOT)
    kernel = Kernel()
    line = "link add name br0 type bridge nf_call_iptables 1 nf_call_ip6tables 1"
    try:
        with _namespace(kernel) as name:
            kernel.ip_batch([line], name)
    except HostProblem as problem:
        return unknown(f"It could not be tried: {problem.message}.", _PRIVILEGED)
    if not _BRIDGE_NF.exists():
        return fail(
            "The kernel does not track connections of bridged packets: guests get no answers.",
            "modprobe br_netfilter; to have it at every start: "
            "echo br_netfilter > /etc/modules-load.d/minicloud.conf",
        )
    if run(["conntrack", "--version"]) is None:
        return warn(
            "conntrack cannot be run: connections outlive the floating IP that they came by.",
            "Install it: apt install conntrack",
        )
    return ok("Connections of bridged packets can be tracked.")


def nftables(machine: Machine) -> Finding:
    """Whether the kernel takes the rules that guests' ports get."""
    if not machine.is_root:
        return unknown("Only root can try nftables.", AS_ROOT)
    port = PortWiring(
        id="d0c70000-0000-4000-8000-000000000000",
        network_id="",
        device_id="",
        mac="fa:16:3e:00:00:01",
        fixed_ips=[("", "192.0.2.2")],
        hostname="doctor",
    )
    kernel = Kernel()
    try:
        with _namespace(kernel) as name:
            tables = [
                state_table({"brm0": 1}),
                host_table(),
                untouched_table("ip6"),
                port_table(HostWiring(ports=[port])),
            ]
            kernel.nft("".join(table.text() for table in tables), name)
    except HostProblem as problem:
        return fail(
            f"The kernel does not take our packet filter's rules: {problem.message}.",
            "Load nf_tables, nft_masq, nft_ct and nf_tables_bridge (package linux-modules-extra "
            "on some clouds' kernels).",
        )
    return ok("nftables takes the rules that guests' ports get.")


def forwarding(machine: Machine) -> Finding:
    """Docker's or ufw's FORWARD chain, and whether bridged frames have to pass it."""
    if not machine.is_root:
        return unknown("Only root can see the firewall's rules.", AS_ROOT)
    try:
        root = Kernel().read(()).root
    except HostProblem as problem:
        return unknown(f"The firewall's rules cannot be read: {problem.message}.", _INSTALL)
    dropping = [
        tool
        for tool, drops in (
            ("iptables", root.forward_drops),
            ("ip6tables", root.forward_drops_6),
        )
        if drops
    ]
    if not dropping:
        return ok("No firewall drops what guests send through this host.")
    who = "A firewall (Docker's or ufw's FORWARD chain) drops forwarded packets, guests' too"
    listed = [run([tool, "-w", "-S", "FORWARD"]) for tool in dropping]
    if None in listed:
        return fail(
            f"{who}, and iptables is not there to let guests' packets pass.",
            "Install it: apt install iptables",
        )
    if all(_OUR_RULES in str(rules) for rules in listed):
        return ok(f"{who}; minicloud's own rules there let guests' packets pass.")
    return ok(f"{who}; compute puts rules for guests there with its first network.")


def firewalld(_machine: Machine) -> Finding:
    """A firewall that rejects in tables of its own has to be told about our devices."""
    if run(["firewall-cmd", "--state"]) is None:
        return ok("firewalld does not run.")
    trusted = run(["firewall-cmd", "--zone=trusted", "--list-interfaces"]) or ""
    if {"brm+", "mch+"} <= set(trusted.split()):
        if _filters_reverse_paths():
            return warn(
                "firewalld drops guests' IPv6, which comes in by bridges without a route back.",
                "Set IPv6_rpfilter=no in /etc/firewalld/firewalld.conf, and: firewall-cmd --reload",
            )
        return ok("firewalld runs and trusts minicloud's devices.")
    return warn(
        "firewalld runs and rejects what guests send.",
        "firewall-cmd --permanent --zone=trusted --add-interface=brm+ --add-interface=mch+ "
        "&& firewall-cmd --reload",
    )


@contextlib.contextmanager
def _namespace(kernel: Kernel) -> Iterator[str]:
    """A network namespace for as long as the block lasts."""
    name = f"minicloud-doctor-{os.getpid()}"
    kernel.run(["ip", "netns", "add", name])
    try:
        yield name
    finally:
        kernel.run(["ip", "netns", "delete", name])


def _filters_reverse_paths() -> bool:
    try:
        settings = _FIREWALLD.read_text()
    except OSError:
        return False
    said = [line.partition("=")[2].strip().lower() for line in settings.splitlines()
            if line.startswith("IPv6_rpfilter")]  # fmt: skip
    return not said or said[-1] != "no"
