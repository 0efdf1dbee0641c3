"""What the installer asks of whatever keeps the daemons running."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Keeper(Protocol):
    """Starts daemons, starts them again when they die, and stops them.

    Two implementations: ``systemd.py`` where that is the first process, ``supervisord.py``
    elsewhere. Both run the same commands, as the same users, with the same log files.
    """

    name: str

    def install(self) -> bool:
        """Its own configuration is in place and it runs; True if anything had to be changed."""

    def running(self) -> dict[str, int]:
        """The daemons that run, and their process ids."""

    def restart(self, daemons: Sequence[str]) -> None:
        """Stop these where they run, and start them. Returns without waiting for readiness."""

    def stop(self) -> list[str]:
        """Stop every daemon, and the keeper where it is ours; returns the daemons that ran."""

    def remove(self) -> None:
        """No trace of its configuration. Called after ``stop``."""
