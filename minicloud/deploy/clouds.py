"""Stage: clouds.yaml entries for the system and for the person who set it up.

A person's own file stays as it is, comments and all: our entries are a marked block in it, and a
cloud of theirs with one of our names wins.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from minicloud.deploy import blocks, files
from minicloud.deploy.config import IDENTITY_PORT
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.places import USER, Places
from minicloud.deploy.settings import Settings

MARKS = blocks.Marks(
    "# minicloud's tools/up keeps the clouds from here",
    "# to here; put your own outside of these two lines",
)
DEMO_KEY = "minicloud_demo_key"
_REGION = "RegionOne"
_DOMAIN = "Default"

Entries = Mapping[str, Mapping[str, Any]]


def entries(settings: Settings) -> Entries:
    """Every cloud by name; the second set has the names that DevStack's users type."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    accounts = {
        "": ("demo", settings.demo_password),
        "-admin": ("admin", settings.admin_password),
        "-alt": ("alt_demo", settings.alt_password),
    }
    return {
        f"{cloud}{suffix}": {
            "auth": {
                "auth_url": f"http://{host}:{IDENTITY_PORT}/v3",
                "username": user,
                "password": password,
                "project_name": user,
                "user_domain_name": _DOMAIN,
                "project_domain_name": _DOMAIN,
            },
            "region_name": _REGION,
            "identity_api_version": "3",
        }
        for cloud in ("minicloud", "devstack")
        for suffix, (user, password) in accounts.items()
    }


def merged(existing: str, ours: Entries) -> str:
    """``existing`` with a block of our entries, all else as it was. Repeatable.

    Raises ValueError or YAMLError where ``existing`` is nothing that a block can be put into.
    """
    theirs = without_ours(existing)
    document = _clouds_of(theirs)
    added = {name: entry for name, entry in ours.items() if name not in document}
    if not added:
        return theirs
    text = _with_block(theirs, added)
    try:
        understood = _clouds_of(text) == {**document, **added}
    except yaml.YAMLError:
        understood = False
    if not understood:
        raise ValueError(
            "its clouds are not written as one block of lines, one entry below another"
        )
    return text


def without_ours(text: str) -> str:
    """The text without our block; "" where nothing else was in it."""
    rest = blocks.without(text, MARKS)
    return "" if rest.strip() in ("", "clouds:") else rest


def ensure(places: Places, ledger: Ledger, settings: Settings) -> str:
    """The system's file, and that of the person behind sudo."""
    ours = entries(settings)
    _, gid = files.ids(USER, USER)
    files.write(places.config / "clouds.yaml", merged("", ours), mode=0o640, gid=gid)
    path, person = personal_file()
    existing = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        text = merged(existing, ours)
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        return f"left {path} alone ({reason}); use {places.config / 'clouds.yaml'}"
    if str(path) not in ledger.record.client_files:
        ledger.record.client_files.append(str(path))
        ledger.save()
    for directory in (path.parent.parent, path.parent):
        if not directory.exists():
            ledger.note_made(str(directory))
            files.directory(directory, mode=0o755, uid=person.pw_uid, gid=person.pw_gid)
    changed = files.write(path, text, mode=0o600, uid=person.pw_uid, gid=person.pw_gid)
    return f"wrote {path}" if changed else "unchanged"


def demo_key(places: Places) -> tuple[Path, int, int]:
    """(file, user id, group id) of the demo key: beside the person's clouds.yaml."""
    path, person = personal_file()
    if not path.parent.is_dir():
        return places.config / DEMO_KEY, 0, 0
    return path.with_name(DEMO_KEY), person.pw_uid, person.pw_gid


def purge(ledger: Ledger) -> None:
    """Take our entries out of every file that got them."""
    for name in ledger.record.client_files:
        path = Path(name)
        path.with_name(DEMO_KEY).unlink(missing_ok=True)
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        rest = without_ours(text)
        status = path.stat()
        if rest == "":
            path.unlink()
            for directory in (path.parent, path.parent.parent):
                if ledger.made(str(directory)) and not any(directory.iterdir()):
                    directory.rmdir()
        elif rest != text:
            files.write(path, rest, mode=0o600, uid=status.st_uid, gid=status.st_gid)


def personal_file() -> tuple[Path, pwd.struct_passwd]:
    """The clouds.yaml of the person who called sudo, or root's."""
    person = pwd.getpwnam(os.environ.get("SUDO_USER") or "root")
    return Path(person.pw_dir, ".config", "openstack", "clouds.yaml"), person


def _with_block(theirs: str, added: Entries) -> str:
    """Our block as the first thing below ``clouds:``, indented as the entries there are."""
    lines = theirs.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    head = next((n for n, line in enumerate(lines) if line.rstrip() == "clouds:"), None)
    if head is None:
        return "".join([*lines, "clouds:\n", *_block(added, "  ")])
    following = (line for line in lines[head + 1 :] if line.strip() and line.strip()[0] != "#")
    first = next(following, "")
    indent = first[: len(first) - len(first.lstrip())] or "  "
    return "".join([*lines[: head + 1], *_block(added, indent), *lines[head + 1 :]])


def _block(added: Entries, indent: str) -> list[str]:
    text = yaml.safe_dump(_plain(added), sort_keys=False, default_flow_style=False)
    body = [f"{indent}{line}\n" for line in text.splitlines()]
    return [f"{indent}{MARKS.begin}\n", *body, f"{indent}{MARKS.end}\n"]


def _clouds_of(text: str) -> dict[str, Any]:
    """The clouds that are in it. Raises ValueError or YAMLError."""
    document = yaml.safe_load(text)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError("it is no mapping")
    clouds = document.get("clouds") or {}
    if not isinstance(clouds, dict):
        raise ValueError("its clouds are no mapping")
    return clouds


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
