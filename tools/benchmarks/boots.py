"""100 launches with the fake driver, 8 clients at once, then as many stops, starts and deletes.

The Compute daemons are the benchmark's own processes, with rows, files and a RabbitMQ virtual host
of their own; identity, image, network and volume are the live cloud's. Clients, daemons and broker
share the machine's cores: what each of them spent is told besides.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import requests
from cloud import Bench, Figure, Spent, figure, free_port, median

from minicloud.db import flavors
from minicloud.deploy.config import BROKER_HOST, BROKER_PORT
from minicloud.deploy.seed import IMAGE, ensure_network
from minicloud.domain.models import Flavor
from minicloud.kit.db import Database, migrate

COUNT, CLIENTS, LIMIT_S = 100, 8, 120
LOOK_S = 0.1
"""Between two looks whether all are done: a list of 100 servers each, which the API makes."""
NODES = ("minicloud@localhost", "rabbit@localhost", f"rabbit@{os.uname().nodename}")
VHOST, NETWORK = "minicloud-bench", "bench"
DAEMONS = ("conductor", "scheduler", "compute", "api")


def measure(bench: Bench) -> Iterator[Figure]:
    image = bench.demo.image.get("/images", name=IMAGE).json["images"][0]["id"]
    ensure_network(bench.demo, NETWORK, {}, {"name": NETWORK, "cidr": "10.99.0.0/16"}, [])
    found = bench.demo.network.get("/networks", name=NETWORK).json["networks"]
    network = found[0]["id"]
    try:
        with _broker() as node_is_there, tempfile.TemporaryDirectory() as name:
            if node_is_there:
                port = free_port()
                with _daemons(bench, Path(name), port):
                    yield from _boots(bench, f"http://127.0.0.1:{port}/v2.1", image, network)
    finally:
        bench.demo.network.delete(f"/networks/{network}")


def _boots(bench: Bench, url: str, image: str, network: str) -> Iterator[Figure]:
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=CLIENTS))
    session.headers["X-Auth-Token"] = bench.demo.token()
    _until(lambda: _is_up(session, url))
    body = {"name": "b", "imageRef": image, "flavorRef": "1", "networks": [{"uuid": network}]}

    def launch(_: int) -> float:
        started = time.perf_counter()
        session.post(f"{url}/servers", json={"server": body}).raise_for_status()
        return (time.perf_counter() - started) * 1000

    with ThreadPoolExecutor(CLIENTS) as clients:
        launch(0)
        _until(lambda: _count(session, url, "ACTIVE") == 1)
        started, spent = time.perf_counter(), Spent()
        posts = list(clients.map(launch, range(COUNT)))
        _until(lambda: _count(session, url, "ACTIVE") == COUNT + 1)
        took = time.perf_counter() - started
        yield figure("100 launches, fake driver, 8 clients", COUNT / took, "servers/s", aim="50")
        yield from _cpu(spent, "a launch of these", COUNT)
        yield figure("POST of these, median", median(posts), "ms", aim="100")
        yield figure("POST of these, 95 %", sorted(posts)[int(COUNT * 0.95) - 1], "ms")
        servers = session.get(f"{url}/servers").json()["servers"]
        for action, becomes in (("os-stop", "SHUTOFF"), ("os-start", "ACTIVE")):
            yield _actions(session, url, clients, servers, action, becomes)
        started, spent = time.perf_counter(), Spent()
        list(clients.map(lambda s: session.delete(f"{url}/servers/{s['id']}"), servers))
        _until(lambda: _count(session, url, "") == 0)
        took = time.perf_counter() - started
        yield figure("101 deletes of these", len(servers) / took, "servers/s", aim="100")
        yield from _cpu(spent, "a delete of these", len(servers))


def _cpu(spent: Spent, of: str, count: int) -> Iterator[Figure]:
    """What ``count`` of them took, and how much of it was not the cloud's but the clients'."""
    seconds = spent.since()
    for who in ("daemons", "broker"):
        yield figure(f"CPU of {of}, {who}", 1000 * seconds[who] / count, "ms")
    share = 100 * seconds["clients"] / (sum(seconds.values()) or 1)
    yield figure(f"CPU of {of}, the clients' share of all", share, "%")


def _actions(
    session: requests.Session,
    url: str,
    clients: ThreadPoolExecutor,
    servers: list[dict[str, str]],
    action: str,
    becomes: str,
) -> Figure:
    def act(server: dict[str, str]) -> None:
        path = f"{url}/servers/{server['id']}/action"
        session.post(path, json={action: None}).raise_for_status()

    started = time.perf_counter()
    list(clients.map(act, servers))
    _until(lambda: _count(session, url, becomes) == len(servers))
    took = time.perf_counter() - started
    return figure(f"{len(servers)} times {action}, fake driver, 8 clients", len(servers) / took,
                  "actions/s")  # fmt: skip


def _count(session: requests.Session, url: str, status: str) -> int:
    query = {"status": status} if status else {}
    return len(session.get(f"{url}/servers", params=query).json()["servers"])


def _is_up(session: requests.Session, url: str) -> bool:
    """The API answers and a launch would find the host."""
    try:
        zones = session.get(f"{url}/os-availability-zone").json()["availabilityZoneInfo"]
    except requests.ConnectionError:
        return False
    return any(zone["zoneState"]["available"] for zone in zones)


def _until(condition) -> None:
    give_up_at = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > give_up_at:
            raise SystemExit("the benchmark's own daemons did not do it in time")
        time.sleep(LOOK_S)


@contextmanager
def _broker() -> Iterator[bool]:
    """A virtual host on the cloud's broker, for the length of the block."""
    for node in NODES:
        control = ["rabbitmqctl", "-q", "-n", node]
        made = subprocess.run([*control, "add_vhost", VHOST], capture_output=True, check=False)
        if made.returncode == 0:
            rights = ["set_permissions", "-p", VHOST, "minicloud", ".*", ".*", ".*"]
            subprocess.run([*control, *rights], check=True)
            try:
                yield True
            finally:
                subprocess.run([*control, "delete_vhost", VHOST], check=True)
            return
    yield False


