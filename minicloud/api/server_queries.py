"""From the query string of a server list to a ServerQuery, and the filters that SQL cannot do."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from werkzeug.datastructures import MultiDict

from minicloud.api.schemas.fields import truth
from minicloud.db.servers import SORT_KEYS, ServerQuery
from minicloud.domain.errors import Forbidden, Invalid
from minicloud.domain.models import Server
from minicloud.domain.states import states_with_status
from minicloud.kit import clock, patterns
from minicloud.kit.web import Call, Query

MOST = 1000
"""Servers in one page."""

# Query parameter -> column, for plain equality.
_EQUAL = {
    "uuid": "id",
    "user_id": "user_id",
    "image": "image_id",
    "image_ref": "image_id",
    "flavor": "flavor_id",
    "instance_type_id": "flavor_id",
    "vm_state": "vm_state",
    "task_state": "task_state",
}
# Query parameter -> column, for a pattern that is looked for in it.
_PATTERNS = {
    "display_name": "name",
    "name": "name",
    "hostname": "hostname",
    "key_name": "key_name",
    "reservation_id": "reservation_id",
    "display_description": "description",
    "description": "description",
    "access_ip_v4": "access_ip_v4",
    "access_ip_v6": "access_ip_v6",
}
# What everybody may ask for; the rest is the operators'.
OF_ALL = frozenset(
    (
        "reservation_id", "name", "status", "image", "flavor", "ip", "ip6", "changes-since",
        "changes-before", "all_tenants", "limit", "marker", "sort_key", "sort_dir", "locked",
        "tags", "tags-any", "not-tags", "not-tags-any",
    )
)  # fmt: skip
OF_ALL_SINCE_2_83 = OF_ALL | {
    "availability_zone", "config_drive", "key_name", "created_at", "launched_at",
    "terminated_at", "power_state", "task_state", "vm_state", "progress", "user_id",
}  # fmt: skip
_NUMBERS = {"power_state": "power_state", "launch_index": "launch_index"}
_FLAGS = {"config_drive": "config_drive", "locked": "locked"}
_TAGS = ("tags", "tags-any", "not-tags", "not-tags-any")
_MOMENTS = ("created_at", "launched_at", "terminated_at")
# Compared here as they are, or not at all; elsewhere they may be patterns.
_WORDS = (
    "availability_zone", "auto_disk_config", "config_drive", "flavor", "ip6", "kernel_id",
    "locked_by", "node", "ramdisk_id", "root_device_name", *_TAGS,
)  # fmt: skip
# Known to clients, without meaning here.
_OVERLOOKED = (
    "kernel_id", "ramdisk_id", "deleted_at", "updated_at", "root_device_name", "soft_deleted",
    "is_public", "vm_mode", "architecture", "auto_disk_config", "default_ephemeral_device",
    "default_swap_device", "disable_terminate", "ephemeral_gb", "ephemeral_key_uuid",
    "internal_id", "launched_on", "locked_by", "memory_mb", "os_type", "root_gb",
    "shutdown_terminate", "user_data", "vcpus", "fixed_ip", "block_device_mapping", "info_cache",
    "metadata", "pci_devices", "security_groups", "services", "system_metadata",
)  # fmt: skip

QUERY = Query(
    names=frozenset(
        (
            *_EQUAL, *_PATTERNS, *_NUMBERS, *_FLAGS, *_TAGS, *_MOMENTS, *_OVERLOOKED, "status",
            "availability_zone", "host", "node", "ip", "ip6", "progress", "project_id",
            "tenant_id", "all_tenants", "deleted", "changes-since", "changes-before", "limit",
            "marker", "sort_key", "sort_dir",
        )
    ),
    since={
        "ip6": (2, 5), "changes-before": (2, 66), "locked": (2, 73),
        **dict.fromkeys(_TAGS, (2, 26)),
    },
    strict_from=(2, 75),
)  # fmt: skip

Filter = Callable[[Server], bool]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """``query`` has no limit when ``filters`` must still be asked; ``limit`` is the page's."""

    query: ServerQuery
    filters: Sequence[Filter]
    limit: int
    nothing: bool = False
    """Whether no server can match."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between microversions."""

    bad_status_is_error: bool = True
    """Whether an unknown status is refused, and not just nobody's."""
    of_all: frozenset[str] = OF_ALL_SINCE_2_83 | {"hostname"}
    """What those may ask for who are no operators; the rest is overlooked."""


def wish_of(call: Call, rules: Rules, *, policy: str) -> Wish:
    """What the request asks for. Invalid, or Forbidden for other projects' servers.

    ``policy``: rule asked for ``all_tenants``.
    """
    for name in _WORDS:
        for word in call.query.getlist(name):
            _check_word(name, word)
    if not call.ctx.is_admin:
        pairs = [pair for pair in call.query.items(multi=True) if pair[0] in rules.of_all]
        call.query = MultiDict(pairs)
    query = call.query
    limit = call.number("limit", MOST)
    limit = MOST if limit is None else min(limit, MOST)
    everywhere = call.flag("all_tenants")
    if everywhere:
        call.check(policy)
    project: str | None = call.ctx.project_id
    if everywhere:
        project = query.get("project_id") or query.get("tenant_id")
    equal = _equal(call)
    words = [word.upper() for word in query.getlist("status")]
    bad = [word for word in words if not states_with_status(word)]
    if bad and rules.bad_status_is_error:
        raise Invalid(reason=f"Invalid status value: {bad[0][:64]}")
    filters = [*_address_filters(call), *_tag_filters(call), *_moment_filters(call)]
    return Wish(
        query=ServerQuery(
            project_id=project,
            deleted=_deleted(call, words),
            equal=equal,
            patterns={
                column: pattern
                for name, column in _PATTERNS.items()
                if (pattern := _pattern(call, name)) is not None
            },
            status=words,
            changes_since=moment(call, "changes-since"),
            changes_before=moment(call, "changes-before"),
            sort=_sort(call),
            limit=None if filters else limit + 1,
            marker=query.get("marker"),
            zone=query.get("availability_zone"),
        ),
        filters=filters,
        limit=limit,
        nothing=(bool(words) and len(bad) == len(words)) or not _fits_progress(call),
    )


