"""The host's own packet filter: sends the kernel what differs, or all of it.

What this process has loaded it changes by the difference alone, however many ports there are;
whatever does not fit is loaded whole. Both are one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from minicloud.domain import ids
from minicloud.domain.errors import HostProblem
from minicloud.hostnet import rules
from minicloud.hostnet.forwarding import peers
from minicloud.hostnet.kernel import Kernel
from minicloud.hostnet.outside import ranges
from minicloud.hostnet.port_rules import Memo, port_table
from minicloud.hostnet.state import Stored
from minicloud.hostnet.table import Table, removal
from minicloud.hostnet.view import TableKey
from minicloud.hostnet.wiring import HostWiring

LOG = logging.getLogger(__name__)


class Filter:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._loaded: dict[TableKey, Table] = {}
        self._made: tuple[Stored, list[Table]] = (Stored(), [])
        self._memo: Memo = {}

    def tables_of(self, stored: Stored) -> list[Table]:
        """All that the host's own namespace is to have; none for a host without networks."""
        last, made = self._made
        if last is stored:
            return made
        made = []
        if stored.wiring.networks:
            zones = {ids.bridge_name(name): zone for name, zone in stored.zones.items()}
            made = [
                rules.state_table(zones),
                rules.host_table(ranges(stored.wiring.networks), _tunnels(stored.wiring)),
                rules.untouched_table("ip6"),
                port_table(stored.wiring, self._memo),
            ]
        self._made = (stored, made)
        return made

    def load(self, stored: Stored) -> None:
        """Make the kernel have just what is meant, if it has what was loaded last. HostProblem."""
        tables = self.tables_of(stored)
        if not tables:
            self._drop(_KEYS)
            return
        texts = []
        for table in tables:
            old = self._loaded.get(table.key)
            texts.append(table.text() if old is None else table.changes(old))
        try:
            self._send("".join(texts))
        except HostProblem as problem:
            if not self._loaded:
                raise
            LOG.info("The packet filter is loaded anew: %s", problem)
            self._loaded.clear()
            self._send("".join(table.text() for table in tables))
        self._loaded = {table.key: table for table in tables}

    def ensure(self, stored: Stored, present: Mapping[TableKey, Mapping[str, int]]) -> list[str]:
        """The same for a kernel that was seen to have ``present``; what was done, in words."""
        tables = self.tables_of(stored)
        if not tables:
            mine = [key for key in _KEYS if key in present]
            self._drop(mine)
            return ["removed the packet filter's tables"] if mine else []
        for key, table in list(self._loaded.items()):
            if not table.is_loaded(present):
                del self._loaded[key]
        for table in tables:
            if table.is_loaded(present):
                self._loaded[table.key] = table
        if all(self._loaded.get(table.key) == table for table in tables):
            return []
        self.load(stored)
        return ["loaded the packet filter's rules"]

    def _drop(self, keys: Sequence[TableKey]) -> None:
        if keys:
            self._kernel.nft(removal(keys))
        self._loaded.clear()

    def _send(self, text: str) -> None:
        if text:
            self._kernel.nft(text)


def _tunnels(wiring: HostWiring) -> dict[int, list[str]]:
    partners = {net.segment: peers(net, wiring.tunnel_ip) for net in wiring.networks}
    return {segment: hosts for segment, hosts in partners.items() if hosts}


_KEYS = [
    rules.state_table({}).key,
    rules.host_table().key,
    rules.untouched_table("ip6").key,
    ("bridge", rules.host_table().key[1]),
]
