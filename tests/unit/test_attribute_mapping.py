"""What rules make of attributes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from minicloud.domain.errors import Invalid
from minicloud.identity.attribute_mapping import evaluate
from minicloud.identity.attribute_rules import Rule

ADA = {"SUB": "ada", "MAIL": "ada@x", "GROUPS": "staff;admins;guests", "ONE": "staff"}
STAFF = {"type": "GROUPS", "any_one_of": ["staff", "other"]}
HERE = {"name": "here"}


def mapped(*rules: tuple[list[Any], list[Any]], version: str = "1.0", **more: str) -> Any:
    """Each rule: (local, remote)."""
    parsed = [msgspec.convert({"local": local, "remote": remote}, Rule) for local, remote in rules]
    return evaluate(parsed, version, {**ADA, **more})


def groups(remote: dict[str, Any]) -> list[str]:
    local = [{"groups": "{0}", "domain": HERE}]
    found = mapped((local, [{"type": "GROUPS", **remote}])).group_names
    assert all(each["domain"] == HERE for each in found)
    return [each["name"] for each in found]


def test_attributes_stand_where_they_are_referred_to() -> None:
    local = [{"user": {"name": "{0} <{1}>", "email": "{1}"}}, {"group": {"id": "g"}}]
    found = mapped((local, [{"type": "SUB"}, STAFF, {"type": "MAIL"}]))
    assert found.user == {"name": "ada <ada@x>", "email": "ada@x", "type": "ephemeral"}
    assert found.group_ids == ["g"]
    assert (found.group_names, found.projects) == ([], [])


def test_a_rule_applies_where_all_that_it_asks_for_is_there() -> None:
    user = [{"user": {"name": "{0}"}}]
    wrong: list[dict[str, Any]] = [
        {"type": "NOTHING"},
        {"type": "GROUPS", "any_one_of": ["other"]},
        {"type": "GROUPS", "not_any_of": ["guests"]},
        {"type": "GROUPS", "any_one_of": ["^taff"], "regex": True},
        {"type": "GROUPS", "not_any_of": ["^gue"], "regex": True},
        {"type": "GROUPS", "any_one_of": ["^gue"]},
    ]
    for remote in wrong:
        with pytest.raises(Invalid):
            mapped((user, [{"type": "SUB"}, remote]))
    right: list[dict[str, Any]] = [
        STAFF,
        {"type": "GROUPS", "not_any_of": ["other"]},
        {"type": "GROUPS", "any_one_of": ["^gue"], "regex": True},
    ]
    assert mapped((user, [{"type": "SUB"}, *right])).user["name"] == "ada"
    # The first rule that names a user is the one that does; of the others the rest counts.
    second = [{"user": {"name": "other"}, "group": {"id": "g"}}]
    found = mapped((user, [{"type": "SUB"}]), (second, [STAFF]), (second, [{"type": "NOTHING"}]))
    assert (found.user["name"], found.group_ids) == ("ada", ["g"])


def test_values_are_filtered() -> None:
    assert groups({}) == ["staff", "admins", "guests"]
    assert groups({"whitelist": ["guests", "staff", "other"]}) == ["staff", "guests"]
    assert groups({"blacklist": ["guests"]}) == ["staff", "admins"]
    assert groups({"whitelist": ["^a"], "regex": True}) == ["admins"]
    assert groups({"blacklist": ["s$"], "regex": True}) == ["staff"]
    assert groups({"whitelist": ["other"]}) == []


def test_groups_by_id_and_by_name() -> None:
    local = [
        {"group_ids": "{0}"},
        {"group_ids": "{1}"},
        {"group": {"name": "{1}", "domain": {"id": "d"}}},
        {"groups": "{2}"},
    ]
    remote = [{"type": "GROUPS"}, {"type": "ONE"}, {"type": "JSON"}]
    group = 'JSON:{"name": "g", "domain": {"id": "e"}}'
    found = mapped((local, remote), JSON=group)
    assert found.group_ids == ["staff", "admins", "guests"]
    assert found.group_names == [
        {"name": "staff", "domain": {"id": "d"}}, {"name": "g", "domain": {"id": "e"}}
    ]  # fmt: skip
    for wrong in ("JSON:{", "JSON:[]", 'JSON:{"name": "g"}', "plain"):
        with pytest.raises(Invalid):
            mapped((local, remote), JSON=wrong)


def test_groups_need_a_domain_even_where_there_are_none() -> None:
    local = [{"user": {"name": "x"}}, {"groups": "{0}"}]
    with pytest.raises(Invalid):
        mapped((local, [{"type": "GROUPS", "whitelist": ["other"]}]))


def test_what_each_version_does_about_projects_and_domains() -> None:
    project = {"name": "of {0}", "roles": [{"name": "member"}]}
    local: list[Any] = [{"user": {"name": "{0}"}, "projects": [project], "domain": HERE}]
    remote = [{"type": "SUB"}]
    filled = {**project, "name": "of ada"}
    first = mapped((local, remote))
    assert (first.projects, "domain" in first.user) == ([filled], False)
    second = mapped((local, remote), version="2.0")
    assert second.projects == [{**filled, "domain": HERE}]
    assert second.user["domain"] == HERE
    third = [{**local[0], "projects_json": "{1}"}]
    more = '[{"name": "p", "roles": [{"name": "reader"}], "domain": {"name": "there"}}]'
    found = mapped((third, [*remote, {"type": "P"}]), version="3.0", P=more).projects
    assert [(each["name"], each["domain"]["name"]) for each in found] == [
        ("of ada", "here"), ("p", "there")
    ]  # fmt: skip
    for wrong in ("{", "{}", '[{"name": "p"}]', "[1]"):
        with pytest.raises(Invalid):
            mapped((third, [*remote, {"type": "P"}]), version="3.0", P=wrong)


@pytest.mark.parametrize(
    "text", ["{1}", "{", "{}", "{0.__class__}", "{0!r}", "{0:>9999999}", "{name}"]
)
def test_what_a_rule_cannot_refer_to(text: str) -> None:
    with pytest.raises(Invalid):
        mapped(([{"user": {"name": text}}], [{"type": "SUB"}]))


def test_a_regular_expression_that_is_none() -> None:
    with pytest.raises(Invalid):
        groups({"whitelist": ["("], "regex": True})
