"""Bodies of requests for a console. Which kinds there are is the handler's to say."""

from __future__ import annotations

import msgspec

from minicloud.api.schemas.fields import Text
from minicloud.kit.web import Body


class RemoteConsole(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    protocol: Text
    type: Text


class OldConsole(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Text


CREATE = Body(type=RemoteConsole, wrapper="remote_console")
CREATE_BEFORE_2_6 = Body(type=OldConsole, wrapper="os-getVNCConsole")
SERIAL_BEFORE_2_6 = Body(type=OldConsole, wrapper="os-getSerialConsole")
