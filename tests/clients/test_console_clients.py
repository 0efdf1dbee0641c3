"""A real guest's consoles by the real clients: its screen, its serial line, its log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from clients.conftest import LiveCloud
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

pytestmark = [pytest.mark.clients, pytest.mark.host]
LIMIT_S = 120


@pytest.fixture(scope="module")
def server(live_cloud: LiveCloud) -> Iterator[str]:
    name = "with-consoles"
    live_cloud.minicloud("launch", "tiny", name, "--wait=active")
    yield name
    live_cloud.minicloud("delete", name)


def hear(console: ClientConnection, words: bytes) -> bytes:
    """What the console says up to ``words``."""
    heard, give_up_at = b"", time.monotonic() + LIMIT_S
    while words not in heard:
        try:
            piece = console.recv(timeout=give_up_at - time.monotonic())
        except TimeoutError:
            pytest.fail(f"{words!r} did not come; heard {heard!r}")
        assert isinstance(piece, bytes)
        heard += piece
    return heard


def test_the_screen(live_cloud: LiveCloud, server: str) -> None:
    shown = live_cloud.openstack_json("console", "url", "show", "--novnc", server)
    assert (shown["protocol"], shown["type"]) == ("vnc", "novnc")
    url = urlsplit(shown["url"])
    page = requests.get(shown["url"], timeout=10)
    assert page.status_code == 200, page.text
    path = parse_qs(url.query)["path"][0]
    token = path.removeprefix("?token=")
    found = live_cloud.openstack_json(
        "console", "connection", "show", token, cloud="minicloud-admin"
    )
    assert found["port"] >= 5900

    with connect(f"ws://{url.netloc}/{path}", subprotocols=["binary"]) as screen:
        assert hear(screen, b"\n").startswith(b"RFB 003.")
    with connect(f"ws://{url.netloc}/{path}") as again, pytest.raises(ConnectionClosed):
        again.recv(timeout=10)


def test_the_serial_console(live_cloud: LiveCloud, server: str) -> None:
    shown = live_cloud.openstack_json("console", "url", "show", "--serial", server)
    assert (shown["protocol"], shown["type"]) == ("serial", "serial")
    with connect(shown["url"], subprotocols=["binary"]) as console:
        console.send(b"\r")
        hear(console, b"login: ")
        console.send(b"cirros\r")
        hear(console, b"assword: ")
        console.send(b"gocubsgo\r")
        hear(console, b"$ ")
        console.send(b"echo answer-$((6*7))\r")
        hear(console, b"answer-42")
        console.send(b"exit\r")
        hear(console, b"login: ")
    # Somebody read it, and the log went on all the same.
    assert "answer-42" in live_cloud.openstack("console", "log", "show", server)
