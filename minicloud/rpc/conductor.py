"""What the conductor does for hosts, which have no database: intents, not rows."""

from __future__ import annotations

from collections.abc import Sequence

from minicloud.domain.models import (
    HostOrders,
    HostReport,
    Journal,
    MigrationDoor,
    Outcome,
    Work,
)
from minicloud.kit.context import Context
from minicloud.kit.rpc import call, cast

TOPIC = "minicloud-conductor"


class ConductorRPC:
    @call()
    def host_register(self, ctx: Context, *, host: str) -> int:
        """A compute daemon starts on ``host``: its epoch from now on; older epochs are void."""
        raise NotImplementedError

    @call()
    def host_report(self, ctx: Context, *, report: HostReport) -> HostOrders:
        """Capacity, heartbeat and the power of domains; answers what to look at."""
        raise NotImplementedError

    @call()
    def operation_take(self, ctx: Context, *, operation_id: str, host: str, epoch: int) -> Work:
        """The operation and its server. StaleOperation unless it is this host's and live."""
        raise NotImplementedError

    @cast
    def operation_journal(
        self, ctx: Context, *, journal: Journal, more: Sequence[Journal] = ()
    ) -> None:
        """Keep what happened so far, of one operation or of ``more``: for people and for
        ``task_state``.
        """
        raise NotImplementedError

    @call()
    def operation_finish(self, ctx: Context, *, outcome: Outcome) -> bool:
        """End the operation, or the present one of its stages: True when the next is this host's.

        StaleOperation when it was taken over; safe to repeat.
        """
        raise NotImplementedError

    @call(timeout_s=45)
    def migration_door(
        self, ctx: Context, *, operation_id: str, host: str, epoch: int
    ) -> MigrationDoor:
        """The way in for a guest on the host that the operation moves it to from this one.

        StaleOperation unless it does so now; Unavailable: not yet.
        """
        raise NotImplementedError

    @call(timeout_s=5)
    def migration_progress(
        self, ctx: Context, *, operation_id: str, host: str, epoch: int, progress: dict[str, int]
    ) -> None:
        """How far a guest is on its way: for people. StaleOperation: it is to stay."""
        raise NotImplementedError
