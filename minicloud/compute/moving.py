"""What a host asks and tells while one of its guests moves to another host as it runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from minicloud.domain.errors import MinicloudError, StaleOperation
from minicloud.domain.models import MigrationDoor, Operation
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.rpc.conductor import ConductorRPC

LOG = logging.getLogger(__name__)
_TELL_S = 1.0


class Wishes:
    """What is wanted of a migration under way: told by one thread, read by another."""

    def __init__(self) -> None:
        self.abort = threading.Event()
        self.pause = threading.Event()

    def take(self, params: Mapping[str, object]) -> None:
        """Those that the operation's row has already."""
        if params.get("aborted"):
            self.abort.set()
        if params.get("forced"):
            self.pause.set()


class Move:
    """One operation's: ``cancelled`` when it is to stop."""

    def __init__(
        self,
        ctx: Context,
        conductor: ConductorRPC,
        operation: Operation,
        *,
        host: str,
        epoch: int,
        wishes: Wishes,
        cancelled: threading.Event,
    ) -> None:
        self._ctx, self._conductor, self._operation = ctx, conductor, operation
        self._host, self._epoch = host, epoch
        self._wishes, self._cancelled = wishes, cancelled
        self._told_at = float("-inf")

    def door(self) -> MigrationDoor:
        """The way in on the host that the guest goes to, whose disks for it are empty then."""
        return self._conductor.migration_door(
            self._ctx, operation_id=self._operation.id, host=self._host, epoch=self._epoch
        )

    def steer(self, progress: Mapping[str, int]) -> str:
        """Tells how far the guest is; what is wanted of its migration now.

        One whose time is over, or that was given up without a word to this host, is to end.
        """
        if progress and time.monotonic() - self._told_at > _TELL_S:
            self._tell(progress)
            self._told_at = time.monotonic()
        if clock.now() > self._operation.deadline_at:
            self._wishes.abort.set()
        if self._cancelled.is_set() or self._wishes.abort.is_set():
            return "abort"
        return "pause" if self._wishes.pause.is_set() else ""

    def _tell(self, progress: Mapping[str, int]) -> None:
        try:
            self._conductor.migration_progress(
                self._ctx,
                operation_id=self._operation.id,
                host=self._host,
                epoch=self._epoch,
                progress=dict(progress),
            )
        except StaleOperation:
            self._wishes.abort.set()
        except MinicloudError as problem:  # it is for people: the migration goes on
            LOG.info("How far a migration is was not told: %s", problem.message)
