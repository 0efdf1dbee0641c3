"""Imports over HTTP: staging in parts and whole, web-download, copies, locations, their tasks."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from image import ImageCloud, image_cloud
from web_files import WebFiles, web_files

from minicloud.image.fetch import Fetcher, Rules
from minicloud.image.quotas import RESOURCES
from minicloud.image.stores.files import FileStore
from minicloud.image.stores.http import HttpStore

DATA = os.urandom(3_000_000)


@pytest.fixture
def web() -> Iterator[WebFiles]:
    with web_files() as running:
        running.files["/disk"] = DATA
        yield running


@pytest.fixture
def cloud(tmp_path: Path, web: WebFiles) -> Iterator[ImageCloud]:
    fetcher = Fetcher(
        Rules(ports=[web.port], networks=[ipaddress.ip_network("127.0.0.1/32")], timeout_s=20)
    )
    stores = [FileStore(tmp_path / "data"), FileStore(tmp_path / "more", "more"),
              HttpStore(fetcher)]  # fmt: skip
    with image_cloud(tmp_path, stores=stores, fetcher=fetcher) as running:
        yield running


def stage(cloud: ImageCloud, image_id: str, data: Any, token: str = "demo", **headers: str) -> Any:
    return cloud.call(
        "PUT", f"/v2/images/{image_id}/stage", token, data=data,
        headers={"Content-Type": "application/octet-stream", **headers},
    )  # fmt: skip


def begin(
    cloud: ImageCloud, image_id: str, name: str, token: str = "demo", uri: str = "", **more: Any
) -> Any:
    method = {"name": name, **({"uri": uri} if uri else {})}
    return cloud.call(
        "POST", f"/v2/images/{image_id}/import", token, json={"method": method, **more}
    )


def tasks(cloud: ImageCloud, image_id: str, token: str = "demo") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cloud.call("GET", f"/v2/images/{image_id}/tasks", token).json()[
        "tasks"
    ]
    return found


def ended(cloud: ImageCloud, image_id: str, token: str = "demo") -> dict[str, Any]:
    """The image's newest task, once it ended."""
    deadline = time.monotonic() + 60
    while True:
        task = tasks(cloud, image_id, token)[-1]
        if task["status"] in ("success", "failure"):
            return task
        assert time.monotonic() < deadline, task
        threading.Event().wait(0.02)


def _download(cloud: ImageCloud, image_id: str) -> bytes:
    answer = cloud.call("GET", f"/v2/images/{image_id}/file")
    assert answer.status_code == 200, answer.text
    data: bytes = answer.content
    return data


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


# -- glance-direct -------------------------------------------------------------------------------
@pytest.mark.parametrize("chunked", [False, True])
def test_stage_and_import(cloud: ImageCloud, tmp_path: Path, chunked: bool) -> None:
    image = cloud.create(disk_format="raw")
    assert begin(cloud, image["id"], "glance-direct").status_code == 409
    body = (DATA[at : at + 99_999] for at in range(0, len(DATA), 99_999)) if chunked else DATA
    assert stage(cloud, image["id"], body).status_code == 204
    assert cloud.show(image["id"])["status"] == "uploading"
    assert cloud.upload(image["id"], b"x").status_code == 409
    assert begin(cloud, image["id"], "glance-direct").status_code == 202
    assert begin(cloud, image["id"], "glance-direct").status_code == 409
    whole = cloud.until(image["id"], "active")
    assert whole["os_hash_value"] == hashlib.sha512(DATA).hexdigest()
    assert (whole["size"], whole["stores"]) == (len(DATA), "file")
    assert (whole["os_glance_importing_to_stores"], whole["os_glance_failed_import"]) == ("", "")
    assert _download(cloud, image["id"]) == DATA
    task = ended(cloud, image["id"])
    assert (task["status"], task["type"]) == ("success", "api_image_import")
    assert task["input"]["import_req"]["method"]["name"] == "glance-direct"
    assert list((tmp_path / "staging").iterdir()) == []
    # What the service keeps for itself does not stand in a change's way.
    named = cloud.patch(image["id"], [{"op": "replace", "path": "/name", "value": "new"}])
    assert named.json()["os_glance_failed_import"] == ""
    taken = [{"op": "remove", "path": "/os_glance_failed_import"}]
    assert cloud.patch(image["id"], taken).status_code == 403


