"""What a hypervisor shows against what is recorded."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from minicloud.db import operations, servers
from minicloud.db.servers import HostServer
from minicloud.domain.models import HostReport, Server
from minicloud.domain.states import OBSERVED, Power, VmState
from minicloud.kit import clock
from minicloud.kit.db import Transaction

LOG = logging.getLogger(__name__)


def correct_servers(
    tx: Transaction, report: HostReport, busy: Collection[str], *, settle_s: float
) -> tuple[Sequence[Server], Sequence[str]]:
    """Correct resting servers of the host: (servers whose remains it should remove, ids of those
    whose guests stand still and are not to).

    A server that changed less than ``settle_s`` seconds ago is left alone: the report may have
    been written before, and would undo what an operation has just done. A domain whose server
    was never recorded here is not ours to judge: it is left alone.
    """
    known = servers.servers_for_host(tx, report.host, list(report.domains))
    settled = clock.now() - settle_s
    reap, still = [], []
    for server in known.values():
        if not server.is_on(report.host):
            if server.id not in busy and not _is_awaited(tx, server, report.host):
                reap.append(servers.server_get(tx, server.id, deleted=None))
            continue
        if server.host != report.host:
            continue
        if server.operation_id is not None or server.updated_at > settled:
            continue
        power = Power(report.domains.get(server.id, Power.NOSTATE))
        if power is Power.PAUSED and server.vm_state is not VmState.PAUSED:
            still.append(server.id)
        becomes = OBSERVED.get((server.vm_state, power))
        if becomes is not None and servers.server_observed(
            tx, server.id, was=server.vm_state, becomes=becomes, power=power
        ):
            LOG.info("Server %s was %s, is %s now", server.id, server.vm_state, becomes)
        elif power != server.power_state and server.id in report.domains:
            servers.server_observed(
                tx, server.id, was=server.vm_state, becomes=server.vm_state, power=power
            )
    return reap, still


def _is_awaited(tx: Transaction, server: HostServer, host: str) -> bool:
    """Whether the server is on its way to the host, which has what it made ready for it."""
    if server.deleted:
        return False
    return any(
        operation.params.get("to") == host and (operation.live or operation.state == "stuck")
        for operation in operations.operations_of_server(tx, server.id)
    )
