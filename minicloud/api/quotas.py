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
from minicloud.db import keypairs, quotas, server_groups, servers
from minicloud.domain.errors import Invalid
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call, Query, Reply

QUERY = Query(names=frozenset(("user_id",)), strict_from=(2, 75))
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
            return quota_view(self._limits(tx, project), project)

    def detail(self, call: Call) -> Any:
        project = _project(call, "os_compute_api:os-quota-sets:detail")
        with self._database.read() as tx:
            used = _used(tx, project)
            if project == call.ctx.project_id:
                used["key_pairs"] = len(keypairs.keypair_list(tx, call.ctx.user_id))
            return usage_view(self._limits(tx, project), used, project)

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
        project = call.params["project"]
        body = call.body
        wanted = _wanted(body)
        with self._database.write() as tx:
            if not truth(body.force, "force"):
                _check_used(wanted, _used(tx, project))
            quotas.quota_set(tx, project, wanted)
            return quota_view(self._limits(tx, project), None)

    def reset(self, call: Call) -> Reply:
        with self._database.write() as tx:
            quotas.quota_reset(tx, call.params["project"])
        return Reply()

    def _limits(self, tx: Transaction, project_id: str) -> Mapping[str, int]:
        return quotas.quota_limits(tx, project_id, self._defaults)


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


def _used(tx: Transaction, project_id: str) -> dict[str, int]:
    usage = servers.usage_of_project(tx, project_id)
    return {
        "instances": usage.instances,
        "cores": usage.cores,
        "ram": usage.ram,
        "server_groups": server_groups.group_count(tx, project_id),
    }


def _check_used(wanted: Mapping[str, int], used: Mapping[str, int]) -> None:
    for name, limit in wanted.items():
        if 0 <= limit < used.get(name, 0):
            raise Invalid(
                reason=f"Quota limit {limit} for {name} must be greater than or equal to "
                f"already used {used[name]}."
            )
