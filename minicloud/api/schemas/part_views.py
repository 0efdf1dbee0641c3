"""How ports and volumes of a server looked in older microversions."""

from __future__ import annotations

from minicloud.api.schemas.older import for_each, without
from minicloud.kit.web.versions import Json


def _under_its_volume_id(item: Json) -> None:
    item["id"] = item["volumeId"]
    del item["attachment_id"], item["bdm_uuid"]


INTERFACES = for_each("interfaceAttachment", "interfaceAttachments", (((2, 70), without("tag")),))
ATTACHMENTS = for_each(
    "volumeAttachment",
    "volumeAttachments",
    (
        ((2, 89), _under_its_volume_id),
        ((2, 79), without("delete_on_termination")),
        ((2, 70), without("tag")),
    ),
)
ATTACHED = for_each(
    "volumeAttachment",
    "",
    (
        ((2, 79), without("delete_on_termination")),
        ((2, 70), without("tag")),
    ),
)
"""Of the answer to an attachment, whose shape did not change at 2.89."""