def test_staging_in_parts(cloud: ImageCloud) -> None:
    image = cloud.create(disk_format="raw")
    path = image["id"]
    total = len(DATA)
    assert stage(cloud, path, b"", **{"Content-Range": "bytes */*"}).headers.get("Range") is None
    first = stage(cloud, path, DATA[:1000], **{"Content-Range": f"bytes 0-999/{total}"})
    assert (first.status_code, first.headers["Range"]) == (204, "bytes=0-999")
    gap = stage(cloud, path, DATA[2000:3000], **{"Content-Range": f"bytes 2000-2999/{total}"})
    assert gap.status_code == 409
    assert "1000 bytes are staged" in gap.json()["message"]
    assert begin(cloud, path, "glance-direct").status_code == 409
    for header in ("bytes 0-0", "bytes 5-1/9", "bytes 0-9/5", "lines 0-1/2", "bytes 1000-1001/*x"):
        assert stage(cloud, path, b"x", **{"Content-Range": header}).status_code == 400
    wrong = stage(cloud, path, b"abc", **{"Content-Range": "bytes 1000-1001/2000"})
    assert wrong.status_code == 400

    # The connection breaks in the middle of a part: what came is kept.
    host, port = cloud.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(
            f"PUT /v2/images/{path}/stage HTTP/1.1\r\nHost: x\r\nX-Auth-Token: demo\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {total - 1000}\r\n"
            f"Content-Range: bytes 1000-{total - 1}/{total}\r\n\r\n".encode()
            + DATA[1000:500_000]
        )
    asked = ""

    def broken_off() -> bool:
        nonlocal asked
        asked = stage(cloud, path, b"", **{"Content-Range": "bytes */*"}).headers["Range"]
        return asked != "bytes=0-999"

    _wait(broken_off)
    at = int(asked.rpartition("-")[2]) + 1
    assert 1000 < at <= 500_000
    rest = stage(cloud, path, DATA[at:], **{"Content-Range": f"bytes {at}-{total - 1}/{total}"})
    assert rest.status_code == 204
    assert begin(cloud, path, "glance-direct").status_code == 202
    cloud.until(path, "active")
    assert _download(cloud, path) == DATA


def test_a_broken_stage_without_parts_leaves_nothing(cloud: ImageCloud, tmp_path: Path) -> None:
    image = cloud.create(disk_format="raw")
    host, port = cloud.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(
            f"PUT /v2/images/{image['id']}/stage HTTP/1.1\r\nHost: x\r\nX-Auth-Token: demo\r\n"
            "Content-Type: application/octet-stream\r\nContent-Length: 5000\r\n\r\nabc".encode()
        )
        _wait(lambda: cloud.show(image["id"])["status"] == "uploading")
        other = stage(cloud, image["id"], b"x")
        assert other.status_code == 409
    _wait(lambda: cloud.show(image["id"])["status"] == "queued")
    assert list((tmp_path / "staging").iterdir()) == []
    assert stage(cloud, image["id"], b"again").status_code == 204
    assert stage(cloud, image["id"], b"and again").status_code == 204
    begin(cloud, image["id"], "glance-direct")
    cloud.until(image["id"], "active")
    assert _download(cloud, image["id"]) == b"and again"


def test_staged_data_that_is_something_else(cloud: ImageCloud, tmp_path: Path) -> None:
    image = cloud.create(disk_format="qcow2")
    stage(cloud, image["id"], DATA)
    begin(cloud, image["id"], "glance-direct")
    task = ended(cloud, image["id"])
    assert task["status"] == "failure"
    assert "not qcow2" in task["message"]
    after = cloud.show(image["id"])
    assert (after["status"], after["size"], after["checksum"]) == ("queued", None, None)
    assert after["os_glance_failed_import"] == "file"
    assert cloud.stored() == []
    assert list((tmp_path / "staging").iterdir()) == []


def test_what_is_staged_goes_with_its_image(cloud: ImageCloud, tmp_path: Path) -> None:
    image = cloud.create(disk_format="raw")
    stage(cloud, image["id"], b"x")
    cloud.sweep()
    assert len(list((tmp_path / "staging").iterdir())) == 1
    assert cloud.call("DELETE", f"/v2/images/{image['id']}").status_code == 204
    cloud.sweep()
    assert list((tmp_path / "staging").iterdir()) == []


