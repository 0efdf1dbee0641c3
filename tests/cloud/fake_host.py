"""One compute host that pretends: domains, TAPs and disks are small files below a directory.

It can die at any moment and live again on the same directory, as a host that lost its
minicloud-compute, whose guests go on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from minicloud.client.identity import ServiceSession
from minicloud.compute.clients import Clients
from minicloud.compute.host import HostReporter
from minicloud.compute.images import ImageCache
from minicloud.compute.manager import ComputeManager
from minicloud.compute.recipes import RECIPES, HostTools
from minicloud.compute.storage import FakeStorage
from minicloud.compute.wiring import NetworkPass
from minicloud.hostnet.fake import FakeHostNetwork
from minicloud.kit.context import Context
from minicloud.rpc import compute as contract
from minicloud.rpc import conductor
from minicloud.virt.fake import FakeDriver


class FakeHost:
    """``new_session``: makes the daemon's own token; ``transport``: as ``kit.rpc.Transport``."""

    def __init__(
        self,
        name: str,
        directory: Path,
        transport: Any,
        new_session: Callable[[], ServiceSession],
        *,
        memory_mb: int = 64 * 1024,
    ) -> None:
        self.name = name
        self._transport, self._new_session = transport, new_session
        self.driver = FakeDriver(directory / "domains", vcpus=64, memory_mb=memory_mb)
        self.network = FakeHostNetwork(directory / "network")
        self.storage = FakeStorage(directory / "instances", directory / "images")
        self.tools = HostTools(
            name=name,
            driver=self.driver,
            network=self.network,
            storage=self.storage,
            images=ImageCache(self.storage),
            shutdown_s=1,
            detach_s=5,
            always_config_drive=True,
        )
        self.recipes = RECIPES
        self.retry_s = 0.0
        self.is_up = False
        self.start()

    def start(self) -> None:
        """A new life: what is in memory is new, what is on the host is as it was."""
        session = self._new_session()
        conductor_calls = self._transport.client(conductor.ConductorRPC, topic=conductor.TOPIC)
        self.manager = ComputeManager(
            self.tools,
            conductor_calls,
            lambda ctx: Clients(session, ctx),
            operations=8,
            recipes=self.recipes,
            retry_s=self.retry_s,
        )
        own = Clients(session, Context())
        self.reporter = HostReporter(self.tools, conductor_calls, self.manager, own)
        self._network_pass = NetworkPass(
            self.name, self.tools.place, self.network, own, every_s=3600
        )
        self._server = self._transport.server(
            contract.ComputeRPC, self.manager, topic=contract.TOPIC, host=self.name
        )
        self.tools.images.clean()
        self.network.restore()
        self._server.start()
        self.is_up = True

    def stop(self) -> None:
        """No new messages, no reports; operations under way stop before their next step."""
        if self.is_up:
            self.is_up = False
            self._server.stop()
            self._server.wait()
            self.manager.stop()

    def turn(self) -> None:
        """The periodic passes, once."""
        if self.is_up:
            self.reporter.run()
            self._network_pass.run()

    def servers(self) -> set[str]:
        """Ids of the servers that have a domain or files here."""
        return {d.server_id for d in self.driver.list_domains()} | set(self.storage.servers())
