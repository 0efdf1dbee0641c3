"""Every check, in the order in which things depend on one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minicloud.cli.doctor import ceph, hypervisor, networking, resources, services
from minicloud.cli.doctor.finding import Finding, unknown
from minicloud.cli.doctor.machine import Machine
from minicloud.domain.errors import MinicloudError

Check = Callable[[Machine], Finding]

CHECKS: Sequence[tuple[str, Check]] = (
    ("clock", resources.clock),
    ("disk", resources.disk),
    ("memory", resources.memory),
    ("host name", services.local_name),
    ("kvm", hypervisor.kvm),
    ("qemu", hypervisor.qemu),
    ("libvirt", hypervisor.libvirt),
    ("ceph", ceph.guests),
    ("network tools", networking.programs),
    ("network devices", networking.devices),
    ("nftables", networking.nftables),
    ("connections", networking.connections),
    ("forwarding", networking.forwarding),
    ("firewalld", networking.firewalld),
    ("configuration", lambda machine: machine.configuration),
    ("broker", services.broker),
    ("databases", services.databases),
    ("services", services.ports),
)


def look(machine: Machine, check: Check) -> Finding:
    """What ``check`` finds. A machine so odd that it cannot be asked is a finding, too."""
    try:
        return check(machine)
    except (OSError, ValueError, MinicloudError) as problem:
        return unknown(f"It could not be looked at: {problem}.")
