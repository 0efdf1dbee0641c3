"""What every handler of the network service needs to know of its request."""

from __future__ import annotations

import re

from minicloud.domain.errors import Invalid, NotFound
from minicloud.domain.ids import is_uuid
from minicloud.kit.web import Call
from minicloud.network.caller import Caller


def caller_of(call: Call) -> Caller:
    ctx = call.ctx
    sees_all = ctx.is_admin or "service" in ctx.roles
    return Caller(
        project_id=ctx.project_id,
        sees_all=sees_all,
        is_privileged=sees_all or ctx.is_service,
        check=call.check,
        revision=_revision(call),
    )


def _revision(call: Call) -> int | None:
    """The revision that If-Match asks for: ``revision_number=3``. Invalid."""
    text = call.headers.get("If-Match")
    if text is None:
        return None
    match = re.fullmatch(r"revision_number=([0-9]{1,9})", text.strip())
    if match is None:
        raise Invalid(reason="If-Match takes revision_number=NUMBER.")
    return int(match[1])


def id_in(call: Call, kind: str) -> str:
    """The id in the path. NotFound for a name, which clients try as an id."""
    text = call.params["id"]
    if not is_uuid(text):
        raise NotFound(kind=kind.title(), id=text[:64])
    return text


def other_id_in(call: Call, kind: str) -> str:
    """The second id in the path. NotFound."""
    text = call.params["other"]
    if not is_uuid(text):
        raise NotFound(kind=kind, id=text[:64])
    return text


def text_of(text: str) -> str:
    if not text.isprintable() or len(text) > 255:
        raise Invalid(reason="The path holds what no name holds.")
    return text
