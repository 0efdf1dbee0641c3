"""Events that other services report, on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from minicloud.api.schemas.fields import Text, Uuid
from minicloud.domain.errors import Invalid
from minicloud.kit.web import Body
from minicloud.kit.web.versions import Json, Version

SINCE: Mapping[str, Version] = {
    "volume-extended": (2, 51),
    "power-update": (2, 76),
    "accelerator-request-bound": (2, 82),
    "volume-reimaged": (2, 93),
}
"""Event -> the microversion that brought it, where that is not the first."""


class ExternalEvent(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    server_uuid: Uuid
    name: Literal[
        "network-changed",
        "network-vif-plugged",
        "network-vif-unplugged",
        "network-vif-deleted",
        "volume-extended",
        "power-update",
        "accelerator-request-bound",
        "volume-reimaged",
    ]
    status: Literal["failed", "completed", "in-progress"] = "completed"
    tag: Text | UnsetType = UNSET


class ExternalEvents(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    events: Annotated[list[ExternalEvent], Meta(min_length=1, max_length=1000)]


def _unknown(name: str) -> Callable[[Json], Json]:
    def check(body: Json) -> Json:
        events = body.get("events")
        for event in events if isinstance(events, list) else ():
            if isinstance(event, dict) and event.get("name") == name:
                raise Invalid(reason=f"Invalid input for field/attribute name: {name}")
        return body

    return check


CREATE = Body(type=ExternalEvents, up=[(since, _unknown(name)) for name, since in SINCE.items()])
