"""Stores under one contract: files, another server's, S3 (a real S3-compatible server)."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sa
from image import ImageCloud, image_cloud
from tokens import DEMO

from minicloud.cmd.image import stores_of
from minicloud.domain.errors import Conflict, TooLarge, Unavailable
from minicloud.image.fetch import Fetcher, Rules
from minicloud.image.stores.base import Store
from minicloud.image.stores.files import FileStore
from minicloud.image.stores.s3 import S3Options, S3Store
from minicloud.kit.db import Database, migrate

MIB = 1024**2
DATA = os.urandom(11 * MIB + 5)
IMAGE = "0c5f9cb4-3c1c-4c33-9c0e-2c9f0b8f8f10"


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """An S3-compatible server of its own process."""
    server = pytest.importorskip("moto.server")
    assert server
    words = (
        "import sys; from moto.server import ThreadedMotoServer; s = ThreadedMotoServer("
        "ip_address='127.0.0.1', port=0, verbose=False); s.start(); print(s.get_host_and_port(), "
        "flush=True); sys.stdin.read(); s.stop()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    host, port = eval(process.stdout.readline())  # a pair, printed
    yield f"http://{host}:{port}"
    process.kill()
    process.wait()


@pytest.fixture
def s3(s3_url: str) -> S3Store:
    requests.post(f"{s3_url}/moto-api/reset", timeout=30)
    store = S3Store(
        S3Options(
            bucket="images", endpoint_url=s3_url, region="us-east-1", access_key="key",
            secret_key="secret", part_mb=5,
        )
    )  # fmt: skip
    store.call("create_bucket")
    return store


@pytest.fixture(params=["files", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "files":
        return FileStore(tmp_path / "data")
    found: Store = request.getfixturevalue("s3")
    return found


def _put(store: Store, data: bytes, *, step: int = 700_000) -> str:
    writer = store.create(IMAGE, expected=len(data))
    for at in range(0, len(data), step):
        writer.write(data[at : at + step])
    assert writer.size == len(data)
    writer.keep()
    writer.release()
    return writer.name


# -- the contract --------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [0, 1, MIB, 5 * MIB, len(DATA)])
def test_what_is_kept_can_be_read(store: Store, size: int) -> None:
    name = _put(store, DATA[:size])
    if size:
        assert b"".join(store.pieces(name, 0, size)) == DATA[:size]
        middle = size // 2
        assert b"".join(store.pieces(name, middle, size - middle)) == DATA[middle:size]
        assert b"".join(store.pieces(name, middle, 1)) == DATA[middle : middle + 1]
    store.remove(name)
    store.remove(name)
    with pytest.raises(Unavailable):
        list(store.pieces(name, 0, 1))


def test_what_is_discarded_leaves_nothing(store: Store) -> None:
    half = store.create(IMAGE, expected=None)
    half.write(DATA)
    half.discard()
    whole = store.create(IMAGE, expected=None)
    whole.write(b"data")
    whole.keep()
    whole.discard()
    assert store.names() == set()
    for name in (half.name, whole.name):
        with pytest.raises(Unavailable):
            list(store.pieces(name, 0, 1))


def test_data_that_is_shorter_than_recorded(store: Store) -> None:
    name = _put(store, b"0123456789")
    with pytest.raises(EOFError):
        list(store.pieces(name, 5, 10))


def test_two_uploads_of_one_image_are_two_names(store: Store) -> None:
    first, second = _put(store, b"one"), _put(store, b"two")
    assert first != second
    assert b"".join(store.pieces(first, 0, 3)) == b"one"


# -- files ---------------------------------------------------------------------------------------
def test_zeros_become_holes(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    data = bytes(3 * MIB) + b"x" + bytes(5 * MIB)
    name = _put(store, data)
    found = (tmp_path / name).stat()
    assert found.st_size == len(data)
    assert found.st_blocks * 512 < MIB
    assert b"".join(store.pieces(name, 0, len(data))) == data


def test_more_than_the_disk_can_hold(tmp_path: Path) -> None:
    with pytest.raises(TooLarge):
        FileStore(tmp_path).create(IMAGE, expected=1 << 60)


# -- S3 ------------------------------------------------------------------------------------------
def test_an_upload_that_was_cut_off_is_no_object(s3: S3Store) -> None:
    writer = s3.create(IMAGE, expected=None)
    writer.write(DATA)
    assert "Contents" not in s3.call("list_objects_v2")
    assert len(s3.call("list_multipart_uploads")["Uploads"]) == 1
    writer.keep()
    assert [one["Key"] for one in s3.call("list_objects_v2")["Contents"]] == [writer.name]


def test_other_people_s_objects_stay(s3: S3Store) -> None:
    s3.call("put_object", Key="holiday.jpg", Body=b"x")
    assert s3.names() == set()


def test_a_service_that_is_away_or_refuses(s3_url: str) -> None:
    away = S3Store(S3Options(bucket="images", endpoint_url="http://127.0.0.1:9", access_key="k",
                             secret_key="hush", region="x"))  # fmt: skip
    with pytest.raises(Unavailable, match="does not answer") as caught:
        away.remove("x")
    assert "hush" not in str(caught.value)
    missing = S3Store(S3Options(bucket="nosuch", endpoint_url=s3_url, access_key="k",
                                secret_key="s", region="us-east-1"))  # fmt: skip
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        missing.create(IMAGE, expected=None).keep()


def test_images_in_s3(s3: S3Store, tmp_path: Path) -> None:
    stores = [s3, FileStore(tmp_path / "data")]
    with image_cloud(tmp_path, stores=stores, cache_size=64 * MIB) as cloud:
        image = cloud.create(disk_format="raw")
        assert cloud.upload(image["id"], (DATA[at : at + MIB] for at in range(0, len(DATA), MIB))
                            ).status_code == 204  # fmt: skip
        whole = cloud.show(image["id"])
        assert (whole["stores"], whole["size"]) == ("s3", len(DATA))
        assert whole["os_hash_value"] == hashlib.sha512(DATA).hexdigest()
        assert cloud.stored() == []
        _reads(cloud, image["id"])

        # It was read from afar, so a copy is made here, and read the next time.
        cached = cloud.call("GET", "/v2/cache", "admin").json()
        assert cached == {"cached_images": [], "queued_images": [image["id"]]}
        cloud.graph.cache.fill()
        (key,) = [one["Key"] for one in s3.call("list_objects_v2")["Contents"]]
        s3.call("put_object", Key=key, Body=b"spoiled")
        _reads(cloud, image["id"])
        (entry,) = cloud.call("GET", "/v2/cache", "admin").json()["cached_images"]
        assert (entry["image_id"], entry["size"], entry["hits"]) == (image["id"], len(DATA), 2)
        assert cloud.call("DELETE", f"/v2/images/{image['id']}").status_code == 204
        assert "Contents" not in s3.call("list_objects_v2")
        cloud.sweep()
        assert list((tmp_path / "cache").iterdir()) == []


def _reads(cloud: ImageCloud, image_id: str) -> None:
    path = f"/v2/images/{image_id}/file"
    assert cloud.call("GET", path).content == DATA
    part = cloud.call("GET", path, headers={"Range": f"bytes={6 * MIB}-{6 * MIB + 9}"})
    assert (part.status_code, part.content) == (206, DATA[6 * MIB : 6 * MIB + 10])


def test_s3_is_away_in_an_upload(tmp_path: Path) -> None:
    away = S3Store(S3Options(bucket="images", endpoint_url="http://127.0.0.1:9", access_key="k",
                             secret_key="s", region="x"))  # fmt: skip
    with image_cloud(tmp_path, stores=[away]) as cloud:
        image = cloud.create(disk_format="raw")
        assert cloud.upload(image["id"], b"data").status_code == 503
        assert cloud.show(image["id"])["status"] == "queued"


# -- before there were stores ---------------------------------------------------------------------
def test_images_of_an_older_version_are_where_they_were(tmp_path: Path, database_url: str) -> None:
    database = Database(database_url)
    migrate.upgrade("image", database, "0001")
    (tmp_path / "data").mkdir()
    common = {"visibility": "shared", "owner": DEMO, "disk_format": "raw", "min_disk": 0,
              "container_format": "bare", "min_ram": 0, "protected": False, "os_hidden": False,
              "created_at": 1.0, "updated_at": 1.0}  # fmt: skip
    rows = {"active": 4, "deactivated": 4, "saving": None, "queued": None}
    old = sa.Table("images", sa.MetaData(), autoload_with=database.engine)
    ids = {status: f"{number}{IMAGE[1:]}" for number, status in enumerate(rows)}
    with database.write() as tx:
        for status, size in rows.items():
            blob = None if status == "queued" else f"{ids[status]}-0a0a0a0a"
            values = {**common, "id": ids[status], "status": status, "size": size, "blob": blob}
            tx.execute(sa.insert(old).values(values))
            if size:
                (tmp_path / "data" / str(blob)).write_bytes(b"data")
    database.close()
    with image_cloud(tmp_path, url=database_url) as cloud:
        cloud.sweep()
        assert cloud.call("GET", f"/v2/images/{ids['active']}/file").content == b"data"
        assert cloud.call("GET", f"/v2/images/{ids['deactivated']}/file", "admin").ok
        assert cloud.show(ids["active"])["stores"] == "file"
        for status in ("saving", "queued"):
            assert cloud.show(ids[status])["status"] == "queued"
            assert cloud.upload(ids[status], b"more").status_code == 204
        assert len(cloud.stored()) == 4


# -- the cache -----------------------------------------------------------------------------------
def test_the_cache(tmp_path: Path) -> None:
    with image_cloud(tmp_path, cache_size=5 * MIB) as cloud:

        def call(method: str, path: str, token: str = "admin", **more: Any) -> Any:
            return cloud.call(method, f"/v2/cache{path}", token, **more)

        images = []
        for number in range(3):
            image = cloud.create(disk_format="raw")["id"]
            assert call("PUT", f"/{image}").status_code == 400  # it has no data
            cloud.upload(image, bytes([number + 1]) * 2 * MIB)
            images.append(image)
        assert call("GET", "", "demo").status_code == 403
        assert call("PUT", f"/{IMAGE}").status_code == 404
        for image in images[:2]:
            assert call("PUT", f"/{image}").status_code == 202
            assert call("PUT", f"/{image}").status_code == 202
            assert image in call("GET", "").json()["queued_images"]
            cloud.graph.cache.fill()
        assert call("GET", f"/nodes/{images[0]}").json() == ["localhost"]
        assert call("GET", f"/nodes/{images[2]}").json() == []
        cloud.call("GET", f"/v2/images/{images[0]}/file")
        call("PUT", f"/{images[2]}")
        cloud.graph.cache.fill()  # room is made: the one that was not read goes
        held = {one["image_id"] for one in call("GET", "").json()["cached_images"]}
        assert held == {images[0], images[2]}
        assert call("POST", "/prune").json() == {"total_files_pruned": 0, "total_bytes_pruned": 0}
        assert call("DELETE", f"/{images[1]}").status_code == 404
        assert call("DELETE", f"/{images[0]}").status_code == 204
        (tmp_path / "cache" / "rubbish").write_bytes(b"x")
        assert call("POST", "/clean").status_code == 200
        assert [path.name for path in (tmp_path / "cache").iterdir()] == [images[2]]
        clear = {"x-image-cache-clear-target": "neither"}
        assert call("DELETE", "", headers=clear).status_code == 400
        clear = {"x-image-cache-clear-target": "queue"}
        assert call("DELETE", "", headers=clear).status_code == 204
        assert len(call("GET", "").json()["cached_images"]) == 1
        assert call("DELETE", "").status_code == 204
        assert call("GET", "").json() == {"cached_images": [], "queued_images": []}


# -- configuration -------------------------------------------------------------------------------
class _Options:
    s3_bucket = ""

    def __init__(self, directory: Path, stores: list[str]) -> None:
        self.data_dir, self.stores = str(directory / "data"), stores


def test_stores_by_configuration(tmp_path: Path) -> None:
    fetcher = Fetcher(Rules())
    words = ["file", f"slow={tmp_path / 'slow'}", "http"]
    found = stores_of(_Options(tmp_path, words), fetcher)
    assert [(one.id, one.kind) for one in found] == [
        ("file", "file"), ("slow", "file"), ("http", "http"),
    ]  # fmt: skip
    with pytest.raises(Conflict):
        found[2].create(IMAGE, expected=None)
    for wrong in (["tape"], ["http"], ["s3"], ["file", "file"], []):
        with pytest.raises(ValueError, match="store"):
            stores_of(_Options(tmp_path, wrong), fetcher)
