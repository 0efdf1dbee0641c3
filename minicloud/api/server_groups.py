"""Server groups: servers that are to be together, or apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from minicloud.api.schemas.fields import own_project, whole
from minicloud.api.schemas.server_groups import GroupCreate, group_view
from minicloud.api.scope import project_scope
from minicloud.db import quotas, server_groups
from minicloud.domain.errors import Invalid, NotAllowed
from minicloud.domain.ids import new_id
from minicloud.domain.models import ServerGroup
from minicloud.kit import clock
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Query, Reply

_MOST = 1000
QUERY = Query(names=frozenset(("all_projects", "limit", "offset")), strict_from=(2, 75))


class ServerGroups:
    """``limits``: the configured quota, of which server_groups is asked."""

    def __init__(self, database: Database, limits: Mapping[str, int]) -> None:
        self._database = database
        self._limits = limits

    def index(self, call: Call) -> Any:
        everywhere = call.flag("all_projects") and call.allowed(
            "os_compute_api:os-server-groups:index:all_projects"
        )
        project = None if everywhere else call.ctx.project_id
        limit = call.number("limit", _MOST)
        with self._database.read() as tx:
            found = server_groups.group_list(
                tx,
                project_id=project,
                limit=min(_MOST if limit is None else limit, _MOST),
                offset=call.number("offset", 0) or 0,
            )
            members = server_groups.members_of_groups(tx, [group.id for group in found])
        return {"server_groups": [group_view(group, members.get(group.id, [])) for group in found]}

    def show(self, call: Call) -> Any:
        with self._database.read() as tx:
            group = self._of(call, tx)
            members = server_groups.members_of_groups(tx, [group.id])
        return {"server_group": group_view(group, members.get(group.id, []))}

    def create(self, call: Call) -> Any:
        body: GroupCreate = call.body
        most = 1
        if body.rules.max_server_per_host is not UNSET:
            most = whole(body.rules.max_server_per_host, "max_server_per_host", least=1)
            if body.policy != "anti-affinity":
                raise Invalid(reason="Only anti-affinity policy supports rules.")
        project_id = own_project(call.ctx)
        group = ServerGroup(
            id=new_id(),
            project_id=project_id,
            user_id=call.ctx.user_id,
            name=body.name,
            policy=body.policy,
            max_per_host=most,
            created_at=clock.now(),
        )
        with self._database.write() as tx:
            quotas.project_lock(tx, project_id)
            limits = quotas.quota_limits(tx, project_id, self._limits)
            own = quotas.user_limits(tx, project_id, group.user_id)
            for limit, of in (
                (limits["server_groups"], ""),
                (own.get("server_groups", -1), group.user_id),
            ):
                if 0 <= limit <= server_groups.group_count(tx, project_id, user_id=of):
                    raise NotAllowed(reason="Quota exceeded, too many server groups.")
            server_groups.group_insert(tx, group)
        return {"server_group": group_view(group, [])}

    def delete(self, call: Call) -> Reply:
        with self._database.write() as tx:
            server_groups.group_delete(tx, self._of(call, tx).id)
        return Reply(status=204)

    def _of(self, call: Call, tx: Any) -> ServerGroup:
        return server_groups.group_get(
            tx, call.params["group_id"], project_id=project_scope(call.ctx)
        )
