"""compute's image client against the running image service."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from image import ImageCloud, image_cloud
from tokens import ALT, DEMO

from minicloud.client.image import ImageClient
from minicloud.client.rest import RestClient
from minicloud.domain.errors import (
    Conflict,
    HostProblem,
    ImageUnacceptable,
    Invalid,
    NotAllowed,
    NotFound,
    Unavailable,
)

DATA = bytes(range(256)) * 20_000


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ImageCloud]:
    with image_cloud(tmp_path) as running:
        yield running


@pytest.fixture
def client(cloud: ImageCloud) -> ImageClient:
    return ImageClient(RestClient("image", lambda: cloud.url, lambda: {"X-Auth-Token": "demo"}))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    return tmp_path / "host" / "image"


@pytest.fixture
def image_id(cloud: ImageCloud) -> str:
    image = cloud.create(name="one", disk_format="raw", min_ram=64, os_distro="x", tags=["t"])
    cloud.upload(image["id"], DATA)
    return str(image["id"])


def test_an_image(cloud: ImageCloud, client: ImageClient, image_id: str) -> None:
    answer = client.image_get(image_id)
    image = answer.value
    assert (image.id, image.name, image.status) == (image_id, "one", "active")
    assert (image.size, image.virtual_size, image.min_ram) == (len(DATA), len(DATA), 64)
    assert image.properties == {"os_distro": "x"}
    assert image.os_hash_value == cloud.show(image_id)["os_hash_value"]
    assert image.created_at <= image.updated_at
    assert answer.token_ms == 0.1
    assert answer.total_ms is not None
    assert answer.total_ms >= 0.1


@pytest.mark.parametrize("name", ["00000000-0000-4000-8000-000000000000", "a/../b", "ü?x=1"])
def test_no_such_image(client: ImageClient, target: Path, image_id: str, name: str) -> None:
    with pytest.raises(NotFound) as caught:
        client.image_get(name)
    assert caught.value.facts == {"kind": "Image", "id": name}
    with pytest.raises(NotFound):
        client.image_download(name, target, client.image_get(image_id).value)
    assert list(target.parent.iterdir()) == []


def test_a_download(client: ImageClient, target: Path, image_id: str) -> None:
    answer = client.image_download(image_id, target, client.image_get(image_id).value)
    assert answer.value == len(DATA)
    assert answer.token_ms == 0.1
    assert target.read_bytes() == DATA
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    "recorded",
    [
        {"os_hash_value": "0" * 128},
        {"os_hash_algo": None, "checksum": "0" * 32},
        {"size": 5},
    ],
)
def test_bytes_that_are_not_the_recorded_ones(
    client: ImageClient, target: Path, image_id: str, recorded: dict[str, object]
) -> None:
    image = msgspec.structs.replace(client.image_get(image_id).value, **recorded)
    with pytest.raises(ImageUnacceptable):
        client.image_download(image_id, target, image)
    assert list(target.parent.iterdir()) == []


def test_a_spoiled_store(
    cloud: ImageCloud, client: ImageClient, target: Path, image_id: str
) -> None:
    image = client.image_get(image_id).value
    (stored,) = cloud.files.iterdir()
    stored.write_bytes(DATA[:-1] + b"!")
    with pytest.raises(ImageUnacceptable):
        client.image_download(image_id, target, image)
    stored.write_bytes(DATA[:1000])  # the answer breaks off before its announced end
    with pytest.raises(Unavailable):
        client.image_download(image_id, target, image)
    stored.unlink()
    with pytest.raises(Unavailable):
        client.image_download(image_id, target, image)
    assert list(target.parent.iterdir()) == []


# -- new images ----------------------------------------------------------------------------------
@pytest.fixture
def service(cloud: ImageCloud) -> ImageClient:
    """The client of a service that acts by its own token."""
    return ImageClient(RestClient("image", lambda: cloud.url, lambda: {"X-Auth-Token": "service"}))


def test_a_snapshot_s_image(
    cloud: ImageCloud, client: ImageClient, service: ImageClient, tmp_path: Path
) -> None:
    source = tmp_path / "snapshot.raw"
    source.write_bytes(DATA)
    image_id = "0c5f9cb4-3c1c-4c33-9c0e-2c9f0b8f8f10"
    made = service.image_create(
        "snap", image_id=image_id, owner=DEMO, disk_format="raw", min_disk=1, min_ram=64,
        properties={"image_type": "snapshot", "a/b~c": "x"}, tags=["t"],
    ).value  # fmt: skip
    assert (made.id, made.status, made.owner, made.visibility) == (
        image_id, "queued", DEMO, "private",
    )  # fmt: skip
    with pytest.raises(Conflict):
        service.image_create("again", image_id=image_id, disk_format="raw")
    service.image_upload(image_id, source)
    with pytest.raises(Conflict):
        service.image_upload(image_id, source)
    mine = client.image_get(image_id).value
    assert (mine.status, mine.size, mine.min_disk, mine.min_ram) == ("active", len(DATA), 1, 64)
    assert mine.properties == {"image_type": "snapshot", "a/b~c": "x"}

    changed = service.image_update(image_id, {"name": "new", "k": "v"}, remove=["a/b~c"]).value
    assert (changed.name, changed.properties) == ("new", {"image_type": "snapshot", "k": "v"})
    service.image_update(image_id, {"protected": True})
    with pytest.raises(NotAllowed):
        service.image_delete(image_id)
    service.image_update(image_id, {"protected": False})
    service.image_delete(image_id)
    for refused in (
        lambda: service.image_delete(image_id),
        lambda: service.image_update(image_id, {"name": "x"}),
        lambda: service.image_upload(image_id, source),
    ):
        with pytest.raises(NotFound) as caught:
            refused()
        assert caught.value.facts == {"kind": "Image", "id": image_id}
    assert cloud.stored() == []


def test_a_user_s_own_image(client: ImageClient, tmp_path: Path) -> None:
    source = tmp_path / "not-a-qcow2"
    source.write_bytes(DATA)
    with pytest.raises(NotAllowed):
        client.image_create("x", owner=ALT, disk_format="raw")
    made = client.image_create("x", disk_format="qcow2").value
    assert made.owner == DEMO
    with pytest.raises(Invalid):
        client.image_upload(made.id, source)
    with pytest.raises(HostProblem):
        client.image_upload(made.id, tmp_path / "missing")
    assert client.image_get(made.id).value.status == "queued"


@contextlib.contextmanager
def _files_no_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_host_that_cannot_store_it(client: ImageClient, target: Path, image_id: str) -> None:
    image = client.image_get(image_id).value
    with _files_no_larger_than(1_000_000), pytest.raises(HostProblem):
        client.image_download(image_id, target, image)
    assert list(target.parent.iterdir()) == []
    missing = target.parent / "missing" / "image"
    with pytest.raises(HostProblem):
        client.image_download(image_id, missing, image)
