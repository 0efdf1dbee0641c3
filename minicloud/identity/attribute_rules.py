"""The rules of a mapping, as Keystone's schema has them: what may be written, no more.

A rule that a version of the schema does not know is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from minicloud.domain.errors import Invalid
from minicloud.identity.schemas import Text

OLDEST = "1.0"
VERSIONS = (OLDEST, "2.0", "3.0")
_HOW = ("any_one_of", "not_any_of", "blacklist", "whitelist")


class DomainNamed(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    id: Text | UnsetType = UNSET
    name: Text | UnsetType = UNSET


class UserMade(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    id: Text | UnsetType = UNSET
    name: Text | UnsetType = UNSET
    email: Text | UnsetType = UNSET
    domain: DomainNamed | UnsetType = UNSET
    type: Literal["ephemeral", "local"] | UnsetType = UNSET


class GroupNamed(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """By id, or by name and domain."""

    id: Text | UnsetType = UNSET
    name: Text | UnsetType = UNSET
    domain: DomainNamed | UnsetType = UNSET


class RoleNamed(msgspec.Struct, forbid_unknown_fields=True):
    name: Text


class ProjectMade(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    name: Text
    roles: list[RoleNamed]
    domain: DomainNamed | UnsetType = UNSET


class Local(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What somebody to whom the rule applies is here."""

    user: UserMade | UnsetType = UNSET
    projects: list[ProjectMade] | UnsetType = UNSET
    group: GroupNamed | UnsetType = UNSET
    groups: Text | UnsetType = UNSET
    group_ids: Text | UnsetType = UNSET
    domain: DomainNamed | UnsetType = UNSET
    projects_json: Text | UnsetType = UNSET


class Remote(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An attribute that somebody must have, and at most one way to compare its values."""

    type: Text
    any_one_of: list[Any] | UnsetType = UNSET
    not_any_of: list[Any] | UnsetType = UNSET
    blacklist: list[Any] | UnsetType = UNSET
    whitelist: list[Any] | UnsetType = UNSET
    regex: bool | UnsetType = UNSET


class Rule(msgspec.Struct, forbid_unknown_fields=True):
    local: list[Local]
    remote: Annotated[list[Remote], Meta(min_length=1)]


Rules = Annotated[list[Rule], Meta(min_length=1, max_length=1000)]


def check(rules: Sequence[Rule], version: str) -> None:
    """Invalid where the schema of this version has not what the rules say."""
    if version not in VERSIONS:
        raise Invalid(reason=f"schema_version must be one of {', '.join(VERSIONS)}.")
    for rule in rules:
        for local in rule.local:
            _check_local(local, version)
        for remote in rule.remote:
            _check_remote(remote)


def _check_local(local: Local, version: str) -> None:
    group = local.group
    if isinstance(group, GroupNamed):
        by_name = group.name is not UNSET or group.domain is not UNSET
        whole = group.name is not UNSET and group.domain is not UNSET
        if (group.id is not UNSET) == by_name or by_name != whole:
            raise Invalid(reason="The group of a rule is named by id, or by name and domain.")
    if local.projects_json is not UNSET and version in VERSIONS[:2]:
        raise Invalid(reason=f"Rules of version {version} know no projects_json.")
    if isinstance(local.projects, list) and version == OLDEST:
        for project in local.projects:
            if project.domain is not UNSET:
                raise Invalid(reason=f"Projects in rules of version {version} have no domain.")


def _check_remote(remote: Remote) -> None:
    how = [each for each in _HOW if getattr(remote, each) is not UNSET]
    if len(how) > 1 or (not how and remote.regex is not UNSET):
        raise Invalid(reason=f"A remote rule has a type, and at most one of {', '.join(_HOW)}.")
