"""The parts of the console proxy that need no connection: requests and pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from minicloud.consoleproxy.pages import page
from minicloud.consoleproxy.request import is_same_site, token_of

TOKEN = "a-token_of-32-characters-and-more"


@pytest.mark.parametrize(
    ("target", "token"),
    [
        (f"/?token={TOKEN}", TOKEN),
        (f"/websockify?token={TOKEN}", TOKEN),
        (f"/websockify?path=%3Ftoken%3D{TOKEN}", TOKEN),
        (f"/?path=websockify%3Ftoken%3D{TOKEN}", TOKEN),
        ("/", ""),
        ("/?token=short", ""),
        (f"/?token={TOKEN}%0aHost", ""),
        (f"/?token={TOKEN}&token={TOKEN}", ""),
        (f"/?token={'x' * 129}", ""),
        ("//[?token=" + TOKEN, ""),
        ("/?" + "&".join(["a=b"] * 50), ""),
    ],
)
def test_the_token_of_a_request(target: str, token: str) -> None:
    assert token_of(target) == token


@pytest.mark.parametrize(
    ("origin", "public_url", "same"),
    [
        (None, "", True),
        ("http://lab:6080", "", True),
        ("HTTP://LAB:6080", "", True),
        ("http://lab:6081", "", False),
        ("http://evil.example", "", False),
        ("http://lab:6080.evil.example", "", False),
        ("null", "", False),
        ("", "", False),
        ("http://[", "", False),
        ("https://consoles.example", "https://consoles.example/", True),
        ("https://other.example", "https://consoles.example/", False),
    ],
)
def test_the_page_that_asks(origin: str | None, public_url: str, same: bool) -> None:
    assert is_same_site(origin, "lab:6080", public_url) is same


def test_no_host_is_no_site() -> None:
    assert not is_same_site("", None, "")
    assert not is_same_site("http://", "", "")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "novnc"
    (site / "core").mkdir(parents=True)
    (site / "vnc_lite.html").write_text("<p>screen")
    (site / "core" / "rfb.js").write_text("export default 1")
    (site / "auto.html").symlink_to("vnc_lite.html")
    (site / "out.html").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("secret")
    return site


def test_pages(site: Path) -> None:
    found = page(site, "/vnc_lite.html?path=%3Ftoken%3Dx")
    assert (found.status, found.body) == (200, b"<p>screen")
    assert found.content_type == "text/html; charset=utf-8"
    assert page(site, "/core/rfb.js").content_type == "text/javascript"
    assert page(site, "/auto.html").body == b"<p>screen"
    assert page(site, "/").status == 200


@pytest.mark.parametrize(
    "target",
    ["/../secret", "/%2e%2e/secret", "//" + "%2f../secret", "/out.html", "/core", "/none",
     "/a%00b", "/%ff", "/" + "x" * 5000, "/core/../../secret"],
)  # fmt: skip
def test_nothing_else(site: Path, target: str) -> None:
    found = page(site, target)
    assert found.status == 404
    assert b"secret" not in found.body


def test_without_novnc_a_page_says_what_to_install(tmp_path: Path) -> None:
    found = page(tmp_path / "none", "/vnc_lite.html?path=%3Ftoken%3Dx")
    assert found.status == 503
    assert b"apt-get install novnc" in found.body
    assert page(tmp_path / "none", "/").status == 200
