"""Rebuild: a server's disks made anew of an image; it stays itself, with its ports and volumes."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from minicloud.api.launch_checks import bootable_image, check_user_data
from minicloud.api.lookups import Lookups
from minicloud.api.operations import Operator
from minicloud.api.passwords import admin_password
from minicloud.api.schemas.fields import check_address
from minicloud.api.schemas.server_bodies import Rebuild
from minicloud.api.schemas.server_views import links
from minicloud.api.servers import Servers
from minicloud.db import keypairs
from minicloud.domain.errors import Invalid, NotFound
from minicloud.domain.models import Server
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call, Reply


class Rebuilder:
    def __init__(
        self, database: Database, operator: Operator, lookups: Lookups, servers: Servers
    ) -> None:
        self._database = database
        self._operator = operator
        self._lookups = lookups
        self._servers = servers

    def rebuild(self, call: Call) -> Reply:
        body: Rebuild = call.body
        server = self._operator.check(call, "rebuild")
        if not server.image_id:
            raise Invalid(
                reason="Unable to rebuild a volume-backed server with another image: "
                "its root disk is a volume."
            )
        image = bootable_image(self._lookups, call.ctx, body.image_ref, server.flavor)
        with self._database.read() as tx:
            change = _changes(tx, body, server)
        change.update(image_id=image.id, image_properties=image.properties)
        self._operator.begin(call, "rebuild", change=change)
        view = self._servers.show(call)
        view["server"]["adminPass"] = admin_password(body.admin_pass)
        view["server"]["user_data"] = change.get("user_data", server.user_data)
        location = links(call.base_url, server.id)[0]["href"]
        return Reply(body=view, headers={"Location": location})


def _changes(tx: Transaction, body: Rebuild, server: Server) -> dict[str, Any]:
    """Column -> what the request sets it to. Invalid."""
    change: dict[str, Any] = {}
    for name in ("name", "metadata", "disk_config", "description", "hostname"):
        value = getattr(body, name)
        if value is not UNSET:
            change[name] = value
    for name, version in (("access_ip_v4", 4), ("access_ip_v6", 6)):
        value = getattr(body, name)
        if value is not UNSET:
            check_address(value, version)
            change[name] = value
    if body.user_data is not UNSET:
        check_user_data(body.user_data)
        change["user_data"] = body.user_data
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
