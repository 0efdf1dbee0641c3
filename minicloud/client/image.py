"""Images over REST, as compute and api need them: what an image is, its bytes, and new ones.

Speaks the OpenStack image API v2 and nothing of ours, so Glance can stand at the other end.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from minicloud.client.rest import Answer, RestClient, Timed
from minicloud.domain.errors import HostProblem, ImageUnacceptable, NotFound, Unavailable
from minicloud.kit import clock

_PIECE = 1024 * 1024
_PATCH = "application/openstack-images-v2.1-json-patch"
_STORED_S = 600.0
"""Seconds the service has between the last byte and its answer: it flushes all to its disk."""
_PAGE = 100
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DIGESTS = ("sha512", "sha384", "sha256")
_NO_PROPERTIES = frozenset(
    ("id", "name", "status", "visibility", "protected", "os_hidden", "owner", "disk_format",
     "container_format", "min_disk", "min_ram", "size", "virtual_size", "checksum",
     "os_hash_algo", "os_hash_value", "created_at", "updated_at", "tags", "self", "file",
     "schema", "direct_url", "locations", "stores")
)  # fmt: skip


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image. Sizes in bytes, ``min_disk`` in GiB, ``min_ram`` in MiB, times in epoch seconds."""

    id: str
    name: str | None
    status: str
    disk_format: str | None
    container_format: str | None
    size: int | None
    virtual_size: int | None
    checksum: str | None
    """MD5 in hexadecimal."""
    os_hash_algo: str | None
    os_hash_value: str | None
    min_disk: int
    min_ram: int
    visibility: str
    owner: str | None
    properties: Mapping[str, str]
    created_at: float
    updated_at: float


