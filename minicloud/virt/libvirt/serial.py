"""A guest's serial console as a plain socket: libvirt's stream behind a pair of sockets.

Each console has a connection to libvirt of its own: a stream that waits holds up no other call,
and closing the connection ends all that belongs to the console.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

import libvirt

from minicloud.domain.errors import HostProblem

_PIECE = 16 * 1024


def open_console(uri: str, uuid: str) -> socket.socket | None:
    """The console of the domain ``uuid``, taken from whoever had it; None where it does not run."""
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise HostProblem(reason=f"libvirt does not open a connection: {error}") from error
    try:
        domain = connection.lookupByUUIDString(uuid)
        stream = connection.newStream(0)
        domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    except libvirt.libvirtError as error:
        connection.close()
        gone = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)
        if error.get_error_code() in gone:
            return None
        raise HostProblem(reason=f"the serial console does not open: {error}") from error
    ours, theirs = socket.socketpair()
    _Console(connection, stream, theirs).start()
    return ours


class _Console:
    """Copies both ways in two threads until either end is closed."""

    def __init__(self, connection: Any, stream: Any, peer: socket.socket) -> None:
        self._connection, self._stream, self._peer = connection, stream, peer

    def start(self) -> None:
        back = threading.Thread(target=self._from_guest, name="serial", daemon=True)
        back.start()
        threading.Thread(target=self._to_guest, args=(back,), name="serial", daemon=True).start()

    def _from_guest(self) -> None:
        with suppress(libvirt.libvirtError, OSError):
            while piece := self._stream.recv(_PIECE):
                self._peer.sendall(piece)
        self._end_peer()

    def _to_guest(self, back: threading.Thread) -> None:
        with suppress(libvirt.libvirtError, OSError):
            while piece := self._peer.recv(_PIECE):
                self._send(piece)
        self._end_peer()
        with suppress(libvirt.libvirtError):
            self._stream.abort()  # which ends a read that waits
        back.join()
        self._peer.close()
        with suppress(libvirt.libvirtError):
            self._connection.close()

    def _send(self, piece: bytes) -> None:
        while piece:
            piece = piece[self._stream.send(piece) :]

    def _end_peer(self) -> None:
        with suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)
