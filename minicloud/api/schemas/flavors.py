"""Flavors on the wire."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from minicloud.api.schemas.fields import ONE_LINE, UNSEEN, Flag, Key, Number, Text
from minicloud.api.schemas.older import for_each, without
from minicloud.domain.models import Flavor
from minicloud.kit.web import Body
from minicloud.kit.web.versions import Json

_Id = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^(?! )[a-zA-Z0-9. _-]*(?<! )\Z")]
_Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=rf"^(?!\s)[^{UNSEEN}]*(?<!\s)\Z")]
_Description = Annotated[str, Meta(max_length=65535, pattern=ONE_LINE)]
_Factor = float | Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?\Z", max_length=64)]
_Project = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9-]*\Z")]
ExtraSpecs = dict[Key, Text | int | float]
"""Numbers are kept as text."""


class FlavorCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: _Name
    ram: Number
    vcpus: Number
    disk: Number
    id: _Id | int | None = None
    swap: Number = 0
    ephemeral: Number = msgspec.field(name="OS-FLV-EXT-DATA:ephemeral", default=0)
    rxtx_factor: _Factor = 1.0
    is_public: Flag = msgspec.field(name="os-flavor-access:is_public", default=True)
    description: _Description | None = None


class FlavorUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    description: _Description | None


class SpecsBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    extra_specs: ExtraSpecs


class TenantBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    tenant: _Project


CREATE = Body(type=FlavorCreate, wrapper="flavor", since={"description": (2, 55)})
UPDATE = Body(type=FlavorUpdate, wrapper="flavor")


def brief_view(flavor: Flavor, base_url: str) -> dict[str, Any]:
    return {
        "id": flavor.id,
        "name": flavor.name,
        "description": flavor.description,
        "links": [
            {"rel": "self", "href": f"{base_url}/v2.1/flavors/{flavor.id}"},
            {"rel": "bookmark", "href": f"{base_url}/flavors/{flavor.id}"},
        ],
    }


def flavor_view(flavor: Flavor, base_url: str, *, extra_specs: bool) -> dict[str, Any]:
    view = {
        **brief_view(flavor, base_url),
        "ram": flavor.ram,
        "disk": flavor.disk,
        "vcpus": flavor.vcpus,
        "swap": flavor.swap,
        "rxtx_factor": flavor.rxtx_factor,
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral,
        "OS-FLV-DISABLED:disabled": flavor.disabled,
        "os-flavor-access:is_public": flavor.is_public,
    }
    if extra_specs:
        view["extra_specs"] = flavor.extra_specs
    return view


def _swap_as_text(item: Json) -> None:
    if item.get("swap") == 0:
        item["swap"] = ""


DOWN = for_each(
    "flavor",
    "flavors",
    (
        ((2, 75), _swap_as_text),
        ((2, 61), without("extra_specs")),
        ((2, 55), without("description")),
    ),
)