class ImageClient:
    """``rest`` knows the image endpoint as the catalog gives it, without ``/v2``."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    def image_get(self, image_id: str) -> Timed[Image]:
        """The image. NotFound, Unavailable and other errors of a RestClient."""
        try:
            answer = self._rest.get(f"/v2/images/{quote(image_id, safe='')}")
        except NotFound:
            raise NotFound(kind="Image", id=image_id) from None
        return self._rest.timed(answer, _image(answer.json))

    def images_by_properties(self, **properties: str) -> Timed[list[Image]]:
        """The images that have all of ``properties``, as far as the token sees them."""
        found: list[Image] = []
        query: dict[str, str] = {**properties, "limit": str(_PAGE)}
        while True:
            answer = self._rest.get("/v2/images", **query)
            found += [_image(body) for body in answer.json["images"]]
            if not answer.json.get("next"):
                return self._rest.timed(answer, found)
            query["marker"] = found[-1].id

    def image_download(self, image_id: str, target: Path, image: Image) -> Timed[int]:
        """Write the image's bytes to ``target``, whole and verified, or not at all; their number.

        They are held to the size and the digest that ``image`` records. NotFound;
        ImageUnacceptable when they differ; Unavailable when the transfer breaks; HostProblem when
        this host cannot store them.
        """
        try:
            response = self._rest.stream(f"/v2/images/{quote(image_id, safe='')}/file")
        except NotFound:
            raise NotFound(kind="Image", id=image_id) from None
        with response:
            size = _receive(response, target, image)
        answer = Answer(response.status, None, response.headers)
        return self._rest.timed(answer, size)

    def image_create(
        self,
        name: str,
        *,
        disk_format: str,
        container_format: str = "bare",
        visibility: str = "private",
        image_id: str | None = None,
        owner: str | None = None,
        min_disk: int = 0,
        min_ram: int = 0,
        protected: bool = False,
        properties: Mapping[str, str] | None = None,
        tags: Sequence[str] = (),
    ) -> Timed[Image]:
        """A queued image, which waits for its bytes. Conflict: there is one of this id already.

        ``owner``, a project's id, is for a service that acts for it; with a user's token it is
        the user's project and may be left out.
        """
        body: dict[str, Any] = {
            **(properties or {}),
            "name": name,
            "disk_format": disk_format,
            "container_format": container_format,
            "visibility": visibility,
            "min_disk": min_disk,
            "min_ram": min_ram,
            "protected": protected,
            "tags": list(tags),
        }
        body.update({} if image_id is None else {"id": image_id})
        body.update({} if owner is None else {"owner": owner})
        answer = self._rest.post("/v2/images", body)
        return self._rest.timed(answer, _image(answer.json))

    def image_upload(self, image_id: str, source: Path) -> Timed[None]:
        """Give a queued image the bytes of ``source``, which are never in memory as a whole.

        NotFound; Conflict: it has bytes already, or another upload gives it some; Invalid: they
        are not what the image's format says; NotAllowed: too many; Unavailable: the transfer
        broke, and the image waits for bytes again.
        """
        path = f"/v2/images/{quote(image_id, safe='')}/file"
        try:
            with source.open("rb") as data:
                answer = self._rest.upload(path, data, timeout_s=_STORED_S)
        except NotFound:
            raise NotFound(kind="Image", id=image_id) from None
        except OSError as problem:
            raise HostProblem(reason=f"{source.name} cannot be read on this host.") from problem
        return self._rest.timed(answer, None)

    def image_activate(self, image_id: str) -> Timed[None]:
        """Give a queued image no bytes: its properties are all there is to it."""
        path = f"/v2/images/{quote(image_id, safe='')}/file"
        answer = self._rest.upload(path, io.BytesIO(), timeout_s=_STORED_S)
        return self._rest.timed(answer, None)

    def image_update(
        self, image_id: str, changes: Mapping[str, Any], *, remove: Sequence[str] = ()
    ) -> Timed[Image]:
        """Set attributes and properties, and take away the properties ``remove``. NotFound."""
        operations: list[dict[str, Any]] = [
            {"op": "add", "path": _pointer(name), "value": value} for name, value in changes.items()
        ]
        operations += [{"op": "remove", "path": _pointer(name)} for name in remove]
        try:
            answer = self._rest.request(
                "PATCH", f"/v2/images/{quote(image_id, safe='')}", body=operations,
                headers={"Content-Type": _PATCH},
            )  # fmt: skip
        except NotFound:
            raise NotFound(kind="Image", id=image_id) from None
        return self._rest.timed(answer, _image(answer.json))

    def image_delete(self, image_id: str) -> Timed[None]:
        """NotFound: there is none; NotAllowed: it is protected; Conflict: it is in use."""
        try:
            answer = self._rest.delete(f"/v2/images/{quote(image_id, safe='')}")
        except NotFound:
            raise NotFound(kind="Image", id=image_id) from None
        return self._rest.timed(answer, None)


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _image(body: Mapping[str, Any]) -> Image:
    return Image(
        id=body["id"],
        name=body.get("name"),
        status=body["status"],
        disk_format=body.get("disk_format"),
        container_format=body.get("container_format"),
        size=body.get("size"),
        virtual_size=body.get("virtual_size"),
        checksum=body.get("checksum"),
        os_hash_algo=body.get("os_hash_algo"),
        os_hash_value=body.get("os_hash_value"),
        min_disk=body.get("min_disk") or 0,
        min_ram=body.get("min_ram") or 0,
        visibility=body.get("visibility", "private"),
        owner=body.get("owner"),
        properties={
            key: value
            for key, value in body.items()
            if key not in _NO_PROPERTIES and isinstance(value, str)
        },
        created_at=clock.parse(body["created_at"]),
        updated_at=clock.parse(body["updated_at"]),
    )


def _receive(response: urllib3.BaseHTTPResponse, target: Path, image: Image) -> int:
    """Body to temporary file, to disk, to its name. Nothing is left when that fails."""
    try:
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            whole = False
            try:
                size = _copy_verified(response, file, image)
                file.flush()
                os.fsync(file.fileno())
                temporary.rename(target)
                whole = True
            finally:
                if not whole:
                    temporary.unlink(missing_ok=True)
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as problem:
        words = "no space is left" if problem.errno in _FULL else "the disk cannot be written"
        raise HostProblem(
            reason=f"Image {image.id} cannot be stored on this host: {words}."
        ) from problem
    return size


def _copy_verified(response: urllib3.BaseHTTPResponse, file: IO[bytes], image: Image) -> int:
    algorithm, expected = image.os_hash_algo, image.os_hash_value
    if not (algorithm and expected and algorithm in _DIGESTS):
        # An image of old may have nothing but its MD5.
        algorithm, expected = "md5", image.checksum
    digest = hashlib.new(algorithm, usedforsecurity=False)
    size = 0
    pieces = response.stream(_PIECE)
    while piece := _next(pieces):
        digest.update(piece)
        file.write(piece)
        size += len(piece)
    if image.size is not None and size != image.size:
        raise ImageUnacceptable(
            id=image.id, reason=f"{size} bytes came, but {image.size} are recorded"
        )
    if expected and digest.hexdigest() != expected:
        raise ImageUnacceptable(
            id=image.id, reason=f"its bytes do not have the recorded {algorithm}"
        )
    return size


def _next(pieces: Any) -> bytes:
    """The next piece, empty at the end; Unavailable when the connection breaks."""
    try:
        piece: bytes = next(pieces, b"")
    except (HTTPError, OSError) as problem:
        raise Unavailable(service="image", reason=type(problem).__name__) from problem
    return piece
