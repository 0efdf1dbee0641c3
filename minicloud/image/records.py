"""What the image service's queries return: values, never rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

QUEUED, SAVING, ACTIVE, DEACTIVATED = "queued", "saving", "active", "deactivated"
PUBLIC, COMMUNITY, SHARED, PRIVATE = "public", "community", "shared", "private"
PENDING, ACCEPTED, REJECTED = "pending", "accepted", "rejected"

DISK_FORMATS = ("qcow2", "raw", "iso")
CONTAINER_FORMATS = ("bare",)


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image. Sizes in bytes, ``min_disk`` in GiB, ``min_ram`` in MiB, times in epoch seconds."""

    id: str
    name: str | None = None
    status: str = QUEUED
    visibility: str = SHARED
    owner: str | None = None
    disk_format: str | None = None
    container_format: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    protected: bool = False
    os_hidden: bool = False
    size: int | None = None
    virtual_size: int | None = None
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    blob: str | None = None
    created_at: float
    updated_at: float
    properties: Mapping[str, str] = {}
    tags: Sequence[str] = ()


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A project that a shared image is shared with."""

    image_id: str
    member: str
    status: str
    created_at: float
    updated_at: float


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What an upload turned out to be. Sizes in bytes, digests in hexadecimal."""

    size: int
    virtual_size: int
    checksum: str
    os_hash_algo: str
    os_hash_value: str
