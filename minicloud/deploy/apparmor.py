"""AppArmor: libvirt's guests may open minicloud's disks and volumes.

Goes where the distribution provides for additions, which differs: a directory whose files are
all included, or one local file. Profiles are made when a guest starts, so nothing is reloaded.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from minicloud.deploy import blocks, files
from minicloud.deploy.ledger import Ledger

MIGRATIONS = "/run/minicloud/migrations"
"""Where guests that move while they run have their sockets: libvirt's ``migration.Place``."""
_MARKS = blocks.Marks("# minicloud's tools/up keeps the lines from here", "# to here")
_DIRECTORY = "libvirt-qemu.d"
_LOCAL = "local/abstractions/libvirt-qemu"


@dataclasses.dataclass(frozen=True)
class AppArmor:
    """``state``: the directory below which guests' files are."""

    state: Path
    ledger: Ledger
    root: Path = Path("/etc/apparmor.d")

    def allow(self) -> bool:
        """Put our rules where guests' profiles include them; False where nothing includes any."""
        abstraction = self.root / "abstractions" / "libvirt-qemu"
        text = abstraction.read_text(encoding="utf-8") if abstraction.exists() else ""
        if _DIRECTORY in text:
            if not self._directory.is_dir():
                self.ledger.note_made(_DIRECTORY)
                files.directory(self._directory, mode=0o755)
            rules = blocks.appended("", _MARKS, self._rules())
            files.write(self._directory / "minicloud", rules, mode=0o644)
            return True
        if _LOCAL in text:
            if not self._local.exists():
                self.ledger.note_made(_LOCAL)
                files.directory(self._local.parent, mode=0o755)
            existing = self._local.read_text(encoding="utf-8") if self._local.exists() else ""
            rules = blocks.appended(existing, _MARKS, self._rules())
            files.write(self._local, rules, mode=0o644)
            return True
        return False

    def remove(self) -> None:
        """Take our rules out again, and what we made to hold them."""
        files.remove(self._directory / "minicloud")
        if self.ledger.made(_DIRECTORY) and self._directory.is_dir():
            self._directory.rmdir()
        if self._local.exists():
            rest = blocks.without(self._local.read_text(encoding="utf-8"), _MARKS)
            if rest or not self.ledger.made(_LOCAL):
                files.write(self._local, rest, mode=0o644)
            else:
                self._local.unlink()

    @property
    def _directory(self) -> Path:
        return self.root / "abstractions" / _DIRECTORY

    @property
    def _local(self) -> Path:
        return self.root / _LOCAL

    def _rules(self) -> list[str]:
        return [
            f"{self.state}/volume/exports/* rw,",
            f"{self.state}/compute/instances/** rwk,",
            f"{self.state}/compute/images/** rk,",
            f"{MIGRATIONS}/** rw,",
        ]
