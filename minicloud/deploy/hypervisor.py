"""Stage: libvirt runs and lets QEMU reach our disks. /etc/libvirt is not touched."""

from __future__ import annotations

from pathlib import Path

from minicloud.deploy import command, files, processes
from minicloud.deploy.apparmor import AppArmor
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.places import Places
from minicloud.deploy.stage import StageFailed

_URI = "qemu:///system"
_START_LIMIT_S = 30.0


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

    def _start(self, name: str) -> None:
        files.directory(self._places.run, mode=0o755)  # gone after a boot, and wanted by a purge
        started = processes.start_detached(
            [f"/usr/sbin/{name}", "--pid-file", str(self._places.run / f"{name}.pid")],
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