def test_whose_image_it_is(cloud: ImageCloud) -> None:
    image = cloud.create(disk_format="raw", visibility="community")
    assert stage(cloud, image["id"], b"x", "alt").status_code == 403
    stage(cloud, image["id"], b"x")
    assert begin(cloud, image["id"], "glance-direct", "alt").status_code == 403
    assert begin(cloud, image["id"], "teleport").status_code == 400
    assert cloud.call("GET", f"/v2/images/{image['id']}/tasks", "alt").status_code == 403


# -- web-download --------------------------------------------------------------------------------
def test_web_download(cloud: ImageCloud, web: WebFiles) -> None:
    image = cloud.create(disk_format="raw")
    assert begin(cloud, image["id"], "web-download", uri=web.url("/disk")).status_code == 202
    cloud.until(image["id"], "active")
    assert _download(cloud, image["id"]) == DATA


@pytest.mark.parametrize(
    ("uri", "status"),
    [("http://169.254.169.254/x", 400), ("file:///etc/passwd", 400), ("", 400),
     ("http://user:password@images.example/", 400)],
)  # fmt: skip
def test_urls_that_are_refused_at_once(cloud: ImageCloud, uri: str, status: int) -> None:
    image = cloud.create(disk_format="raw")
    assert begin(cloud, image["id"], "web-download", uri=uri).status_code == status
    assert cloud.show(image["id"])["status"] == "queued"


def test_a_redirect_to_where_it_must_not_go(cloud: ImageCloud, web: WebFiles) -> None:
    web.redirects["/hop"] = f"http://169.254.169.254:{web.port}/latest"
    image = cloud.create(disk_format="raw")
    assert begin(cloud, image["id"], "web-download", uri=web.url("/hop")).status_code == 202
    task = ended(cloud, image["id"])
    assert task["status"] == "failure"
    assert "must not be reached" in task["message"]
    assert cloud.until(image["id"], "queued")["size"] is None


def test_a_download_that_breaks_or_is_too_long(cloud: ImageCloud, web: WebFiles) -> None:
    web.cut["/disk"] = 1_000_000
    web.files["/long"] = b"\x01" * (65 * 1024**2)
    for path in ("/disk", "/missing", "/long"):
        image = cloud.create(disk_format="raw")
        begin(cloud, image["id"], "web-download", uri=web.url(path))
        assert ended(cloud, image["id"])["status"] == "failure"
        assert cloud.show(image["id"])["status"] == "queued"
    assert cloud.stored() == []


def test_deleted_while_it_is_imported(cloud: ImageCloud, web: WebFiles) -> None:
    web.hold.clear()
    image = cloud.create(disk_format="raw")
    begin(cloud, image["id"], "web-download", uri=web.url("/disk"))
    _wait(lambda: bool(web.asked))
    assert cloud.show(image["id"])["status"] == "importing"
    assert cloud.call("DELETE", f"/v2/images/{image['id']}").status_code == 204
    web.hold.set()
    _wait(lambda: cloud.stored() == [])
    found = cloud.call("GET", "/v2/tasks", "admin").json()["tasks"]
    _wait(lambda: cloud.call("GET", found[0]["self"], "admin").json()["status"] == "failure")


