"""Consoles: from the API's URL through the proxy to a VNC server, and every way to be refused."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest
import requests
import sqlalchemy as sa
from compute import ComputeCloud, compute_cloud
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import Close
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from minicloud.client.console import ConsoleClient
from minicloud.client.identity import Credentials, ServiceSession
from minicloud.consoleproxy.door import enter
from minicloud.consoleproxy.proxy import ConsoleProxy
from minicloud.db.models import console_tokens
from minicloud.domain.errors import Unavailable
from minicloud.kit import clock

BANNER = b"RFB 003.008\n"
NEW, OLD = "2.96", "2.5"
VNC = {"remote_console": {"protocol": "vnc", "type": "novnc"}}


class FakeGuest:
    """A VNC server up to its greeting: says its version, and repeats what it hears."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.ended = threading.Event()
        """A connection to it has come to its end."""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._greet, args=(peer,), daemon=True).start()

    def _greet(self, peer: socket.socket) -> None:
        with peer, suppress(ConnectionResetError):
            peer.sendall(BANNER)
            while heard := peer.recv(4096):
                if heard == b"bye":
                    break
                peer.sendall(heard)
        self.ended.set()

    def __enter__(self) -> FakeGuest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()


class WordSession(ServiceSession):
    """A service whose token is a word, and whose catalog is one URL: there is no identity here."""

    def __init__(self, url: str) -> None:
        super().__init__(
            Credentials(url="", username="", password="", project_name="", domain_name="")
        )
        self.url = url
        self.word = "service"
        self.forgotten = 0

    def token(self) -> str:
        return self.word

    def forget(self) -> None:
        self.forgotten += 1
        self.word = "service"

    def endpoint(self, service_type: str) -> str:
        assert service_type == "compute"
        return self.url


class Consoles:
    """An API, a proxy on the compute host, and the guest."""

    def __init__(self, cloud: ComputeCloud, directory: Path, stack: ExitStack) -> None:
        self.cloud = cloud
        self.directory = directory
        self._stack = stack
        self.guest = FakeGuest()
        stack.callback(self.guest.close)
        cloud.compute.vnc_port = self.guest.port
        self.session = WordSession(cloud.url + "/v2.1")
        self.proxy = self.new_proxy()
        self.server_id = cloud.launch()

    def new_proxy(self, **how: float) -> ConsoleProxy:
        proxy = ConsoleProxy(
            ConsoleClient(self.session), listen="127.0.0.1", port=0,
            novnc_dir=self.directory / "novnc", **how,
        )  # type: ignore[arg-type]  # fmt: skip  # the numbers are of two kinds
        proxy.start()
        self._stack.callback(proxy.stop)
        return proxy

    def url(self, token: str = "demo", kind: str = "novnc") -> str:
        protocol = {"novnc": "vnc", "serial": "serial"}[kind]
        body = {"remote_console": {"protocol": protocol, "type": kind}}
        answer = self.cloud.call(
            "POST", f"/v2.1/servers/{self.server_id}/remote-consoles", token, NEW, json=body
        )
        assert answer.status_code == 200, answer.text
        console = answer.json()["remote_console"]
        assert (console["protocol"], console["type"]) == (protocol, kind)
        return str(console["url"])

    def token(self) -> str:
        return token_in(self.url())

    def open(
        self, token: str, proxy: ConsoleProxy | None = None, **how: object
    ) -> ClientConnection:
        port = (proxy or self.proxy).port
        client = connect(f"ws://127.0.0.1:{port}/?token={token}", **how)  # type: ignore[arg-type]  # as the test says
        return self._stack.enter_context(client)

    def refusal(self, token: str, proxy: ConsoleProxy | None = None) -> Close:
        with pytest.raises(ConnectionClosed) as caught:
            self.open(token, proxy).recv(timeout=10)
        assert caught.value.rcvd is not None
        return caught.value.rcvd


def token_in(url: str) -> str:
    """As noVNC takes it: the parameter ``path`` is what follows the server's name."""
    path = parse_qs(urlsplit(url).query)["path"][0]
    assert path.startswith("?token=")
    return path.removeprefix("?token=")


@pytest.fixture
def consoles(tmp_path: Path) -> Iterator[Consoles]:
    with compute_cloud(tmp_path) as cloud, ExitStack() as stack:
        yield Consoles(cloud, tmp_path, stack)


@pytest.fixture
def cloud(tmp_path: Path, database_url: str) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path, url=database_url) as running:
        yield running


