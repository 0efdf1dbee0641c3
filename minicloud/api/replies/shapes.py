"""What the types of replies are made with."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType


class Shown(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An object of a reply. A key that may be absent is ``UNSET`` then."""


class Link(Shown):
    rel: str
    href: str


def reply(name: str, /, _maybe: Any = None, **parts: Any) -> Any:
    """The object around what a reply shows: key -> type. ``_maybe``: keys that may be absent."""
    fields: list[Any] = list(parts.items())
    fields += [(key, kind | UnsetType, UNSET) for key, kind in (_maybe or {}).items()]
    return msgspec.defstruct(name, fields, bases=(Shown,), kw_only=True)


def page(name: str, key: str, kind: Any) -> Any:
    """A list, with a link to its next page where there is one."""
    return reply(name, {f"{key}_links": list[Link]}, **{key: list[kind]})
