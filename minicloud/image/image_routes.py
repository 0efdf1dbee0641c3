"""The endpoints of images' records: handlers that only translate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from minicloud.domain.errors import MethodNotAllowed, NotFound
from minicloud.image import filters, patch, schemas
from minicloud.image.records import Image
from minicloud.image.requests import image_id
from minicloud.image.schemas import image_view
from minicloud.image.service import ImageService
from minicloud.image.stores.registry import Stores
from minicloud.kit.web import Call, Query, Reply, Route
from minicloud.kit.web.decode import convert

_ALL = "/v2/images"
_ONE = f"{_ALL}/{{id}}"


class ImageRoutes:
    """``methods``: how images can be imported."""

    def __init__(self, images: ImageService, stores: Stores, methods: Sequence[str]) -> None:
        self._images = images
        self._stores = stores
        self._methods = methods

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path=_ALL, handler=self.page, policy="get_images",
                  query=Query(names=filters.NAMES, strict_from=None, open=True),
                  summary="List images; other parameters are properties they must have."),
            Route(method="POST", path=_ALL, handler=self.create, policy="add_image",
                  status=201, body=schemas.NewImage, summary="Create an image, without its data."),
            Route(method="DELETE", path=_ALL, handler=self.delete_nameless, policy="delete_image",
                  alias=True),
            Route(method="GET", path=_ONE, handler=self.show, policy="get_image"),
            Route(method="PATCH", path=_ONE, handler=self.update, policy="modify_image",
                  body=schemas.Patch, media_types=(patch.V21, patch.V20)),
            Route(method="DELETE", path=_ONE, handler=self.delete, policy="delete_image",
                  status=204),
            Route(method="PUT", path=f"{_ONE}/tags/{{tag}}", handler=self.tag,
                  policy="modify_image", status=204),
            Route(method="DELETE", path=f"{_ONE}/tags/{{tag}}", handler=self.untag,
                  policy="modify_image", status=204),
            Route(method="POST", path=f"{_ONE}/actions/deactivate", handler=self.deactivate,
                  policy="deactivate", status=204),
            Route(method="POST", path=f"{_ONE}/actions/reactivate", handler=self.reactivate,
                  policy="reactivate", status=204),
            Route(method="DELETE", path="/v2/stores/{store}/{id}", handler=self.delete_copy,
                  policy="delete_image_location", status=204),
        ]  # fmt: skip

    def _view(self, call: Call, image: Image) -> dict[str, Any]:
        return image_view(self._images.readable(call.ctx, image))

    def page(self, call: Call) -> dict[str, Any]:
        if call.path.endswith("/"):
            raise NotFound(kind="Image", id="")
        found, more = self._images.page(call.ctx, filters.parse(call.query))
        pairs = [pair for pair in call.query.items(multi=True) if pair[0] != "marker"]
        body: dict[str, Any] = {
            "images": [self._view(call, image) for image in found],
            "first": _link(pairs),
            "schema": "/v2/schemas/images",
        }
        if more and found:
            body["next"] = _link([*pairs, ("marker", found[-1].id)])
        return body

    def create(self, call: Call) -> Reply:
        image = self._images.create(call.ctx, schemas.describe(call.body))
        return Reply(
            body=self._view(call, image),
            headers={
                "Location": f"{call.base_url}/v2/images/{image.id}",
                "OpenStack-image-import-methods": ",".join(self._methods),
                "OpenStack-image-store-ids": ",".join(one.id for one in self._stores),
            },
        )

    def show(self, call: Call) -> dict[str, Any]:
        return self._view(call, self._images.show(call.ctx, image_id(call)))

    def update(self, call: Call) -> dict[str, Any]:
        media_type = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        operations = patch.parse(call.body, media_type)
        return self._view(call, self._images.update(call.ctx, image_id(call), operations))

    def delete_nameless(self, call: Call) -> None:
        """An image without an id is not there; the list is nothing to delete."""
        if call.path.endswith("/"):
            raise NotFound(kind="Image", id="")
        raise MethodNotAllowed()

    def delete(self, call: Call) -> None:
        self._images.delete(call.ctx, image_id(call))

    def tag(self, call: Call) -> None:
        tag = convert(call.params["tag"], schemas.Label)
        self._images.tag(call.ctx, image_id(call), tag)

    def untag(self, call: Call) -> None:
        self._images.untag(call.ctx, image_id(call), call.params["tag"])

    def deactivate(self, call: Call) -> None:
        self._images.deactivate(call.ctx, image_id(call))

    def reactivate(self, call: Call) -> None:
        self._images.reactivate(call.ctx, image_id(call))

    def delete_copy(self, call: Call) -> None:
        self._images.delete_copy(call.ctx, call.params["store"], image_id(call))


def _link(pairs: list[tuple[str, str]]) -> str:
    return f"/v2/images?{urlencode(pairs)}" if pairs else "/v2/images"
