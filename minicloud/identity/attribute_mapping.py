"""What the rules of a mapping make of somebody's attributes, as Keystone evaluates them.

Nobody logs in by it here: operators try the rules that they keep. Attributes and what is made of
them are somebody else's words: a rule takes them in whole and nothing else of Python's formats.
"""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from minicloud.domain.errors import Invalid
from minicloud.identity import attribute_rules
from minicloud.identity.attribute_rules import ProjectMade, Remote, Rule
from minicloud.kit.web.decode import convert

Json = dict[str, Any]


class Mapped(msgspec.Struct, frozen=True, kw_only=True):
    """Who somebody is here. Domains are named by id or by name."""

    user: Json
    group_ids: list[str]
    group_names: list[Json]
    """``name`` and ``domain`` of each."""
    projects: list[Json]
    """``name``, ``roles`` and perhaps ``domain`` of each."""


def evaluate(rules: Sequence[Rule], version: str, attributes: Mapping[str, str]) -> Mapped:
    """What every rule that applies says. ``attributes``: name -> values with ``;`` between them.

    Invalid where no rule applies, or one says what cannot be.
    """
    attribute_rules.check(rules, version)
    values = {name: text.split(";") for name, text in attributes.items()}
    said: list[Json] = []
    for rule in rules:
        taken = _taken(rule.remote, values)
        if taken is not None:
            said += [_filled(msgspec.to_builtins(local), taken) for local in rule.local]
    if not said:
        raise Invalid(reason="No rule applies to these attributes, or those that do say nothing.")
    return _mapped(said, version)


def _taken(remote: Sequence[Remote], values: Mapping[str, list[str]]) -> list[list[str]] | None:
    """The values that ``{0}``, ``{1}`` and so on stand for; None where the rule does not apply."""
    taken = []
    for each in remote:
        mine = values.get(each.type)
        if not mine:
            return None
        if each.any_one_of is not msgspec.UNSET:
            if not _matching(mine, each.any_one_of, each.regex):
                return None
        elif each.not_any_of is not msgspec.UNSET:
            if _matching(mine, each.not_any_of, each.regex):
                return None
        else:
            taken.append(_filtered(mine, each))
    return taken


def _filtered(mine: list[str], remote: Remote) -> list[str]:
    if remote.blacklist is not msgspec.UNSET:
        out = _matching(mine, remote.blacklist, remote.regex)
        return [each for each in mine if each not in out]
    if remote.whitelist is not msgspec.UNSET:
        return _matching(mine, remote.whitelist, remote.regex)
    return mine


def _matching(mine: Iterable[str], patterns: Any, regex: Any) -> list[str]:
    if regex is not True:
        return [each for each in mine if each in patterns]
    try:
        compiled = [re.compile(str(pattern)) for pattern in patterns]
    except re.error:
        raise Invalid(reason="A rule has a regular expression that is none.") from None
    return [each for each in mine if any(one.search(each) for one in compiled)]


def _filled(part: Any, taken: list[list[str]]) -> Any:
    """``part`` of a rule with what ``{0}`` and so on stand for in their place."""
    if isinstance(part, dict):
        return {
            key: _projects_of(value, taken) if key == "projects_json" else _filled(value, taken)
            for key, value in part.items()
        }
    if isinstance(part, list):
        return [_filled(each, taken) for each in part]
    found = []
    try:
        for text, field, form, conversion in string.Formatter().parse(part):
            found.append(text)
            if field is not None:
                if form or conversion or not field.isdecimal():
                    raise ValueError
                values = taken[int(field)]
                found.append(values[0] if len(values) == 1 else str(values))
    except (ValueError, IndexError):
        raise Invalid(
            reason=f"{part!r} in a rule refers to what its remote part does not take in."
        ) from None
    return "".join(found)


def _projects_of(text: str, taken: list[list[str]]) -> list[Json]:
    """The projects in an attribute that is JSON, to which ``text`` refers."""
    try:
        found = convert(json.loads(_filled(text, taken)), list[ProjectMade])
    except (ValueError, RecursionError):
        raise Invalid(reason="projects_json in a rule refers to what is no JSON.") from None
    projects: list[Json] = msgspec.to_builtins(found)
    return projects


def _mapped(said: list[Json], version: str) -> Mapped:
    user: Json = {}
    group_ids: list[str] = []
    group_names: list[Json] = []
    projects: list[Json] = []
    for each in said:
        user = user or dict(each.get("user", {}))
        group = each.get("group", {})
        group_ids += [group["id"]] if "id" in group else []
        group_names += [group] if "name" in group else []
        group_ids += _list(each.get("group_ids"))
        group_names += _groups(each)
        if "projects" in each or "projects_json" in each:
            projects = [*each.get("projects", ()), *each.get("projects_json", ())]
            if version != attribute_rules.OLDEST:
                projects = [{"domain": each.get("domain"), **project} for project in projects]
    user.setdefault("type", "ephemeral")
    if version != attribute_rules.OLDEST and not user.get("domain"):
        user["domain"] = said[-1].get("domain")
    return Mapped(
        user=user,
        group_ids=list(dict.fromkeys(group_ids)),
        group_names=[each for n, each in enumerate(group_names) if each not in group_names[:n]],
        projects=projects,
    )


def _list(text: str | None) -> list[str]:
    """What several values became when they were filled in; one value is itself."""
    if text is None:
        return []
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    return [str(each) for each in found] if isinstance(found, list) else [text]


def _groups(said: Json) -> list[Json]:
    """Names of groups in the domain that is said with them, or as ``JSON:{...}`` with their own."""
    found: list[Json] = []
    named: str = said.get("groups", "")
    if named and "domain" not in said and "JSON:" not in named:
        raise Invalid(reason="Groups by name need a domain.")
    for text in _list(said.get("groups")):
        group: Any = {"name": text, "domain": said.get("domain")}
        if text.startswith("JSON:"):
            try:
                group = json.loads(text.removeprefix("JSON:"))
            except (ValueError, RecursionError):
                raise Invalid(reason="A group that begins with JSON: is no JSON.") from None
        if not isinstance(group, dict) or not group.get("name") or not group.get("domain"):
            raise Invalid(reason="Groups by name need a domain.")
        found.append(group)
    return found
