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
)
"""(what, the line for ``ip``, how to get it)"""
_PRIVILEGED = "In a container, run it privileged (it needs NET_ADMIN and SYS_ADMIN)."
_BRIDGE_NF = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
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
    return ok("Namespaces, bridges, TAPs and veth pairs can be made.")


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
        drops = Kernel().read(()).root.forward_drops
    except HostProblem as problem:
        return unknown(f"The firewall's rules cannot be read: {problem.message}.", _INSTALL)
    if not drops:
        return ok("No firewall drops what guests send through this host.")
    who = "A firewall (Docker's or ufw's FORWARD chain) drops forwarded packets"
    if _reads_one(_BRIDGE_NF):
        who += ", bridged ones too"
    rules = run(["iptables", "-w", "-S", "FORWARD"])
    if rules is None:
        return fail(
            f"{who}, and iptables is not there to let guests' packets pass.",
            "Install it: apt install iptables",
        )
    if _OUR_RULES in rules:
        return ok(f"{who}; minicloud's own rules there let guests' packets pass.")
    return ok(f"{who}; compute puts rules for guests there with its first network.")


def firewalld(_machine: Machine) -> Finding:
    """A firewall that rejects in tables of its own has to be told about our devices."""
    if run(["firewall-cmd", "--state"]) is None:
        return ok("firewalld does not run.")
    trusted = run(["firewall-cmd", "--zone=trusted", "--list-interfaces"]) or ""
    if {"brm+", "mch+"} <= set(trusted.split()):
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


def _reads_one(path: Path) -> bool:
    try:
        return path.read_text().strip() == "1"
    except OSError:
        return False
