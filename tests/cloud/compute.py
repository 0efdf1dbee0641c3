"""The compute API on a free loopback port, with rows that are real and daemons that are not.

``FakeScheduler`` claims hosts as the real one does; ``FakeHosts`` carries operations out at
once, by writing what a host and its conductor would. ``FakeLookups`` stands for the image and
network services.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import requests
from replies import check_reply
from tokens import ALT, CALLERS, DEMO, authenticate

from minicloud.api.lookups import Network, Port
from minicloud.api.placing import Placer
from minicloud.api.policies import RULES
from minicloud.api.service import Parts, rest_service
from minicloud.client.identity import TokenFacts
from minicloud.client.image import Image
from minicloud.client.volume import Volume
from minicloud.compute.consoles import ConsoleDoors
from minicloud.db import flavors, hosts, operations, servers
from minicloud.db.services import service_report
from minicloud.domain.errors import HostProblem, MinicloudError, NotFound, NoValidHost
from minicloud.domain.ids import derive, new_id
from minicloud.domain.models import (
    ConsoleDoor,
    Diagnostics,
    Fault,
    Flavor,
    HostReport,
    NicInfo,
    OperationEvent,
)
from minicloud.domain.states import VERBS, Power, VmState
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, migrate
from minicloud.kit.policy import Policy
from minicloud.kit.web import WebServer, build_app
from minicloud.rpc.compute import ComputeRPC
from minicloud.rpc.scheduler import Placed, SchedulerRPC

IMAGE, BIG_IMAGE = derive("image"), derive("big image")
NETWORK, OTHER_NETWORK = derive("network"), derive("other network")
VOLUME, PLAIN_VOLUME, USED_VOLUME = (derive(f"volume {n}") for n in range(3))
SNAPSHOT = derive("snapshot")
PORT, USED_PORT = derive("port"), derive("used port")
LIMITS = {
    "instances": 10, "cores": 20, "ram": 20480, "key_pairs": 3, "metadata_items": 5,
    "server_groups": 5, "server_group_members": 4,
}  # fmt: skip
ROOMY = hosts.Limits(cpu_ratio=100, memory_ratio=100, disk_ratio=100, reserved_memory_mb=0)
NEWEST = "2.100"


class FakeScheduler(SchedulerRPC):
    """Claims ``host``; ``problem`` is raised instead, ``gate`` holds every call up."""

    def __init__(self, database: Database, compute: FakeHosts) -> None:
        self._database, self._compute = database, compute
        self.host: str | None = "host1"
        self.problem: MinicloudError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.calls: list[str] = []

    def place(self, ctx: Context, *, operation_id: str, sent_at: float) -> Placed:
        self.calls.append(operation_id)
        self.gate.wait(20)
        if self.problem is not None:
            raise self.problem
        with self._database.write() as tx:
            operation = operations.operation_get(tx, operation_id)
            if self.host is None:
                fault = Fault(code=500, message="No valid host was found.", details="",
                              created_at=clock.now())  # fmt: skip
                operations.operation_update(tx, operation_id, state="failed", message="no host")
                servers.server_release(
                    tx, operation.server_id, operation_id, vm_state=VmState.ERROR, fault=fault
                )
            else:
                server = servers.server_get(tx, operation.server_id)
                assert hosts.host_claim(tx, host=self.host, server_id=server.id,
                                        operation_id=operation_id, flavor=server.flavor,
                                        limits=ROOMY)  # fmt: skip
                operations.operation_update(tx, operation_id, host=self.host)
        if self.host is None:
            raise NoValidHost(verdicts="")
        self._compute(self.host).operation_run(
            ctx, operation_id=operation_id, server_id=operation.server_id
        )
        return Placed(host=self.host)


class FakeHosts:
    """Every host's compute daemon: ``hosts(name)`` is one, as the real factory's clients are."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.carries_out = True
        self.problem: MinicloudError | None = None
        self.told: list[tuple[str, str, Context]] = []
        """(host, verb, caller) of each hint."""
        self.vnc_port: int | None = 5900
        """Of every guest; its serial console is there as well."""
        self.diagnostics: Diagnostics | None = None
        self.passwords: list[tuple[str, str]] = []
        self.interrupted: list[str] = []
        self.doors = ConsoleDoors(self._console, address="127.0.0.1")

    def _console(self, _server_id: str, _kind: str) -> socket.socket | None:
        if self.vnc_port is None:
            return None
        try:
            return socket.create_connection(("127.0.0.1", self.vnc_port), 5)
        except OSError as problem:
            raise HostProblem(reason="the guest's screen cannot be reached") from problem

    def __call__(self, host: str) -> FakeCompute:
        return FakeCompute(self, host)


