"""What a rescued server boots, and how its own disks are then beside it.

Without a word of the image's, the rescue disk is the first and the server's root, a file, the
second. An image with ``hw_rescue_device`` or ``hw_rescue_bus`` leaves every disk at its place and
comes last, to boot first; a server on a root volume can be rescued with both only.
"""

from __future__ import annotations

from typing import Any

from minicloud.api.block_devices import BUSES
from minicloud.api.lookups import Lookups, usable_image
from minicloud.api.volumes_in_use import volumes_in_use
from minicloud.client.image import Image
from minicloud.domain.errors import Conflict, Invalid
from minicloud.domain.models import Server
from minicloud.kit.context import Context

_DEVICE, _BUS = "hw_rescue_device", "hw_rescue_bus"
_DEVICES = ("disk", "cdrom")


def rescue_params(
    lookups: Lookups, ctx: Context, server: Server, wanted: str | None, *, on_volumes: bool
) -> dict[str, Any]:
    """``image_id`` and, where the disks stay at their places, ``rescue_disk`` with ``device``
    (disk or cdrom) and ``bus``.

    ``wanted``: the image that the caller names; ``on_volumes``: whether a server on a root volume
    can be rescued. Invalid; Conflict: a volume is not in use.
    """
    try:
        volumes = volumes_in_use(lookups, ctx, server)
    except Invalid as problem:
        raise Conflict(reason=problem.message) from None
    root = server.root_volume
    base = server.image_id
    if root is not None and root.volume_id in volumes:
        base = volumes[root.volume_id].image_metadata.get("image_id", "")
    image = _image(lookups, ctx, server, wanted or base)
    if root is not None and not (on_volumes and {_DEVICE, _BUS} <= set(image.properties)):
        raise _not_rescuable(server, "Cannot rescue a volume-backed instance")
    params: dict[str, Any] = {"image_id": image.id}
    if {_DEVICE, _BUS} & set(image.properties):
        params["rescue_disk"] = {"device": _device(server, image), "bus": _bus(server, image)}
    return params


def _image(lookups: Lookups, ctx: Context, server: Server, image_id: str) -> Image:
    if not image_id:
        raise _not_rescuable(server, "Cannot rescue a volume-backed instance")
    image = usable_image(lookups, ctx, image_id)
    if image is None or image.status != "active" or "block_device_mapping" in image.properties:
        raise Invalid(reason=f"Requested rescue image '{image_id}' is not supported")
    return image


def _device(server: Server, image: Image) -> str:
    device = image.properties.get(_DEVICE, "disk")
    if device not in _DEVICES:
        raise _not_rescuable(server, f"the rescue device {device[:64]} is not supported")
    return device


def _bus(server: Server, image: Image) -> str:
    bus = image.properties.get(_BUS, "")
    if bus and bus not in BUSES:
        raise _not_rescuable(server, f"the rescue bus {bus[:64]} is not supported")
    return BUSES.get(bus, "")


def _not_rescuable(server: Server, why: str) -> Invalid:
    return Invalid(reason=f"Instance {server.id} cannot be rescued: {why}")
