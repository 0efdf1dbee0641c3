"""Keeps the daemons running as systemd units: the static files of ``etc/systemd``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minicloud.deploy import command, files

_UNITS = Path("/etc/systemd/system")
_LOGROTATE = Path("/etc/logrotate.d/minicloud")
_TARGET = "minicloud.target"
_PID = "MainPID="


def unit(daemon: str) -> str:
    return f"minicloud-{daemon}.service"


class Systemd:
    name = "systemd"

    def __init__(self, checkout: Path, daemons: Sequence[str]) -> None:
        self._daemons = daemons
        self._units = checkout / "etc" / "systemd"
        self._logrotate = checkout / "etc" / "logrotate" / "minicloud"

    def install(self) -> bool:
        names = [_TARGET, *map(unit, self._daemons)]
        changed = False
        for name in names:
            text = (self._units / name).read_text(encoding="utf-8")
            changed |= files.write(_UNITS / name, text, mode=0o644)
        text = self._logrotate.read_text(encoding="utf-8")
        files.write(_LOGROTATE, text, mode=0o644)
        if changed:
            command.run(["systemctl", "daemon-reload"])
            command.run(["systemctl", "--quiet", "enable", *names])
        return changed

    def running(self) -> dict[str, int]:
        found = {}
        for daemon in self._daemons:
            answer = command.run(["systemctl", "show", "-p", "MainPID,ActiveState", unit(daemon)])
            pid = next(int(line[len(_PID) :]) for line in answer.split() if line.startswith(_PID))
            if pid and "ActiveState=active" in answer:
                found[daemon] = pid
        return found

    def restart(self, daemons: Sequence[str]) -> None:
        if not daemons:
            return
        # A unit that failed too often is not started again without this.
        command.succeeds(["systemctl", "reset-failed", *map(unit, daemons)])
        command.run(["systemctl", "restart", "--no-block", *map(unit, daemons)])

    def stop(self) -> list[str]:
        names = list(self.running()) if (_UNITS / _TARGET).exists() else []
        if (_UNITS / _TARGET).exists():
            command.run(["systemctl", "stop", _TARGET, *map(unit, self._daemons)])
        return names

    def remove(self) -> None:
        names = [_TARGET, *map(unit, self._daemons)]
        if any((_UNITS / name).exists() for name in names):
            command.succeeds(["systemctl", "--quiet", "disable", *names])
        for name in names:
            files.remove(_UNITS / name)
        files.remove(_LOGROTATE)
        command.succeeds(["systemctl", "daemon-reload"])
