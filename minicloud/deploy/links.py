"""The commands for people, on everybody's PATH: links into the virtual environment."""

from __future__ import annotations

from pathlib import Path

from minicloud.deploy.ledger import Ledger
from minicloud.deploy.places import Places

_DIRECTORY = Path("/usr/local/bin")
_COMMANDS = ("minicloud", "minicloud-manage")


def ensure(places: Places, ledger: Ledger, *, directory: Path = _DIRECTORY) -> str:
    """Link what is not there yet; a command of somebody else's with that name stays."""
    made = []
    for name in _COMMANDS:
        link = directory / name
        if link.is_symlink() or link.exists():
            continue
        ledger.note_made(f"link:{link}")
        directory.mkdir(parents=True, exist_ok=True)
        link.symlink_to(places.program(name))
        made.append(name)
    return f"linked {', '.join(made)}" if made else "linked"


def purge(places: Places, ledger: Ledger) -> None:
    """Remove the links that are ours."""
    for thing in ledger.record.made:
        kind, _, path = thing.partition(":")
        link = Path(path)
        if kind == "link" and link.is_symlink() and link.readlink() == places.program(link.name):
            link.unlink()
