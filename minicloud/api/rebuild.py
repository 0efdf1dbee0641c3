"""Rebuild: a server's disks made anew of an image; it stays itself, with its ports and volumes.

A root disk that is a volume gets the image's bytes since 2.93. Before, its server is only started
anew, and the image has to be the one that the volume was made of.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from minicloud.api.block_devices import check_memory, check_room, check_volume_room
from minicloud.api.launch_checks import check_certificates, refuse_files
from minicloud.api.lookups import Lookups, usable_image
from minicloud.api.operations import Operator
from minicloud.api.passwords import admin_password
from minicloud.api.schemas.server_bodies import Rebuild
from minicloud.api.schemas.server_views import ATTRIBUTE, links
from minicloud.api.servers import Servers
from minicloud.api.volumes_in_use import volumes_in_use
from minicloud.client.image import Image
from minicloud.client.volume import Volume
from minicloud.db import keypairs
from minicloud.domain.errors import Invalid, NotFound
from minicloud.domain.models import Server
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call, Reply

_REIMAGED = ("reserved", "error")
"""What a root volume may be besides in use where it gets other bytes: an earlier try left it so."""

_CHANGED = (
    "name",
    "metadata",
    "disk_config",
    "description",
    "hostname",
    "access_ip_v4",
    "access_ip_v6",
    "user_data",
)


class Rebuilder:
    def __init__(
        self, database: Database, operator: Operator, lookups: Lookups, servers: Servers
    ) -> None:
        self._database = database
        self._operator = operator
        self._lookups = lookups
        self._servers = servers

    def rebuild(self, call: Call) -> Reply:
        return self._rebuild(call, reimages=True)

    def rebuild_before_2_93(self, call: Call) -> Reply:
        return self._rebuild(call, reimages=False)

    def _rebuild(self, call: Call, *, reimages: bool) -> Reply:
        body: Rebuild = call.body
        refuse_files(body.personality)
        server = self._operator.check(call, "rebuild")
        check_certificates(
            body.trusted_image_certificates, by_volume=server.root_volume is not None
        )
        image = self._image(call.ctx, body.image_ref)
        volumes = volumes_in_use(
            self._lookups, call.ctx, server, root_may_be=_REIMAGED if reimages else ()
        )
        check_memory(image, server.flavor)
        with self._database.read() as tx:
            change = _changes(tx, body, server)
        change["image_properties"] = image.properties
        params: dict[str, Any] = {}
        root = server.root_volume
        if root is None:
            check_room(image, server.flavor)
            change["image_id"] = image.id
        else:
            _check_root(image, volumes.get(root.volume_id), reimages=reimages)
            params = {"reimage": image.id} if reimages else {}
        self._operator.begin(call, "rebuild", params, change=change)
        view = self._servers.show(call)
        view["server"]["adminPass"] = admin_password(body.admin_pass)
        view["server"].pop(ATTRIBUTE + "user_data", None)  # it is shown by another name
        view["server"]["user_data"] = change.get("user_data", server.user_data)
        location = links(call.base_url, server.id)[0]["href"]
        return Reply(body=view, headers={"Location": location})

    def _image(self, ctx: Context, image_id: str) -> Image:
        """The image, which exists and is whole. Invalid."""
        image = usable_image(self._lookups, ctx, image_id)
        if image is None:
            raise Invalid(reason="Cannot find image for rebuild")
        if image.status != "active":
            raise Invalid(reason=f"Image {image.id} is not active.")
        return image


def _check_root(image: Image, root: Volume | None, *, reimages: bool) -> None:
    """Raise Invalid unless the root volume is, or is to be, one of the image."""
    if root is None:
        raise Invalid(reason="Invalid volume: the server's root volume was never made.")
    if reimages:
        check_volume_room(image, root.size_gb)
    elif root.image_metadata.get("image_id") != image.id:
        raise Invalid(
            reason=f"Image {image.id} is unacceptable: Unable to rebuild with a different image "
            "for a volume-backed server."
        )


def _changes(tx: Transaction, body: Rebuild, server: Server) -> dict[str, Any]:
    """Column -> what the request sets it to. Invalid."""
    change: dict[str, Any] = {}
    for name in _CHANGED:
        value = getattr(body, name)
        if value is not UNSET:
            change[name] = value
    if body.key_name is not UNSET:
        change["key_name"] = body.key_name
        change["public_key"] = _public_key(tx, server.user_id, body.key_name)
    return change


def _public_key(tx: Transaction, user_id: str, name: str | None) -> str | None:
    if name is None:
        return None
    try:
        return keypairs.keypair_get(tx, user_id, name).public_key
    except NotFound:
        raise Invalid(reason="Invalid key_name provided.") from None