# -- several stores ------------------------------------------------------------------------------
def test_import_into_all_stores_and_copies(cloud: ImageCloud, tmp_path: Path) -> None:
    image = cloud.create(disk_format="raw")
    stage(cloud, image["id"], DATA)
    assert begin(cloud, image["id"], "glance-direct", stores=["nosuch"]).status_code == 409
    assert begin(cloud, image["id"], "glance-direct", stores=["http"]).status_code == 409
    both = begin(cloud, image["id"], "glance-direct", stores=["more"], all_stores=True)
    assert both.status_code == 400
    assert begin(cloud, image["id"], "glance-direct", stores=["more"]).status_code == 202
    assert cloud.until(image["id"], "active")["stores"] == "more"
    assert cloud.stored() == []

    assert begin(cloud, image["id"], "copy-image", all_stores=True).status_code == 403
    assert begin(cloud, image["id"], "copy-image", "admin", all_stores=True).status_code == 202
    ended(cloud, image["id"])
    assert cloud.show(image["id"])["stores"] == "more,file"
    assert begin(cloud, image["id"], "copy-image", "admin", all_stores=True).status_code == 202
    assert len(tasks(cloud, image["id"])) == 2  # there was nothing to copy

    gone = f"/v2/stores/more/{image['id']}"
    assert cloud.call("DELETE", gone).status_code == 403
    assert cloud.call("DELETE", gone, "admin").status_code == 204
    assert cloud.call("DELETE", gone, "admin").status_code == 404
    last = cloud.call("DELETE", f"/v2/stores/file/{image['id']}", "admin")
    assert last.status_code == 403
    assert list((tmp_path / "more").iterdir()) == []
    assert _download(cloud, image["id"]) == DATA


def test_an_upload_into_another_store(cloud: ImageCloud, tmp_path: Path) -> None:
    image = cloud.create(disk_format="raw")
    for store in ("nosuch", "http"):
        refused = cloud.upload(image["id"], b"x", **{"X-Image-Meta-Store": store})
        assert refused.status_code == 400
    assert cloud.upload(image["id"], b"x", **{"X-Image-Meta-Store": "more"}).status_code == 204
    assert cloud.show(image["id"])["stores"] == "more"
    assert len(list((tmp_path / "more").iterdir())) == 1


# -- locations -----------------------------------------------------------------------------------
def test_data_that_stays_where_it_is(cloud: ImageCloud, web: WebFiles) -> None:
    image = cloud.create(disk_format="raw")
    place = f"/v2/images/{image['id']}/locations"
    digest = hashlib.sha512(DATA).hexdigest()
    body = {"url": web.url("/disk"), "validation_data": {"os_hash_value": digest}}
    answer = cloud.call("POST", place, json=body)
    assert answer.status_code == 202, answer.text
    whole = cloud.until(image["id"], "active")
    assert (whole["size"], whole["stores"]) == (len(DATA), "http")
    assert whole["os_hash_value"] == digest
    assert cloud.stored() == []
    assert _download(cloud, image["id"]) == DATA
    part = cloud.call("GET", f"/v2/images/{image['id']}/file", headers={"Range": "bytes=7-99"})
    assert (part.status_code, part.content) == (206, DATA[7:100])
    assert cloud.call("GET", place).status_code == 403
    shown = cloud.call("GET", place, "service").json()
    assert shown == [{"url": web.url("/disk"), "metadata": {"store": "http"}}]
    assert cloud.call("POST", place, json=body).status_code == 409
    assert begin(cloud, image["id"], "copy-image", "admin", stores=["file"]).status_code == 202
    ended(cloud, image["id"])
    assert len(cloud.stored()) == 1


def test_data_elsewhere_that_is_not_what_was_said(cloud: ImageCloud, web: WebFiles) -> None:
    image = cloud.create(disk_format="raw")
    body = {"url": web.url("/disk"), "validation_data": {"os_hash_value": "0" * 128}}
    assert cloud.call("POST", f"/v2/images/{image['id']}/locations", json=body).status_code == 202
    task = ended(cloud, image["id"])
    assert (task["type"], task["status"]) == ("location_import", "failure")
    assert cloud.show(image["id"])["status"] == "queued"


# -- tasks ---------------------------------------------------------------------------------------
def test_the_older_way_by_a_task(cloud: ImageCloud, web: WebFiles) -> None:
    body = {
        "type": "import",
        "input": {
            "import_from": web.url("/disk"),
            "import_from_format": "raw",
            "image_properties": {"name": "old", "container_format": "bare", "os_distro": "x"},
        },
    }
    assert cloud.call("POST", "/v2/tasks", json=body).status_code == 403
    made = cloud.call("POST", "/v2/tasks", "admin", json=body)
    assert made.status_code == 201, made.text
    task = made.json()
    assert made.headers["Location"].endswith(task["self"])
    image = cloud.until(task["image_id"], "active", token="admin")
    assert (image["name"], image["os_distro"]) == ("old", "x")
    assert ended(cloud, task["image_id"], "admin")["result"] == {"image_id": image["id"]}
    listed = cloud.call("GET", "/v2/tasks?status=success&sort_key=id&limit=1", "admin").json()
    assert [one["id"] for one in listed["tasks"]] == [task["id"]]
    assert "input" not in listed["tasks"][0]
    assert cloud.call("GET", "/v2/tasks/nosuch", "admin").status_code == 404
    for query in ("sort_key=colour", "marker=nosuch", "limit=x", "status=odd"):
        assert cloud.call("GET", f"/v2/tasks?{query}", "admin").status_code == 400
    for wrong in ({}, {"type": "export", "input": {}}, {**body, "input": {"import_from": "x:y"}}):
        assert cloud.call("POST", "/v2/tasks", "admin", json=wrong).status_code == 400


