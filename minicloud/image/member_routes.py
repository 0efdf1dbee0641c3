"""The endpoints of the members of shared images: handlers that only translate."""

from __future__ import annotations

from typing import Any

from minicloud.image import schemas
from minicloud.image.requests import image_id
from minicloud.image.schemas import member_view
from minicloud.image.service import ImageService
from minicloud.kit.web import Call, Route

_ALL = "/v2/images/{id}/members"
_ONE = f"{_ALL}/{{member}}"


class MemberRoutes:
    def __init__(self, images: ImageService) -> None:
        self._images = images

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path=_ALL, handler=self.members, policy="get_members"),
            Route(method="POST", path=_ALL, handler=self.member_add, policy="add_member",
                  body=schemas.NewMember),
            Route(method="GET", path=_ONE, handler=self.member, policy="get_member"),
            Route(method="PUT", path=_ONE, handler=self.member_answer, policy="modify_member",
                  body=schemas.MemberAnswer),
            Route(method="DELETE", path=_ONE, handler=self.member_remove, policy="delete_member",
                  status=204),
        ]  # fmt: skip

    def members(self, call: Call) -> dict[str, Any]:
        found = self._images.members(call.ctx, image_id(call))
        return {
            "members": [member_view(member) for member in found],
            "schema": "/v2/schemas/members",
        }

    def member(self, call: Call) -> dict[str, Any]:
        return member_view(self._images.member(call.ctx, image_id(call), call.params["member"]))

    def member_add(self, call: Call) -> dict[str, Any]:
        return member_view(self._images.member_add(call.ctx, image_id(call), call.body.member))

    def member_answer(self, call: Call) -> dict[str, Any]:
        return member_view(
            self._images.member_answer(
                call.ctx, image_id(call), call.params["member"], call.body.status
            )
        )

    def member_remove(self, call: Call) -> None:
        project_id = call.params["member"]
        schemas.plain(project_id, "The member")
        self._images.member_remove(call.ctx, image_id(call), project_id)