class FakeCompute(ComputeRPC):
    def __init__(self, hosts_: FakeHosts, host: str) -> None:
        self._hosts, self._host = hosts_, host

    def operation_run(self, ctx: Context, *, operation_id: str, server_id: str) -> None:
        if self._hosts.problem is not None:
            raise self._hosts.problem
        with self._hosts.database.write() as tx:
            operation = operations.operation_get(tx, operation_id)
            self._hosts.told.append((self._host, operation.verb, ctx))
            if self._hosts.carries_out:
                _carry_out(tx, operation.verb, operation_id, server_id)

    def network_changed(self, ctx: Context, *, things: list[str], origin: str) -> None:
        self._hosts.told.append((self._host, "network_changed", ctx))

    def images_wanted(self, ctx: Context, *, image_ids: list[str]) -> None:
        self._hosts.told.append((self._host, f"images_wanted {image_ids}", ctx))

    def console_output(self, ctx: Context, *, server_id: str, length: int) -> str:
        return f"last {length} of {server_id}"

    def console_open(self, ctx: Context, *, server_id: str, kind: str) -> ConsoleDoor | None:
        return self._hosts.doors.open(server_id, kind)

    def vnc_port(self, ctx: Context, *, server_id: str) -> int | None:
        return self._hosts.vnc_port

    def diagnostics(self, ctx: Context, *, server_id: str) -> Diagnostics | None:
        return self._hosts.diagnostics

    def set_password(self, ctx: Context, *, server_id: str, user: str, password: str) -> None:
        if self._hosts.problem is not None:
            raise self._hosts.problem
        self._hosts.passwords.append((user, password))

    def inject_nmi(self, ctx: Context, *, server_id: str) -> None:
        if self._hosts.problem is not None:
            raise self._hosts.problem
        self._hosts.interrupted.append(server_id)


def _carry_out(tx: Any, verb: str, operation_id: str, server_id: str) -> None:
    server = servers.server_get(tx, server_id)
    now = clock.now()
    becomes = VERBS[verb].after(server.vm_state)
    values: dict[str, Any] = {"vm_state": becomes, "power_state": Power.RUNNING}
    if verb == "create":
        values["launched_at"] = now
        values["nics"] = [
            NicInfo(
                port_id=nic.port_id or derive(server_id, index), network_id=nic.network_id,
                network_name="private", mac=f"fa:16:3e:00:00:{index:02x}",
                addresses=[f"10.0.0.{index + 5}", "fd00::5"], ours=not nic.port_id, tag=nic.tag,
            )
            for index, nic in enumerate(server.requested_nics)
        ]  # fmt: skip
    elif verb == "stop":
        values["power_state"] = Power.SHUTDOWN
    elif verb == "delete":
        values.update(deleted=True, terminated_at=now, power_state=Power.NOSTATE)
        hosts.host_unclaim(tx, server_id)
    event = OperationEvent(operation_id=operation_id, attempt=1, step="domain", started_at=now,
                           finished_at=now, result="Success", host="host1")  # fmt: skip
    operations.journal_events(tx, [event])
    operations.operation_update(tx, operation_id, state="done")
    servers.server_release(tx, server_id, operation_id, **values)