def test_a_daemon_killed_in_an_import_and_another_that_goes_on(
    tmp_path: Path, web: WebFiles
) -> None:
    daemon = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("image.py")), str(tmp_path), str(web.port)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert daemon.stdout is not None
    url = daemon.stdout.readline().strip()
    web.hold.clear()
    remote = ImageCloud.at(url, tmp_path / "data")
    image = remote.create(disk_format="raw")
    assert begin(remote, image["id"], "web-download", uri=web.url("/disk")).status_code == 202
    _wait(lambda: bool(web.asked) and len(remote.stored()) == 1)
    daemon.kill()
    daemon.wait()
    web.hold.set()
    fetcher = Fetcher(
        Rules(ports=[web.port], networks=[ipaddress.ip_network("127.0.0.1/32")], timeout_s=20)
    )
    with image_cloud(tmp_path, fetcher=fetcher) as cloud:
        assert cloud.show(image["id"])["status"] == "importing"
        assert cloud.call("GET", f"/v2/images/{image['id']}/file").status_code == 204
        whole = cloud.until(image["id"], "active")  # once the dead daemon's lease is over
        assert whole["checksum"] == hashlib.md5(DATA).hexdigest()
        assert ended(cloud, image["id"])["status"] == "success"
        cloud.sweep()
        assert len(cloud.stored()) == 1
        assert _download(cloud, image["id"]) == DATA


def test_a_daemon_killed_in_a_part_and_another_that_takes_the_rest(tmp_path: Path) -> None:
    daemon = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("image.py")), str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert daemon.stdout is not None
    remote = ImageCloud.at(daemon.stdout.readline().strip(), tmp_path / "data")
    image, total = remote.create(disk_format="raw")["id"], len(DATA)
    first = {"Content-Range": f"bytes 0-999/{total}"}
    assert stage(remote, image, DATA[:1000], **first).status_code == 204
    host, port = remote.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(
            f"PUT /v2/images/{image}/stage HTTP/1.1\r\nHost: x\r\nX-Auth-Token: demo\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {total - 1000}\r\n"
            f"Content-Range: bytes 1000-{total - 1}/{total}\r\n\r\n".encode()
            + b"\x07" * 2_500_000
        )
        _wait(lambda: (tmp_path / "staging" / image).stat().st_size > 1_500_000)
        daemon.kill()
        daemon.wait()
    with image_cloud(tmp_path) as cloud:
        cloud.sweep()
        assert begin(cloud, image, "glance-direct").status_code == 409
        asked = stage(cloud, image, b"", **{"Content-Range": "bytes */*"})
        assert asked.headers["Range"] == "bytes=0-999"  # what was recorded, not what lies there
        rest = {"Content-Range": f"bytes 1000-{total - 1}/{total}"}
        assert stage(cloud, image, DATA[1000:], **rest).status_code == 204
        assert begin(cloud, image, "glance-direct").status_code == 202
        cloud.until(image, "active")
        assert _download(cloud, image) == DATA


