"""The claim: many schedulers at once never overcommit a host, and give back exactly once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from cloud_rows import new_server

from minicloud.db import hosts, operations, servers, services
from minicloud.db.models import claims
from minicloud.db.models import hosts as hosts_table
from minicloud.domain.errors import WrongState
from minicloud.domain.models import HostReport
from minicloud.domain.states import VERBS, VmState
from minicloud.kit.context import Context
from minicloud.kit.db import Database, migrate

LIMITS = hosts.Limits(cpu_ratio=1.0, memory_ratio=1.0, disk_ratio=1.0, reserved_memory_mb=0)
CTX = Context(user_id="u", project_id="p")


@pytest.fixture
def database(tmp_path: Path):
    opened = Database(f"sqlite:///{tmp_path}/compute.sqlite")
    migrate.upgrade("compute", opened)
    with opened.write() as tx:
        epoch = hosts.host_register(tx, "h1")
        services.service_report(tx, hosts.COMPUTE, "h1")
        hosts.host_report(
            tx,
            HostReport(
                host="h1", epoch=epoch, vcpus=5, memory_mb=10_000, disk_gb=100, disk_free_gb=90,
                hypervisor_type="QEMU", hypervisor_version=1, virt_type="qemu",
                virt_type_reason="", cpu_arch="x86_64", cpu_model="", domains={},
            ),
        )  # fmt: skip
    yield opened
    opened.close()


def begin(database: Database, number: int):
    server = new_server(f"00000000-0000-4000-8000-{number:012d}")
    operation = operations.operation_new(CTX, server, VERBS["create"], {})
    with database.write() as tx:
        servers.server_insert(tx, msgspec.structs.replace(server, operation_id=operation.id))
        operations.operation_insert(tx, operation)
    return server, operation


def claim(database: Database, server, operation) -> bool:
    with database.write() as tx:
        return hosts.host_claim(
            tx, host="h1", server_id=server.id, operation_id=operation.id, flavor=server.flavor,
            limits=LIMITS,
        )  # fmt: skip


def test_many_at_once_never_overcommit(database: Database) -> None:
    pairs = [begin(database, n) for n in range(12)]
    gate = threading.Barrier(12)

    def one(pair) -> bool:
        gate.wait()
        return claim(database, *pair)

    with ThreadPoolExecutor(12) as pool:
        won = list(pool.map(one, pairs))
    assert sum(won) == 5
    with database.read() as tx:
        host = hosts.host_get(tx, "h1")
    assert (host.vcpus_used, host.servers) == (5, 5)


def test_a_claim_is_given_back_once(database: Database) -> None:
    pair = begin(database, 1)
    assert claim(database, *pair)
    for _ in range(3):
        with database.write() as tx:
            hosts.host_unclaim(tx, pair[0].id)
    with database.read() as tx:
        assert hosts.host_get(tx, "h1").vcpus_used == 0
        assert tx.execute(sa.select(sa.func.count()).select_from(claims)).scalar() == 0


def test_a_lost_claim_leaves_the_host_as_it_was(database: Database) -> None:
    server, operation = begin(database, 1)
    assert claim(database, server, operation)
    assert not claim(database, server, operation)  # the server has a host already
    with database.read() as tx:
        assert tx.execute(sa.select(hosts_table.c.vcpus_used)).scalar() == 1


def test_one_operation_owns_a_server_at_a_time(database: Database) -> None:
    server, create = begin(database, 1)
    with database.write() as tx:
        servers.server_release(tx, server.id, create.id, vm_state=VmState.ACTIVE)
        server = servers.server_get(tx, server.id)
    gate, results = threading.Barrier(4), []

    def stop() -> None:
        gate.wait()
        try:
            with database.write() as tx:
                operations.operation_begin(tx, CTX, server, VERBS["stop"], {})
            results.append("begun")
        except WrongState:
            results.append("refused")

    threads = [threading.Thread(target=stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["begun", "refused", "refused", "refused"]


def test_delete_takes_over_and_cancels(database: Database) -> None:
    server, create = begin(database, 1)
    with database.write() as tx:
        server = servers.server_get(tx, server.id)
        delete = operations.operation_begin(tx, CTX, server, VERBS["delete"], {})
        again = operations.operation_begin(
            tx, CTX, servers.server_get(tx, server.id), VERBS["delete"], {}
        )
        assert again.id == delete.id
        assert operations.operation_get(tx, create.id).state == "cancelled"
    assert not claim(database, server, create)
