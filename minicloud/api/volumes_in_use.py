"""What rebuild and rescue ask of a server's volumes: that the server has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minicloud.api.lookups import Lookups
from minicloud.client.volume import Volume
from minicloud.domain.errors import Invalid
from minicloud.domain.models import Server
from minicloud.kit.context import Context


def volumes_in_use(
    lookups: Lookups, ctx: Context, server: Server, *, root_may_be: Sequence[str] = ()
) -> Mapping[str, Volume]:
    """The server's volumes by id, which are all in use. Invalid, NotFound.

    ``root_may_be``: further statuses that the volume it boots from may have.
    """
    found: dict[str, Volume] = {}
    for disk in server.block_devices:
        if not disk.volume_id:
            continue
        volume = found[disk.volume_id] = lookups.volume(ctx, disk.volume_id)
        if volume.status not in ("in-use", *(root_may_be if disk.is_root else ())):
            raise Invalid(
                reason=f"Invalid volume: volume '{volume.id}' status must be 'in-use'. "
                f"Currently in '{volume.status}' status"
            )
    return found