# -- the API ---------------------------------------------------------------------------------------
def test_a_url_and_what_its_token_opens(cloud: ComputeCloud) -> None:
    server = cloud.launch()
    answer = cloud.call("POST", f"/v2.1/servers/{server}/remote-consoles", json=VNC)
    url = answer.json()["remote_console"]["url"]
    assert url.startswith("http://127.0.0.1:6080/vnc_lite.html?path=%3Ftoken%3D")
    path = f"/v2.1/os-console-auth-tokens/{token_in(url)}"
    wanted = {"console": {"instance_uuid": server, "host": "host1", "port": 5900,
                          "internal_access_path": None}}  # fmt: skip
    assert cloud.get(path, "admin") == wanted
    with FakeGuest() as guest:
        cloud.compute.vnc_port = guest.port
        opened = cloud.get(path, "service", "2.31")["console"]
    assert (opened["instance_uuid"], opened["host"]) == (server, "127.0.0.1")
    assert len(opened["internal_access_path"]) > 64
    assert cloud.call("GET", path, "service").status_code == 404
    assert cloud.call("GET", path, "admin").status_code == 404


def test_only_the_digest_of_a_token_is_kept(cloud: ComputeCloud) -> None:
    server = cloud.launch()
    answer = cloud.call("POST", f"/v2.1/servers/{server}/remote-consoles", json=VNC)
    token = token_in(answer.json()["remote_console"]["url"])
    with cloud.database.read() as tx:
        row = tx.execute(sa.select(console_tokens)).one()
    assert token not in str(row)
    assert row.expires_at - row.created_at == 600


def test_expired_tokens(cloud: ComputeCloud) -> None:
    server = cloud.launch()
    path = f"/v2.1/servers/{server}/remote-consoles"
    token = token_in(cloud.call("POST", path, json=VNC).json()["remote_console"]["url"])
    with cloud.database.write() as tx:
        tx.execute(console_tokens.update().values(expires_at=clock.now()))
    for caller in ("admin", "service"):
        found = cloud.call("GET", f"/v2.1/os-console-auth-tokens/{token}", caller)
        assert found.status_code == 404
    cloud.call("POST", path, json=VNC)
    with cloud.database.read() as tx:
        assert len(tx.execute(sa.select(console_tokens)).all()) == 1


def test_two_at_once_open_one(cloud: ComputeCloud) -> None:
    server = cloud.launch()
    answer = cloud.call("POST", f"/v2.1/servers/{server}/remote-consoles", json=VNC)
    token = token_in(answer.json()["remote_console"]["url"])
    barrier, found = threading.Barrier(6), []

    def use() -> None:
        barrier.wait()
        path = f"/v2.1/os-console-auth-tokens/{token}"
        found.append(cloud.call("GET", path, "service").status_code)

    threads = [threading.Thread(target=use) for _ in range(6)]
    with FakeGuest() as guest:
        cloud.compute.vnc_port = guest.port
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == [200, 404, 404, 404, 404, 404]


def test_the_action_of_old_clients(cloud: ComputeCloud) -> None:
    server = cloud.launch()
    answer = cloud.act(server, "os-getVNCConsole", {"type": "novnc"}, version=OLD)
    assert answer.status_code == 200
    console = answer.json()["console"]
    assert console["type"] == "novnc"
    token = token_in(console["url"])
    assert cloud.call("GET", f"/v2.1/os-console-auth-tokens/{token}", "admin").ok
    assert cloud.act(server, "os-getVNCConsole", {"type": "xvpvnc"}, version=OLD).status_code == 400
    assert cloud.act(server, "os-getVNCConsole", {}, version=OLD).status_code == 400
    assert cloud.act(server, "os-getVNCConsole", {"type": "novnc"}).status_code == 404
    serial = cloud.act(server, "os-getSerialConsole", {"type": "serial"}, version=OLD)
    assert serial.json()["console"]["type"] == "serial"
    assert serial.json()["console"]["url"].startswith("ws://127.0.0.1:6080/?token=")
    wrong = cloud.act(server, "os-getSerialConsole", {"type": "novnc"}, version=OLD)
    assert wrong.status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"remote_console": {"protocol": "serial", "type": "novnc"}},
        {"remote_console": {"protocol": "spice", "type": "spice-html5"}},
        {"remote_console": {"protocol": "mks", "type": "webmks"}},
        {"remote_console": {"protocol": "vnc", "type": "serial"}},
        {"remote_console": {"protocol": "vnc"}},
        {"remote_console": {"protocol": "vnc", "type": "novnc", "more": 1}},
        {"remote_console": {"protocol": 1, "type": None}},
        {"remote_console": None},
        {},
    ],
)
def test_consoles_that_there_are_not(consoles: Consoles, body: object) -> None:
    path = f"/v2.1/servers/{consoles.server_id}/remote-consoles"
    assert consoles.cloud.call("POST", path, json=body).status_code == 400


