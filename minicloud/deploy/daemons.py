"""Stage: every daemon runs with today's code and configuration, and is ready.

A daemon is started anew only if what it would run with differs from what it runs with. Ready
means that it said so in its log and, where it serves REST, that it answers.
"""

from __future__ import annotations

import compileall
import hashlib
import http.client
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from minicloud.conf.web import PORTS
from minicloud.deploy import command, processes
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.places import Places
from minicloud.deploy.stage import StageFailed
from minicloud.deploy.supervise import Keeper

READY_LIMIT_S = 60.0
DYING_LIMIT_S = 15.0
"""How long a daemon may end and be started again."""
_STARTED = (b'"message": "Started"', b" Started\n")
"""What ``kit.daemon`` logs when all is started, as JSON and as text."""
_LAST = ("compute",)
_OPTIMIZE = 2
"""What PYTHONOPTIMIZE is for daemons: without docstrings, which would take much of their memory."""
_NOT_DAEMON_CODE = ("deploy", "cli")


class Daemons:
    """The daemons of this machine. ``checkout``: the tree that their code is in."""

    def __init__(self, places: Places, ledger: Ledger, keeper: Keeper, checkout: Path) -> None:
        self._places = places
        self._ledger = ledger
        self._keeper = keeper
        self._checkout = checkout

    def ensure(self) -> str:
        daemons = self._ledger.record.daemons
        anew = self._keeper.install()
        code = code_digest(self._checkout)
        wanted = {daemon: self._fingerprint(daemon, code) for daemon in daemons}
        running = {} if anew else self._keeper.running()
        known = self._ledger.record.fingerprints
        changed = [
            daemon
            for daemon in daemons
            if daemon not in running or known.get(daemon) != wanted[daemon]
        ]
        if changed:
            self._refuse_taken_ports([daemon for daemon in changed if daemon not in running])
            # Only root can keep compiled code beside the source; all commands are to use it.
            for level in (-1, _OPTIMIZE):
                compileall.compile_dir(
                    self._checkout / "minicloud", quiet=2, workers=0, optimize=level
                )
            for daemon in changed:
                known.pop(daemon, None)
            self._ledger.save()
            # A host asks the others at once, and would wait for answers that nobody gives yet.
            for wave in (
                [d for d in changed if d not in _LAST],
                [d for d in _LAST if d in changed],
            ):
                sizes = {daemon: _size(self._places.log(daemon)) for daemon in wave}
                self._keeper.restart(wave)
                for daemon in self._started(sizes):
                    # Written one by one: those that came up are left alone if another did not.
                    known[daemon] = wanted[daemon]
                    self._ledger.save()
        self._wait_for_answers([daemon for daemon in daemons if daemon in PORTS])
        if not changed:
            return f"{len(daemons)} running, unchanged ({self._keeper.name})"
        return f"started {len(changed)} of {len(daemons)} ({self._keeper.name})"

    def _fingerprint(self, daemon: str, code: str) -> str:
        digest = hashlib.sha256(f"{self._checkout}\n{code}\n".encode())
        for name in ("minicloud", daemon):
            digest.update((self._places.config / f"{name}.conf").read_bytes())
        return digest.hexdigest()

    def _refuse_taken_ports(self, daemons: Sequence[str]) -> None:
        """A stranger's server on a port of ours would look like a daemon that is ready."""
        for daemon in daemons:
            port = PORTS.get(daemon)
            if port is not None and _answers(port):
                owner = command.run(["ss", "-H", "-l", "-t", "-n", "-p", f"sport = :{port}"])
                raise StageFailed(
                    f"Port {port}, which minicloud-{daemon} needs, is taken.",
                    " ".join(owner.split()),
                    "stop that program",
                )

    def _started(self, log_sizes: dict[str, int]) -> Iterator[str]:
        """Each daemon of ``log_sizes`` once it says, past that size of its log, that it started."""
        begun = time.monotonic()
        for daemon, size in log_sizes.items():
            log = self._places.log(daemon)
            while not has_started(_text_after(log, size)):
                waited = time.monotonic() - begun
                if waited > READY_LIMIT_S:
                    raise self._failure(daemon, "it runs, but did not say that it started")
                # Some end and are started again while what they need is not there yet.
                if waited > DYING_LIMIT_S and daemon not in self._keeper.running():
                    raise self._failure(daemon, "it ends again and again")
                time.sleep(0.1)  # a log has nothing to wait on
            yield daemon

    def _wait_for_answers(self, daemons: Sequence[str]) -> None:
        deadline = time.monotonic() + READY_LIMIT_S
        for daemon in daemons:
            port = PORTS[daemon]

            def answers(port: int = port) -> bool:
                return _answers(port)

            if not processes.wait_until(answers, limit_s=deadline - time.monotonic()):
                raise self._failure(daemon, f"it does not answer on port {port}")

    def _failure(self, daemon: str, why: str) -> StageFailed:
        return StageFailed(
            f"The daemon minicloud-{daemon} did not come up.",
            why,
            "the log says what stopped it",
            self._places.log(daemon),
        )


def code_digest(checkout: Path) -> str:
    """A digest of all the code that daemons run."""
    digest = hashlib.sha256((checkout / "setup.cfg").read_bytes())
    package = checkout / "minicloud"
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package)
        if relative.parts[0] not in _NOT_DAEMON_CODE:
            digest.update(f"{relative}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def has_started(log: bytes) -> bool:
    """Whether the log tells, as JSON or as text, that a daemon finished starting."""
    return any(words in log for words in _STARTED)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _text_after(path: Path, size: int) -> bytes:
    """What was written past ``size``; all of it where the file is a newer, shorter one."""
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) < size:
                size = 0
            file.seek(size)
            return file.read()
    except FileNotFoundError:
        return b""
