"""SIGKILL of a real compute process before each effect it has on the world, for a few recipes.

Finer than ``test_recipes.py``: inside a step, between one effect and the next, where no handler
runs. A new life of the host then finishes, and a delete leaves nothing behind.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing.connection import Listener
from pathlib import Path

import msgspec
import pytest
from cloud import Cloud, running, wait_until
from killed_compute import Life
from test_recipes import (
    check_done,
    check_gone,
    furnish,
    launch,
    prepare,
    set_off,
)
from transport import BRIDGED, LocalTransport
from user import User

from minicloud.rpc import conductor

HERE = Path(__file__).parent
NAMES = (
    "create",
    "delete",
    "reboot_hard",
    "rebuild",
    "rebuild, on a volume",
    "createImage",
    "createImage, of volumes",
    "resize, finished",
    "unshelve",
)
"""Stories whose recipes have effects of every kind."""
LIMIT = 60
"""More effects than any recipe has."""


class Bridge:
    """Takes what other processes send to the conductor."""

    def __init__(self, transport: LocalTransport, address: str) -> None:
        self.address = address
        self._transport = transport
        self._listener = Listener(address, BRIDGED, backlog=32)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, connection) -> None:
        try:
            with connection:
                text = connection.recv_bytes()
                answer = self._transport.forward(conductor.ConductorRPC, conductor.TOPIC, text)
                if answer is not None:
                    connection.send_bytes(answer)
        except (EOFError, OSError):
            pass  # it was killed

    def close(self) -> None:
        self._listener.close()


class Nursery:
    """Forks compute processes, one at a time."""

    def __init__(self) -> None:
        path = ":".join(p for p in sys.path if p)
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "killed_compute.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": path},
        )  # fmt: skip
        self.dead = threading.Event()

    def bear(self, life: Life) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self.dead.clear()
        self._process.stdin.write(msgspec.json.encode(life).decode() + "\n")
        self._process.stdin.flush()
        self._pid = int(self._process.stdout.readline())
        threading.Thread(target=self._await_death, daemon=True).start()

    def _await_death(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline():
            self.dead.set()

    def kill(self) -> None:
        """End a child that has outlived its purpose."""
        if not self.dead.is_set():
            subprocess.run(["kill", "-KILL", str(self._pid)], check=False)
        assert self.dead.wait(10)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("kills"), shelved_offload=False) as cloud:
        furnish(cloud)
        yield cloud


@pytest.fixture(scope="module")
def user(cloud: Cloud) -> User:
    return cloud.user()


@pytest.fixture(scope="module")
def admin(cloud: Cloud) -> User:
    return cloud.user("admin")


@pytest.fixture(scope="module")
def bridge(cloud: Cloud) -> Iterator[Bridge]:
    with tempfile.TemporaryDirectory() as directory:
        bridge = Bridge(cloud.transport, f"{directory}/bridge")
        yield bridge
        bridge.close()


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


def begin(cloud: Cloud, user: User, admin: User, name: str) -> str:
    """A server on which the story's verb waits for its host, which is dead."""
    host = cloud.hosts["lab1"]
    if name == "create":
        host.stop()
        host.storage.base_image(cloud.image_id).unlink(missing_ok=True)  # it has to be fetched
        return launch(cloud, user)
    server_id = prepare(cloud, user, admin, name)
    host.stop()
    set_off(cloud, user, admin, name, server_id)
    return server_id


@pytest.mark.parametrize("name", NAMES)
def test_killed_before_each_effect(
    cloud: Cloud, user: User, admin: User, bridge: Bridge, nursery: Nursery, name: str
) -> None:
    identity = cloud.rest.services["identity"].url + "/v3"
    home = str(cloud.directory / "lab1")
    host = cloud.hosts["lab1"]
    for kill_at in range(1, LIMIT):
        server_id = begin(cloud, user, admin, name)
        nursery.bear(Life("lab1", home, bridge.address, identity, kill_at))
        assert wait_until(lambda: nursery.dead.is_set() or not cloud.unfinished())
        survived = not nursery.dead.wait(0.2)
        nursery.kill()
        host.start()
        check_done(cloud, user, name, server_id)
        check_gone(cloud, user, server_id)
        if survived:
            assert kill_at > 2  # it was killed a few times
            return
    pytest.fail("it never survived")