def test_who_may_not(cloud: ComputeCloud) -> None:
    server = cloud.launch()
    path = f"/v2.1/servers/{server}/remote-consoles"
    assert cloud.call("POST", path, "alt", json=VNC).status_code == 404
    assert cloud.call("POST", path, "reader", json=VNC).status_code == 403
    assert cloud.call("POST", path, "nobody", json=VNC).status_code == 401
    assert cloud.call("POST", path, "demo", OLD, json=VNC).status_code == 404
    token = token_in(cloud.call("POST", path, json=VNC).json()["remote_console"]["url"])
    auth = f"/v2.1/os-console-auth-tokens/{token}"
    assert cloud.call("GET", auth, "demo").status_code == 403
    assert cloud.call("GET", auth, "admin", "2.30").status_code == 400
    assert cloud.call("GET", auth + "x", "admin").status_code == 404


def test_servers_that_do_not_run(cloud: ComputeCloud) -> None:
    server = cloud.launch()
    path = f"/v2.1/servers/{server}/remote-consoles"
    token = token_in(cloud.call("POST", path, json=VNC).json()["remote_console"]["url"])
    cloud.act(server, "os-stop")
    assert cloud.call("POST", path, json=VNC).status_code == 409
    cloud.compute.vnc_port = None
    assert cloud.call("GET", f"/v2.1/os-console-auth-tokens/{token}", "admin").status_code == 404
    cloud.call("DELETE", f"/v2.1/servers/{server}")
    assert cloud.call("POST", path, json=VNC).status_code == 404
    assert cloud.call("GET", f"/v2.1/os-console-auth-tokens/{token}", "admin").status_code == 404


# -- the proxy -------------------------------------------------------------------------------------
def test_a_console(consoles: Consoles) -> None:
    client = consoles.open(consoles.token(), subprotocols=[Subprotocol("binary")])
    assert client.subprotocol == "binary"
    assert client.recv(timeout=10) == BANNER
    for message in (BANNER, b"\x00\xff" * 1000):
        client.send(message)
        heard = b""
        while len(heard) < len(message):
            piece = client.recv(timeout=10)
            assert isinstance(piece, bytes)
            heard += piece
        assert heard == message
    client.close()
    assert consoles.guest.ended.wait(10)


def test_clients_that_offer_no_subprotocol(consoles: Consoles) -> None:
    client = consoles.open(consoles.token())
    assert client.subprotocol is None
    assert client.recv(timeout=10) == BANNER


def test_a_token_opens_once(consoles: Consoles) -> None:
    token = consoles.token()
    assert consoles.open(token).recv(timeout=10) == BANNER
    assert consoles.refusal(token).code == 1008


def test_tokens_that_open_nothing(consoles: Consoles) -> None:
    token = consoles.token()
    with consoles.cloud.database.write() as tx:
        tx.execute(console_tokens.update().values(expires_at=clock.now()))
    for bad in (token, "x" * 43, "", "../servers", "%2e%2e"):
        assert consoles.refusal(bad).code == 1008


def test_a_guest_that_ends(consoles: Consoles) -> None:
    client = consoles.open(consoles.token())
    assert client.recv(timeout=10) == BANNER
    client.send(b"bye")
    with pytest.raises(ConnectionClosed) as caught:
        client.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1000


def test_a_serial_console(consoles: Consoles) -> None:
    url = consoles.url(kind="serial")
    assert url.startswith("ws://127.0.0.1:6080/?token=")
    client = consoles.open(url.partition("?token=")[2], subprotocols=[Subprotocol("binary")])
    assert client.recv(timeout=10) == BANNER
    client.send(b"root\r")
    assert client.recv(timeout=10) == b"root\r"


def test_a_door_opens_to_its_key_alone_and_once(consoles: Consoles) -> None:
    token = consoles.token()
    client = ConsoleClient(consoles.session)
    console = client.console_open(token)
    secret, _, fingerprint = console.key.partition(".")
    assert secret not in repr(console)
    for wrong in (f"{secret}x.{fingerprint}", f".{fingerprint}"):
        with enter(msgspec.structs.replace(console, key=wrong)) as stranger:
            assert stranger.recv(100) == b""  # shown the door
    with pytest.raises(Unavailable):
        enter(msgspec.structs.replace(console, key=f"{secret}.{'0' * 64}"))
    with enter(console) as guest:
        assert guest.recv(100) == BANNER
        with pytest.raises(Unavailable):
            enter(console)


