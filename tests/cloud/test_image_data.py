"""Image data over HTTP: uploads that are taken, refused, broken off and cut off; downloads."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import disks
import pytest
from disks import MIB
from image import ImageCloud, image_cloud

LIMIT = 64 * MIB


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ImageCloud]:
    with image_cloud(tmp_path, max_size=LIMIT) as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img makes the files of these tests")
    directory = tmp_path_factory.mktemp("disks")
    disks.make(directory)
    return directory


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


# -- what is taken -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "disk_format", "virtual_size"),
    [
        ("qcow2-good", "qcow2", 3 * MIB),
        ("qcow2-zstd", "qcow2", 3 * MIB),
        ("qcow2-v2", "qcow2", 3 * MIB),
        ("noise.raw", "raw", 3 * MIB),
        ("partitioned.raw", "raw", MIB),
        ("tiny.raw", "raw", 4),
        ("empty.raw", "raw", 0),
        ("disc.iso", "iso", 40 * 1024),
        ("hybrid.iso", "iso", 40 * 1024),
        ("vmdk", "vmdk", 3 * MIB),
        ("vmdk-stream", "vmdk", 3 * MIB),
        ("vdi", "vdi", 3 * MIB),
        ("vhdx", "vhdx", 3 * MIB),
        ("vpc", "vhd", 3168256),
        ("noise.raw", "ami", 3 * MIB),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_good_data(
    cloud: ImageCloud, files: Path, name: str, disk_format: str, virtual_size: int, chunked: bool
) -> None:
    data = (files / name).read_bytes()
    image = cloud.create(disk_format=disk_format)
    body = (data[at : at + 70_000] for at in range(0, len(data), 70_000)) if chunked else data
    answer = cloud.upload(image["id"], body)
    assert (answer.status_code, answer.text) == (204, "")
    stored = cloud.show(image["id"])
    assert stored["status"] == "active"
    assert stored["size"] == len(data)
    assert stored["virtual_size"] == virtual_size
    assert stored["checksum"] == hashlib.md5(data).hexdigest()
    assert stored["os_hash_algo"] == "sha512"
    assert stored["os_hash_value"] == hashlib.sha512(data).hexdigest()
    fetched = cloud.call("GET", f"/v2/images/{image['id']}/file")
    assert fetched.status_code == (200 if data else 204)
    assert fetched.content == data
    if data:
        assert fetched.headers["Content-MD5"] == stored["checksum"]
        assert fetched.headers["Content-Length"] == str(len(data))
    assert len(cloud.stored()) == 1


# -- what is refused -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "disk_format", "status", "words"),
    [
        ("qcow2-backed", "qcow2", 400, "backing file"),
        ("qcow2-shadow", "qcow2", 400, "backing file"),
        ("qcow2-datafile", "qcow2", 400, "external data file"),
        ("qcow2-extended", "qcow2", 400, "features that are not known"),
        ("qcow2-unknown", "qcow2", 400, "features that are not known"),
        ("qcow2-version9", "qcow2", 400, "features that are not known"),
        ("qcow2-short", "qcow2", 400, "not qcow2|content is raw"),
        ("qcow2-and-disk", "qcow2", 400, "partition table and qcow2"),
        ("qcow2-huge", "qcow2", 413, "virtual size"),
        ("noise.raw", "qcow2", 400, "not qcow2"),
        ("empty.raw", "qcow2", 400, "content is raw"),
        ("noise.raw", "iso", 400, "not iso"),
        ("qcow2-good", "raw", 400, "content is qcow2"),
        ("vmdk", "raw", 400, "content is vmdk"),
        ("vdi", "raw", 400, "content is vdi"),
        ("vhdx", "raw", 400, "content is vhdx"),
        ("vpc", "raw", 400, "content is vhd"),
        ("qed", "raw", 400, "content is qed"),
        ("disc.iso", "raw", 400, "content is iso"),
        ("vmdk-flat", "vmdk", 400, "descriptor"),
        ("vmdk-parent", "vmdk", 400, "names a parent"),
        ("vmdk-hidden-parent", "vmdk", 400, "names a parent"),
        ("vmdk-sizeless", "vmdk", 400, "has no size|descriptor"),
        ("vmdk-shadow", "vmdk", 400, "names other files"),
        ("vmdk-neighbour", "vmdk", 400, "names another file"),
        ("noise.raw", "vdi", 400, "not vdi"),
        ("qcow2-good", "aki", 400, "content is qcow2"),
    ],
)
def test_bad_data(
    cloud: ImageCloud, files: Path, name: str, disk_format: str, status: int, words: str
) -> None:
    image = cloud.create(disk_format=disk_format)
    answer = cloud.upload(image["id"], (files / name).read_bytes())
    assert answer.status_code == status, answer.text
    assert any(word in answer.json()["message"] for word in words.split("|")), answer.text
    # As if nothing had been: the right data may still come.
    after = cloud.show(image["id"])
    assert {**after, "updated_at": None} == {**image, "updated_at": None}
    assert cloud.stored() == []


def test_too_large(cloud: ImageCloud) -> None:
    image = cloud.create(disk_format="raw")
    announced = cloud.upload(image["id"], b"\x01" * (LIMIT + 1))
    chunked = cloud.upload(image["id"], (b"\x01" * MIB for _ in range(65)))
    for answer in (announced, chunked):
        assert answer.status_code == 413
        assert "limit" in answer.json()["message"]
    assert cloud.show(image["id"])["status"] == "queued"
    assert cloud.stored() == []


def test_the_size_that_is_announced(cloud: ImageCloud) -> None:
    image = cloud.create(disk_format="raw")

    def chunks() -> Iterator[bytes]:
        yield b"\x01" * 1000

    for size in ("999", "1001", "x", "-1"):
        answer = cloud.upload(image["id"], chunks(), **{"X-OpenStack-Image-Size": size})
        assert answer.status_code == 400, size
    wrong = cloud.upload(image["id"], b"12345", **{"X-OpenStack-Image-Size": "4"})
    assert wrong.status_code == 400
    right = cloud.upload(image["id"], chunks(), **{"X-OpenStack-Image-Size": "1000"})
    assert right.status_code == 204


def test_formats_come_first(cloud: ImageCloud) -> None:
    image = cloud.call("POST", "/v2/images", json={"name": "bare"}).json()
    answer = cloud.upload(image["id"], b"data")
    assert answer.status_code == 400
    assert "disk_format" in answer.json()["message"]
    assert cloud.stored() == []


def test_data_comes_once(cloud: ImageCloud) -> None:
    image = cloud.create(disk_format="raw")
    assert cloud.upload(image["id"], b"first").status_code == 204
    assert cloud.upload(image["id"], b"second" * 100_000).status_code == 409
    assert cloud.call("GET", f"/v2/images/{image['id']}/file").content == b"first"
    change = [{"op": "replace", "path": "/disk_format", "value": "iso"}]
    assert cloud.patch(image["id"], change).status_code == 403


def test_of_many_uploads_at_once_one_wins(cloud: ImageCloud) -> None:
    image = cloud.create(disk_format="raw")
    datas = [bytes([number]) * (2 * MIB) for number in range(1, 6)]
    ready = threading.Barrier(len(datas))
    results: dict[int, int] = {}

    def upload(number: int) -> None:
        ready.wait()
        results[number] = cloud.upload(image["id"], datas[number]).status_code

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(len(datas))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results.values()) == [204, 409, 409, 409, 409]
    winner = next(number for number, status in results.items() if status == 204)
    assert cloud.call("GET", f"/v2/images/{image['id']}/file").content == datas[winner]
    assert len(cloud.stored()) == 1


# -- what breaks ---------------------------------------------------------------------------------
class _Uploader:
    """A client that sends some of its data and may go away."""

    def __init__(self, url: str, image_id: str, head: str = "Content-Length: 4000000") -> None:
        host, port = url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.socket.sendall(
            f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: {host}\r\nX-Auth-Token: demo\r\n"
            f"Content-Type: application/octet-stream\r\n{head}\r\n\r\n".encode()
        )

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> bytes:
        return self.socket.recv(65536)

    def leave(self) -> None:
        self.socket.close()


def _under_way(cloud: ImageCloud, image_id: str) -> Callable[[], bool]:
    return lambda: (
        cloud.show(image_id)["status"] == "saving"
        and any(path.stat().st_size for path in cloud.files.iterdir())
    )


@pytest.mark.parametrize(
    ("head", "data"),
    [
        ("Content-Length: 4000000", b"x" * 2_000_000),
        ("Transfer-Encoding: chunked", b"1E8480\r\n" + b"x" * 2_000_000 + b"\r\n"),
        ("Transfer-Encoding: chunked", b"1E8480\r\n" + b"x" * 2_000_000 + b"\r\nnonsense\r\n"),
    ],
)
def test_a_client_that_goes_away(cloud: ImageCloud, head: str, data: bytes) -> None:
    image = cloud.create(disk_format="raw")
    client = _Uploader(cloud.url, image["id"], head)
    client.send(data)
    if b"nonsense" not in data:
        _wait(_under_way(cloud, image["id"]))
    client.leave()
    _wait(lambda: cloud.show(image["id"])["status"] == "queued" and cloud.stored() == [])
    assert cloud.upload(image["id"], b"again").status_code == 204


def test_deleted_while_it_is_uploaded(cloud: ImageCloud) -> None:
    image = cloud.create(disk_format="raw")
    client = _Uploader(cloud.url, image["id"])
    client.send(b"x" * 2_000_000)
    _wait(_under_way(cloud, image["id"]))
    cloud.sweep()
    assert len(cloud.stored()) == 1
    assert cloud.call("DELETE", f"/v2/images/{image['id']}").status_code == 204
    cloud.sweep()  # the uploader still holds its file
    assert len(cloud.stored()) == 1
    client.send(b"x" * 2_000_000)
    assert client.answer().startswith(b"HTTP/1.1 409")
    client.leave()
    assert cloud.stored() == []


def test_a_daemon_killed_in_an_upload(tmp_path: Path) -> None:
    daemon = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("image.py")), str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert daemon.stdout is not None
    url = daemon.stdout.readline().strip()
    with image_cloud(tmp_path) as cloud:  # another copy on the same database and files
        image, whole = (cloud.create(disk_format="raw") for _ in range(2))
        cloud.upload(whole["id"], b"whole")
        client = _Uploader(url, image["id"])
        client.send(b"x" * 2_000_000)
        _wait(_under_way(cloud, image["id"]))
        cloud.sweep()
        assert cloud.show(image["id"])["status"] == "saving"  # its uploader lives
        daemon.kill()
        daemon.wait()
        client.leave()
        assert cloud.call("GET", f"/v2/images/{image['id']}/file").status_code == 204
        (cloud.files / "left-by-a-deletion").write_bytes(b"x")
        cloud.sweep()
        assert cloud.show(image["id"])["status"] == "queued"
        assert cloud.call("GET", f"/v2/images/{whole['id']}/file").content == b"whole"
        assert [name[:36] for name in cloud.stored()] == [whole["id"]]
        assert cloud.upload(image["id"], b"again").status_code == 204


@pytest.mark.host
def test_a_full_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounts a small file system")
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(data)], check=True)
    try:
        with image_cloud(tmp_path) as cloud:
            image = cloud.create(disk_format="raw")
            announced = cloud.upload(image["id"], b"\x01" * 8 * MIB)
            chunked = cloud.upload(image["id"], (b"\x01" * MIB for _ in range(8)))
            for answer in (announced, chunked):
                assert answer.status_code == 413
                assert "no space left" in answer.json()["message"]
            assert cloud.show(image["id"])["status"] == "queued"
            assert cloud.stored() == []
            assert cloud.upload(image["id"], b"fits").status_code == 204
    finally:
        subprocess.run(["umount", str(data)], check=True)


# -- downloads -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wanted", "status", "data", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=4-2", 416, b"", "bytes */10"),
        ("bytes=", 416, b"", "bytes */10"),
        ("lines=1-2", 416, b"", "bytes */10"),
    ],
)
def test_ranges(
    cloud: ImageCloud, wanted: str, status: int, data: bytes, content_range: str
) -> None:
    image = cloud.create(disk_format="raw")
    cloud.upload(image["id"], b"0123456789")
    answer = cloud.call("GET", f"/v2/images/{image['id']}/file", headers={"Range": wanted})
    assert answer.status_code == status
    assert answer.content == data
    assert answer.headers["Content-Range"] == content_range


def test_no_data_and_no_access(cloud: ImageCloud) -> None:
    image = cloud.create(disk_format="raw")
    path = f"/v2/images/{image['id']}"
    assert cloud.call("GET", f"{path}/file").status_code == 204
    cloud.upload(image["id"], b"data")
    assert cloud.call("GET", f"{path}/file", "alt").status_code == 404
    assert cloud.call("GET", f"{path}/file", "service").content == b"data"
    head = cloud.call("HEAD", f"{path}/file")
    assert (head.status_code, head.headers["Content-Length"]) == (200, "4")
    assert cloud.call("POST", f"{path}/actions/deactivate").status_code == 204
    assert cloud.show(image["id"])["status"] == "deactivated"
    assert cloud.call("GET", f"{path}/file").status_code == 403
    assert cloud.call("GET", f"{path}/file", "admin").content == b"data"
    assert cloud.call("POST", f"{path}/actions/reactivate").status_code == 204
    assert cloud.call("GET", f"{path}/file").content == b"data"
    assert cloud.call("DELETE", path).status_code == 204
    assert cloud.stored() == []
