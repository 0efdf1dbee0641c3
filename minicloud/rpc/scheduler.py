"""What the scheduler answers."""

from __future__ import annotations

import msgspec

from minicloud.kit.context import Context
from minicloud.kit.rpc import call

TOPIC = "minicloud-scheduler"


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    """What was claimed."""
    works: str = ""
    """The host that works first, where that is another one: the one a server moves from."""


class SchedulerRPC:
    @call(timeout_s=10)
    def place(self, ctx: Context, *, operation_id: str, sent_at: float) -> Placed:
        """Choose and claim a host for a launch, and cast it there.

        NoValidHost: the server is in ERROR with each filter's verdict. StaleOperation: somebody
        else decided in the meantime. Safe to repeat.
        """
        raise NotImplementedError
