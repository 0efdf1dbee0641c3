"""Hosts of a test's own, for networking and for guests: nothing of the machine is touched."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hostnet_world import Plug, wiring
from labhost import LabHost
from private_host import Guest, Space, private_host, run

from minicloud.hostnet.host import HostNetwork
from minicloud.hostnet.metadata import MetadataProxy
from minicloud.hostnet.wiring import NetworkWiring, PortWiring

if TYPE_CHECKING:
    from minicloud.virt.libvirt.driver import LibvirtDriver


class _Echo(http.server.BaseHTTPRequestHandler):
    """In place of the compute API: answers with what it was asked."""

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, **dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def empty_host() -> Iterator[None]:
    with private_host():
        yield


@pytest.fixture
def proxy(empty_host: None) -> Iterator[MetadataProxy]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy = MetadataProxy(upstream=f"http://127.0.0.1:{server.server_port}", secret="s3cret")
    yield proxy
    proxy.close()
    server.shutdown()
    server.server_close()


@pytest.fixture
def host(proxy: MetadataProxy, tmp_path: Path) -> Iterator[HostNetwork]:
    host = HostNetwork(state_dir=tmp_path / "state", metadata=proxy)
    host.sync(wiring())
    yield host
    HostNetwork(state_dir=tmp_path / "state", metadata=proxy).purge()


@pytest.fixture
def plug(host: HostNetwork, tmp_path: Path) -> Iterator[Plug]:
    guests: list[Guest] = []

    def plug(network: NetworkWiring, port: PortWiring, *, by_hand: bool = False) -> Guest:
        tap = host.ensure_port(network, port)
        guest = Guest(f"guest-{len(guests)}", tap, port.mac, tmp_path)
        guests.append(guest)
        subnet = network.subnets[0]
        if by_hand and subnet.gateway_ip:
            guest.configure(f"{port.fixed_ips[0][1]}/24", subnet.gateway_ip)
        return guest

    yield plug
    for guest in guests:
        guest.close()


@pytest.fixture
def outside(empty_host: None) -> Space:
    """A neighbour of the host's that knows nothing of its guests."""
    space = Space("outside")
    run("ip", "link", "add", "eth9", "type", "veth", "peer", "name", "eth0", "netns", "outside")
    run("ip", "address", "add", "203.0.113.1/24", "dev", "eth9")
    run("ip", "link", "set", "eth9", "up")
    space.run("ip", "address", "add", "203.0.113.2/24", "dev", "eth0")
    space.run("ip", "link", "set", "eth0", "up")
    return space


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    """A libvirtd of the module's own."""
    lab = LabHost(tmp_path_factory.mktemp("lab"))
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def driver(lab: LabHost) -> Iterator[LibvirtDriver]:
    """Without a guest, before and after."""
    from minicloud.virt.libvirt.driver import LibvirtDriver  # not every machine has libvirt

    driver = LibvirtDriver(lab.uri, "qemu", "tests are emulated")
    yield driver
    for domain in driver.list_domains():
        driver.ensure_absent(domain.server_id)
    driver.close()
