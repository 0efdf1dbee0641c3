"""The demo image by URL: fetched from a server of the test's own, checked, and told where from."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from minicloud.deploy.image import DemoImage, NotToBeHad, fetch, source
from minicloud.deploy.places import Places
from minicloud.deploy.stage import StageFailed

CONTENT = b"QFI\xfb" + bytes(range(256)) * 5000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Site:
    def __init__(self, directory: Path, url: str) -> None:
        self.directory, self.url = directory, url
        self.image = f"{url}/small.img"
        (directory / "small.img").write_bytes(CONTENT)

    def publish(self, sums: str, kind: str, content: bytes = CONTENT) -> None:
        digest = hashlib.new(kind, content).hexdigest()
        (self.directory / sums).write_text(f"{'0' * len(digest)}  other.img\n{digest} *small.img\n")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    directory = tmp_path / "site"
    directory.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Site(directory, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("sums", "kind"), [("SHA256SUMS", "sha256"), ("MD5SUMS", "md5")])
def test_a_published_checksum(site: Site, tmp_path: Path, sums: str, kind: str) -> None:
    site.publish(sums, kind)
    assert fetch(site.image, tmp_path).read_bytes() == CONTENT
    site.publish(sums, kind, b"something else")
    with pytest.raises(NotToBeHad, match=f"{kind} checksum is wrong"):
        fetch(site.image, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_checksum_in_the_url(site: Site, tmp_path: Path) -> None:
    right = hashlib.sha256(CONTENT).hexdigest()
    assert fetch(f"{site.image}#sha256={right}", tmp_path).exists()
    for wrong in (f"sha256={'0' * 64}", f"md5={right}", "sha256="):
        with pytest.raises(NotToBeHad):
            fetch(f"{site.image}#{wrong}", tmp_path)


def test_what_is_not_fetched(site: Site, tmp_path: Path) -> None:
    with pytest.raises(NotToBeHad, match="no checksum is published"):
        fetch(site.image, tmp_path)
    right = hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(NotToBeHad, match="status 404"):
        fetch(f"{site.url}/absent.img#sha256={right}", tmp_path)
    with pytest.raises(NotToBeHad, match="not reachable"):
        fetch(f"http://127.0.0.1:9/small.img#sha256={right}", tmp_path)
    with pytest.raises(NotToBeHad, match="only http and https"):
        fetch(f"file:///etc/hostname#sha256={right}", tmp_path)


def builder(checkout: Path, status: int = 0, word: str = "built") -> None:
    """A tools/build-image that makes a file of the word it was told."""
    (checkout / "tools").mkdir(parents=True, exist_ok=True)
    script = checkout / "tools" / "build-image"
    script.write_text(f'#!/bin/sh\n[ {status} = 0 ] || exit {status}\nprintf {word} >"$3"\n')
    script.chmod(0o755)


def demo(tmp_path: Path, wish: str) -> tuple[DemoImage, Places]:
    places = Places(cache=tmp_path / "cache", logs=tmp_path)
    return DemoImage(places, tmp_path / "checkout", wish), places


def test_a_wish_is_fulfilled_once_and_again_when_it_changes(site: Site, tmp_path: Path) -> None:
    site.publish("SHA256SUMS", "sha256")
    builder(tmp_path / "checkout")
    image, places = demo(tmp_path, site.image)
    assert image.ensure() == "small.img, 1 MB"
    assert places.demo_image.read_bytes() == CONTENT
    assert source(places.demo_image) == site.image
    for same in (site.image, "auto"):
        assert demo(tmp_path, same)[0].ensure() == f"{site.image}, in the cache"
    assert demo(tmp_path, "built")[0].ensure() == "built, 0 MB"
    assert places.demo_image.read_text() == "built"
    assert source(places.demo_image).startswith("built ")
    assert demo(tmp_path, "built")[0].ensure() == "built, in the cache"


def test_auto_builds_where_cirros_cannot_be_had(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder(tmp_path / "checkout")
    monkeypatch.setattr("minicloud.deploy.image.CIRROS", f"{site.url}/absent.img")
    image, _ = demo(tmp_path, "auto")
    assert image.ensure() == "built, 0 MB (no CirrOS: no checksum is published beside it)"


def test_a_url_that_was_asked_for_is_never_replaced_by_a_build(site: Site, tmp_path: Path) -> None:
    builder(tmp_path / "checkout")
    image, places = demo(tmp_path, site.image)
    with pytest.raises(StageFailed) as caught:
        image.ensure()
    assert "no checksum" in caught.value.why
    assert not places.demo_image.exists()


def test_what_was_built_is_built_again_when_its_recipe_changes(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    builder(checkout)
    image, places = demo(tmp_path, "built")
    assert image.ensure() == "built, 0 MB"
    first = source(places.demo_image)
    (checkout / "tools" / "guest").mkdir()
    (checkout / "tools" / "guest" / "rc").write_text("#!/bin/sh\n")
    builder(checkout, word="anew")
    assert demo(tmp_path, "auto")[0].ensure() == "built, in the cache"
    assert demo(tmp_path, "built")[0].ensure() == "built, 0 MB"
    assert places.demo_image.read_text() == "anew"
    second = source(places.demo_image)
    assert second not in ("built", first)
    builder(checkout, status=1)
    assert demo(tmp_path, "built")[0].ensure().startswith("built earlier")
    assert (places.demo_image.read_text(), source(places.demo_image)) == ("anew", second)
