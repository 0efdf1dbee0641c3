"""Metadata definitions as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """A named set of definitions; private ones are seen by their owner, a project, alone."""

    id: str
    namespace: str
    display_name: str | None = None
    description: str | None = None
    visibility: str = "private"
    protected: bool = False
    owner: str | None = None
    created_at: float
    updated_at: float


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A definition in a namespace: an ``object``, a ``property`` or a ``tag``."""

    namespace_id: str
    kind: str
    name: str
    body: Mapping[str, Any]
    created_at: float
    updated_at: float


class ResourceType(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    created_at: float
    updated_at: float


class Association(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace applies to a resource type, its properties under ``prefix``."""

    namespace_id: str
    name: str
    prefix: str | None = None
    properties_target: str | None = None
    created_at: float
    updated_at: float
