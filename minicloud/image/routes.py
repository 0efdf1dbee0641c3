"""The image API's endpoints: a row each, with handlers that only translate."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from werkzeug.datastructures import Headers

from minicloud.domain.errors import Invalid, NotFound
from minicloud.image import documents, filters, patch, schemas
from minicloud.image.blobs import pieces
from minicloud.image.schemas import image_view, member_view
from minicloud.image.service import ImageService
from minicloud.image.uploads import Data, ImageData
from minicloud.kit.context import Context
from minicloud.kit.policy import PUBLIC, Policy
from minicloud.kit.web import Call, Reply, Route, Service, dialects
from minicloud.kit.web.decode import convert

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def rest_service(
    images: ImageService,
    data: ImageData,
    policy: Policy,
    authenticate: Callable[[Headers, dict[str, float], str], Context],
) -> Service:
    """The whole REST service."""
    return Service(
        name="image",
        routes=routes(images, data),
        policy=policy,
        dialect=dialects.glance,
        catalog_types=frozenset({"image"}),
        authenticate=authenticate,
        unauthenticated_headers={"WWW-Authenticate": "Keystone"},
    )


def routes(images: ImageService, data: ImageData) -> list[Route]:
    on, held = _Images(images), _Data(data)
    return [
        Route(method="GET", path="/", handler=_versions, policy=PUBLIC, status=300),
        Route(method="GET", path="/v2", handler=_versions, policy=PUBLIC, status=300),
        Route(method="GET", path="/versions", handler=_versions, policy=PUBLIC),
        Route(method="GET", path="/v2/schemas/{name}", handler=_schema, policy="get_schemas"),
        Route(method="GET", path="/v2/info/import", policy="get_info",
              handler=lambda _call: documents.IMPORT),
        Route(method="GET", path="/v2/info/stores", policy="get_info",
              handler=lambda _call: documents.STORES),
        Route(method="GET", path="/v2/images", handler=on.page, policy="get_images"),
        Route(method="POST", path="/v2/images", handler=on.create, policy="add_image",
              status=201, body=dict[str, Any], summary="Create an image, without its data."),
        Route(method="GET", path="/v2/images/{id}", handler=on.show, policy="get_image"),
        Route(method="PATCH", path="/v2/images/{id}", handler=on.update, policy="modify_image",
              body=list[Any], media_types=(patch.V21, patch.V20)),
        Route(method="DELETE", path="/v2/images/{id}", handler=on.delete, policy="delete_image",
              status=204),
        Route(method="PUT", path="/v2/images/{id}/file", handler=held.upload,
              policy="upload_image", status=204, raw=True, summary="Upload an image's data."),
        Route(method="GET", path="/v2/images/{id}/file", handler=held.download,
              policy="download_image", summary="Download an image's data."),
        Route(method="PUT", path="/v2/images/{id}/tags/{tag}", handler=on.tag,
              policy="modify_image", status=204),
        Route(method="DELETE", path="/v2/images/{id}/tags/{tag}", handler=on.untag,
              policy="modify_image", status=204),
        Route(method="POST", path="/v2/images/{id}/actions/deactivate", handler=on.deactivate,
              policy="deactivate", status=204),
        Route(method="POST", path="/v2/images/{id}/actions/reactivate", handler=on.reactivate,
              policy="reactivate", status=204),
        Route(method="GET", path="/v2/images/{id}/members", handler=on.members,
              policy="get_members"),
        Route(method="POST", path="/v2/images/{id}/members", handler=on.member_add,
              policy="add_member", body=schemas.NewMember),
        Route(method="GET", path="/v2/images/{id}/members/{member}", handler=on.member,
              policy="get_member"),
        Route(method="PUT", path="/v2/images/{id}/members/{member}", handler=on.member_answer,
              policy="modify_member", body=schemas.MemberAnswer),
        Route(method="DELETE", path="/v2/images/{id}/members/{member}", status=204,
              handler=on.member_remove, policy="delete_member"),
    ]  # fmt: skip


def _versions(call: Call) -> dict[str, Any]:
    return documents.versions(call.base_url)


def _schema(call: Call) -> dict[str, Any]:
    name = call.params["name"]
    if name not in documents.SCHEMAS:
        raise NotFound(kind="Schema", id=name)
    return documents.SCHEMAS[name]


def _image_id(call: Call) -> str:
    """The id in the path; what cannot be one is not found."""
    image_id = call.params["id"]
    if not _ID.fullmatch(image_id):
        raise NotFound(kind="Image", id=image_id)
    return image_id.lower()


class _Images:
    def __init__(self, images: ImageService) -> None:
        self._images = images

    def page(self, call: Call) -> dict[str, Any]:
        found, more = self._images.page(call.ctx, filters.parse(call.query))
        pairs = [pair for pair in call.query.items(multi=True) if pair[0] != "marker"]
        body: dict[str, Any] = {
            "images": [image_view(image) for image in found],
            "first": _link(pairs),
            "schema": "/v2/schemas/images",
        }
        if more and found:
            body["next"] = _link([*pairs, ("marker", found[-1].id)])
        return body

    def create(self, call: Call) -> Reply:
        image = self._images.create(call.ctx, schemas.describe(call.body))
        return Reply(
            body=image_view(image),
            headers={
                "Location": f"{call.base_url}/v2/images/{image.id}",
                "OpenStack-image-import-methods": ",".join(documents.IMPORT_METHODS),
            },
        )

    def show(self, call: Call) -> dict[str, Any]:
        return image_view(self._images.show(call.ctx, _image_id(call)))

    def update(self, call: Call) -> dict[str, Any]:
        media_type = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        operations = patch.parse(call.body, media_type)
        return image_view(self._images.update(call.ctx, _image_id(call), operations))

    def delete(self, call: Call) -> None:
        self._images.delete(call.ctx, _image_id(call))

    def tag(self, call: Call) -> None:
        tag = convert(call.params["tag"], schemas.Label)
        self._images.tag(call.ctx, _image_id(call), tag)

    def untag(self, call: Call) -> None:
        self._images.untag(call.ctx, _image_id(call), call.params["tag"])

    def deactivate(self, call: Call) -> None:
        self._images.deactivate(call.ctx, _image_id(call))

    def reactivate(self, call: Call) -> None:
        self._images.reactivate(call.ctx, _image_id(call))

    def members(self, call: Call) -> dict[str, Any]:
        found = self._images.members(call.ctx, _image_id(call))
        return {
            "members": [member_view(member) for member in found],
            "schema": "/v2/schemas/members",
        }

    def member(self, call: Call) -> dict[str, Any]:
        return member_view(self._images.member(call.ctx, _image_id(call), call.params["member"]))

    def member_add(self, call: Call) -> dict[str, Any]:
        return member_view(self._images.member_add(call.ctx, _image_id(call), call.body.member))

    def member_answer(self, call: Call) -> dict[str, Any]:
        return member_view(
            self._images.member_answer(
                call.ctx, _image_id(call), call.params["member"], call.body.status
            )
        )

    def member_remove(self, call: Call) -> None:
        project_id = call.params["member"]
        schemas.plain(project_id, "The member")
        self._images.member_remove(call.ctx, _image_id(call), project_id)


class _Data:
    def __init__(self, data: ImageData) -> None:
        self._data = data

    def upload(self, call: Call) -> None:
        length: int | None = None
        if "chunked" not in call.headers.get("Transfer-Encoding", "").lower():
            length = _length(call.headers.get("Content-Length", "0"))
        self._data.upload(call.ctx, _image_id(call), call.stream, length)

    def download(self, call: Call) -> Reply:
        data = self._data.download(call.ctx, _image_id(call))
        if data is None:
            return Reply(status=204)
        wanted = call.headers.get("Range")
        span = (0, data.size) if wanted is None else _span(wanted, data.size)
        if span is None:
            data.file.close()
            return Reply(status=416, headers={"Content-Range": f"bytes */{data.size}"})
        start, end = span
        return Reply(
            status=200 if wanted is None else 206,
            headers=_data_headers(data, start, end, partial=wanted is not None),
            stream=pieces(data.file, start, end - start),
        )


def _length(header: str) -> int:
    if not (header.isascii() and header.isdigit() and len(header) < 20):
        raise Invalid(reason="Content-Length must be a number of bytes.")
    return int(header)


def _data_headers(data: Data, start: int, end: int, *, partial: bool) -> dict[str, str]:
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(end - start),
        "Accept-Ranges": "bytes",
    }
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{data.size}"
    elif data.image.checksum:
        headers["Content-MD5"] = data.image.checksum
    return headers


def _span(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last that a Range header asks for; None: it cannot be."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last so many bytes
        start, end = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        end = min(size, int(match[2]) + 1) if match[2] else size
    return (start, end) if start < end else None


def _link(pairs: list[tuple[str, str]]) -> str:
    return f"/v2/images?{urlencode(pairs)}" if pairs else "/v2/images"
