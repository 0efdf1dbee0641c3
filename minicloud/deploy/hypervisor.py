"""Stage: libvirt runs and lets QEMU reach our disks. /etc/libvirt is not touched."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path

from minicloud.deploy import command, files, processes
from minicloud.deploy.apparmor import AppArmor
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.places import Places
from minicloud.deploy.stage import StageFailed

_URI = "qemu:///system"
_START_LIMIT_S = 30.0
_KVM = Path("/dev/kvm")
_KVM_GROUP = "kvm"
_GROUP_MAY = stat.S_IRGRP | stat.S_IWGRP
_REAPER = ("tini", "-s", "--")
"""libvirt waits for ended guests to be reaped, and they are no children of its own: a first
process that is slow at that would hold up every stop."""


class Libvirt:
    """The machine's libvirt; where nobody starts it, we do."""

    def __init__(self, places: Places, ledger: Ledger) -> None:
        self._places = places
        self._ledger = ledger
        self._apparmor = AppArmor(places.state, ledger)

    def begin(self) -> None:
        """Set it going where there is no systemd and it does not answer."""
        if processes.has_systemd() or self._answers():
            return
        self._open_kvm()
        # virtlogd keeps the guests' console logs and has to be there before libvirtd.
        for name in ("virtlogd", "libvirtd"):
            known = self._ledger.record.processes.get(name)
            if known is not None and processes.is_alive(known):
                continue
            self._start(name)

    def ensure(self) -> str:
        """It answers, and AppArmor, where it is on, lets its guests open our files."""
        allowed = self._apparmor.allow()
        if self._answers():
            return self._words("running", allowed)
        if processes.has_systemd():
            command.run(
                ["systemctl", "enable", "--now", "libvirtd"], advice="see: journalctl -u libvirtd"
            )
        if not processes.wait_until(self._answers, limit_s=_START_LIMIT_S):
            raise StageFailed(
                f"libvirt does not answer at {_URI}.",
                advice="read the log; virsh -c qemu:///system version should work",
                log=self._places.log("libvirtd"),
            )
        return self._words("started", allowed)

    def stop(self) -> list[str]:
        """Stop what we started, guests' own processes excepted; returns the names."""
        stopped = []
        for name in ("libvirtd", "virtlogd"):
            process = self._ledger.record.processes.get(name)
            if process is None:
                continue
            if processes.end(process):
                stopped.append(name)
            self._ledger.forget_process(name)
        return stopped

    def purge(self) -> None:
        self._apparmor.remove()
        for thing in list(self._ledger.record.made):
            kind, _, before = thing.partition(":")
            if kind == "kvm-group" and _KVM.exists():
                os.chown(_KVM, -1, int(before))
            elif kind == "kvm-mode" and _KVM.exists():
                _KVM.chmod(int(before, 8))

    def _open_kvm(self) -> None:
        """QEMU's user may open /dev/kvm, as udev arranges where it runs.

        Otherwise libvirt, which can open it, finds that QEMU cannot, does not trust what it knows
        of QEMU, and asks QEMU anew before every start of a guest.
        """
        try:
            group = grp.getgrnam(_KVM_GROUP).gr_gid
            found = _KVM.stat()
        except (KeyError, FileNotFoundError):
            return
        if found.st_gid != group:
            self._ledger.note_made(f"kvm-group:{found.st_gid}")
            os.chown(_KVM, -1, group)
        mode = stat.S_IMODE(found.st_mode)
        if mode & _GROUP_MAY != _GROUP_MAY:
            self._ledger.note_made(f"kvm-mode:{mode:o}")
            _KVM.chmod(mode | _GROUP_MAY)

    def _start(self, name: str) -> None:
        files.directory(self._places.run, mode=0o755)  # gone after a boot, and wanted by a purge
        started = processes.start_detached(
            [*_REAPER, f"/usr/sbin/{name}", "--pid-file", str(self._places.run / f"{name}.pid")],
            log=self._places.log(name),
        )
        process = processes.identify(started.pid)
        if process is not None:
            self._ledger.note_process(name, process)

    def _answers(self) -> bool:
        # Without a socket virsh would wait and might start a daemon by itself.
        sockets = [Path(f"/run/libvirt/{name}-sock") for name in ("libvirt", "virtqemud")]
        return any(path.exists() for path in sockets) and command.succeeds(
            ["virsh", "-q", "-c", _URI, "uri"]
        )

    def _words(self, outcome: str, allowed: bool) -> str:
        return f"{outcome}, AppArmor rules in place" if allowed else outcome
