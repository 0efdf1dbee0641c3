"""The way of a guest between two hosts: who is let in, and what becomes of the streams."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from minicloud.compute.passages import Passages, through
from minicloud.deploy.processes import wait_until
from minicloud.domain.errors import HostProblem
from minicloud.domain.models import MigrationDoor
from minicloud.virt.driver import Ways


def ways(directory: Path, *names: str) -> Ways:
    directory.mkdir(exist_ok=True)
    sockets = {name: directory / name for name in names}
    return Ways(sockets=sockets, uid=os.getuid(), gid=os.getgid())


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Ways]:
    """Two sockets, at each of which what is said is answered with its name in front."""
    found = ways(tmp_path / "in", "memory", "disks")
    with contextlib.ExitStack() as end:
        for name, path in found.sockets.items():
            listener = end.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
            listener.listen(8)
            threading.Thread(target=echo, args=(listener, name.encode()), daemon=True).start()
            end.callback(listener.shutdown, socket.SHUT_RDWR)
        yield found


def echo(listener: socket.socket, name: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=answer, args=(peer, name), daemon=True).start()


def answer(peer: socket.socket, name: bytes) -> None:
    with peer:
        while piece := peer.recv(1 << 16):
            peer.sendall(name + b":" + piece)


def has_threads(so_many: int) -> bool:
    return threading.active_count() >= so_many


def say(path: Path, words: bytes) -> bytes:
    """The answer; b"" where the connection ends without one."""
    ended = contextlib.suppress(ConnectionResetError, BrokenPipeError)
    with socket.socket(socket.AF_UNIX) as peer, ended:
        peer.settimeout(30)
        peer.connect(str(path))
        peer.sendall(words)
        return peer.recv(1 << 16)
    return b""


@pytest.fixture
def passages() -> Iterator[Passages]:
    found = Passages(address="127.0.0.1")
    yield found
    found.close_all()


def test_each_stream_comes_to_the_one_of_its_name(
    passages: Passages, target: Ways, tmp_path: Path
) -> None:
    source = ways(tmp_path / "out", "memory", "disks")
    with through(passages.open("server", target), source):
        for name in ("memory", "disks", "memory"):
            assert say(source.sockets[name], b"hello") == name.encode() + b":hello"
        assert source.sockets["disks"].stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(FileNotFoundError):
        say(source.sockets["memory"], b"hello")


def test_who_has_no_key_is_not_let_in(passages: Passages, target: Ways, tmp_path: Path) -> None:
    source = ways(tmp_path / "out", "memory", "other")
    door = passages.open("server", target)
    secret, _, fingerprint = door.key.partition(".")
    for key in (f"{secret}x.{fingerprint}", f".{fingerprint}", f"{secret}.{'0' * 64}", ""):
        with through(msgspec.structs.replace(door, key=key), source):
            assert say(source.sockets["memory"], b"hello") == b""
    with through(door, source):
        assert say(source.sockets["other"], b"hello") == b"", "there is no such stream"
        assert say(source.sockets["memory"], b"hello") == b"memory:hello"


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_no_guest_speaks_to_the_daemon_of_the_other_host(
    passages: Passages, target: Ways, tmp_path: Path
) -> None:
    found = ways(tmp_path / "out", "memory", "disks")
    source = msgspec.structs.replace(found, uid=4321, gid=4321, daemons=frozenset({"disks"}))
    with through(passages.open("server", target), source):
        owners = {name: path.stat().st_uid for name, path in source.sockets.items()}
        assert owners == {"memory": 4321, "disks": 0}
        assert source.sockets["disks"].stat().st_mode & 0o777 == 0o600


def test_a_door_that_is_shut_ends_what_came_through(
    passages: Passages, target: Ways, tmp_path: Path
) -> None:
    source = ways(tmp_path / "out", "memory")
    first = passages.open("server", target)
    with through(first, source), socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(30)
        peer.connect(str(source.sockets["memory"]))
        peer.sendall(b"hello")
        assert peer.recv(100) == b"memory:hello"
        second = passages.open("server", target)
        assert peer.recv(100) == b"", "another door of the server's shuts the first"
    with through(first, source):
        assert say(source.sockets["memory"], b"hello") == b""
    with through(second, source):
        assert say(source.sockets["memory"], b"hello") == b"memory:hello"
    passages.close("server")
    passages.close("server")
    with through(second, source):
        assert say(source.sockets["memory"], b"hello") == b""


def test_who_says_nothing_at_the_door_is_not_waited_for(
    passages: Passages, target: Ways, tmp_path: Path
) -> None:
    source = ways(tmp_path / "out", "memory")
    door = passages.open("server", target)
    before = threading.active_count()
    with contextlib.ExitStack() as silent:

        def come() -> socket.socket:
            return silent.enter_context(socket.create_connection((door.address, door.port), 30))

        for so_many in range(before + 1, before + 65):
            come()
            assert wait_until(partial(has_threads, so_many), limit_s=30)
        one_more = come()
        one_more.settimeout(5)
        assert one_more.recv(1) == b""
    with through(door, source):
        assert wait_until(
            lambda: say(source.sockets["memory"], b"hello") == b"memory:hello", limit_s=60
        )


def test_a_way_that_cannot_be_made(tmp_path: Path) -> None:
    door = MigrationDoor(address="127.0.0.1", port=1, key="a.b")
    nowhere = Ways(sockets={"memory": tmp_path / "none" / "memory"}, uid=0, gid=0)
    with pytest.raises(HostProblem, match="cannot be made"), through(door, nowhere):
        pass