def _equal(call: Call) -> dict[str, Any]:
    query = call.query
    equal: dict[str, Any] = {}
    for name, column in _EQUAL.items():
        values = query.getlist(name)
        if values:
            equal[column] = values if len(values) > 1 else values[0]
    for name, column in _NUMBERS.items():
        number = call.number(name)
        if number is not None:
            equal[column] = number
    for name, column in _FLAGS.items():
        if name in query:
            equal[column] = truth(query[name], name)
    for name in ("host", "node"):
        if name in query:
            equal["host"] = query[name]
    return equal


def _deleted(call: Call, words: Sequence[str]) -> bool | None:
    """Which of the living and the deleted: only admins see the latter, or by changes-since."""
    if call.flag("deleted") or "DELETED" in words:
        if not call.ctx.is_admin:
            if "DELETED" in words:
                raise Forbidden(action="os_compute_api:servers:index:deleted")
            return False
        return True
    return None if "changes-since" in call.query or "changes-before" in call.query else False


def moment(call: Call, name: str) -> float | None:
    text = call.query.get(name)
    if text is None:
        return None
    try:
        return clock.parse(text)
    except (ValueError, OverflowError):
        raise Invalid(
            reason=f"Invalid input for query parameters {name}: it must be a date and time."
        ) from None


def _check_word(name: str, word: str) -> None:
    """Raise Invalid unless ``word`` could be a pattern, which it is nowhere taken for."""
    try:
        re.compile(word)
    except (re.error, RecursionError, OverflowError):
        raise Invalid(reason=f"Invalid input for query parameters {name}: not a pattern.") from None
    if not word:
        raise Invalid(reason=f"Invalid input for query parameters {name}: it is empty.")


def _pattern(call: Call, name: str) -> str | None:
    """A regular expression that the database can be asked. Invalid."""
    text = call.query.get(name)
    if text is None:
        return None
    try:
        patterns.compiled(text)
    except ValueError:
        raise Invalid(reason=f"Invalid input for query parameters {name}: not a pattern.") from None
    if not 0 < len(text) <= 255 or "\0" in text:
        raise Invalid(
            reason=f"Invalid input for query parameters {name}: it must have 1 to 255 characters."
        )
    return text


def _sort(call: Call) -> Sequence[tuple[str, str]]:
    keys = call.query.getlist("sort_key")
    directions = call.query.getlist("sort_dir")
    if len(directions) > len(keys):
        if keys:
            raise Invalid(reason="There are more sort_dir than sort_key.")
        keys = ["created_at"]
    for key in keys:
        if key not in SORT_KEYS:
            raise Invalid(reason=f"Invalid input for query parameters sort_key: {key[:64]}")
    for direction in directions:
        if direction not in ("asc", "desc"):
            raise Invalid(reason=f"Invalid input for query parameters sort_dir: {direction[:64]}")
    default = directions[0] if directions else "desc"
    directions = [*directions, *[default] * (len(keys) - len(directions))]
    return list(zip(keys, directions, strict=True))


# -- filters beyond SQL ----------------------------------------------------------------------------
def _address_filters(call: Call) -> list[Filter]:
    filters: list[Filter] = []
    for name, mark in (("ip", "."), ("ip6", ":")):
        text = _pattern(call, name)
        if text is not None:
            filters.append(_has_address(text, mark))
    return filters


def _has_address(pattern: str, mark: str) -> Filter:
    def matches(server: Server) -> bool:
        return any(
            mark in address and patterns.found(pattern, address)
            for nic in server.nics
            for address in nic.addresses
        )

    return matches


def _tag_filters(call: Call) -> list[Filter]:
    def words(name: str) -> frozenset[str]:
        return frozenset(word for word in call.query.get(name, "").split(",") if word)

    filters: list[Filter] = []
    if wanted := words("tags"):
        filters.append(lambda server: wanted <= set(server.tags))
    if some := words("tags-any"):
        filters.append(lambda server: bool(some & set(server.tags)))
    if not_all := words("not-tags"):
        filters.append(lambda server: not not_all <= set(server.tags))
    if none := words("not-tags-any"):
        filters.append(lambda server: not none & set(server.tags))
    return filters


def _moment_filters(call: Call) -> list[Filter]:
    """Patterns are looked for in times as a database writes them: ``2026-11-23 08:00:00``."""
    wanted = ((name, _pattern(call, name)) for name in _MOMENTS)
    return [_has_moment(name, text) for name, text in wanted if text is not None]


def _has_moment(name: str, pattern: str) -> Filter:
    def matches(server: Server) -> bool:
        at: float | None = getattr(server, name)
        return at is not None and bool(patterns.found(pattern, clock.sql_text(at)))

    return matches


def _fits_progress(call: Call) -> bool:
    """Whether the pattern asked for fits the progress of servers, which is 0 for all here."""
    text = _pattern(call, "progress")
    return text is None or bool(patterns.found(text, "0"))
