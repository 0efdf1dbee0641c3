"""What a host is told of a guest's move under way, and what it makes of it."""

from __future__ import annotations

import threading

import pytest

from minicloud.compute.moving import Move, Wishes
from minicloud.domain.errors import MinicloudError, StaleOperation, Unavailable
from minicloud.domain.models import Operation
from minicloud.domain.states import VmState
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.rpc.conductor import ConductorRPC

_FAR = {"memory_total_bytes": 2}


class Conductor(ConductorRPC):
    def __init__(self, problem: MinicloudError | None = None) -> None:
        self.problem = problem
        self.told: list[dict[str, int]] = []

    def migration_progress(
        self, ctx: Context, *, operation_id: str, host: str, epoch: int, progress: dict[str, int]
    ) -> None:
        self.told.append(progress)
        if self.problem is not None:
            raise self.problem


def move(conductor: Conductor, *, seconds_left: float = 3600.0, wishes: Wishes) -> Move:
    now = clock.now()
    operation = Operation(
        id="o", request_id="r", verb="live-migration", server_id="s", project_id="p",
        user_id="u", state="running", host="lab1", attempt=1, excluded=(), params={},
        prior_state=VmState.ACTIVE, message=None, created_at=now, updated_at=now,
        deadline_at=now + seconds_left,
    )  # fmt: skip
    return Move(
        Context(), conductor, operation, host="lab1", epoch=1, wishes=wishes,
        cancelled=threading.Event(),
    )  # fmt: skip


def test_it_goes_on_until_something_else_is_wanted() -> None:
    conductor, wishes = Conductor(), Wishes()
    found = move(conductor, wishes=wishes)
    assert [found.steer({}), found.steer(_FAR)] == ["", ""]
    assert conductor.told == [_FAR]
    wishes.take({"forced": True})
    assert found.steer({}) == "pause"
    wishes.take({"aborted": True})
    assert found.steer({}) == "abort"


def test_one_whose_time_is_over_ends() -> None:
    assert move(Conductor(), seconds_left=-1.0, wishes=Wishes()).steer({}) == "abort"


@pytest.mark.parametrize(
    ("problem", "wish"),
    [(StaleOperation(id="o"), "abort"), (Unavailable(service="conductor", reason="away"), "")],
)
def test_one_that_is_not_this_hosts_any_more_ends(problem: MinicloudError, wish: str) -> None:
    found = move(Conductor(problem), wishes=Wishes())
    assert [found.steer(_FAR), found.steer({})] == [wish, wish]
