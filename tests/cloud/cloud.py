"""A whole cloud in one process: every daemon's own objects, wired as ``minicloud/cmd`` wires them.

REST goes over loopback, RPC over a broker that serialises (``transport.py``), rows into SQLite
files; hypervisor, wiring and disks are fakes that persist. Periodic passes run when the test says
so (``turn``, ``settle``), so that a test can look at what is there without them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from fake_host import FakeHost
from rest_services import RestServices
from transport import LocalTransport
from user import User

from minicloud.api.lookups import RestLookups
from minicloud.api.placing import Placer
from minicloud.api.policies import RULES
from minicloud.api.service import Parts, rest_service
from minicloud.compute.clients import Clients
from minicloud.conductor.manager import ConductorManager
from minicloud.conductor.reconcile import Reconciler
from minicloud.db import hosts, operations, servers
from minicloud.db.models import claims, services
from minicloud.db.models import operations as operations_table
from minicloud.domain.models import Operation, Server
from minicloud.kit.context import Context
from minicloud.kit.policy import Policy
from minicloud.kit.web import Service
from minicloud.rpc import compute as compute_contract
from minicloud.rpc import conductor as conductor_contract
from minicloud.rpc import scheduler as scheduler_contract
from minicloud.scheduler.manager import SchedulerManager

LIMITS = hosts.Limits(cpu_ratio=8, memory_ratio=1, disk_ratio=100, reserved_memory_mb=0)
QUOTA = {
    "instances": 10, "cores": 100, "ram": 256 * 1024, "key_pairs": 100, "metadata_items": 128,
    "server_groups": 100, "server_group_members": 100,
}  # fmt: skip
DOWN_S = 30.0
_DISK = b"a disk of a guest that never runs" * 1000


class Cloud:
    """``hosts``: names of compute hosts; the volume service runs on the first. ``urls``: databases
    that are not SQLite files, by service. ``volumes``: settings of the volume service.
    """

    def __init__(
        self,
        directory: Path,
        *,
        hosts: Sequence[str] = ("lab1",),
        token_cache_s: float = 60.0,
        call_timeout_s: float = 10.0,
        max_attempts: int = 3,
        place_wait_s: float = 2.0,
        shelved_offload: bool = True,
        urls: Mapping[str, str] = MappingProxyType({}),
        volumes: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.directory = directory
        self.transport = LocalTransport(call_timeout_s=call_timeout_s)
        self.rest = RestServices(
            directory, host=hosts[0], token_cache_s=token_cache_s, urls=urls, volumes=volumes
        )
        self.database = self.rest.database("compute")
        self._max_attempts = max_attempts
        self._shelved_offload = shelved_offload
        self._servers: dict[str, Any] = {}
        self._placer = self._new_placer(place_wait_s)
        self.rest.add("compute", self._api())
        self.rest.bootstrap()
        self.start_scheduler()
        self.start_conductor()
        self.hosts = {name: self._new_host(name) for name in hosts}
        self.turn()

    # -- daemons ---------------------------------------------------------------------------------
    def start_scheduler(self) -> None:
        manager = SchedulerManager(
            self.database,
            host="control",
            limits=LIMITS,
            service_down_s=DOWN_S,
            compute=self.compute_client,
        )
        self._serve("scheduler", scheduler_contract.SchedulerRPC, manager, scheduler_contract.TOPIC)

    def start_conductor(self) -> None:
        self.reconciler = Reconciler(
            self.database,
            self.scheduler_client(),
            unplaced_grace_s=0.0,
            service_down_s=DOWN_S,
        )
        manager = ConductorManager(
            self.database,
            host="control",
            max_attempts=self._max_attempts,
            unplaced=lambda: None,
            compute=self.compute_client,
            settle_s=0.5,
        )
        self._serve("conductor", conductor_contract.ConductorRPC, manager, conductor_contract.TOPIC)

    def stop_daemon(self, name: str) -> None:
        """``scheduler`` or ``conductor`` goes away; messages for it wait."""
        server = self._servers.pop(name)
        server.stop()
        server.wait()

    def compute_client(self, host: str) -> compute_contract.ComputeRPC:
        return self.transport.client(
            compute_contract.ComputeRPC, topic=compute_contract.TOPIC, host=host
        )

    def scheduler_client(self) -> scheduler_contract.SchedulerRPC:
        return self.transport.client(
            scheduler_contract.SchedulerRPC, topic=scheduler_contract.TOPIC
        )

    def conductor_client(self) -> conductor_contract.ConductorRPC:
        return self.transport.client(
            conductor_contract.ConductorRPC, topic=conductor_contract.TOPIC
        )

    def _new_placer(self, wait_s: float) -> Placer:
        return Placer(self.database, self.scheduler_client(), host="control", wait_s=wait_s)

    def _api(self) -> Service:
        tokens = self.rest.tokens()
        parts = Parts(
            database=self.database,
            placer=self._placer,
            compute=self.compute_client,
            lookups=RestLookups(self.rest.new_session()),
            facts=tokens.validate,
            limits=QUOTA,
            service_down_s=DOWN_S,
            host="control",
            shelved_offload=self._shelved_offload,
        )
        return rest_service(parts, Policy(RULES), tokens.authenticate)

    def _serve(self, name: str, contract: type, manager: object, topic: str) -> None:
        self._servers[name] = self.transport.server(contract, manager, topic=topic, host="control")
        self._servers[name].start()

    def _new_host(self, name: str) -> FakeHost:
        return FakeHost(name, self.directory / name, self.transport, self.rest.new_session)

    # -- time ------------------------------------------------------------------------------------
    def turn(self) -> None:
        """Every daemon's periodic pass, once."""
        for host in self.hosts.values():
            host.turn()
        if "conductor" in self._servers:
            self.reconciler.run()

    def settle(self, limit_s: float = 30.0) -> None:
        """Turn until no operation is under way."""
        give_up_at = time.monotonic() + limit_s
        while True:
            self.turn()
            if wait_until(self.is_idle, 0.3):
                return
            assert time.monotonic() < give_up_at, self.unfinished()

    def is_idle(self) -> bool:
        busy = any(host.manager.busy_servers() for host in self.hosts.values() if host.is_up)
        return not busy and not self.unfinished()

    def unfinished(self) -> list[tuple[str, str, str | None]]:
        """(verb, state, message) of every operation that has not ended."""
        query = sa.select(operations_table).where(
            operations_table.c.state.in_((*operations.LIVE, "stuck"))
        )
        with self.database.read() as tx:
            return [(row.verb, row.state, row.message) for row in tx.execute(query)]

    def silence(self, host: str) -> None:
        """The host has not been heard of for long: nobody expects it back."""
        with self.database.write() as tx:
            tx.execute(services.update().where(services.c.host == host).values(last_seen=1.0))

    def enable_only(self, *names: str) -> None:
        """New servers go to these hosts."""
        with self.database.write() as tx:
            tx.execute(
                services.update()
                .where(services.c.binary == hosts.COMPUTE)
                .values(disabled=services.c.host.not_in(names))
            )

    def expire(self, server_id: str) -> None:
        """The time of the server's operation is up."""
        with self.database.write() as tx:
            tx.execute(
                operations_table.update()
                .where(operations_table.c.server_id == server_id)
                .values(deadline_at=1.0)
            )

    # -- rows ------------------------------------------------------------------------------------
    def server(self, server_id: str) -> Server:
        with self.database.read() as tx:
            return servers.server_get(tx, server_id, deleted=None)

    def operations(self, server_id: str) -> Sequence[Operation]:
        """Newest first."""
        with self.database.read() as tx:
            return operations.operations_of_server(tx, server_id)

    def claims(self) -> dict[str, str]:
        """Server id -> host."""
        with self.database.read() as tx:
            return {row.server_id: row.host for row in tx.execute(sa.select(claims))}

    # -- what is outside the rows ----------------------------------------------------------------
    def traces(self, server_id: str) -> dict[str, Any]:
        """All that there is of a server anywhere but in its row; empty: nothing."""
        service = self.service_clients()
        found = self.traces_on_hosts(server_id)
        ports = service.network.ports_of_server(server_id).value
        if ports:
            found["ports"] = [port.id for port in ports]
        attachments = service.volume.attachments_of_server(server_id).value
        if attachments:
            found["attachments"] = [each.status for each in attachments]
        volumes = service.volume.volumes_by_metadata("minicloud-server", server_id).value
        if volumes:
            found["volumes"] = [volume.id for volume in volumes]
        if server_id in self.claims():
            found["claim"] = self.claims()[server_id]
        return found

    def traces_on_hosts(self, server_id: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for host in self.hosts.values():
            if server_id in host.servers():
                found[f"on {host.name}"] = sorted(
                    path.name for path in host.storage.server_dir(server_id).glob("*")
                )
            wired = [p.id for p in host.network.wiring().ports if p.device_id == server_id]
            if wired:
                found[f"wired on {host.name}"] = wired
        return found

    def service_clients(self) -> Clients:
        """REST clients that see every project."""
        return Clients(self.rest.session, Context())

    # -- users -----------------------------------------------------------------------------------
    def user(self, name: str = "demo") -> User:
        return User(self.rest, name)

    def furnish(self) -> None:
        """What a launch needs, by REST: an image, a flavor, a network of demo's."""
        admin, demo = self.user("admin"), self.user("demo")
        self.image_id = admin.make_image("disk", _DISK)
        flavor = {"name": "small", "id": "1", "vcpus": 1, "ram": 512, "disk": 1}
        admin.ask("compute", "POST", "/v2.1/flavors", 200, json={"flavor": flavor})
        self.network_id = demo.make_network("net", "10.1.0.0/16")

    def close(self) -> None:
        for host in self.hosts.values():
            host.stop()
        for name in list(self._servers):
            self.stop_daemon(name)
        self._placer.close()
        self.rest.close()


def wait_until(condition: Callable[[], object], limit_s: float = 10.0) -> bool:
    """Whether ``condition`` became true in time."""
    give_up_at = time.monotonic() + limit_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        pause.wait(0.01)
    return True


@contextmanager
def running(directory: Path, **how: Any) -> Iterator[Cloud]:
    """A furnished cloud."""
    cloud = Cloud(directory, **how)
    try:
        cloud.furnish()
        yield cloud
    finally:
        cloud.close()
