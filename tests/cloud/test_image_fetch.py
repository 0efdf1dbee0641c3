"""What may be fetched for a user, and what not, whatever its name and wherever it redirects."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

import pytest
from web_files import WebFiles, web_files

from minicloud.domain.errors import Invalid, Unavailable
from minicloud.image.fetch import Fetcher, Rules

PUBLIC = "93.184.215.14"
LOOPBACK = [ipaddress.ip_network("127.0.0.1/32")]


@pytest.fixture
def web() -> Iterator[WebFiles]:
    with web_files() as running:
        yield running


def _fetcher(web: WebFiles, *, networks: Sequence[object] = (), resolve: object = None) -> Fetcher:
    rules = Rules(ports=[web.port], networks=networks, timeout_s=5)
    return Fetcher(rules, resolve=resolve)  # type: ignore[arg-type]


def _all(fetcher: Fetcher, url: str) -> bytes:
    answer = fetcher.open(url)
    try:
        return b"".join(iter(lambda: answer.read(1000), b""))
    finally:
        answer.close()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254",
     "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1",
     "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
     "2002:7f00:1::1", "fe80::1%eth0"],
)  # fmt: skip
def test_special_addresses_are_refused(web: WebFiles, address: str) -> None:
    fetcher = _fetcher(web, resolve=lambda _host, _port: [address])
    with pytest.raises(Invalid, match="must not be reached"):
        fetcher.open(web.url("/x", "images.example"))
    assert web.asked == []


def test_one_bad_address_among_good_ones_is_enough(web: WebFiles) -> None:
    fetcher = _fetcher(web, resolve=lambda _host, _port: [PUBLIC, "127.0.0.1"])
    with pytest.raises(Invalid, match="must not be reached"):
        fetcher.open(web.url("/x", "images.example"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f000001", "2130706433", "127.1"])
def test_loopback_by_any_spelling(web: WebFiles, host: str) -> None:
    with pytest.raises((Invalid, Unavailable)):
        _fetcher(web).open(web.url("/x", host))
    assert web.asked == []


def test_a_network_that_the_operator_lists(web: WebFiles) -> None:
    web.files["/x?y=1"] = b"data"
    assert _all(_fetcher(web, networks=LOOPBACK), web.url("/x?y=1")) == b"data"


def test_the_connection_goes_to_the_address_that_was_checked(web: WebFiles) -> None:
    """A name server that changes its mind between the look and the connection changes nothing."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"]])
    web.files["/x"] = b"data"
    fetcher = _fetcher(web, networks=LOOPBACK, resolve=lambda _host, _port: next(answers))
    assert _all(fetcher, web.url("/x", "rebinding.example")) == b"data"
    assert web.hosts == [f"rebinding.example:{web.port}"]
    assert next(answers) == ["10.0.0.1"]  # it was asked once


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("http://169.254.169.254:{port}/latest/meta-data", "must not be reached"),
        ("http://inside.example:{port}/x", "must not be reached"),
        ("file:///etc/passwd", "Only http and https"),
        ("http://images.example:22/x", "port"),
        ("/there", ""),
        ("/round", "redirects more than"),
    ],
)
def test_redirects_are_held_to_the_same_rules(web: WebFiles, target: str, words: str) -> None:
    web.redirects.update({"/x": target.format(port=web.port), "/round": "/round"})
    web.files["/there"] = b"data"
    known = {"images.example": ["127.0.0.1"], "inside.example": ["10.0.0.1"]}
    fetcher = _fetcher(web, networks=LOOPBACK, resolve=lambda host, _port: known.get(host, [host]))
    if words:
        with pytest.raises(Invalid, match=words):
            fetcher.open(web.url("/x", "images.example"))
    else:
        assert _all(fetcher, web.url("/x", "images.example")) == b"data"


@pytest.mark.parametrize(
    "url",
    ["ftp://images.example/x", "file:///etc/passwd", "http:///x", "http://user:pw@images.example/",
     "http://images.example:99999/", "http://images.example:22/", "images.example/x", "http://[::1",
     "http://images.example/a b", "http://images.example/\r\nHost: x", "http://ü.example/",
     "http://images.example/" + "x" * 2100, ""],
)  # fmt: skip
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(Invalid):
        Fetcher(Rules()).check(url)


def test_what_the_server_does_wrong(web: WebFiles) -> None:
    fetcher = _fetcher(web, networks=LOOPBACK)
    with pytest.raises(Unavailable, match="404"):
        fetcher.open(web.url("/missing"))
    web.files["/x"] = b"0123456789"
    assert b"".join(fetcher.pieces(web.url("/x"), 3, 4)) == b"3456"
    with pytest.raises(EOFError):
        list(fetcher.pieces(web.url("/x"), 3, 40))
    web.cut["/x"] = 5
    with pytest.raises((Unavailable, EOFError)):
        list(fetcher.pieces(web.url("/x"), 0, 10))
