"""minicloud-scheduler: RPC in, rows and casts out."""

from __future__ import annotations

from minicloud.cmd import wire
from minicloud.db import hosts
from minicloud.kit.daemon import run
from minicloud.rpc import scheduler as contract
from minicloud.scheduler.manager import SchedulerManager


def main() -> None:
    options = wire.configure("scheduler")
    database = wire.compute_database(options)
    transport = wire.transport(options)
    manager = SchedulerManager(
        database,
        host=options.host,
        limits=hosts.Limits(
            cpu_ratio=options.scheduler.cpu_ratio,
            memory_ratio=options.scheduler.memory_ratio,
            disk_ratio=options.scheduler.disk_ratio,
            reserved_memory_mb=options.scheduler.reserved_memory_mb,
        ),
        service_down_s=options.scheduler.service_down_s,
        compute=wire.compute_clients(transport),
        resize_same_host=options.scheduler.resize_same_host,
    )
    server = transport.server(
        contract.SchedulerRPC, manager, topic=contract.TOPIC, host=options.host
    )
    heartbeat = wire.heartbeat(options, database, "nova-scheduler")
    run(
        "scheduler",
        start=[heartbeat.start, server.start],
        stop=[server.stop, server.wait, heartbeat.stop, transport.close, database.close],
    )
