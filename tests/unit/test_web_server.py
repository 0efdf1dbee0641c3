"""The HTTP server and request bodies: bounded memory, and connections that stay in step."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from minicloud.kit.context import Context
from minicloud.kit.policy import PUBLIC, Policy
from minicloud.kit.web import Call, Route, Service, WebServer, build_app, dialects
from minicloud.kit.web.chunked import ChunkedBody


def _count(call: Call) -> dict[str, int]:
    total = 0
    while piece := call.stream.read(1000):
        total += len(piece)
    return {"bytes": total}


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    service = Service(
        name="test",
        routes=[
            Route(method="PUT", path="/count", handler=_count, policy=PUBLIC, raw=True),
            Route(method="PUT", path="/ignore", handler=lambda _: {}, policy=PUBLIC, raw=True),
            Route(method="PUT", path="/json", handler=lambda _: {}, policy=PUBLIC,
                  body=dict[str, Any]),
        ],
        policy=Policy({}),
        dialect=dialects.nova,
        authenticate=lambda _headers, _timings, request_id: Context(request_id=request_id),
    )  # fmt: skip
    web = WebServer(build_app(service), host="127.0.0.1", port=0)
    web.start()
    yield web.address
    web.stop()


def _talk(address: tuple[str, int], data: bytes) -> bytes:
    """All that the server answers to ``data`` before it closes."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def test_a_chunked_body_comes_through_whole(server: tuple[str, int]) -> None:
    pieces = (b"x" * size for size in (1, 999, 1001, 70000))
    answer = requests.put("http://{}:{}/count".format(*server), data=pieces, timeout=10)
    assert answer.json() == {"bytes": 72001}


@pytest.mark.parametrize("path", ["/count", "/ignore"])
def test_another_request_may_follow_a_chunked_one(server: tuple[str, int], path: str) -> None:
    first = f"PUT {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    answer = _talk(
        server,
        first + b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n"
        b"PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    )
    assert answer.count(b"HTTP/1.1 200") == 2
    assert b'{"bytes":3}' in answer


@pytest.mark.parametrize("length", [b"Content-Length: 100000000", b"Transfer-Encoding: chunked"])
def test_a_large_unread_body_ends_the_connection(server: tuple[str, int], length: bytes) -> None:
    with socket.create_connection(server, timeout=10) as connection:
        connection.sendall(b"PUT /ignore HTTP/1.1\r\nHost: a\r\n" + length + b"\r\n\r\n5F5E100\r\n")
        connection.sendall(b"x" * 1_100_000)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    "chunk", [b"zz\r\n", b"-5\r\nhello\r\n", b"5\r\nhello!\r\n", b"F" * 20, b""]
)
def test_malformed_chunks_of_a_json_body_are_the_clients_fault(
    server: tuple[str, int], chunk: bytes
) -> None:
    head = b"PUT /json HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert _talk(server, head + chunk).startswith(b"HTTP/1.1 400")


class _Wire(io.BytesIO):
    """Remembers the largest piece that was asked for."""

    largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        self.largest = max(self.largest, size)
        return super().read(size)


def _body(data: bytes) -> tuple[_Wire, ChunkedBody]:
    wire = _Wire(data)
    return wire, ChunkedBody(wire)


def test_no_more_is_held_than_was_asked_for() -> None:
    wire, body = _body(b"FFFFFFFFFF\r\n" + b"x" * 5000)
    assert len(body.read(1000)) == 1000
    assert wire.largest == 1000
    assert not body.ended


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-1], lambda data: data[:20], lambda data: data[:2]]
)
def test_a_body_that_breaks_off_is_an_error(spoil: Callable[[bytes], bytes]) -> None:
    _, body = _body(spoil(b"A\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"))
    with pytest.raises(ValueError, match="ended"):
        body.read(100)
