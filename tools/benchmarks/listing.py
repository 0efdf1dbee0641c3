"""Lists of 1000 servers, and one of them, in the newest shape and the oldest.

The Compute API is a ``minicloud-api`` process of the benchmark's own, on its own rows, that
validates tokens with the live identity.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import requests
from cloud import Bench, Figure, figure, free_port, median, times_ms

from minicloud.db import servers
from minicloud.domain.ids import new_id
from minicloud.domain.models import Flavor, NicInfo, Server
from minicloud.domain.states import Power, VmState
from minicloud.kit import clock
from minicloud.kit.db import Database, migrate

COUNT = 1000


def measure(bench: Bench) -> Iterator[Figure]:
    project = bench.demo.network.get("/networks", name="private").json["networks"][0]["project_id"]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        url = f"sqlite:///{directory / 'compute.sqlite'}"
        database = Database(url)
        migrate.upgrade("compute", database)
        with database.write() as tx:
            for number in range(COUNT):
                servers.server_insert(tx, _server(project, number))
        database.close()
        port = free_port()
        _configure(bench, directory, url, port)
        api = subprocess.Popen(
            [str(bench.places.program("minicloud-api"))],
            env={**os.environ, "MINICLOUD_CONFIG_DIR": name},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield from _measure(bench, f"http://127.0.0.1:{port}/v2.1")
        finally:
            api.terminate()
            api.wait(20)


def _measure(bench: Bench, url: str) -> Iterator[Figure]:
    with requests.Session() as session:
        session.headers["X-Auth-Token"] = bench.demo.token()
        _until_it_answers(session, url)
        shown = session.get(f"{url}/servers/detail").json()["servers"]
        if len(shown) != COUNT:
            raise SystemExit(f"the list has {len(shown)} servers, not {COUNT}")
        for label, version in (("newest shape", "2.100"), ("shape of 2.1", "2.1")):
            headers = {"OpenStack-API-Version": f"compute {version}"}
            for path, runs, aim in (
                ("/servers/detail", 10, "under 150"),
                ("/servers", 10, ""),
                (f"/servers/{shown[0]['id']}", 50, ""),
            ):
                took = times_ms(
                    lambda path=path, headers=headers: session.get(url + path, headers=headers),
                    runs,
                )
                what = "one server" if runs == 50 else f"{path}, {COUNT} servers"
                yield figure(f"GET {what}, {label}", median(took), "ms", aim=aim)


def _until_it_answers(session: requests.Session, url: str) -> None:
    give_up_at = time.monotonic() + 30
    while True:
        try:
            session.get(url).raise_for_status()
            return
        except requests.ConnectionError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.1)


def _configure(bench: Bench, directory: Path, url: str, port: int) -> None:
    """The live cloud's configuration, with a database and ports of its own."""
    shared = (bench.places.config / "minicloud.conf").read_text()
    own = f"""
[database]
url = {url}
[web]
port = {port}
[metadata]
port = {free_port()}
[metrics]
port = {free_port()}
"""
    for name, text in (("minicloud.conf", shared), ("api.conf", own)):
        path = directory / name
        path.touch(mode=0o600)
        path.write_text(text)


def _server(project: str, number: int) -> Server:
    now = clock.now() - number
    nic = NicInfo(
        port_id=new_id(), network_id=new_id(), network_name="private", mac="fa:16:3e:00:00:01",
        addresses=["10.0.0.5"], ours=True,
    )  # fmt: skip
    return Server(
        id=new_id(), project_id=project, user_id=pwd.getpwuid(os.getuid()).pw_name,
        name=f"server-{number}", hostname=f"server-{number}", vm_state=VmState.ACTIVE,
        task_state=None, power_state=Power.RUNNING, operation_id=None, host="host1",
        availability_zone="nova",
        flavor=Flavor(id="42", name="m1.nano", vcpus=1, ram=192, disk=1), image_id=new_id(),
        image_properties={}, key_name="demo", public_key=None, user_data=None,
        config_drive=False, metadata={"k": "v"}, description=None, tags=(), requested_nics=(),
        block_devices=(), security_groups=(), nics=[nic], volumes=(), access_ip_v4="",
        access_ip_v6="", disk_config="MANUAL", reservation_id="r-bench", launch_index=0,
        locked=False, locked_reason=None, fault=None, created_at=now, updated_at=now,
        launched_at=now, terminated_at=None, deleted=False,
    )  # fmt: skip
