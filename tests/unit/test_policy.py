"""Policies: answers are kept, and follow the operator's file."""

from __future__ import annotations

import os
import time
from pathlib import Path

from minicloud.kit.context import Context
from minicloud.kit.policy import Policy

RULES = {"thing:show": "rule:reader", "thing:mark": "role:member and 'yes':%(open)s"}
MEMBER = Context(user_id="u1", project_id="p1", roles=("member",))
READER = Context(user_id="u2", project_id="p1", roles=("reader",))
STRANGER = Context(user_id="u1", project_id="p2", roles=("member",))


def test_an_answer_is_of_one_caller_one_action_and_one_target() -> None:
    policy = Policy(RULES)
    for _ in range(2):
        assert policy.allows(MEMBER, "thing:show", {"project_id": "p1"})
        assert policy.allows(READER, "thing:show", {"project_id": "p1"})
        assert not policy.allows(STRANGER, "thing:show", {"project_id": "p1"})
        assert policy.allows(STRANGER, "thing:show")
        assert policy.allows(MEMBER, "thing:mark", {"open": "yes"})
        assert not policy.allows(MEMBER, "thing:mark", {"open": "no"})
        assert not policy.allows(MEMBER, "thing:mark", {"open": ["yes"]})
        assert not policy.allows(READER, "thing:mark", {"open": "yes"})
        assert not policy.allows(MEMBER, "thing:unheard")


def test_a_role_of_a_service_counts_as_such_alone() -> None:
    policy = Policy({"thing:bind": "rule:service"})
    assert policy.allows(Context(service_roles=("service",)), "thing:bind")
    assert not policy.allows(Context(project_id="service"), "thing:bind")


def test_the_operators_file_counts_soon(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"thing:show": "role:admin"\n')
    policy = Policy(RULES, policy_file=str(file))
    assert not policy.allows(MEMBER, "thing:show")
    file.write_text('"thing:show": "role:member"\n')
    os.utime(file, (file.stat().st_atime, file.stat().st_mtime + 5))
    give_up_at = time.monotonic() + 30
    while not policy.allows(MEMBER, "thing:show"):
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
    assert not policy.allows(READER, "thing:show")
