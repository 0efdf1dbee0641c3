"""Layers of files as they stand on each other: what each one's file itself tells.

``NAME.raw`` stands on nothing; ``NAME.qcow2`` may stand on a layer beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from minicloud.volume.backends import qemu_img
from minicloud.volume.backends.base import Merge
from minicloud.volume.backends.disks import DiskFile

Users = Mapping[Path, Collection[Path]]
"""What leads to a layer: links to it, and the layers right above it."""


def disk_of(layer: Path) -> DiskFile:
    return DiskFile(path=layer, format=layer.suffix[1:])


def size_of(layer: Path) -> int:
    return layer.stat().st_size if layer.suffix == ".raw" else qemu_img.qcow2_header(layer)[0]


def below(layer: Path) -> Path | None:
    if layer.suffix == ".raw":
        return None
    try:
        name = qemu_img.qcow2_header(layer)[1]
    except FileNotFoundError:
        return None
    return layer.with_name(name) if name else None


def chain(layer: Path | None) -> Iterator[Path]:
    """``layer`` and all that it stands on."""
    while layer is not None:
        yield layer
        layer = below(layer)


def merge_in(layers: Collection[Path], users: Users) -> Merge | None:
    """The lowest two of ``layers``, a chain from its top, that can be merged under somebody who
    writes the top: only one layer needs the upper of them, and only that needs the lower.
    """
    if leftovers(layers, users):
        return None
    needed_by = {lower: upper for upper, lower in pairwise(layers)}
    for upper, lower in reversed(list(pairwise(layers))):
        above = needed_by.get(upper)
        if above is not None and set(users[upper]) == {above} and set(users[lower]) == {upper}:
            return Merge(above=disk_of(above), upper=disk_of(upper), lower=disk_of(lower))
    return None


def leftovers(layers: Collection[Path], users: Users) -> set[Path]:
    """What stands on one of ``layers``, a chain, and nothing leads to: what was merged."""
    above = {each for layer in layers for each in users[layer] if each.parent == layer.parent}
    return {each for each in above if not users[each]}
