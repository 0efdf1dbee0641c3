"""What the image service's queries return: values, never rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

QUEUED, SAVING, ACTIVE, DEACTIVATED = "queued", "saving", "active", "deactivated"
UPLOADING, IMPORTING = "uploading", "importing"
WHOLE = (ACTIVE, DEACTIVATED)
"""What an image is that has data."""
PUBLIC, COMMUNITY, SHARED, PRIVATE = "public", "community", "shared", "private"
PENDING, ACCEPTED, REJECTED = "pending", "accepted", "rejected"

DISK_FORMATS = ("qcow2", "raw", "iso", "vmdk", "vdi", "vhd", "vhdx", "ami", "ari", "aki")
"""Those whose content can be told and checked."""
CONTAINER_FORMATS = ("bare", "ami", "ari", "aki", "ovf", "ova", "docker")

IMPORTING_TO, FAILED_IMPORT = "os_glance_importing_to_stores", "os_glance_failed_import"
"""Properties that an import keeps; callers cannot set them."""

PENDING_TASK, PROCESSING, SUCCESS, FAILURE = "pending", "processing", "success", "failure"


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """One copy of an image's data: what its store knows it by."""

    store: str
    name: str


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
    blob_store: str | None = None
    lease: float | None = None
    staged: int | None = None
    staged_total: int | None = None
    created_at: float
    updated_at: float
    properties: Mapping[str, str] = {}
    tags: Sequence[str] = ()
    locations: Sequence[Location] = ()


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


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Work that goes on after its request was answered. Times in epoch seconds."""

    id: str
    type: str
    status: str = PENDING_TASK
    owner: str | None
    user_id: str
    request_id: str
    image_id: str | None
    input: Mapping[str, Any]
    result: Mapping[str, Any] | None = None
    message: str = ""
    attempts: int = 0
    lease: float | None = None
    created_at: float
    updated_at: float
    expires_at: float | None = None
