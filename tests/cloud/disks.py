"""Disk images as real tools make them, good and bad, for the tests of uploads."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

MIB = 1024**2


def make(directory: Path) -> None:
    """Good and bad images of all kinds, by name, below ``directory``. Needs qemu-img."""
    _write_plain(directory)
    for name, options in {
        "qcow2-v2": ["-o", "compat=0.10"],
        "qcow2-backed": ["-b", "noise.raw", "-F", "raw"],
        "qcow2-datafile": ["-o", "data_file=noise.raw,data_file_raw=on"],
        "qcow2-extended": ["-o", "extended_l2=on"],
    }.items():
        _qemu_img(directory, "create", "-f", "qcow2", *options, name, "3M")
    # A backing file of another machine's: the path need not exist.
    _qemu_img(directory, "create", "-u", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw",
              "qcow2-shadow", "3M")  # fmt: skip
    _qemu_img(directory, "create", "-f", "qcow2", "qcow2-huge", "65M")
    _qemu_img(directory, "convert", "-O", "qcow2", "noise.raw", "qcow2-good")
    _qemu_img(directory, "convert", "-O", "qcow2", "-c", "-o", "compression_type=zstd",
              "noise.raw", "qcow2-zstd")  # fmt: skip
    for kind in ("vmdk", "vdi", "vhdx", "vpc", "qed"):
        _qemu_img(directory, "create", "-f", kind, kind, "3M")
    _write_vmdks(directory)
    good = (directory / "qcow2-good").read_bytes()
    (directory / "qcow2-unknown").write_bytes(good[:72] + struct.pack(">Q", 1 << 40) + good[80:])
    (directory / "qcow2-version9").write_bytes(good[:4] + struct.pack(">I", 9) + good[8:])
    (directory / "qcow2-short").write_bytes(good[:100])
    # Two formats in one file: a disk to one reader, something else to another.
    (directory / "qcow2-and-disk").write_bytes(good[:510] + b"\x55\xaa" + good[512:])


def _write_vmdks(directory: Path) -> None:
    """VMDKs whose descriptors lead elsewhere; QEMU would follow each."""
    _qemu_img(directory, "create", "-f", "vmdk", "-o", "subformat=streamOptimized",
              "vmdk-stream", "3M")  # fmt: skip
    _qemu_img(directory, "create", "-f", "vmdk", "-o", "subformat=monolithicFlat", "vmdk-flat",
              "1M")  # fmt: skip
    _qemu_img(directory, "create", "-f", "vmdk", "-b", "vmdk", "-F", "vmdk", "vmdk-parent")
    good = (directory / "vmdk").read_bytes()
    # The header's own size gone, QEMU goes by the files of the descriptor.
    (directory / "vmdk-sizeless").write_bytes(good[:12] + bytes(8) + good[20:])
    start = good.index(b"RW ")
    end = good.index(b"\n", start)
    for name, extent in {
        "vmdk-shadow": b'RW 6144 FLAT "/etc/shadow" 0',
        "vmdk-neighbour": b'RW 6144 FLAT "x.raw" 0',
    }.items():
        line = extent[: end - start].ljust(end - start)
        (directory / name).write_bytes(good[:start] + line + good[end:])
    # A parent behind the part that the header says is the descriptor.
    hidden = bytearray(good)
    hidden[512 + 4096 : 512 + 4096 + 40] = b'\nparentFileNameHint="/etc/shadow"\n'.ljust(40)
    (directory / "vmdk-hidden-parent").write_bytes(hidden)


def _write_plain(directory: Path) -> None:
    (directory / "noise.raw").write_bytes(b"\x01" + os.urandom(3 * MIB - 1))
    (directory / "empty.raw").write_bytes(b"")
    (directory / "tiny.raw").write_bytes(b"tiny")
    table = bytearray(MIB)
    table[446:462] = struct.pack("<B3BB3BII", 0x80, 0, 2, 0, 0x83, 0, 0, 0, 2048, 1000)
    table[510:512] = b"\x55\xaa"
    (directory / "partitioned.raw").write_bytes(table)
    iso = bytearray(40 * 1024)
    iso[32768:32775] = b"\x01CD001\x01"
    (directory / "disc.iso").write_bytes(iso)
    iso[446:512] = table[446:512]
    (directory / "hybrid.iso").write_bytes(iso)


def _qemu_img(directory: Path, *arguments: str) -> None:
    command, *rest = arguments
    subprocess.run(["qemu-img", command, *rest], cwd=directory, check=True, capture_output=True)
