"""Keeps the daemons running below a supervisord of our own, on machines without systemd."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minicloud.deploy import files, processes
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.places import USER, Places
from minicloud.deploy.stage import StageFailed

_START_LIMIT_S = 15.0
_STOP_WAIT_S = 20
_AS_ROOT = ("compute",)
_AT_WORK = ("STARTING", "RUNNING", "BACKOFF", "STOPPING")
_NOT_RUNNING = 70
"""supervisord's fault code for stopping what does not run."""


class Supervisord:
    name = "supervisord"

    def __init__(self, places: Places, ledger: Ledger, *, user: str = USER) -> None:
        self._user = user
        self._places = places
        self._ledger = ledger
        self._socket = places.run / "supervisor" / "socket"
        self._settings = places.config / "supervisord.conf"

    def install(self) -> bool:
        files.directory(self._socket.parent, mode=0o700)
        changed = files.write(self._settings, self.settings(), mode=0o600)
        if changed:
            self._end()
        if self._answers():
            return changed
        self._start()
        return True

    def running(self) -> dict[str, int]:
        if not self._answers():
            return {}
        infos: Any = self._call("getAllProcessInfo")
        return {info["name"]: info["pid"] for info in infos if info["statename"] == "RUNNING"}

    def restart(self, daemons: Sequence[str]) -> None:
        for daemon in daemons:
            self._call("stopProcess", daemon, False, fine=_NOT_RUNNING)
        if not processes.wait_until(
            lambda: not any(self._states()[daemon] in _AT_WORK for daemon in daemons),
            limit_s=_STOP_WAIT_S * 1.5,
        ):
            raise StageFailed("Some daemons do not stop.", log=self._places.log("supervisord"))
        for daemon in daemons:
            self._call("startProcess", daemon, False)

    def stop(self) -> list[str]:
        names = list(self.running())
        self._end()
        return names

    def remove(self) -> None:
        files.remove(self._settings)
        files.remove(self._socket.parent)

    def settings(self) -> str:
        """Its configuration file."""
        return "\n".join(
            [
                "; Written by tools/up.",
                "[unix_http_server]",
                f"file={self._socket}",
                "chmod=0700",
                "[rpcinterface:supervisor]",
                "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
                "[supervisord]",
                f"logfile={self._places.log('supervisord')}",
                f"pidfile={self._pid_file}",
                "nodaemon=true",
                "user=root",
                "umask=022",
                *(line for daemon in self._ledger.record.daemons for line in self._program(daemon)),
                "",
            ]
        )

    @property
    def _pid_file(self) -> Path:
        return self._socket.with_name("pid")

    def _program(self, daemon: str) -> list[str]:
        return [
            f"[program:{daemon}]",
            f"command={self._places.program(f'minicloud-{daemon}')}",
            f"user={'root' if daemon in _AS_ROOT else self._user}",
            "directory=/",
            # One pool for malloc: threads that mostly wait need none of their own. No docstrings,
            # which are a tenth of a daemon's memory.
            'environment=MALLOC_ARENA_MAX="1",PYTHONOPTIMIZE="2"',
            "autostart=false",
            "autorestart=true",
            "startsecs=1",
            "startretries=1000000",
            f"stopwaitsecs={_STOP_WAIT_S}",
            # What a daemon started for a guest (DHCP, exports) lives on without it.
            "stopasgroup=false",
            "killasgroup=false",
            "redirect_stderr=true",
            f"stdout_logfile={self._places.log(daemon)}",
            "stdout_logfile_maxbytes=20MB",
            "stdout_logfile_backups=3",
        ]

    def _end_orphans(self) -> None:
        """End daemons whose supervisord was killed: nobody would start them again."""
        killed = self._ledger.record.processes.get("supervisord")
        if killed is None:
            return
        processes.end(killed, grace_s=_STOP_WAIT_S)  # it may be dying, or deaf
        names = {f"minicloud-{daemon}" for daemon in self._ledger.record.daemons}
        for process in processes.left_in_session(killed, names):
            processes.end(process, grace_s=_STOP_WAIT_S)

    def _start(self) -> None:
        self._end_orphans()
        started = processes.start_detached(
            [str(self._places.program("supervisord")), "-c", str(self._settings)],
            log=self._places.log("supervisord"),
        )
        process = processes.identify(started.pid)
        if process is not None:
            self._ledger.note_process("supervisord", process)
        if not processes.wait_until(self._answers, limit_s=_START_LIMIT_S):
            raise StageFailed(
                "supervisord, which keeps the daemons running, did not start.",
                log=self._places.log("supervisord"),
            )

    def _end(self) -> None:
        if self._answers():
            # All at the same time; by itself it would stop one after the other.
            self._call("stopAllProcesses", False)
        process = self._ledger.record.processes.get("supervisord")
        if process is not None:
            processes.end(process, grace_s=_STOP_WAIT_S * 2.0)
            self._end_orphans()
            self._ledger.forget_process("supervisord")

    def _answers(self) -> bool:
        process = self._ledger.record.processes.get("supervisord")
        if process is None or not processes.is_alive(process):
            return False
        try:
            self._call("getState")
        except OSError:
            return False
        return True

    def _states(self) -> dict[str, str]:
        infos: Any = self._call("getAllProcessInfo")
        return {info["name"]: info["statename"] for info in infos}

    def _call(self, method: str, *arguments: object, fine: int = 0) -> object:
        """Ask supervisord; a refusal with the fault code ``fine`` is an answer like any other."""
        proxy = xmlrpc.client.ServerProxy("http://supervisor", _UnixTransport(self._socket))
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == fine:
                return None
            raise StageFailed(
                f"supervisord refused {method} {' '.join(map(str, arguments))}.",
                fault.faultString,
                log=self._places.log("supervisord"),
            ) from fault


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_STOP_WAIT_S * 2.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path)
