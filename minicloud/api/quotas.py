"""Limits of projects: shown, set, and counted against what is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from minicloud.api.schemas.fields import truth, whole
from minicloud.api.schemas.quotas import (
    OLDER,
    RESOURCES,
    ClassUpdate,
    class_view,
    limits_view,
    quota_view,
    usage_view,
)
from minicloud.db import quotas, server_groups, servers
from minicloud.domain.errors import Invalid
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call, Query, Reply

QUERY = Query(names=frozenset(("user_id",)), strict_from=(2, 75))
_LONGEST = 64
"""Characters of a project's or a user's id."""
LIMITS_QUERY = Query(names=frozenset(("tenant_id", "reserved")), strict_from=(2, 57))


class Quotas:
    """``defaults``: resource -> configured limit; -1: none."""

    def __init__(self, database: Database, defaults: Mapping[str, int]) -> None:
        self._database = database
        self._defaults = {**{name: defaults[name] for name in RESOURCES}, **OLDER}

    def limits(self, call: Call) -> Any:
        project = call.ctx.project_id
        asked = call.query.get("tenant_id")
        if asked and asked != project:
            call.check("os_compute_api:limits:other_project")
            project = asked
        with self._database.read() as tx:
            return limits_view(self._limits(tx, project), _used(tx, project))

    def show(self, call: Call) -> Any:
        project = _project(call, "os_compute_api:os-quota-sets:show")
        with self._database.read() as tx:
            return quota_view(self._limits(tx, project, _user(call)), project)

    def detail(self, call: Call) -> Any:
        project, user = _project(call, "os_compute_api:os-quota-sets:detail"), _user(call)
        with self._database.read() as tx:
            used = _used(tx, project, user)
            return usage_view(self._limits(tx, project, user), used, project)

    def defaults(self, call: Call) -> Any:
        with self._database.read() as tx:
            limits = quotas.class_limits(tx, quotas.DEFAULT_CLASS, self._defaults)
        return quota_view(limits, call.params["project"])

    def show_class(self, call: Call) -> Any:
        name = call.params["name"]
        with self._database.read() as tx:
            return class_view(quotas.class_limits(tx, name, self._defaults), name)

    def update_class(self, call: Call) -> Any:
        name = call.params["name"]
        if len(name) > 64:
            raise Invalid(reason="Invalid input for field/attribute name: it is too long.")
        wanted = _wanted(call.body)
        with self._database.write() as tx:
            quotas.class_set(tx, name, wanted)
            return class_view(quotas.class_limits(tx, name, self._defaults), None)

    def update(self, call: Call) -> Any:
        """Of the project, or of a user within it."""
        project, user = _named(call), _user(call)
        body = call.body
        wanted = _wanted(body)
        with self._database.write() as tx:
            quotas.project_lock(tx, project)
            if not truth(body.force, "force"):
                _check(wanted, *self._bounds(tx, project, user))
            quotas.quota_set(tx, project, wanted, user_id=user)
            return quota_view(self._limits(tx, project, user), None)

    def reset(self, call: Call) -> Reply:
        with self._database.write() as tx:
            quotas.quota_reset(tx, call.params["project"], user_id=_user(call))
        return Reply()

    def _bounds(
        self, tx: Transaction, project: str, user: str
    ) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Resource -> the least and the most that its limit may be set to.

        A user's: what the user has, and what the project has not given to its other users. The
        project's: what is used or given to users.
        """
        used, given = _used(tx, project, user), quotas.given_to_users(tx, project)
        if not user:
            return {name: max(used.get(name, 0), given.get(name, 0)) for name in RESOURCES}, {}
        own = quotas.user_limits(tx, project, user)
        most = {
            name: max(limit - given.get(name, 0) + own.get(name, 0), 0)
            for name, limit in self._limits(tx, project).items()
            if limit >= 0
        }
        return used, most

    def _limits(self, tx: Transaction, project_id: str, user_id: str = "") -> Mapping[str, int]:
        return quotas.quota_limits(tx, project_id, self._defaults, user_id=user_id)


def _wanted(body: ClassUpdate) -> dict[str, int]:
    """Resource -> limit, of those that the body names."""
    return {
        name: whole(getattr(body, name), name, least=-1)
        for name in (*RESOURCES, *OLDER)
        if getattr(body, name) is not UNSET
    }


def _project(call: Call, policy: str) -> str:
    project = call.params["project"]
    call.check(policy, {"project_id": project, "user_id": call.ctx.user_id})
    return project


def _named(call: Call) -> str:
    """The project whose limits are set. Invalid."""
    project = call.params["project"]
    if len(project) > _LONGEST:
        raise Invalid(reason=f"Project ID {project[:_LONGEST]} is not a valid project.")
    return project


def _user(call: Call) -> str:
    """Whose limits within the project are meant; empty: the project's own. Invalid."""
    user: str = call.query.get("user_id", "")
    if len(user) > _LONGEST:
        raise Invalid(reason="Invalid input for query parameters user_id: it is too long.")
    return user


def _used(tx: Transaction, project_id: str, user_id: str = "") -> dict[str, int]:
    usage = servers.usage_of_project(tx, project_id, user_id=user_id)
    return {
        "instances": usage.instances,
        "cores": usage.cores,
        "ram": usage.ram,
        "server_groups": server_groups.group_count(tx, project_id, user_id=user_id),
    }


def _check(wanted: Mapping[str, int], least: Mapping[str, int], most: Mapping[str, int]) -> None:
    """Raise Invalid unless each limit is within its bounds; -1 is more than any number."""
    for name, limit in wanted.items():
        if 0 <= limit < least.get(name, 0):
            raise Invalid(
                reason=f"Quota limit {limit} for {name} must be greater than or equal to "
                f"already used and reserved {least[name]}."
            )
        if name in most and not 0 <= limit <= most[name]:
            raise Invalid(
                reason=f"Quota limit {limit} for {name} must be less than or equal to {most[name]}."
            )
