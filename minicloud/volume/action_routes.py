"""Actions of volumes, a row each: the body's one key says which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicloud.domain.errors import Invalid
from minicloud.kit.web import Body, Call, Reply, Route
from minicloud.volume import schemas
from minicloud.volume.service import VolumeService
from minicloud.volume.states import SETTABLE, VolumeStatus
from minicloud.volume.volume_routes import Scoped, size_of

_MEMBERS = "volume_extension:volume_actions:"
_ADMINS = "volume_extension:volume_admin_actions:"


class ActionRoutes:
    def __init__(self, volumes: VolumeService, scoped: Callable[[Scoped], Any]) -> None:
        self._volumes, self._scoped = volumes, scoped

    def routes(self) -> list[Route]:
        row = self._row
        return [
            row("os-extend", self.extend, "volume:extend", schemas.Extend),
            row("os-set_bootable", self.set_bootable, _MEMBERS + "set_bootable",
                schemas.SetBootable, status=200),
            row("os-begin_detaching", self.begin_detaching, _MEMBERS + "begin_detaching"),
            row("os-roll_detaching", self.roll_detaching, _MEMBERS + "roll_detaching"),
            row("os-reset_status", self.reset_status, _ADMINS + "reset_status",
                schemas.ResetStatus),
            row("os-force_delete", self.force_delete, _ADMINS + "force_delete"),
        ]  # fmt: skip

    def _row(
        self, action: str, handler: Scoped, policy: str, arguments: Any = None, status: int = 202
    ) -> Route:
        body = Body(type=arguments, wrapper=action) if arguments else schemas.Argumentless
        return Route(
            method="POST",
            path="/volumes/{volume_id}/action",
            action=action,
            handler=self._scoped(handler),
            policy=policy,
            body=body,
            status=status,
            summary=f"Volume action {action}",
        )

    def extend(self, call: Call, _project: str) -> Reply:
        self._volumes.extend(call.ctx, call.params["volume_id"], size_of(call.body.new_size))
        return Reply()

    def set_bootable(self, call: Call, _project: str) -> Reply:
        wanted = str(call.body.bootable).lower() in ("true", "1")
        self._volumes.update(call.ctx, call.params["volume_id"], {"bootable": wanted})
        return Reply()

    def begin_detaching(self, call: Call, _project: str) -> Reply:
        self._volumes.move(call.ctx, call.params["volume_id"], "begin_detaching")
        return Reply()

    def roll_detaching(self, call: Call, _project: str) -> Reply:
        self._volumes.move(call.ctx, call.params["volume_id"], "roll_detaching")
        return Reply()

    def reset_status(self, call: Call, _project: str) -> Reply:
        status = call.body.status.lower()
        known = [each.value for each in SETTABLE]
        if status not in known:
            raise Invalid(reason=f"Invalid status: use one of {', '.join(known)}.")
        self._volumes.reset_status(call.ctx, call.params["volume_id"], VolumeStatus(status))
        return Reply()

    def force_delete(self, call: Call, _project: str) -> Reply:
        self._volumes.delete(call.ctx, call.params["volume_id"], force=True)
        return Reply()
