"""Writing files so that they are never half written nor readable by more than they should be."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
from pathlib import Path


def ids(owner: str, group: str) -> tuple[int, int]:
    """The numbers of a user and a group. Raises KeyError for one that does not exist."""
    return pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid


def write(path: Path, text: str, *, mode: int, uid: int = -1, gid: int = -1) -> bool:
    """Make ``path`` hold just ``text`` with these permissions; True if anything changed.

    ``uid`` and ``gid`` of -1 mean those of this process. The content is replaced as a whole, and
    never readable by more than ``mode`` allows, not even for a moment.
    """
    uid = os.geteuid() if uid == -1 else uid
    gid = os.getegid() if gid == -1 else gid
    if _is(path, text, mode, uid, gid):
        return False
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    part.replace(path)
    return True


def directory(path: Path, *, mode: int, uid: int = -1, gid: int = -1) -> bool:
    """Make the directory with these permissions; True if anything changed."""
    uid = os.geteuid() if uid == -1 else uid
    gid = os.getegid() if gid == -1 else gid
    changed = not path.is_dir()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.stat()
    if (status.st_uid, status.st_gid) != (uid, gid):
        os.chown(path, uid, gid)
        changed = True
    if stat.S_IMODE(status.st_mode) != mode:
        path.chmod(mode)
        changed = True
    return changed


def remove(path: Path) -> bool:
    """Remove a file, a link or a whole directory; True if there was one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return True
    if path.exists() or path.is_symlink():
        path.unlink()
        return True
    return False


def _is(path: Path, text: str, mode: int, uid: int, gid: int) -> bool:
    try:
        status = path.lstat()
        return (
            stat.S_ISREG(status.st_mode)
            and (status.st_uid, status.st_gid) == (uid, gid)
            and stat.S_IMODE(status.st_mode) == mode
            and path.read_text(encoding="utf-8") == text
        )
    except FileNotFoundError:
        return False
