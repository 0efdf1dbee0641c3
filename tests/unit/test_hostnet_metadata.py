"""The metadata door as a guest sees it, on loopback sockets instead of a network's."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import http.server
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from minicloud.hostnet.metadata import Guest, MetadataProxy, Reply, parse_request, render

SERVER_ID = "22222222-0000-4000-8000-000000000001"


class _Upstream(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, **dict(self.headers)}).encode()
        self.send_response(404 if self.path == "/absent" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Server", "not to be told")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.headers["Sent"] = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def upstream() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Upstream)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxy(upstream: http.server.ThreadingHTTPServer) -> Iterator[MetadataProxy]:
    url = f"http://127.0.0.1:{upstream.server_port}"
    proxy = MetadataProxy(upstream=url, secret="s3cret", patience=0.5)
    yield proxy
    proxy.close()


@pytest.fixture
def door(proxy: MetadataProxy) -> tuple[str, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    proxy.publish(
        "net", "a-network", {"127.0.0.1": Guest(server_id=SERVER_ID, project_id="project")}
    )
    address: tuple[str, int] = listener.getsockname()
    proxy.listen("net", listener)
    return address


def ask(
    door: tuple[str, int], path: str = "/", method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(*door, timeout=10)
    connection.request(
        method, path, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )
    response = connection.getresponse()
    return response, response.read()


def raw(door: tuple[str, int], *pieces: bytes) -> bytes:
    with socket.create_connection(door, timeout=20) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
        return answer


def test_a_guest_is_named_to_the_service(door: tuple[str, int]) -> None:
    response, body = ask(door, "/openstack/latest?x=1")
    said = json.loads(body)
    signature = hmac.new(b"s3cret", SERVER_ID.encode(), hashlib.sha256).hexdigest()
    assert response.status == 200
    assert said["path"] == "/openstack/latest?x=1"
    assert said["X-Instance-ID"] == SERVER_ID
    assert said["X-Tenant-ID"] == "project"
    assert said["X-Instance-ID-Signature"] == signature
    place = f"{SERVER_ID}\na-network\n127.0.0.1".encode()
    assert said["X-Minicloud-Network-ID"] == "a-network"
    signed = hmac.new(b"s3cret", place, hashlib.sha256).hexdigest()
    assert said["X-Minicloud-Place-Signature"] == signed
    assert said["X-Forwarded-For"] == "127.0.0.1"


def test_what_a_guest_says_of_itself_is_not_passed_on(door: tuple[str, int]) -> None:
    response, body = ask(
        door,
        X_Instance_ID="another",
        x_tenant_id="another",
        X_Instance_ID_Signature="forged",
        X_Forwarded_For="10.9.9.9",
        X_Metadata_Provider="me",
        Accept="text/plain",
    )
    assert b"another" not in body and b"forged" not in body and b"10.9.9.9" not in body
    said = json.loads(body)
    assert "X-Metadata-Provider" not in said
    assert said["Accept"] == "text/plain"
    assert response.headers["Content-Type"] == "application/json"
    assert "Server" not in response.headers


def test_headers_with_underscores_do_not_slip_through(door: tuple[str, int]) -> None:
    answer = raw(door, b"GET / HTTP/1.0\r\nX_Instance_ID: another\r\n\r\n")
    assert b"200 OK" in answer and b"another" not in answer


def test_the_services_own_answers_come_back(door: tuple[str, int]) -> None:
    assert ask(door, "/absent")[0].status == 404


def test_a_stranger_on_the_network_gets_nothing(
    proxy: MetadataProxy, door: tuple[str, int]
) -> None:
    proxy.publish("net", "a-network", {"10.0.0.9": Guest(server_id=SERVER_ID)})
    assert ask(door)[0].status == 404


def test_head_has_no_body(door: tuple[str, int]) -> None:
    response, body = ask(door, method="HEAD")
    assert body == b""
    assert response.status in (200, 501)


def test_other_methods_are_refused(door: tuple[str, int]) -> None:
    response, _ = ask(door, method="PUT")
    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    "pieces",
    [
        (b"POST /p HTTP/1.1\r\nContent-Length: 6\r\n\r\nsealed and more",),
        (b"POST /p HTTP/1.1\r\nContent-Length: 6\r\n\r\n", b"sea", b"led"),
    ],
)
def test_what_a_guest_posts_is_passed_on(door: tuple[str, int], pieces: tuple[bytes, ...]) -> None:
    head, _, body = raw(door, *pieces).partition(b"\r\n\r\n")
    assert b" 200 OK" in head
    said = json.loads(body)
    assert (said["path"], said["Sent"], said["X-Instance-ID"]) == ("/p", "sealed", SERVER_ID)


def test_a_body_that_does_not_come_is_not_waited_for(door: tuple[str, int]) -> None:
    answer = raw(door, b"POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nsea")
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_service_that_is_away_is_503(
    door: tuple[str, int], upstream: http.server.ThreadingHTTPServer
) -> None:
    upstream.shutdown()
    upstream.server_close()
    assert ask(door)[0].status == 503


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET http://169.254.169.254/ HTTP/1.1\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n\r\n", 400),
        (b"GET / SPDY/3\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /\x01 HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 20000\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 413),
    ],
)
def test_what_is_no_request_is_refused(
    door: tuple[str, int], request_bytes: bytes, status: int
) -> None:
    assert raw(door, request_bytes).startswith(f"HTTP/1.1 {status} ".encode())


def test_an_endless_request_is_refused(door: tuple[str, int]) -> None:
    with socket.create_connection(door, timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 17000)
        assert connection.recv(12) == b"HTTP/1.1 431"


def test_silent_guests_do_not_keep_others_out_for_ever(door: tuple[str, int]) -> None:
    silent = [socket.create_connection(door) for _ in range(6)]
    try:
        assert ask(door)[0].status == 200
    finally:
        for connection in silent:
            connection.close()


def test_a_forgotten_network_is_closed(proxy: MetadataProxy, door: tuple[str, int]) -> None:
    proxy.forget("net")
    with pytest.raises(ConnectionRefusedError):
        ask(door)
    proxy.forget("net")


def test_a_body_is_cut_for_head_and_made_up_for_errors() -> None:
    assert render(Reply(status=200, body=b"abc"), with_body=False).endswith(b"\r\n\r\n")
    assert render(Reply(status=404), with_body=True).endswith(b"404 Not Found\n")
    assert parse_request(b"GET /x HTTP/1.0\r\nUser-Agent: me\r\n\r\n").headers == {
        "User-Agent": "me"
    }
