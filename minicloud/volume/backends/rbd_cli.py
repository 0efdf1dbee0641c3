"""``rbd`` and ``ceph`` on one pool: under limits, as one user, with bounded waiting.

Not librbd in this process: a thread that hangs in it cannot be ended. The user's key is in a file
that the configuration names, never on a command line.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import struct
import subprocess
import threading
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minicloud.domain.errors import HostProblem
from minicloud.volume.backends import bounded
from minicloud.volume.backends.base import StoreAway

QUICK_S = 30
"""For what reads or writes only headers; it may wait twice as long."""
_ANSWER_S = 10
"""A cluster is away that does not let a tool in for so long."""
_AWAY_S = 5.0
"""Nobody asks for so long after that: one pass of the service asks about many things."""
_TIMED_OUT = f"[errno {errno.ETIMEDOUT}]".encode()
"""So ``ceph`` says it, which ends with 1 whatever it was."""
_BLOCKED_S = 365 * 86400
"""A guest on a host that nobody hears of may try to write for as long as it runs."""
_FLOCK = "hhqqi4x"
"""struct flock: kind, whence, start, length, pid."""
_OPTIONS = f"""
[client]
rados_mon_op_timeout = {_ANSWER_S}
client_mount_timeout = {_ANSWER_S}
rados_osd_op_timeout = {QUICK_S}
rbd_default_clone_format = 2
"""


class TakesLong(HostProblem):
    """A command was ended that was at work for as long as it had been given."""

    code = "takes_long"


class RbdCli:
    """``conf`` names the monitors and the keyring of ``user``, who is given without ``client.``.
    ``directory`` is this service's own: the tools' configuration is made there, since reads and
    writes of guests wait for the cluster, where tools give up.

    A quick command, once begun, is done whole: it outlives this process, which would otherwise
    leave half a name behind, and holds the lock of ``alone`` until its end.
    """

    def __init__(self, directory: Path, *, conf: Path, user: str) -> None:
        self._source, self._user = conf, user
        # Ceph takes the cluster's name from the file's.
        self._conf = directory / conf.name
        self._made_of: os.stat_result | None = None
        self._making = threading.Lock()
        self._away_until = 0.0
        self._lock_file = directory / "lock"
        self._held = threading.local()

    @contextmanager
    def alone(self, thing: str, *, wait_s: float = 60.0) -> Iterator[None]:
        """One change of ``thing`` at a time on this machine, across threads, processes and what
        processes left running. HostProblem: somebody is at it for longer.
        """
        start = int.from_bytes(hashlib.sha256(thing.encode()).digest()[:7], "big")
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0)
        give_up_at = time.monotonic() + wait_s
        handle = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while True:
                try:
                    fcntl.fcntl(handle, fcntl.F_OFD_SETLK, asked)
                    break
                except BlockingIOError:
                    if time.monotonic() > give_up_at:
                        raise HostProblem(reason=f"{thing} is being changed") from None
                    time.sleep(0.02)
            self._held.handles = (*self._handles(), handle)
            yield
        finally:
            self._held.handles = tuple(each for each in self._handles() if each != handle)
            os.close(handle)

    def _handles(self) -> tuple[int, ...]:
        """The locks of this thread."""
        return getattr(self._held, "handles", ())

    def conf(self) -> Path:
        """What tools are to be given. HostProblem: the configuration cannot be read."""
        try:
            with self._making:
                now = self._source.stat()
                if self._made_of is None or now.st_mtime_ns != self._made_of.st_mtime_ns:
                    part = self._conf.with_name(f"{uuid.uuid4()}.part")
                    part.touch(0o600)
                    part.write_text(self._source.read_text() + _OPTIONS)
                    part.rename(self._conf)
                    self._made_of = now
        except OSError as problem:
            raise HostProblem(
                reason=f"The configuration of Ceph cannot be read: {problem.strerror}"
            ) from problem
        return self._conf

    def rbd(self, *words: str, fine: Collection[int] = (), limit_s: int = QUICK_S) -> int:
        """The exit status: 0, or an errno of ``fine``. HostProblem; StoreAway: the cluster does
        not answer.
        """
        return self._run("rbd", words, fine, limit_s).returncode

    def ask(self, *words: str) -> Any:
        """What ``rbd`` answers; None where the image is not there. HostProblem; StoreAway."""
        done = self._run("rbd", (*words, "--format", "json"), (errno.ENOENT,), QUICK_S)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def get_meta(self, spec: str, key: str) -> str:
        """What ``set_meta`` kept with an image; empty: nothing. HostProblem; StoreAway."""
        words = ("image-meta", "get", spec, key)
        done = self._run("rbd", words, (errno.ENOENT,), QUICK_S)
        return done.stdout.decode().strip() if done.returncode == 0 else ""

    def set_meta(self, spec: str, key: str, value: str) -> None:
        self.rbd("image-meta", "set", spec, key, value)

    def forget_name(self, pool: str, image: str) -> None:
        """Remove what leads from a name to an image, and not the image. HostProblem; StoreAway."""
        self._run("rados", ("-p", pool, "rm", f"rbd_id.{image}"), (errno.ENOENT,), QUICK_S)

    def ceph(self, *words: str) -> Any:
        """What the cluster answers. HostProblem; StoreAway."""
        return json.loads(self._run("ceph", (*words, "--format", "json"), (), QUICK_S).stdout)

    def block(self, client: str) -> None:
        """Have the cluster take nothing any more from ``client``, an address of one connection.
        HostProblem; StoreAway.
        """
        self._run("ceph", ("osd", "blocklist", "add", client, str(_BLOCKED_S)), (), QUICK_S)

    def _run(
        self, tool: str, words: tuple[str, ...], fine: Collection[int], limit_s: int
    ) -> subprocess.CompletedProcess[bytes]:
        if time.monotonic() < self._away_until:
            raise _away()
        argv = [tool, "-c", str(self.conf()), "--id", self._user, *words]
        quick = limit_s == QUICK_S
        try:
            done = bounded.run(argv, limit_s=limit_s, outlives=quick, keep=self._handles())
        except OSError as problem:
            raise HostProblem(reason=f"{tool} does not run: {problem.strerror}") from problem
        except subprocess.TimeoutExpired as problem:
            if quick:
                raise self._missed() from problem
            raise TakesLong(reason=f"Ceph: rbd {words[0]} takes too long") from problem
        if done.returncode == errno.ETIMEDOUT or _TIMED_OUT in done.stderr:
            raise self._missed()
        if done.returncode != 0 and done.returncode not in fine:
            raise HostProblem(reason=f"Ceph: {bounded.complaint(done)}")
        return done

    def _missed(self) -> StoreAway:
        self._away_until = time.monotonic() + _AWAY_S
        return _away()


def _away() -> StoreAway:
    return StoreAway(service="Ceph", reason="it does not answer in time")
