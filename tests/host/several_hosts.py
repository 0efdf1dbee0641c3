"""Two private hosts at once, joined by a wire: each lives in a thread that does what it is told."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from private_host import Guest, private_host, run

from minicloud.hostnet.host import HostNetwork
from minicloud.hostnet.wiring import NetworkWiring, PortWiring

T = TypeVar("T")


class FarHost:
    """A host of its own; ``do`` runs something there and returns what came of it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._work: queue.Queue[tuple[Callable[[], Any], Future[Any]] | None] = queue.Queue()
        ready: Future[str] = Future()
        self._thread = threading.Thread(target=self._live, args=(ready,), daemon=True)
        self._thread.start()
        self.space = ready.result(30)
        """Path of its network namespace."""
        self.network = self.do(lambda: HostNetwork(state_dir=directory / "state", metadata=None))
        self.guests: list[Guest] = []

    def do(self, work: Callable[[], T]) -> T:
        done: Future[T] = Future()
        self._work.put((work, done))
        return done.result(120)

    def plug(self, network: NetworkWiring, port: PortWiring, address: str) -> Guest:
        """A guest with its address set by hand."""

        def make() -> Guest:
            tap = self.network.ensure_port(network, port)
            guest = Guest(f"guest-{len(self.guests)}", tap, port.mac, self._directory)
            self.guests.append(guest)
            guest.configure(f"{address}/24", network.subnets[0].gateway_ip or "")
            return guest

        return self.do(make)

    def close(self) -> None:
        self.do(self.network.purge)
        for guest in self.guests:
            self.do(guest.close)
        self._work.put(None)
        self._thread.join(30)

    def _live(self, ready: Future[str]) -> None:
        with private_host():
            ready.set_result(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net")
            while (item := self._work.get()) is not None:
                work, done = item
                try:
                    done.set_result(work())
                except BaseException as problem:  # handed to who asked
                    done.set_exception(problem)


def join(one: FarHost, other: FarHost, addresses: tuple[str, str]) -> None:
    """A wire between two hosts, as ``under0`` on both."""

    def connect() -> None:
        run("ip", "link", "add", "under0", "mtu", "1500", "type", "veth", "peer", "name", "far0")
        run("ip", "link", "set", "far0", "netns", other.space, "name", "under0")
        run("ip", "address", "add", f"{addresses[0]}/24", "dev", "under0")
        run("ip", "link", "set", "under0", "up")

    one.do(connect)
    other.do(lambda: run("ip", "address", "add", f"{addresses[1]}/24", "dev", "under0"))
    other.do(lambda: run("ip", "link", "set", "under0", "up"))
