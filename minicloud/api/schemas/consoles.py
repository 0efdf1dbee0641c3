"""Bodies of requests for a console. Which kinds this cloud has is the handler's to say."""

from __future__ import annotations

from typing import Literal

import msgspec

from minicloud.domain.errors import Invalid
from minicloud.kit.web import Body
from minicloud.kit.web.versions import Conversion, Json, Version


class RemoteConsole(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    protocol: Literal["vnc", "spice", "serial", "rdp", "mks"]
    type: Literal["novnc", "xvpvnc", "spice-html5", "serial", "rdp-html5", "webmks", "spice-direct"]


class VncConsole(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["novnc", "xvpvnc"]


class SpiceConsole(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["spice-html5"]


class SerialConsole(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["serial"]


def _since(version: Version, *words: str) -> Conversion:
    """Older requests may not have these words."""

    def check(body: Json) -> Json:
        for key in ("protocol", "type"):
            if body.get(key) in words:
                raise Invalid(reason=f"Invalid input for field/attribute {key}: {body[key]}")
        return body

    return version, check


CREATE = Body(
    type=RemoteConsole,
    wrapper="remote_console",
    up=(_since((2, 8), "mks", "webmks"), _since((2, 99), "spice-direct")),
)
VNC_BEFORE_2_6 = Body(type=VncConsole, wrapper="os-getVNCConsole")
SPICE_BEFORE_2_6 = Body(type=SpiceConsole, wrapper="os-getSPICEConsole")
SERIAL_BEFORE_2_6 = Body(type=SerialConsole, wrapper="os-getSerialConsole")
