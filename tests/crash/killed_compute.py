"""A compute daemon that kills itself with SIGKILL before its n-th effect on the world.

As a program it is a nursery: everything is imported once, and each line of JSON on standard input
(``Life``) is answered by a forked child's pid, so that a real process that dies costs no start of
Python. Nothing of this is in the daemon: what it works with is wrapped here.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

import msgspec
from identity import PASSWORDS
from transport import BRIDGED, Message, client_of

from minicloud.client.identity import Credentials, ServiceSession
from minicloud.compute.clients import Clients
from minicloud.compute.host import HostReporter
from minicloud.compute.images import ImageCache
from minicloud.compute.manager import ComputeManager
from minicloud.compute.recipes import HostTools
from minicloud.compute.storage import FakeStorage
from minicloud.hostnet.fake import FakeHostNetwork
from minicloud.kit.context import Context
from minicloud.kit.rpc.contract import Method
from minicloud.rpc import conductor
from minicloud.virt.fake import FakeDriver

EFFECTS = frozenset(
    ("ensure_running", "ensure_stopped", "ensure_absent", "reboot",
     "ensure_port", "ensure_no_port",
     "ensure_dir", "flatten", "ensure_root", "ensure_ephemeral", "ensure_swap",
     "keep_disk", "grow_disk", "ensure_config_drive", "remove",
     "image_download", "port_create", "port_bind", "port_unbind", "port_delete",
     "volume_create", "volume_delete", "attachment_create", "attachment_update",
     "attachment_complete", "attachment_delete", "volume_reimage",
     "image_create", "image_update", "image_activate", "snapshot_create",
     "operation_take", "operation_finish")
)  # fmt: skip
"""Methods that change something outside the process."""
REPORT_S = 0.05


class Life(msgspec.Struct, frozen=True):
    """``kill_at``: the effect before which the process dies, counted from 1."""

    name: str
    directory: str
    bridge: str
    identity: str
    kill_at: int


class Fate:
    def __init__(self, kill_at: int) -> None:
        self._left = kill_at
        self._lock = threading.Lock()

    def of(self, thing: Any) -> Any:
        """``thing``, whose effects count."""
        return _Watched(thing, self)

    def strike(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class _Watched:
    def __init__(self, thing: Any, fate: Fate) -> None:
        self._thing, self._fate = thing, fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if name not in EFFECTS:
            return found

        def watched(*args: Any, **named: Any) -> Any:
            self._fate.strike()
            return found(*args, **named)

        return watched


class BridgeTransport:
    """Sends to the broker in the test's process, over a Unix socket."""

    call_timeout_s = 10.0

    def __init__(self, address: str) -> None:
        self._address = address

    def send(self, topic: str, host: str | None, method: Method, message: Message) -> None:
        with Client(self._address, BRIDGED) as connection:
            connection.send_bytes(message.text)
            if method.kind == "call":
                message.answer = connection.recv_bytes()
                message.answered.set()


def live(life: Life) -> None:
    """Report, and work on what the answers name, until death."""
    fate, home = Fate(life.kill_at), Path(life.directory)
    storage = fate.of(FakeStorage(home / "instances", home / "images"))
    tools = HostTools(
        name=life.name,
        driver=fate.of(FakeDriver(home / "domains", vcpus=64, memory_mb=65536)),
        network=fate.of(FakeHostNetwork(home / "network")),
        storage=storage,
        images=ImageCache(storage),
        shutdown_s=1,
        detach_s=5,
        always_config_drive=True,
    )
    credentials = Credentials(
        url=life.identity, username="minicloud", password=PASSWORDS["minicloud"],
        project_name="service", domain_name="Default", region="RegionOne",
    )  # fmt: skip
    session = ServiceSession(credentials)
    calls = fate.of(
        client_of(BridgeTransport(life.bridge), conductor.ConductorRPC, conductor.TOPIC)
    )

    def clients(ctx: Context) -> Clients:
        mine = Clients(session, ctx)
        mine.image, mine.network = fate.of(mine.image), fate.of(mine.network)
        mine.volume = fate.of(mine.volume)
        return mine

    manager = ComputeManager(tools, calls, clients, operations=4)
    reporter = HostReporter(tools, calls, manager, clients(Context()))
    tools.images.clean()
    pause = threading.Event()
    while True:
        reporter.run()
        pause.wait(REPORT_S)


def main() -> None:
    for line in sys.stdin:
        life = msgspec.json.decode(line, type=Life)
        pid = os.fork()
        if pid == 0:
            live(life)
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    main()
