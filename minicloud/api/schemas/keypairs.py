"""Key pairs on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from minicloud.api.schemas.fields import Text
from minicloud.domain.models import Keypair
from minicloud.kit.clock import iso_micro
from minicloud.kit.web import Body
from minicloud.kit.web.versions import Json

_Name = Annotated[
    str, Meta(min_length=1, max_length=255, pattern=r"^(?! )[a-zA-Z0-9 @._-]+(?<! )\Z")
]
_OldName = Annotated[
    str, Meta(min_length=1, max_length=255, pattern=r"^(?! )[a-zA-Z0-9 _-]+(?<! )\Z")
]
_PublicKey = Annotated[str, Meta(min_length=1, max_length=16384)]


class KeypairImport(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: _Name
    public_key: _PublicKey
    type: Literal["ssh", "x509"] = "ssh"
    user_id: Text | UnsetType = UNSET


class KeypairCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Before 2.92, where a key pair could also be made here."""

    name: _OldName
    public_key: _PublicKey | UnsetType = UNSET
    type: Literal["ssh", "x509"] = "ssh"
    user_id: Text | UnsetType = UNSET


IMPORT = Body(type=KeypairImport, wrapper="keypair")
CREATE = Body(type=KeypairCreate, wrapper="keypair", since={"type": (2, 2), "user_id": (2, 10)})


def listed_view(keypair: Keypair) -> dict[str, Any]:
    return {
        "keypair": {
            "name": keypair.name,
            "public_key": keypair.public_key,
            "fingerprint": keypair.fingerprint,
            "type": keypair.type,
        }
    }


def created_view(keypair: Keypair, private_key: str | None) -> dict[str, Any]:
    view = {**listed_view(keypair)["keypair"], "user_id": keypair.user_id}
    if private_key is not None:
        view["private_key"] = private_key
    return {"keypair": view}


def keypair_view(keypair: Keypair) -> dict[str, Any]:
    view = {
        **listed_view(keypair)["keypair"],
        "user_id": keypair.user_id,
        "id": int(keypair.created_at * 1000) % 2**31,
        "created_at": iso_micro(keypair.created_at),
        "updated_at": None,
        "deleted_at": None,
        "deleted": False,
    }
    return {"keypair": view}


def _no_type(body: Json) -> Json:
    for item in body.get("keypairs", (body,)):
        item["keypair"].pop("type", None)
    return body


def _no_links(body: Json) -> Json:
    body.pop("keypairs_links", None)
    return body


DOWN = (((2, 35), _no_links), ((2, 2), _no_type))
