"""The certificates of hosts and of the volume service: who can show what to whom."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest

from minicloud.deploy import pki
from minicloud.deploy.pki import Credentials
from minicloud.deploy.places import Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(state=tmp_path / "state")


def context(role: str, credentials: Credentials, directory: Path) -> ssl.SSLContext:
    directory.mkdir()
    pki.write(credentials, directory, role)
    made = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH if role == "server" else ssl.Purpose.SERVER_AUTH,
        cafile=str(directory / "ca-cert.pem"),
    )
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(directory / f"{role}-cert.pem", directory / f"{role}-key.pem")
    return made


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, address: str
) -> tuple[dict[str, object], list[OSError]]:
    """What the server learns of the client, and why either of them refused."""
    ours, theirs = socket.socketpair()
    learned: dict[str, object] = {}
    problems: list[OSError] = []

    def serve() -> None:
        try:
            with server.wrap_socket(ours, server_side=True) as secure:
                secure.sendall(b"x")
                learned.update(secure.getpeercert() or {})
        except OSError as problem:
            problems.append(problem)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(theirs, server_hostname=address) as secure:
            secure.recv(1)
    except OSError as problem:
        problems.append(problem)
    finally:
        theirs.close()
        thread.join()
        ours.close()
    return learned, problems


def test_a_host_and_the_volume_service_know_each_other(places: Places, tmp_path: Path) -> None:
    server = context("server", pki.issue(places, "v", address="192.0.2.1"), tmp_path / "s")
    client = context("client", pki.issue(places, "lab1"), tmp_path / "c")
    learned, problems = shake_hands(server, client, "192.0.2.1")
    assert not problems
    assert learned["subject"] == ((("commonName", "lab1"),),)
    assert pki.PEER.format(host="lab1") == "CN=lab1"
    for wrong in ("192.0.2.2", "localhost"):
        assert shake_hands(server, client, wrong)[1]


def test_strangers_are_refused(places: Places, tmp_path: Path) -> None:
    server = context("server", pki.issue(places, "v", address="192.0.2.1"), tmp_path / "s")
    elsewhere = Places(state=tmp_path / "another")
    stranger = pki.issue(elsewhere, "lab1")
    trusting = Credentials(
        authority=pki.issue(places, "x").authority,
        certificate=stranger.certificate,
        key=stranger.key,
    )
    client = context("client", trusting, tmp_path / "c")
    assert shake_hands(server, client, "192.0.2.1")[1]


def test_a_host_cannot_pose_as_a_server(places: Places, tmp_path: Path) -> None:
    host = pki.issue(places, "lab1")
    server = context("server", host, tmp_path / "s")
    client = context("client", pki.issue(places, "lab2"), tmp_path / "c")
    assert shake_hands(server, client, "lab1")[1]


def test_the_authority_is_made_once_and_is_roots(places: Places) -> None:
    first, second = (pki.issue(places, name).authority for name in ("a", "b"))
    assert first == second
    [file] = (places.state / "deploy").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "PRIVATE KEY" not in first
