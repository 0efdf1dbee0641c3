"""KVM or emulation, decided by booting a guest.

/dev/kvm may exist and be opened, and libvirt may list it, where no ordinary guest gets through
its firmware (nested clouds, paravirtual KVM). So a 512-byte guest is booted: firmware, long mode,
its own page tables, an exception. It says that it got there by a number written to QEMU's debug
exit device. Decides nothing but the domain type, and needs no libvirt.
"""

from __future__ import annotations

import base64
import logging
import os
import subprocess
import tempfile
from pathlib import Path

import msgspec

from minicloud.domain.errors import HostProblem, Invalid

LOG = logging.getLogger(__name__)

CHOICES = ("auto", "kvm", "qemu")

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PASSED = 99
"""QEMU's exit status when the guest writes 0x31 to the debug exit device: 2 * 0x31 + 1."""
_LIMIT_S = 2.0
"""Emulated, the same guest takes 0.2 s; where KVM does not work it never ends."""
_BOOT_SECTOR = base64.b64decode(
    "+jHAjtiOwI7QvAB8vwAQZjHAuQAM/Gbzq2bHBgAQAyAAAGbHBgAgAzAAAGbHBgAwgwAAAA8BFhh9DyDgZg0gBgAADyLg"
    "ZrgAEAAADyLYZrmAAADADzJmDQEBAAAPMA8gwGaD4PtmDQMAAIAPIsDqc3wIAGa4EACO2I7QjsAPV8C5AgEAwDHAMdIP"
    "MDHAD6JIx8cAABAASIk/uVDDAAD/yXX8DwEcJR59AABIjQVCAAAAZokEJWBAAABmxwQlYkAAAAgAZscEJWRAAAAAjkjB"
    "6BBmiQQlZkAAAMcEJWhAAAAAAAAAxwQlbEAAAAAAAAAPC+sEsDHm9PTr/WYPH0QAAAAAAAAAAAAA//8AAACarwD//wAA"
    "AJLPABcAAH0AAP8PAEA="
).ljust(510, b"\0")
_SIGNATURE = b"\x55\xaa"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    virt_type: str
    """``kvm`` or ``qemu``."""
    reason: str
    """Why, in words for a person."""


class _Remembered(msgspec.Struct, kw_only=True):
    boot_id: str
    decision: Decision


def decide(
    choice: str,
    state_directory: Path,
    *,
    qemu: str = "qemu-system-x86_64",
    kvm: Path = Path("/dev/kvm"),
) -> Decision:
    """The domain type for this host's guests.

    ``choice`` is what the operator set: ``kvm`` and ``qemu`` are taken at their word, ``auto``
    boots the probe guest and remembers the answer in ``state_directory`` until the next boot.
    """
    if choice not in CHOICES:
        raise Invalid(reason=f"virt_type is {choice!r}; it can be {', '.join(CHOICES)}")
    if choice != "auto":
        return Decision(virt_type=choice, reason="set in the configuration")
    if not os.access(kvm, os.R_OK | os.W_OK):
        # Not remembered: putting the daemon's user into the group kvm needs no boot.
        return Decision(virt_type="qemu", reason=f"{kvm} is absent or not open to this user")
    memory = state_directory / "virt-probe.json"
    boot_id = _BOOT_ID.read_text().strip()
    remembered = _recall(memory)
    if remembered is not None and remembered.boot_id == boot_id:
        return remembered.decision
    works, words = boots("kvm", qemu=qemu)
    decision = Decision(virt_type="kvm" if works else "qemu", reason=f"probe guest on KVM: {words}")
    _remember(memory, _Remembered(boot_id=boot_id, decision=decision))
    return decision


def boots(accelerator: str, *, qemu: str = "qemu-system-x86_64") -> tuple[bool, str]:
    """Whether the probe guest runs through under ``accelerator`` (kvm, tcg), and what it did.

    HostProblem where QEMU itself is not there.
    """
    with tempfile.NamedTemporaryFile(prefix="minicloud-probe-") as floppy:
        floppy.write(_BOOT_SECTOR + _SIGNATURE)
        floppy.flush()
        # With KVM, the CPU that guests will get.
        cpu = ["-cpu", "host"] if accelerator == "kvm" else []
        command = [qemu, "-accel", accelerator, "-machine", "q35", *cpu, "-m", "16"]
        command += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        command += ["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
        command += ["-device", "isa-fdc,id=fdc"]
        command += ["-drive", f"if=none,id=probe,file={floppy.name},format=raw,readonly=on"]
        command += ["-device", "floppy,bus=fdc.0,drive=probe"]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False, f"it did not reach 64-bit mode within {_LIMIT_S:g} s"
        except OSError as error:
            raise HostProblem(reason=f"{qemu} cannot be run: {error.strerror}") from error
    if done.returncode == _PASSED:
        return True, "it ran through"
    complaint = done.stderr.decode(errors="replace").strip().splitlines()
    words = complaint[-1][:300].rstrip(".") if complaint else f"exit status {done.returncode}"
    return False, f"QEMU gave up: {words}"


def _recall(memory: Path) -> _Remembered | None:
    try:
        return msgspec.json.decode(memory.read_bytes(), type=_Remembered)
    except (OSError, msgspec.DecodeError):
        return None


def _remember(memory: Path, remembered: _Remembered) -> None:
    part = memory.with_suffix(".part")
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.encode(remembered))
        part.replace(memory)
    except OSError as error:
        LOG.warning("The answer of the KVM probe cannot be kept in %s: %s", memory, error.strerror)