@contextmanager
def _daemons(bench: Bench, directory: Path, port: int) -> Iterator[None]:
    url = f"sqlite:///{directory / 'compute.sqlite'}"
    database = Database(url)
    migrate.upgrade("compute", database)
    with database.write() as tx:
        flavors.flavor_insert(tx, Flavor(id="1", name="b", vcpus=1, ram=16, disk=1))
    database.close()
    _configure(bench, directory, url, port)
    running = [
        subprocess.Popen(
            [str(bench.places.program(f"minicloud-{daemon}"))],
            env={**os.environ, "MINICLOUD_CONFIG_DIR": str(directory)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for daemon in DAEMONS
    ]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)


def _configure(bench: Bench, directory: Path, url: str, port: int) -> None:
    password = bench.settings.rabbitmq_password
    own = f"""
[DEFAULT]
host = bench
state_dir = {directory}
[rpc]
transport_url = rabbit://minicloud:{password}@{BROKER_HOST}:{BROKER_PORT}/{VHOST}
[database]
url = {url}
[quota]
instances = -1
cores = -1
ram = -1
[scheduler]
cpu_ratio = 1000
memory_ratio = 1000
disk_ratio = 1000
[compute]
driver = fake
instances_dir = {directory}/instances
image_cache_dir = {directory}/images
[web]
port = {port}
[metadata]
port = {free_port()}
"""
    shared = (bench.places.config / "minicloud.conf").read_text()
    (directory / "minicloud.conf").write_text(shared)
    for daemon in DAEMONS:
        path = directory / f"{daemon}.conf"
        path.touch(mode=0o600)
        path.write_text(f"{own}[metrics]\nport = {free_port()}\n")
    (directory / "minicloud.conf").chmod(0o600)
