"""Endpoints of attachments (3.27; completion 3.44): what compute uses to get at a volume."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from minicloud.domain.errors import Invalid
from minicloud.kit.web import Body, Call, Reply, Route
from minicloud.volume import schemas, views
from minicloud.volume.attachments import AttachmentService
from minicloud.volume.query import links, page_size, project_asked, text
from minicloud.volume.records import Attachment, Volume
from minicloud.volume.volume_routes import Scoping

_FILTERS = {"instance_id": "server_id", "volume_id": "volume_id", "status": "status"}


class AttachmentRoutes:
    """``way`` tells how to reach an export."""

    def __init__(self, attachments: AttachmentService, scoped: Scoping, *, way: views.Way) -> None:
        self._attachments, self._scoped, self._way = attachments, scoped, way

    def routes(self) -> list[Route]:
        scoped, one, since = self._scoped, "/attachments/{attachment_id}", (3, 27)
        return [
            Route(method="POST", path="/attachments", handler=scoped(self.create), since=since,
                  policy="volume:attachment_create", summary="Claim a volume for a server",
                  body=Body(type=schemas.AttachmentCreate, wrapper="attachment",
                            since={"mode": (3, 54)})),
            Route(method="GET", path="/attachments", handler=scoped(self.list), since=since,
                  policy="volume:attachment_get", summary="List attachments: the main facts"),
            Route(method="GET", path="/attachments/detail", handler=scoped(self.detail),
                  since=since, policy="volume:attachment_get", summary="List attachments"),
            Route(method="GET", path=one, handler=scoped(self.show), since=since,
                  policy="volume:attachment_get", summary="Show an attachment"),
            Route(method="PUT", path=one, handler=scoped(self.update), since=since,
                  policy="volume:attachment_update", summary="Export the volume to a host",
                  body=Body(type=schemas.AttachmentUpdate, wrapper="attachment")),
            Route(method="DELETE", path=one, handler=scoped(self.delete), since=since,
                  policy="volume:attachment_delete", summary="Give a volume back"),
            Route(method="POST", path=one + "/action", action="os-complete", since=(3, 44),
                  handler=scoped(self.complete), policy="volume:attachment_complete",
                  status=204, summary="Say that the host has the volume",
                  body=schemas.Argumentless),
        ]  # fmt: skip

    def create(self, call: Call, _project: str) -> Any:
        asked: schemas.AttachmentCreate = call.body
        connector = asked.connector or None  # {}: only reserve, as without one
        if connector is not None:
            check_connector(connector)
        return self._shown(
            *self._attachments.create(
                call.ctx, asked.volume_uuid, asked.instance_uuid or "", connector, asked.mode
            )
        )

    def list(self, call: Call, project: str) -> Any:
        return self._page(call, project, lambda each, _volume: views.attachment_summary(each))

    def detail(self, call: Call, project: str) -> Any:
        qos = functools.cache(self._attachments.qos_by_type)  # asked once, if there is any
        return self._page(
            call,
            project,
            lambda each, volume: views.attachment_view(
                each, volume, self._way, qos().get(volume.type_id)
            ),
        )

    def show(self, call: Call, _project: str) -> Any:
        return self._shown(*self._attachments.get(call.ctx, call.params["attachment_id"]))

    def update(self, call: Call, _project: str) -> Any:
        connector = call.body.connector
        check_connector(connector)
        return self._shown(
            *self._attachments.connect(call.ctx, call.params["attachment_id"], connector)
        )

    def delete(self, call: Call, _project: str) -> Any:
        left = self._attachments.delete(call.ctx, call.params["attachment_id"])
        return {"attachments": [views.attachment_summary(each) for each, _ in left]}

    def complete(self, call: Call, _project: str) -> Reply:
        self._attachments.complete(call.ctx, call.params["attachment_id"])
        return Reply()

    def _shown(self, attachment: Attachment, volume: Volume) -> Any:
        qos = self._attachments.qos_by_type().get(volume.type_id)
        return {"attachment": views.attachment_view(attachment, volume, self._way, qos)}

    def _page(self, call: Call, project: str, view: Callable[[Attachment, Volume], Any]) -> Any:
        values = {column: text(call, name) for name, column in _FILTERS.items()}
        limit = page_size(call)
        found = self._attachments.select(
            project_id=project_asked(call, project),
            filters={column: value for column, value in values.items() if value is not None},
            limit=limit + 1,
            marker=text(call, "marker"),
            offset=call.number("offset", 0) or 0,
        )
        page = found[:limit]
        body: dict[str, Any] = {"attachments": [view(*each) for each in page]}
        if page and len(found) > limit:
            body["attachments_links"] = links(call, page[-1][0].id)
        return body


def check_connector(connector: Mapping[str, Any]) -> None:
    if not isinstance(connector.get("host"), str) or not connector["host"]:
        raise Invalid(reason="The connector must name its host: {'host': ...}.")
    mountpoint = connector.get("mountpoint")
    if mountpoint is not None and not isinstance(mountpoint, str):
        raise Invalid(reason="The connector's mountpoint must be text, as /dev/vdb.")