class FakeLookups:
    """``Lookups`` from memory: two images, one network for everybody, one free port."""

    def __init__(self) -> None:
        self.images = {
            IMAGE: _image(IMAGE, size=1 << 20, min_ram=0),
            BIG_IMAGE: _image(BIG_IMAGE, size=50 << 30, min_ram=0),
        }
        self.networks_ = [_network(NETWORK, "private", DEMO, shared=True)]
        self.ports_ = [_port(PORT, ""), _port(USED_PORT, new_id())]
        self.volumes = {
            VOLUME: _volume(VOLUME, bootable=True),
            PLAIN_VOLUME: _volume(PLAIN_VOLUME, bootable=False),
            USED_VOLUME: _volume(USED_VOLUME, bootable=True, status="in-use"),
        }
        self.snapshots = {SNAPSHOT: 4}
        self.problem: MinicloudError | None = None
        self.asked: list[str] = []

    def image(self, ctx: Context, image_id: str) -> Image:
        self._note("image")
        try:
            return self.images[image_id]
        except KeyError:
            raise NotFound(kind="Image", id=image_id) from None

    def networks(self, ctx: Context, ids: Sequence[str] = ()) -> Sequence[Network]:
        self._note("networks")
        return [n for n in self.networks_ if not ids or n.id in ids]

    def ports(self, ctx: Context, ids: Sequence[str]) -> Sequence[Port]:
        self._note("ports")
        return [p for p in self.ports_ if p.id in ids]

    def ports_of_server(self, ctx: Context, server_id: str) -> Sequence[Port]:
        return [msgspec.structs.replace(self.ports_[0], device_id=server_id)]

    def floating_ips(self, ctx: Context, port_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return {port_id: ["172.24.4.9"] for port_id in port_ids}

    def security_groups(self, ctx: Context, ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        return [{"id": i, "name": "default", "tenant_id": ctx.project_id} for i in ids]

    def groups_of_project(self, ctx: Context) -> Sequence[Mapping[str, Any]]:
        self._note("groups")
        return [{"id": derive("web"), "name": "web"}, {"id": derive("default"), "name": "default"}]

    def volume(self, ctx: Context, volume_id: str) -> Volume:
        self._note("volume")
        try:
            return self.volumes[volume_id]
        except KeyError:
            raise NotFound(kind="Volume", id=volume_id) from None

    def snapshot_size(self, ctx: Context, snapshot_id: str) -> int:
        try:
            return self.snapshots[snapshot_id]
        except KeyError:
            raise NotFound(kind="Snapshot", id=snapshot_id) from None

    def volume_types(self, ctx: Context) -> Mapping[str, str]:
        return {"fast": "fast", derive("fast"): "fast"}

    def change_groups(self, ctx: Context, port_id: str, groups: Sequence[str]) -> None:
        self.ports_ = [
            msgspec.structs.replace(port, security_groups=list(groups))
            if port.id == port_id else port for port in self.ports_
        ]  # fmt: skip

    def mtus(self, network_ids: Sequence[str]) -> Mapping[str, int]:
        return dict.fromkeys(network_ids, 1450)

    def add_network(self, **more: Any) -> None:
        self.networks_.append(_network(OTHER_NETWORK, "other", more.pop("project", ALT), **more))

    def _note(self, what: str) -> None:
        self.asked.append(what)
        if self.problem is not None:
            raise self.problem


def _image(image_id: str, *, size: int, min_ram: int) -> Image:
    return Image(
        id=image_id, name="tiny", status="active", disk_format="qcow2", container_format="bare",
        size=size, virtual_size=None, checksum=None, os_hash_algo=None, os_hash_value=None,
        min_disk=0, min_ram=min_ram, visibility="public", owner=None, properties={},
        created_at=0.0, updated_at=0.0,
    )  # fmt: skip


def _volume(volume_id: str, *, bootable: bool, status: str = "available") -> Volume:
    return Volume(
        id=volume_id, project_id=DEMO, name="", status=status, size_gb=2, metadata={},
        bootable=bootable, volume_type="", image_metadata={"hw_of": "its image"},
    )  # fmt: skip


def _network(
    network_id: str, name: str, project: str, *, shared: bool = False, external: bool = False
) -> Network:
    return Network(id=network_id, name=name, project_id=project, shared=shared,
                   external=external, has_subnets=True)  # fmt: skip


def _port(port_id: str, device_id: str) -> Port:
    return Port(
        id=port_id, network_id=NETWORK, device_id=device_id, status="ACTIVE",
        mac="fa:16:3e:11:22:33", security_groups=["group"],
        fixed_ips=[{"subnet_id": "subnet", "ip_address": "10.0.0.9"}],
    )  # fmt: skip


class ComputeCloud:
    """A running compute API, a client's view of it, and its fakes."""

    def __init__(self, url: str, database: Database, scheduler: FakeScheduler, compute: FakeHosts,
                 lookups: FakeLookups) -> None:  # fmt: skip
        self.url = url
        self.database = database
        self.scheduler = scheduler
        self.compute = compute
        self.lookups = lookups

    def call(
        self, method: str, path: str, token: str = "demo", version: str = NEWEST, **more: Any
    ) -> requests.Response:
        headers = {"X-Auth-Token": token, **more.pop("headers", {})}
        if version:
            headers["OpenStack-API-Version"] = f"compute {version}"
        answer = requests.request(method, self.url + path, headers=headers, timeout=60, **more)
        if version == NEWEST and path.startswith("/v2.1"):
            check_reply(method, path.removeprefix("/v2.1"), more.get("json"), answer)
        return answer

    def get(self, path: str, token: str = "demo", version: str = NEWEST, **query: Any) -> Any:
        """The decoded body of a successful GET."""
        answer = self.call("GET", path, token, version, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post_server(
        self, token: str = "demo", version: str = NEWEST, hints: Any = None, **attributes: Any
    ) -> requests.Response:
        server = {"name": "vm", "imageRef": IMAGE, "flavorRef": "1", "networks": "auto",
                  **attributes}  # fmt: skip
        body = {"server": {k: v for k, v in server.items() if v is not ...}}
        if hints is not None:
            body["os:scheduler_hints"] = hints
        return self.call("POST", "/v2.1/servers", token, version, json=body)

    def launch(self, token: str = "demo", **attributes: Any) -> str:
        """A new server's id."""
        answer = self.post_server(token, **attributes)
        assert answer.status_code == 202, answer.text
        server_id: str = answer.json()["server"]["id"]
        return server_id

    def server(self, server_id: str, token: str = "demo", version: str = NEWEST) -> Any:
        return self.get(f"/v2.1/servers/{server_id}", token, version)["server"]

    def act(self, server_id: str, key: str, value: Any = None, token: str = "demo",
            version: str = NEWEST) -> requests.Response:  # fmt: skip
        path = f"/v2.1/servers/{server_id}/action"
        return self.call("POST", path, token, version, json={key: value})


def facts_of(token: str) -> TokenFacts:
    return TokenFacts(context=CALLERS[token], issued_at=clock.now() - 5, issue_ms=12.0,
                      validate_ms=None, expires_at=clock.now() + 3600)  # fmt: skip


def add_flavors(database: Database) -> None:
    with database.write() as tx:
        for flavor in (
            Flavor(id="1", name="m1.tiny", vcpus=1, ram=512, disk=1, extra_specs={"a": "b"}),
            Flavor(id="2", name="m1.small", vcpus=2, ram=2048, disk=20, ephemeral=5),
            Flavor(id="3", name="private", vcpus=1, ram=64, disk=0, is_public=False),
        ):
            flavors.flavor_insert(tx, flavor)


def add_host(database: Database, name: str) -> None:
    report = HostReport(
        host=name, epoch=1, vcpus=4, memory_mb=16384, disk_gb=200, disk_free_gb=100,
        hypervisor_type="QEMU", hypervisor_version=7002000, virt_type="qemu",
        virt_type_reason="tests", cpu_arch="x86_64", cpu_model="qemu64", domains={},
    )  # fmt: skip
    with database.write() as tx:
        hosts.host_register(tx, name)
        hosts.host_report(tx, report)
        service_report(tx, hosts.COMPUTE, name)


@contextlib.contextmanager
def compute_cloud(
    directory: Path, *, url: str | None = None, wait_s: float = 2.0
) -> Iterator[ComputeCloud]:
    """The API with its tables below ``directory``, three flavors and one host."""
    database = Database(url or f"sqlite:///{directory / 'compute.sqlite'}")
    migrate.upgrade("compute", database)
    add_flavors(database)
    add_host(database, "host1")
    compute = FakeHosts(database)
    scheduler = FakeScheduler(database, compute)
    lookups = FakeLookups()
    placer = Placer(database, scheduler, host="api1", wait_s=wait_s)
    parts = Parts(
        database=database, placer=placer, compute=compute, lookups=lookups, facts=facts_of,
        limits=LIMITS, service_down_s=30.0, host="api1",
    )  # fmt: skip
    web = WebServer(
        build_app(rest_service(parts, Policy(RULES), authenticate)), host="127.0.0.1", port=0
    )
    web.start()
    try:
        yield ComputeCloud(
            "http://{}:{}".format(*web.address), database, scheduler, compute, lookups
        )
    finally:
        scheduler.gate.set()
        web.stop()
        placer.close()
        database.close()
