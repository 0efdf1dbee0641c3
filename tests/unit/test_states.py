"""The table of verbs holds together."""

import pytest

from minicloud.compute.recipes import RECIPES
from minicloud.domain.errors import WrongState
from minicloud.domain.states import (
    ACTION_NAMES,
    OBSERVED,
    VERBS,
    TaskState,
    VmState,
    check,
    states_with_status,
    status,
)


def test_via_is_unique_so_that_a_row_says_what_it_is_doing() -> None:
    shown: dict[TaskState | None, set[str]] = {}
    for verb in VERBS.values():
        if verb.via is not None:
            shown.setdefault(verb.via, set()).add(verb.name)
    shared = {frozenset(names) for names in shown.values() if len(names) > 1}
    assert shared == {
        frozenset({"resize", "migrate"}),
        frozenset({"rebuild", "evacuate"}),
        frozenset({"unshelve", "unshelve_here"}),
    }


def test_every_verb_has_a_recipe() -> None:
    as_resize = {"migrate"}
    at_once = {"changePassword", "trigger_crash_dump", "volume_snapshot_create"}
    assert set(VERBS) - as_resize - at_once <= set(RECIPES)


def test_a_verb_without_a_task_state_is_in_the_way_all_the_same() -> None:
    check(VERBS["revertResize"], "s", VmState.RESIZED, None)
    with pytest.raises(WrongState):
        check(VERBS["revertResize"], "s", VmState.RESIZED, None, owned=True)
    check(VERBS["delete"], "s", VmState.RESIZED, None, owned=True)


def test_a_hard_reboot_ends_what_a_guest_does_not_finish() -> None:
    check(VERBS["reboot_hard"], "s", VmState.ACTIVE, TaskState.REBOOTING)
    with pytest.raises(WrongState):
        check(VERBS["reboot_hard"], "s", VmState.ACTIVE, TaskState.REBUILDING)


def test_where_a_server_is_afterwards() -> None:
    assert VERBS["rebuild"].after(VmState.STOPPED) is VmState.STOPPED
    assert VERBS["rebuild"].after(VmState.ERROR) is VmState.ACTIVE
    assert VERBS["pause"].after(VmState.ACTIVE) is VmState.PAUSED


def test_every_state_but_deleted_can_be_left() -> None:
    for state in VmState:
        leaving = [verb for verb in VERBS.values() if state in verb.start]
        assert leaving or state is VmState.DELETED


def test_delete_begins_anywhere_and_preempts() -> None:
    for state in set(VmState) - {VmState.DELETED}:
        for task in (None, *TaskState):
            check(VERBS["delete"], "s", state, task)


def test_a_busy_server_refuses_and_says_why() -> None:
    with pytest.raises(WrongState) as caught:
        check(VERBS["stop"], "abc", VmState.ACTIVE, TaskState.REBOOTING)
    assert caught.value.message == (
        "Cannot 'stop' instance abc while it is in task_state rebooting"
    )


def test_a_refusal_names_the_states_that_would_do() -> None:
    with pytest.raises(WrongState) as caught:
        check(VERBS["start"], "abc", VmState.ACTIVE, None)
    assert caught.value.facts["allowed"] == ["stopped"]


def test_hard_reboot_is_called_reboot_to_clients() -> None:
    with pytest.raises(WrongState) as caught:
        check(VERBS["reboot_hard"], "abc", VmState.BUILDING, None)
    assert "Cannot 'reboot' instance" in caught.value.message
    assert ACTION_NAMES["reboot_hard"] == "reboot"


def test_status_follows_nova() -> None:
    assert status(VmState.ACTIVE, None) == "ACTIVE"
    assert status(VmState.ACTIVE, TaskState.POWERING_OFF) == "ACTIVE"
    assert status(VmState.ACTIVE, TaskState.REBOOTING) == "REBOOT"
    assert status(VmState.STOPPED, TaskState.REBOOTING_HARD) == "SHUTOFF"
    assert status(VmState.BUILDING, TaskState.SPAWNING) == "BUILD"


def test_a_status_filter_finds_what_shows_it() -> None:
    assert states_with_status("shutoff") == [(VmState.STOPPED, None)]
    assert states_with_status("REBOOT") == [(VmState.ACTIVE, TaskState.REBOOTING)]
    assert states_with_status("NOSUCH") == []


def test_observation_moves_resting_servers_only() -> None:
    for (state, _power), becomes in OBSERVED.items():
        assert state in (VmState.ACTIVE, VmState.STOPPED)
        assert becomes != state
