"""Whether guests can run here, and how fast."""

from __future__ import annotations

import os
import re
from pathlib import Path

from minicloud.cli.doctor.finding import Finding, fail, ok, unknown, warn
from minicloud.cli.doctor.machine import AS_ROOT, Machine, run
from minicloud.domain.errors import HostProblem

_KVM = Path("/dev/kvm")
_QEMU = "qemu-system-x86_64"
_INSTALL_QEMU = "Install it: apt install qemu-system-x86 qemu-utils"
_OLDEST_QEMU, _OLDEST_LIBVIRT = (6, 2), (8, 0)
"""Those of Ubuntu 22.04: nothing older is tried."""
_SOCKETS = tuple(
    Path("/run/libvirt", name) for name in ("libvirt-sock", "virtqemud-sock", "libvirt-sock-ro")
)
_START_LIBVIRT = (
    "Start it: systemctl start libvirtd, or 'sudo tools/up', which also does without systemd."
)
_SWITCH_ON = (
    "Switch virtualization on in the firmware (or nested virtualization for this virtual machine) "
    "and load kvm_intel or kvm_amd. Emulated guests boot some ten times slower."
)
_BROKEN = (
    "Nothing on this machine mends that: its own hypervisor has to. Emulated guests work, and boot "
    "some ten times slower."
)


def kvm(machine: Machine) -> Finding:
    """kvm or qemu, decided as compute decides: by booting a guest."""
    from minicloud.virt import probe

    choice = machine.option("libvirt", "virt_type")
    if choice == "qemu":
        return warn(
            "Guests are emulated (qemu), because the configuration says so.",
            "Set virt_type = auto in [libvirt] of compute.conf.",
        )
    if not os.access(_KVM, os.R_OK | os.W_OK):
        if _KVM.exists():
            return unknown("/dev/kvm is there, but not open to this user.", AS_ROOT)
        return _no_kvm(choice, "there is no /dev/kvm", _SWITCH_ON)
    try:
        works, words = probe.boots("kvm", qemu=_QEMU)
    except HostProblem as problem:
        return fail(f"{problem.message}.", _INSTALL_QEMU)
    if works:
        return ok("Guests run with KVM: a probe guest ran through.")
    tried = f"a probe guest was tried with KVM, and {words.removeprefix('it ')}"
    return _no_kvm(choice, tried, _BROKEN)


def _no_kvm(choice: str, why: str, mend: str) -> Finding:
    if choice == "kvm":
        return fail(f"virt_type is kvm, but {why}.", f"Set virt_type = auto. {mend}")
    return warn(f"Guests are emulated (qemu): {why}.", mend)


def qemu(_machine: Machine) -> Finding:
    """QEMU's version, and whether it boots anything."""
    from minicloud.virt import probe

    version = _version(run([_QEMU, "--version"]))
    if version is None:
        return fail(f"{_QEMU} is not installed.", _INSTALL_QEMU)
    if run(["qemu-img", "--version"]) is None:
        return fail("qemu-img is not installed.", _INSTALL_QEMU)
    works, words = probe.boots("tcg", qemu=_QEMU)
    if not works:
        return fail(f"QEMU {version} boots no guest: {words}.", f"Reinstall it. {_INSTALL_QEMU}")
    if _number(version) < _OLDEST_QEMU:
        return warn(f"QEMU {version} is older than any that is tried.", "Use 6.2 or newer.")
    return ok(f"QEMU {version}.")


def libvirt(machine: Machine) -> Finding:
    """The connection that compute will use, and libvirt's version."""
    uri = machine.option("libvirt", "uri")
    version = _version(run(["virsh", "--version"]))
    if version is None:
        return fail(
            "libvirt is not installed.",
            "Install it: apt install libvirt-daemon-system libvirt-clients python3-libvirt",
        )
    if uri == "qemu:///system" and not any(path.exists() for path in _SOCKETS):
        return fail(f"libvirt {version} is installed, but does not run.", _START_LIBVIRT)
    try:
        from minicloud.virt.libvirt.connection import Connection
    except ImportError:
        return fail(
            f"libvirt {version} is there, but this Python has no module for it.",
            "Install python3-libvirt; 'sudo tools/up' links it into the environment.",
        )
    connection = Connection(uri, patience_s=0)
    try:
        hypervisor = connection.hypervisor_version()
    except HostProblem as problem:
        if not machine.is_root:
            return unknown(f"{problem.message}.", AS_ROOT)
        return fail(f"{problem.message}.", _START_LIBVIRT)
    finally:
        connection.close()
    if _number(version) < _OLDEST_LIBVIRT:
        return warn(f"libvirt {version} is older than any that is tried.", "Use 8.0 or newer.")
    return ok(f"libvirt {version} answers at {uri}, with QEMU {_dotted(hypervisor)}.")


def _version(said: str | None) -> str | None:
    """The first number with dots in what a program says of itself."""
    found = re.search(r"\d+\.\d+(\.\d+)?", said or "")
    return found.group() if found else None


def _number(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def _dotted(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
