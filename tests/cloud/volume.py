"""The volume service on a free loopback port, for tests that talk HTTP to it."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
from tokens import CALLERS, authenticate

from minicloud.cmd.volume import Graph, Settings, build
from minicloud.kit.db import Database, migrate
from minicloud.kit.web import WebServer, build_app
from minicloud.volume.guests import Guests

HOST = "lab1"
QUOTAS = {"volumes": 50, "gigabytes": 1000, "per_volume_gigabytes": -1}
SERVER = "11111111-2222-4333-8444-555555555555"


class VolumeCloud:
    """A running volume service and a client's view of it. Call ``turn`` for a periodic pass."""

    def __init__(
        self, web: WebServer, graph: Graph, database: Database, settings: Settings
    ) -> None:
        self.url = "http://{}:{}".format(*web.address)
        self.turn = graph.reconciler.run
        self.jobs = graph.jobs
        self.database = database
        self.files = settings.data_dir
        self.sockets = settings.export_dir
        self.more_backends = settings.more_backends

    def call(self, method: str, path: str, token: str = "demo", **arguments: Any) -> Any:
        """``path`` below the token's project; one that begins with two slashes is taken as is."""
        headers = {
            "X-Auth-Token": token,
            "OpenStack-API-Version": "volume 3.44",
            **arguments.pop("headers", {}),
        }
        project = CALLERS[token].project_id if token in CALLERS else "x"
        path = path[1:] if path.startswith("//") else f"/v3/{project}{path}"
        return requests.request(method, self.url + path, headers=headers, timeout=60, **arguments)

    def ask(self, method: str, path: str, status: int, token: str = "demo", **more: Any) -> Any:
        """``call`` that must answer ``status``; the JSON of the answer."""
        answer = self.call(method, path, token, **more)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def create(self, size: int = 1, token: str = "demo", **values: Any) -> dict[str, Any]:
        body = {"volume": {"size": size, **values}}
        volume: dict[str, Any] = self.ask("POST", "/volumes", 202, token, json=body)["volume"]
        return volume

    def show(self, volume_id: str, token: str = "demo") -> dict[str, Any]:
        volume: dict[str, Any] = self.ask("GET", f"/volumes/{volume_id}", 200, token)["volume"]
        return volume

    def attach(
        self,
        volume_id: str,
        host: str | None = HOST,
        server: str = SERVER,
        status: int = 200,
        **connector: Any,
    ) -> dict[str, Any]:
        """What compute asks for; ``host`` None only reserves; ``connector``: what the host says of
        itself besides. The attachment, or the error.
        """
        body: dict[str, Any] = {"volume_uuid": volume_id, "instance_uuid": server}
        if host is not None:
            body["connector"] = {"host": host, "mountpoint": "/dev/vdb", **connector}
        answer = self.ask("POST", "/attachments", status, json={"attachment": body},
                          headers={"X-Service-Token": "service"})  # fmt: skip
        found: dict[str, Any] = answer.get("attachment", answer)
        return found

    def complete(self, attachment_id: str) -> None:
        self.ask("POST", f"/attachments/{attachment_id}/action", 204, json={"os-complete": None},
                 headers={"X-Service-Token": "service"})  # fmt: skip

    def detach(self, attachment_id: str) -> Any:
        return self.ask("DELETE", f"/attachments/{attachment_id}", 200,
                        headers={"X-Service-Token": "service"})  # fmt: skip

    def pid(self, volume_id: str) -> int:
        """The process id of the volume's exporter."""
        return int((self.sockets / "qmp" / f"{volume_id}.pid").read_text())

    def kill(self, volume_id: str) -> None:
        """kill -9 its exporter, and wait for its end."""
        handle = os.pidfd_open(self.pid(volume_id))
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        assert select.select([handle], [], [], 20)[0]
        os.close(handle)

    def is_served(self, volume_id: str) -> bool:
        try:
            pid = self.pid(volume_id)
            return b"qemu-storage-daemon" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except FileNotFoundError:
            return False

    def disk(self, volume_id: str) -> Path:
        """The file that the volume's bytes are in now."""
        return (self.files / "volumes" / volume_id).resolve()


@contextlib.contextmanager
def volume_cloud(
    directory: Path,
    *,
    url: str | None = None,
    quotas: Mapping[str, int] = QUOTAS,
    guests: type[Guests] = Guests,
    **settings: Any,
) -> Iterator[VolumeCloud]:
    """The service with its tables, files and sockets below ``directory``; ``settings`` of
    ``cmd.volume.Settings``; ``guests``: how it asks those that open files. Ends the exporters it
    left.
    """
    # Unix sockets have short names, and pytest's directories long ones.
    sockets = Path(tempfile.mkdtemp(prefix="mc-volume-"))
    database = Database(url or f"sqlite:///{directory / 'volume.sqlite'}")
    migrate.upgrade("volume", database)
    chosen = Settings(
        host=HOST,
        data_dir=directory / "data",
        export_dir=sockets,
        quotas=quotas,
        **settings,
    )
    graph = build(chosen, database, authenticate, ask_guests=guests)
    web = WebServer(build_app(graph.service), host="127.0.0.1", port=0, threads=16)
    web.start()
    try:
        yield VolumeCloud(web, graph, database, chosen)
    finally:
        web.stop()
        graph.jobs.close()
        database.close()
        end_exporters(sockets)
        shutil.rmtree(sockets)


def end_exporters(directory: Path) -> None:
    """kill -9 everything that serves volumes below ``directory``."""
    for path in (directory / "qmp").glob("*.pid"):
        with contextlib.suppress(ProcessLookupError, ValueError, FileNotFoundError):
            pid = int(path.read_text())
            if str(path) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
