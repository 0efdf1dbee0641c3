"""A server's disks when it gets one more, or another flavor."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from minicloud.domain.ids import disk_name
from minicloud.domain.models import BlockDevice, Flavor, Server


def next_device(disks: Sequence[BlockDevice]) -> str:
    """The first name that a further virtio disk can have; the root's is never free."""
    taken = {"vda", *(disk.device for disk in disks)}
    return next(name for name in map(disk_name, range(1, 1 << 10)) if name not in taken)


def next_number(disks: Sequence[BlockDevice]) -> int:
    return max((disk.number for disk in disks), default=-1) + 1


def known_disks(server: Server) -> Sequence[BlockDevice]:
    """The server's disks and those that it has again when its resize is reverted."""
    kept = server.resized.local_disks if server.resized is not None else None
    return [*server.block_devices, *(kept or ())]


def ephemeral_gb(disks: Sequence[BlockDevice]) -> int:
    return sum(disk.size_gb for disk in disks if disk.is_ephemeral)


def storage_mismatch(server: Server, block_migration: bool | None) -> str:
    """Why a live migration with, or without, the copying of disks is not what the server needs;
    "" where it is. ``block_migration`` None: whatever it needs.
    """
    on_host = server.root_volume is None or any(not disk.is_volume for disk in server.block_devices)
    if block_migration is False and on_host:
        return (
            f"{server.host} is not on shared storage: Shared storage live-migration requires "
            "either shared storage or boot-from-volume with no local disks."
        )
    if block_migration is True and not on_host:
        return (
            f"{server.host} is not on local storage: Block migration can not be used with shared "
            "storage."
        )
    return ""


def resized_disks(disks: Sequence[BlockDevice], old: Flavor, new: Flavor) -> list[BlockDevice]:
    """What a server with ``disks`` has when its flavor is not ``old`` but ``new`` any more.

    Swap space is made anew, as another disk in the old one's place. An ephemeral disk that was as
    large as the flavor's grows; several, or a smaller one, are the user's own and stay.
    """
    found = list(disks)
    if new.swap != old.swap:
        found = _with_swap(found, new.swap)
    if new.ephemeral > old.ephemeral:
        found = _with_ephemeral(found, old.ephemeral, new.ephemeral)
    return found


def reverted_disks(server: Server) -> list[BlockDevice]:
    """What the server has when its resize is reverted: its volumes, and the local disks of then."""
    kept = server.resized.local_disks if server.resized is not None else None
    if kept is None:
        return list(server.block_devices)
    volumes = [disk for disk in server.block_devices if disk.is_volume]
    return sorted([*volumes, *kept], key=lambda disk: disk.number)


def _with_swap(disks: list[BlockDevice], size_mb: int) -> list[BlockDevice]:
    before = next((disk for disk in disks if disk.is_swap), None)
    others = [disk for disk in disks if not disk.is_swap]
    if not size_mb:
        return others
    swap = before or _local(disks, guest_format="swap")
    return [*others, msgspec.structs.replace(swap, number=next_number(disks), swap_mb=size_mb)]


def _with_ephemeral(disks: list[BlockDevice], old_gb: int, new_gb: int) -> list[BlockDevice]:
    sizes = [disk.size_gb for disk in disks if disk.is_ephemeral]
    if not sizes:
        return [*disks, _local(disks, size_gb=new_gb)]
    if sizes != [old_gb]:
        return disks
    return [
        msgspec.structs.replace(disk, size_gb=new_gb) if disk.is_ephemeral else disk
        for disk in disks
    ]


def _local(
    disks: Sequence[BlockDevice], *, size_gb: int = 0, guest_format: str = ""
) -> BlockDevice:
    return BlockDevice(
        number=next_number(disks),
        device=next_device(disks),
        source_type="blank",
        destination_type="local",
        size_gb=size_gb,
        guest_format=guest_format,
    )
