"""Where things are on an installed machine. The only module that spells these paths."""

from __future__ import annotations

import dataclasses
from pathlib import Path

USER = "minicloud"
"""The system user that every daemon but compute runs as."""


@dataclasses.dataclass(frozen=True)
class Places:
    """The directories of one installation. Tests give it others."""

    config: Path = Path("/etc/minicloud")
    state: Path = Path("/var/lib/minicloud")
    logs: Path = Path("/var/log/minicloud")
    run: Path = Path("/run/minicloud")
    cache: Path = Path("/var/cache/minicloud")
    venv: Path = Path("/opt/minicloud/venv")

    @property
    def ledger(self) -> Path:
        """What we started, made and changed on this machine: ``ledger.py``."""
        return self.state / "deploy" / "state.json"

    @property
    def secrets(self) -> Path:
        return self.config / "secrets.json"

    @property
    def demo_image(self) -> Path:
        return self.cache / "image" / "tiny.qcow2"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def program(self, name: str) -> Path:
        return self.venv / "bin" / name
