"""The endpoints of image data: upload, staging, import, download, locations."""

from __future__ import annotations

from typing import Any

from minicloud.domain.errors import Invalid
from minicloud.image import schemas
from minicloud.image.downloads import Downloads
from minicloud.image.import_requests import ImportRequests
from minicloud.image.records import Image
from minicloud.image.requests import body_length, content_range, image_id, span
from minicloud.image.uploads import Uploads
from minicloud.kit.web import Call, Reply, Route

_ONE = "/v2/images/{id}"


class DataRoutes:
    def __init__(self, uploads: Uploads, downloads: Downloads, imports: ImportRequests) -> None:
        self._uploads = uploads
        self._downloads = downloads
        self._imports = imports

    def routes(self) -> list[Route]:
        return [
            Route(method="PUT", path=f"{_ONE}/file", handler=self.upload, status=204, raw=True,
                  policy="upload_image", summary="Upload an image's data."),
            Route(method="GET", path=f"{_ONE}/file", handler=self.download,
                  policy="download_image", summary="Download an image's data."),
            Route(method="PUT", path=f"{_ONE}/stage", handler=self.stage, status=204, raw=True,
                  policy="upload_image", summary="Upload data for an import, in parts or whole."),
            Route(method="POST", path=f"{_ONE}/import", handler=self.begin_import, status=202,
                  policy="get_image", body=schemas.ImportRequest,
                  summary="Have the service fetch the image's data."),
            Route(method="GET", path=f"{_ONE}/locations", handler=self.locations,
                  policy="fetch_image_location"),
            Route(method="POST", path=f"{_ONE}/locations", handler=self.location_add,
                  policy="add_image_location", status=202, body=schemas.NewLocation,
                  summary="Let an image have its data at a URL."),
        ]  # fmt: skip

    def upload(self, call: Call) -> None:
        store = call.headers.get("X-Image-Meta-Store")
        self._uploads.upload(call.ctx, image_id(call), call.stream, body_length(call), store)

    def stage(self, call: Call) -> Reply:
        """With ``Content-Range: bytes */*`` and no data: how far it has come."""
        header = call.headers.get("Content-Range")
        length = body_length(call)
        if header is not None and header.strip().startswith("bytes */"):
            if length != 0:
                raise Invalid(reason="A request that asks what is staged brings no data.")
            staged = self._uploads.staged(call.ctx, image_id(call))
        else:
            part = None if header is None else content_range(header)
            if part is not None and length not in (None, part.length):
                raise Invalid(reason="Content-Range and Content-Length do not agree.")
            length = length if part is None else part.length
            staged = self._uploads.stage(call.ctx, image_id(call), call.stream, length, part)
        return Reply(headers={"Range": f"bytes=0-{staged - 1}"} if staged else {})

    def begin_import(self, call: Call) -> Reply:
        self._imports.begin(call.ctx, image_id(call), call.body)
        return Reply(headers={"OpenStack-image-import-methods": ",".join(self._imports.methods)})

    def locations(self, call: Call) -> list[dict[str, Any]]:
        return self._imports.locations(call.ctx, image_id(call))

    def location_add(self, call: Call) -> list[Any]:
        return self._imports.location_add(call.ctx, image_id(call), call.body)

    def download(self, call: Call) -> Reply:
        image = self._downloads.image(call.ctx, image_id(call))
        if image is None:
            return Reply(status=204)
        size = image.size or 0
        wanted = call.headers.get("Range")
        part = (0, size) if wanted is None else span(wanted, size)
        if part is None:
            return Reply(status=416, headers={"Content-Range": f"bytes */{size}"})
        start, end = part
        return Reply(
            status=200 if wanted is None else 206,
            headers=_data_headers(image, start, end, partial=wanted is not None),
            stream=self._downloads.pieces(image, start, end - start),
        )


def _data_headers(image: Image, start: int, end: int, *, partial: bool) -> dict[str, str]:
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(end - start),
        "Accept-Ranges": "bytes",
    }
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{image.size}"
    elif image.checksum:
        headers["Content-MD5"] = image.checksum
    return headers
