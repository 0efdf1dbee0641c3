"""minicloud-conductor: the hosts' way to the database, and the reconcile pass."""

from __future__ import annotations

from minicloud.cmd import wire
from minicloud.conductor.manager import ConductorManager
from minicloud.conductor.reconcile import Reconciler
from minicloud.kit.daemon import Periodic, run
from minicloud.rpc import conductor as contract
from minicloud.rpc import scheduler


def main() -> None:
    options = wire.configure("conductor")
    database = wire.compute_database(options)
    transport = wire.transport(options)
    reconciler = Reconciler(
        database,
        transport.client(scheduler.SchedulerRPC, topic=scheduler.TOPIC),
        unplaced_grace_s=options.conductor.unplaced_grace_s,
        service_down_s=options.scheduler.service_down_s,
    )
    reconcile = Periodic("reconcile", options.conductor.reconcile_s, reconciler.run)
    manager = ConductorManager(
        database,
        host=options.host,
        max_attempts=options.scheduler.max_attempts,
        unplaced=reconcile.kick,
        compute=wire.compute_clients(transport),
    )
    server = transport.server(
        contract.ConductorRPC, manager, topic=contract.TOPIC, host=options.host
    )
    heartbeat = wire.heartbeat(options, database, "nova-conductor")
    run(
        "conductor",
        start=[heartbeat.start, server.start, reconcile.start],
        stop=[
            reconcile.stop, server.stop, server.wait, heartbeat.stop, transport.close,
            database.close,
        ],
    )  # fmt: skip
