"""Whose servers a caller may see. Other projects' are not found, as if there were none."""

from __future__ import annotations

from minicloud.db import servers
from minicloud.domain.errors import Locked
from minicloud.domain.models import Server
from minicloud.kit.context import Context
from minicloud.kit.db import Transaction
from minicloud.kit.web import Call


def project_scope(ctx: Context) -> str | None:
    """The project a look-up is limited to; None: all of them."""
    return None if ctx.is_admin or "service" in ctx.roles else ctx.project_id


def server_of(
    tx: Transaction, call: Call, *, deleted: bool | None = False, lock: bool = False
) -> Server:
    """The server that the request's path names. NotFound.

    ``lock``: nobody else changes it until the transaction ends.
    """
    return servers.server_get(
        tx,
        call.params["server_id"],
        project_id=project_scope(call.ctx),
        deleted=deleted,
        lock=lock,
    )


def check_unlocked(ctx: Context, server: Server) -> None:
    """Raise Locked when ``server`` is locked, except to admins."""
    if server.locked and not ctx.is_admin:
        raise Locked(id=server.id)
