"""Stage: the system user and the directories of the installation."""

from __future__ import annotations

import pwd
from pathlib import Path

from minicloud.deploy import command, files
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.places import USER, Places

PRIVATE = ("identity", "image", "network", "api")
"""State that only its own service reads."""

PASSABLE = ("volume", "compute")
"""State that QEMU, which runs as another user, must find its way through to disks and sockets."""


def ensure(places: Places, ledger: Ledger) -> str:
    """The user and every directory, with the permissions they need."""
    made_user = _ensure_user(ledger, places.state)
    uid, gid = files.ids(USER, USER)
    changed = [
        files.directory(places.state, mode=0o755),
        files.directory(places.config, mode=0o750, gid=gid),
        files.directory(places.logs, mode=0o751, uid=uid, gid=gid),
        files.directory(places.run, mode=0o755),
        files.directory(places.cache, mode=0o755),
    ]
    for name in PRIVATE:
        changed.append(files.directory(places.state / name, mode=0o750, uid=uid, gid=gid))
    for name in PASSABLE:
        changed.append(files.directory(places.state / name, mode=0o751, uid=uid, gid=gid))
    if made_user:
        return f"made the user {USER}"
    return "made the directories" if any(changed) else "in place"


def remove_user(ledger: Ledger) -> None:
    """Remove the user if we made it."""
    if ledger.made("user") and _exists():
        command.run(["userdel", USER])


def _ensure_user(ledger: Ledger, home: Path) -> bool:
    if _exists():
        return False
    ledger.note_made("user")
    command.run(
        [
            *("useradd", "--system", "--user-group", "--no-create-home"),
            *("--home-dir", home, "--shell", "/usr/sbin/nologin", USER),
        ]
    )
    return True


def _exists() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True