def test_a_large_amount_both_ways(consoles: Consoles) -> None:
    """More than any buffer on the way holds, in pieces that fit no record."""
    sent = os.urandom(5_000_017)
    with enter(ConsoleClient(consoles.session).console_open(consoles.token())) as guest:
        assert guest.recv(len(BANNER), socket.MSG_WAITALL) == BANNER
        writer = threading.Thread(target=guest.sendall, args=(sent,))
        writer.start()
        heard = guest.recv(len(sent), socket.MSG_WAITALL)
        writer.join()
    assert heard == sent
    assert consoles.guest.ended.wait(10)


def test_a_guest_without_its_screen(consoles: Consoles) -> None:
    token = consoles.token()
    consoles.guest.close()
    assert consoles.refusal(token).code == 1011


def test_a_server_that_has_stopped_since(consoles: Consoles) -> None:
    token = consoles.token()
    consoles.cloud.compute.vnc_port = None
    assert consoles.refusal(token).code == 1008


def test_an_api_that_is_away(consoles: Consoles) -> None:
    token = consoles.token()
    consoles.session.url = "http://127.0.0.1:9/v2.1"
    refused = consoles.refusal(token)
    assert refused.code == 1011
    assert token not in refused.reason


def test_a_service_token_that_is_refused_is_renewed(consoles: Consoles) -> None:
    consoles.session.word = "of yesterday"
    assert consoles.open(consoles.token()).recv(timeout=10) == BANNER
    assert consoles.session.forgotten == 1


def test_pages_of_strangers(consoles: Consoles) -> None:
    token = consoles.token()
    with pytest.raises(InvalidStatus) as caught:
        consoles.open(token, origin=Origin("http://evil.example"))
    assert caught.value.response.status_code == 403
    own = Origin(f"http://127.0.0.1:{consoles.proxy.port}")
    assert consoles.open(token, origin=own).recv(timeout=10) == BANNER


def test_an_idle_console(consoles: Consoles) -> None:
    client = consoles.open(consoles.token(), consoles.new_proxy(idle_s=0.3))
    assert client.recv(timeout=10) == BANNER
    with pytest.raises(ConnectionClosed) as caught:
        client.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert "idle" in caught.value.rcvd.reason


@pytest.mark.parametrize(("message", "code"), [("text", 1003), (b"x" * (2 << 20), 1009)])
def test_messages_that_are_not_taken(consoles: Consoles, message: str | bytes, code: int) -> None:
    client = consoles.open(consoles.token())
    assert client.recv(timeout=10) == BANNER
    with pytest.raises(ConnectionClosed) as caught:
        client.send(message)
        client.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == code
    assert consoles.guest.ended.wait(10)


def test_no_more_than_so_many_connections(consoles: Consoles) -> None:
    proxy = consoles.new_proxy(connections=2)
    first, second = (consoles.open(consoles.token(), proxy) for _ in range(2))
    assert first.recv(timeout=10) == second.recv(timeout=10) == BANNER
    token = consoles.token()
    with pytest.raises((OSError, EOFError, WebSocketException)) as caught:
        consoles.open(token, proxy)
    assert not isinstance(caught.value, TimeoutError)
    consoles.guest.ended.clear()
    first.close()
    assert consoles.guest.ended.wait(10)


def test_pages(consoles: Consoles) -> None:
    base = f"http://127.0.0.1:{consoles.proxy.port}"
    page = base + unquote(urlsplit(consoles.url()).path)
    assert requests.get(base + "/", timeout=10).status_code == 200
    assert "apt-get install novnc" in requests.get(page, timeout=10).text
    novnc = consoles.directory / "novnc"
    novnc.mkdir()
    (novnc / "vnc_lite.html").write_text("<p>a screen")
    found = requests.get(page, timeout=10)
    assert (found.status_code, found.text) == (200, "<p>a screen")
    assert found.headers["Referrer-Policy"] == "no-referrer"


def test_tokens_are_in_no_log(consoles: Consoles, caplog: pytest.LogCaptureFixture) -> None:
    for noisy in ("urllib3", "websockets.client"):  # the test's own; kit.log keeps the daemons'
        caplog.set_level(logging.WARNING, logger=noisy)
    caplog.set_level(logging.DEBUG)
    used, lost = consoles.token(), consoles.token()
    assert consoles.open(used).recv(timeout=10) == BANNER
    consoles.refusal(used)
    consoles.cloud.call("GET", f"/v2.1/os-console-auth-tokens/{lost}", "admin")
    requests.get(f"http://127.0.0.1:{consoles.proxy.port}/?path=%3Ftoken%3D{lost}", timeout=10)
    consoles.cloud.compute.problem = Unavailable(service="compute", reason="it is away")
    consoles.session.url = "http://127.0.0.1:9/v2.1"
    consoles.refusal(lost)
    assert "/os-console-auth-tokens/***" in caplog.text
    assert used not in caplog.text
    assert lost not in caplog.text
