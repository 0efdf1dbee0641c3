"""A host's networking that only remembers: for tests and for hosts without privileges.

Behaves as the real one does towards its caller, keeps its state in a file as the real one keeps
it in the kernel, and can be told to fail, also from another process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import msgspec

from minicloud.domain import ids
from minicloud.domain.errors import HostProblem
from minicloud.hostnet.desired import has_any, knows_all_about, normal, with_port, without_port
from minicloud.hostnet.recency import Recency
from minicloud.hostnet.state import write_atomically
from minicloud.hostnet.wiring import HostWiring, NetworkWiring, PortWiring

Operation = Literal["ensure_port", "ensure_no_port", "sync", "restore", "purge"]


class _Fakery(msgspec.Struct, frozen=True, kw_only=True):
    """``wiring``: what is meant; ``taps``: what the pretended kernel has."""

    wiring: HostWiring = HostWiring()
    taps: tuple[str, ...] = ()


class FakeHostNetwork:
    """``HostNetworking`` in a directory: its state in ``hostnet.json``, ``faults.json`` beside."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._state = directory / "hostnet.json"
        self._faults = directory / "faults.json"
        self._recency = Recency(time.monotonic)
        self._lock = threading.RLock()

    # -- what a test can see and do --------------------------------------------------------------
    def taps(self) -> frozenset[str]:
        """The TAPs that the pretended kernel has."""
        return frozenset(self._read().taps)

    def wiring(self) -> HostWiring:
        """What is meant to be wired."""
        return self._read().wiring

    def lose_tap(self, port_id: str) -> None:
        """Let a TAP vanish from the pretended kernel, as if a stranger had removed it."""
        with self._lock:
            state = self._read()
            self._write(state.wiring, set(state.taps) - {ids.tap_name(port_id)})

    def fail(self, operation: Operation, reason: str | None) -> None:
        """Let an operation raise HostProblem from now on; None lets it work again."""
        faults = self._read_faults()
        faults.pop(operation, None)
        if reason is not None:
            faults[operation] = reason
        write_atomically(self._faults, msgspec.json.encode(faults), mode=0o600)

    # -- HostNetworking --------------------------------------------------------------------------
    def ensure_port(self, network: NetworkWiring, port: PortWiring) -> str:
        with self._lock:
            self._recency.note(port.id)
            state = self._read()
            wiring = with_port(state.wiring, network, port)
            self._write(wiring, set(state.taps))  # the real one stores what it means first
            self._perhaps_fail("ensure_port")
            tap = ids.tap_name(port.id)
            self._write(wiring, {*state.taps, tap})
            return tap

    def is_told(self, port_id: str) -> bool:
        wiring = self._read().wiring
        port = next((item for item in wiring.ports if item.id == port_id), None)
        return port is not None and knows_all_about(wiring, port)

    def has_any(self, things: Collection[str]) -> bool:
        with self._lock:
            return has_any(self._read().wiring, things)

    def ensure_no_port(self, port_id: str) -> None:
        with self._lock:
            self._recency.note(port_id)
            self._perhaps_fail("ensure_no_port")
            state = self._read()
            taps = set(state.taps) - {ids.tap_name(port_id)}
            self._write(without_port(state.wiring, port_id), taps)

    def sync(self, desired: HostWiring, *, as_of: float | None = None) -> list[str]:
        with self._lock:
            if self._recency.is_outdated(as_of):
                return []
            state = self._read()
            wiring = self._recency.merged(state.wiring, normal(desired), as_of)
            self._write(wiring, set(state.taps))
            self._perhaps_fail("sync")
            return self._converge()

    def restore(self) -> list[str]:
        with self._lock:
            self._perhaps_fail("restore")
            return self._converge()

    def ports(self) -> frozenset[str]:
        return frozenset(port.id for port in self._read().wiring.ports)

    def purge(self) -> list[str]:
        with self._lock:
            self._perhaps_fail("purge")
            taps = self._read().taps
            self._state.unlink(missing_ok=True)
            return [f"removed {tap}" for tap in taps]

    # --------------------------------------------------------------------------------------------
    def _converge(self) -> list[str]:
        state = self._read()
        wanted = {ids.tap_name(port.id) for port in state.wiring.ports}
        have = set(state.taps)
        self._write(state.wiring, wanted)
        removed = [f"removed {tap}" for tap in sorted(have - wanted)]
        return removed + [f"plugged {tap}" for tap in sorted(wanted - have)]

    def _perhaps_fail(self, operation: Operation) -> None:
        reason = self._read_faults().get(operation)
        if reason is not None:
            raise HostProblem(reason=reason)

    def _read(self) -> _Fakery:
        try:
            return msgspec.json.decode(self._state.read_bytes(), type=_Fakery)
        except FileNotFoundError:
            return _Fakery()

    def _write(self, wiring: HostWiring, taps: set[str]) -> None:
        state = _Fakery(wiring=wiring, taps=tuple(sorted(taps)))
        write_atomically(self._state, msgspec.json.encode(state), mode=0o600)

    def _read_faults(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._faults.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
