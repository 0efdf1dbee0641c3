"""The backends that a host's configuration names: directories, and pools of Ceph."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from minicloud.kit.qemu import has_ceph_driver
from minicloud.volume.backends import DEFAULT, Backends
from minicloud.volume.backends.base import Backend


class Ceph(msgspec.Struct, frozen=True, kw_only=True):
    pools: Mapping[str, str] = {}
    """Backend -> its pool."""
    conf: Path = Path("/etc/ceph/ceph.conf")
    user: str = "minicloud"
    """Without ``client.``"""


def check(directories: Mapping[str, Path], ceph: Ceph) -> None:
    """ValueError: what is configured cannot work on this host, whether or not the cluster is up."""
    twice = {DEFAULT, *directories} & set(ceph.pools)
    if twice:
        raise ValueError(
            f"rbd_backends: {min(twice)} is the name of a backend of files already; choose another"
        )
    for name, pool in ceph.pools.items():
        if not pool:
            raise ValueError(f"rbd_backends must be NAME:POOL,NAME:POOL; {name} has no pool")
        others = sorted(other for other, its in ceph.pools.items() if its == pool)
        if len(others) > 1:
            raise ValueError(
                f"rbd_backends: {' and '.join(others)} have the same pool {pool}; make each a pool "
                "of its own by ceph osd pool create"
            )
    if ceph.pools:
        _check_host(ceph)


def opened(
    directories: Mapping[str, Path],
    ceph: Ceph,
    *,
    files: Callable[[Path], Backend],
    rbd: Callable[..., Backend],
    state: Path,
) -> Backends:
    """``state``: a directory of this service's own. ValueError as of ``check``."""
    check(directories, ceph)
    found = {name: files(path) for name, path in directories.items()}
    for name, pool in ceph.pools.items():
        found[name] = rbd(state / name, conf=ceph.conf, user=ceph.user, pool=pool)
    return Backends(found)


def _check_host(ceph: Ceph) -> None:
    for program in ("rbd", "ceph"):
        if not shutil.which(program):
            raise ValueError(
                f"rbd_backends: there is no program {program} here; install it: apt install "
                "ceph-common"
            )
    if not has_ceph_driver():
        raise ValueError(
            "rbd_backends: QEMU has no driver of Ceph; install it: apt install qemu-block-extra"
        )
    if not ceph.user or ceph.user.startswith("client."):
        raise ValueError(
            f"rbd_user must be the name after client., not {ceph.user!r}: for client.minicloud it "
            "is minicloud"
        )
    if not os.access(ceph.conf, os.R_OK):
        raise ValueError(
            f"ceph_conf: {ceph.conf} cannot be read; copy it from the cluster, and the keyring of "
            f"client.{ceph.user} with it"
        )