# -- quotas --------------------------------------------------------------------------------------
def test_quotas(tmp_path: Path) -> None:
    limits = {"image_count_total": 3, "image_count_uploading": 1, "image_size_total": 2,
              "image_stage_total": 1}  # fmt: skip
    assert set(limits) == set(RESOURCES)
    with image_cloud(tmp_path, quotas=lambda _project: limits) as cloud:
        one, two, _ = (cloud.create(disk_format="raw")["id"] for _ in range(3))
        assert cloud.call("POST", "/v2/images", json={}).status_code == 413
        assert cloud.call("POST", "/v2/images", "alt", json={}).status_code == 201
        mib = 1024**2
        assert stage(cloud, one, b"\x01" * (mib + 1)).status_code == 413
        assert cloud.show(one)["status"] == "queued"
        assert stage(cloud, one, b"\x01" * mib).status_code == 204
        assert stage(cloud, two, b"\x01").status_code == 413  # one at a time
        assert cloud.upload(two, b"\x01").status_code == 413
        begin(cloud, one, "glance-direct")
        cloud.until(one, "active")
        assert cloud.upload(two, b"\x01" * (mib + 1)).status_code == 413
        assert cloud.show(two)["status"] == "queued"
        assert cloud.upload(two, b"\x01" * mib).status_code == 204
        usage = cloud.call("GET", "/v2/info/usage").json()["usage"]
        assert usage == {
            "image_count_total": {"limit": 3, "usage": 3},
            "image_count_uploading": {"limit": 1, "usage": 0},
            "image_size_total": {"limit": 2, "usage": 2},
            "image_stage_total": {"limit": 1, "usage": 0},
        }


def test_parallel_creates_stay_within_the_quota(tmp_path: Path) -> None:
    limits = {**dict.fromkeys(RESOURCES, -1), "image_count_total": 3}
    with image_cloud(tmp_path, quotas=lambda _project: limits) as cloud:
        ready = threading.Barrier(8)
        statuses: list[int] = []

        def create() -> None:
            ready.wait()
            statuses.append(cloud.call("POST", "/v2/images", json={}).status_code)

        threads = [threading.Thread(target=create) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [201] * 3 + [413] * 5


# -- on both databases ---------------------------------------------------------------------------
def test_on_either_database(tmp_path: Path, database_url: str) -> None:
    limits = {**dict.fromkeys(RESOURCES, 50), "image_count_total": 4}
    more = FileStore(tmp_path / "more", "more")
    stores = [FileStore(tmp_path / "data"), more]
    with image_cloud(
        tmp_path, url=database_url, stores=stores, quotas=lambda _project: limits
    ) as cloud:
        made = [cloud.create(disk_format="raw", tags=["t"], number=str(n))["id"] for n in range(4)]
        assert cloud.call("POST", "/v2/images", json={}).status_code == 413
        for image_id in made[:2]:
            assert stage(cloud, image_id, b"x").status_code == 204
            assert begin(cloud, image_id, "glance-direct", all_stores=True).status_code == 202
        assert cloud.upload(made[2], b"y").status_code == 204
        for image_id in made[:2]:
            assert ended(cloud, image_id)["status"] == "success"
            assert cloud.show(image_id)["stores"] == "file,more"
        wrong = cloud.create("alt", disk_format="qcow2")["id"]
        stage(cloud, wrong, b"no qcow2", "alt")
        begin(cloud, wrong, "glance-direct", "alt")
        assert ended(cloud, wrong, "alt")["status"] == "failure"
        assert cloud.show(wrong, "alt")["status"] == "queued"
        pages = []
        path = "/v2/images?limit=1&sort=status:asc,size:desc,name:asc&tag=t"
        while path:
            page = cloud.call("GET", path).json()
            pages += [image["id"] for image in page["images"]]
            path = page.get("next")
        assert sorted(pages) == sorted(made)
        cloud.sweep()
        listed = cloud.call("GET", "/v2/tasks?sort_key=expires_at&limit=2", "admin").json()
        assert len(listed["tasks"]) == 2
        assert len(cloud.call("GET", listed["next"], "admin").json()["tasks"]) == 1
        space = {"namespace": "n", "tags": [{"name": "t"}],
                 "resource_type_associations": [{"name": "T"}]}  # fmt: skip
        for status in (201, 409):
            answer = cloud.call("POST", "/v2/metadefs/namespaces", "admin", json=space)
            assert answer.status_code == status
        usage = cloud.call("GET", "/v2/info/usage").json()["usage"]
        assert usage["image_count_total"] == {"limit": 4, "usage": 4}
        for image_id in made:
            assert cloud.call("DELETE", f"/v2/images/{image_id}").status_code == 204
        assert cloud.stored() == []
        assert list((tmp_path / "more").iterdir()) == []
