"""The image service as volumes need it: what an image is, its bytes here, a volume's bytes there.

A user's image is looked up, and a new one is made, with the user's token, while the request is
fresh; the bytes travel later with this service's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from minicloud.client.identity import ServiceSession
from minicloud.client.image import Image, ImageClient
from minicloud.client.rest import RestClient
from minicloud.domain.errors import Forbidden, Invalid, NotAllowed, NotFound, Unavailable
from minicloud.kit.context import Context
from minicloud.volume.records import GIB

_TRANSFER_TIMEOUT_S = 600.0


class Images:
    """``session`` None: there is no image service, and every method says so."""

    def __init__(self, session: ServiceSession | None) -> None:
        self._session = session

    def describe(self, ctx: Context, image_id: str) -> Image:
        """The image, as the caller sees it. Invalid: there is none, or it has no bytes yet."""
        try:
            image = ImageClient(self._rest(ctx)).image_get(image_id).value
        except NotFound:
            raise Invalid(
                reason="Invalid image identifier or unable to access requested image."
            ) from None
        if image.status != "active":
            raise Invalid(reason=f"Image {image_id} is not active: it is {image.status}.")
        return image

    def fetch(self, image_id: str, target: Path) -> Image:
        """Write the bytes of the image to ``target``, whole and verified. NotFound, Unavailable,
        ImageUnacceptable, HostProblem.
        """
        client = ImageClient(self._rest(Context()))
        image = client.image_get(image_id).value
        client.image_download(image_id, target, image)
        return image

    def create(self, ctx: Context, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """A new image of the caller's, without bytes. NotAllowed, Invalid."""
        made: Mapping[str, Any] = self._rest(ctx).post("/v2/images", dict(values)).json
        return made

    def put(self, image_id: str, source: Path) -> None:
        """Give an image that waits for them the bytes of ``source``."""
        rest = self._rest(Context())
        with source.open("rb") as data:
            rest.upload(f"/v2/images/{quote(image_id, safe='')}/file", data)

    def status(self, image_id: str) -> str:
        """``queued``, ``active`` and so on; empty where there is no such image."""
        try:
            return ImageClient(self._rest(Context())).image_get(image_id).value.status
        except NotFound:
            return ""

    def remove(self, image_id: str) -> None:
        """Take back an image that stays without bytes; fine when it cannot be."""
        with contextlib.suppress(NotFound, NotAllowed, Forbidden):
            self._rest(Context()).delete(f"/v2/images/{quote(image_id, safe='')}")

    def _rest(self, ctx: Context) -> RestClient:
        session = self._session
        if session is None:
            raise Unavailable(service="image", reason="none is configured")

        def headers() -> Mapping[str, str]:
            mine = session.token()
            found = {
                "X-Auth-Token": ctx.token or mine,
                "X-Openstack-Request-Id": ctx.request_id,
            }
            return {**found, "X-Service-Token": mine} if ctx.token else found

        return RestClient(
            "image",
            lambda: session.endpoint("image"),
            headers,
            session=session.http,
            timeout_s=_TRANSFER_TIMEOUT_S,
        )


def image_metadata(image: Image) -> dict[str, str]:
    """What a volume made of the image says about it."""
    facts = {
        "image_id": image.id,
        "image_name": image.name or "",
        "checksum": image.checksum or "",
        "container_format": image.container_format or "",
        "disk_format": image.disk_format or "",
        "min_disk": str(image.min_disk),
        "min_ram": str(image.min_ram),
        "size": str(image.size or 0),
    }
    return {**{key: str(value) for key, value in image.properties.items()}, **facts}


def check_fits(image: Image, size_gb: int) -> None:
    """Invalid: a volume of ``size_gb`` does not hold the image."""
    if image.min_disk > size_gb:
        raise Invalid(
            reason=f"Volume size {size_gb}GB cannot be smaller than the image minDisk size "
            f"{image.min_disk}GB."
        )
    needed = -(-max(image.size or 0, image.virtual_size or 0) // GIB)
    if needed > size_gb:
        raise Invalid(
            reason=f"Size of specified image {needed}GB is larger than volume size {size_gb}GB."
        )
