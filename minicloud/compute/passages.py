"""The way of a guest that moves while it runs: its hypervisors' streams, carried over TLS.

The host that it goes to opens a door for one server's streams; the conductor hands the key to the
host that it leaves, and to no other. There each stream is a Unix socket, of the same name as the
one that it leads to. Neither hypervisor listens on the network, nor has to be told anything.
"""

from __future__ import annotations

import contextlib
import functools
import hmac
import logging
import os
import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from minicloud.domain.errors import HostProblem
from minicloud.domain.models import MigrationDoor
from minicloud.kit import tls_identity, tls_pipe
from minicloud.virt.driver import Ways

LOG = logging.getLogger(__name__)
_IDLE_S = 150.0
"""A door through which nothing has come for so long is shut."""
_SPEAK_S = 10.0
_MOST_STREAMS = 64
"""Those that are let in, and who is still to say the secret."""
_SECRET_BYTES = 24


class Passages:
    """``address``: this host's among the hosts."""

    def __init__(self, *, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._identity: tls_identity.Identity | None = None
        self._doors: dict[str, _Door] = {}

    def open(self, server_id: str, ways: Ways) -> MigrationDoor:
        """A door to ``ways``; an earlier one of the server's is shut."""
        with self._lock:
            if self._identity is None:
                self._identity = tls_identity.new_identity("minicloud migration")
            identity = self._identity
        self.close(server_id)
        door = _Door(tls_identity.listen(self._address), identity, ways)
        with self._lock:
            self._doors[server_id] = door
        return MigrationDoor(
            address=self._address, port=door.port, key=f"{door.secret}.{identity.fingerprint}"
        )

    def close(self, server_id: str) -> None:
        """The server's door is shut, with all that came through. None is fine."""
        with self._lock:
            door = self._doors.pop(server_id, None)
        if door is not None:
            door.close()

    def close_all(self) -> None:
        for server_id in list(self._doors):
            self.close(server_id)


@contextlib.contextmanager
def through(door: MigrationDoor, ways: Ways) -> Iterator[None]:
    """While this lasts, who connects to one of ``ways`` here is connected to that of the same name
    behind the door. HostProblem.
    """
    streams = _Streams()
    with contextlib.ExitStack() as end:
        end.callback(streams.close)
        for name, path in ways.sockets.items():
            owner = None if name in ways.daemons else (ways.uid, ways.gid)
            listener = end.enter_context(_bound(path, owner))
            end.callback(path.unlink, missing_ok=True)
            end.callback(_wake, listener)
            streams.serve(listener, functools.partial(_enter, door, name))
        yield


class _Streams:
    """Pairs of connections, each copied both ways by a thread until it ends or ``close``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plain: set[socket.socket] = set()
        self.is_closed = False

    @property
    def count(self) -> int:
        return len(self._plain)

    def serve(self, listener: socket.socket, enter: Callable[[], ssl.SSLSocket]) -> None:
        """Join whoever comes to ``listener`` with what ``enter`` opens."""

        def accept() -> None:
            while not self.is_closed:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=carry, args=(plain,), name="migration", daemon=True).start()

        def carry(plain: socket.socket) -> None:
            try:
                secure = enter()
            except OSError as problem:
                LOG.warning("The other host does not take a stream: %s", type(problem).__name__)
                plain.close()
            else:
                self.join(secure, plain)

        threading.Thread(target=accept, name="migration", daemon=True).start()

    def join(self, secure: ssl.SSLSocket, plain: socket.socket) -> None:
        with secure, plain:
            with self._lock:
                if self.is_closed:
                    return
                self._plain.add(plain)
            tls_pipe.join(secure, plain)
            with self._lock:
                self._plain.discard(plain)

    def close(self) -> None:
        with self._lock:
            self.is_closed = True
            for plain in self._plain:
                with contextlib.suppress(OSError):
                    plain.shutdown(socket.SHUT_RDWR)


class _Door:
    """A listener, and the streams that have come in by it."""

    def __init__(
        self, listener: socket.socket, identity: tls_identity.Identity, ways: Ways
    ) -> None:
        self._listener, self._identity, self._ways = listener, identity, ways
        self.secret = secrets.token_urlsafe(_SECRET_BYTES)
        self.port: int = listener.getsockname()[1]
        self._streams = _Streams()
        self._room = threading.BoundedSemaphore(_MOST_STREAMS)
        listener.settimeout(_IDLE_S)
        threading.Thread(target=self._serve, name="migration", daemon=True).start()

    def close(self) -> None:
        self._streams.close()
        _wake(self._listener)

    def _serve(self) -> None:
        with self._listener:
            while not self._streams.is_closed:
                try:
                    raw, _ = self._listener.accept()
                except TimeoutError:
                    if self._streams.count:
                        continue
                    return
                except OSError:
                    return
                if not self._room.acquire(blocking=False):
                    raw.close()
                    continue
                threading.Thread(
                    target=self._carry, args=(raw,), name="migration", daemon=True
                ).start()

    def _carry(self, raw: socket.socket) -> None:
        try:
            self._admit(raw)
        finally:
            self._room.release()

    def _admit(self, raw: socket.socket) -> None:
        try:
            peer = tls_identity.accept(raw, self._identity, _SPEAK_S)
        except OSError:
            raw.close()
            return
        try:
            secret, _, name = (
                tls_identity.line(peer, _SPEAK_S).decode(errors="replace").partition(" ")
            )
            known = hmac.compare_digest(secret.encode(), self.secret.encode())
            path = self._ways.sockets.get(name) if known else None
            if path is None:
                peer.close()
                return
            plain = socket.socket(socket.AF_UNIX)
            plain.connect(str(path))
        except OSError as problem:
            LOG.warning("A guest on its way here is not let in: %s", problem.strerror or problem)
            peer.close()
            return
        self._streams.join(peer, plain)


def _enter(door: MigrationDoor, name: str) -> ssl.SSLSocket:
    secret, _, fingerprint = door.key.partition(".")
    secure = tls_identity.connect(door.address, door.port, fingerprint)
    try:
        tls_identity.watch(secure)
        secure.sendall(f"{secret} {name}\n".encode())
    except OSError:
        secure.close()
        raise
    return secure


@contextlib.contextmanager
def _bound(path: Path, owner: tuple[int, int] | None) -> Iterator[socket.socket]:
    """``owner``: user and group whose it is; None: our own."""
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            path.chmod(0o600)
            if owner is not None:
                os.chown(path, *owner)
            listener.listen(8)
        except OSError as problem:
            raise HostProblem(
                reason=f"the socket {path} cannot be made: {problem.strerror or problem}"
            ) from problem
        yield listener


def _wake(listener: socket.socket) -> None:
    """End an ``accept`` that waits, which closing alone does not."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
