"""Which ports were changed here after somebody took a picture of what they should be.

Pure but for the clock that it is given.
"""

from __future__ import annotations

from collections.abc import Callable

from minicloud.hostnet.desired import with_port, without_port
from minicloud.hostnet.wiring import HostWiring


class Recency:
    """Remembers when each port was last changed. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed: dict[str, float] = {}
        self._latest = float("-inf")

    def note(self, port_id: str) -> None:
        self._changed[port_id] = self._clock()

    def is_outdated(self, as_of: float | None) -> bool:
        """Whether a picture asked for later than ``as_of`` has been seen; else this is the last."""
        if as_of is None:
            return False
        if as_of < self._latest:
            return True
        self._latest = as_of
        return False

    def merged(self, have: HostWiring, desired: HostWiring, as_of: float | None) -> HostWiring:
        """``desired``, with the ports that changed after ``as_of`` as they are in ``have``.

        Forgets what is older: nobody will come with a picture older than this one.
        """
        if as_of is None:
            return desired
        self._changed = {port: when for port, when in self._changed.items() if when > as_of}
        networks = {network.id: network for network in have.networks}
        ports = {port.id: port for port in have.ports}
        for port_id in self._changed:
            port = ports.get(port_id)
            if port is None:
                desired = without_port(desired, port_id)
            else:
                desired = with_port(desired, networks[port.network_id], port)
        return desired
